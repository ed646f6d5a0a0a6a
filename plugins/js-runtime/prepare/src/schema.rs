//! What the types and comments of exported functions say about them: JSON Schema of the one object that
//! each takes, for plugins.

use std::collections::HashMap;
use std::fmt::Write as _;

use oxc_allocator::Allocator;
use oxc_ast::ast::*;
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType};

/// Deeper types, and those that refer to themselves, are anything.
const MAX_DEPTH: usize = 12;

/// The exported functions of a source, as a JSON object: `{ "name": { "description", "input", "output" } }`.
pub fn functions(name: &str, source: &str) -> String {
    let allocator = Allocator::default();
    let kind = if crate::is_javascript(name) { SourceType::mjs() } else { SourceType::ts() };
    let parsed = Parser::new(&allocator, source, kind.with_module(true)).parse();
    let mut reader = Reader { source, comments: &parsed.program.comments, named: HashMap::new() };
    for statement in &parsed.program.body {
        reader.remember(statement);
    }
    let mut found: Vec<String> = Vec::new();
    for statement in &parsed.program.body {
        let Statement::ExportDeclaration(it) = statement else { continue };
        let start = it.span.start;
        match &it.declaration {
            Declaration::FunctionDeclaration(function) => {
                if let Some(id) = &function.id {
                    let returns = function.return_type.as_deref();
                    found.push(reader.function(&id.name, &function.params, returns, start));
                }
            }
            Declaration::VariableDeclaration(variables) => {
                for variable in &variables.declarations {
                    let Some(id) = variable.id.get_binding_identifier() else { continue };
                    let (params, returns) = match &variable.init {
                        Some(Expression::ArrowFunctionExpression(it)) => {
                            (&it.params, &it.return_type)
                        }
                        Some(Expression::FunctionExpression(it)) => (&it.params, &it.return_type),
                        _ => continue,
                    };
                    found.push(reader.function(&id.name, params, returns.as_deref(), start));
                }
            }
            _ => {}
        }
    }
    format!("{{{}}}", found.join(","))
}

/// A type that has a name.
enum Named<'b, 'a> {
    Alias(&'b TSType<'a>),
    Interface(&'b TSInterfaceDeclaration<'a>),
}

struct Reader<'b, 'a> {
    source: &'b str,
    comments: &'b [Comment],
    named: HashMap<&'b str, Named<'b, 'a>>,
}

impl<'b, 'a> Reader<'b, 'a> {
    fn remember(&mut self, statement: &'b Statement<'a>) {
        let declaration = match statement {
            Statement::ExportDeclaration(it) => Some(&it.declaration),
            other => other.as_declaration(),
        };
        match declaration {
            Some(Declaration::TSTypeAliasDeclaration(it)) => {
                self.named.insert(it.id.name.as_str(), Named::Alias(&it.type_annotation));
            }
            Some(Declaration::TSInterfaceDeclaration(it)) => {
                self.named.insert(it.id.name.as_str(), Named::Interface(it));
            }
            _ => {}
        }
    }

    fn function(
        &self,
        name: &str,
        params: &'b FormalParameters<'a>,
        returns: Option<&'b TSTypeAnnotation<'a>>,
        start: u32,
    ) -> String {
        let about = self.comment_before(start).unwrap_or_default();
        let (description, told) = parts(&about);
        let defaults =
            params.items.first().map(|it| defaults(self.source, &it.pattern)).unwrap_or_default();
        let annotation = params.items.first().and_then(|it| it.type_annotation.as_deref());
        let input = annotation.and_then(|it| self.members(&it.type_annotation, 0));
        let input = match input {
            Some(members) => object(&members, &defaults, &told),
            None if params.items.is_empty() => "{\"type\":\"object\",\"properties\":{}}".to_owned(),
            None => "{\"type\":\"object\"}".to_owned(),
        };
        let mut made = format!("{}:{{\"input\":{input}", text(name));
        if !description.is_empty() {
            let _ = write!(made, ",\"description\":{}", text(&description));
        }
        let output = returns.and_then(|it| self.members(awaited(&it.type_annotation), 0));
        if let Some(output) = output {
            let _ =
                write!(made, ",\"output\":{}", object(&output, &HashMap::new(), &HashMap::new()));
        }
        made + "}"
    }

    /// The documentation comment that ends where something starts.
    fn comment_before(&self, start: u32) -> Option<String> {
        let comment = self.comments.iter().rev().find(|it| it.span.end <= start)?;
        let between = &self.source[comment.span.end as usize..start as usize];
        let body = &self.source[comment.span.start as usize..comment.span.end as usize];
        if !between.trim().is_empty() {
            return None;
        }
        let body = body.strip_prefix("/**")?.strip_suffix("*/")?;
        let lines = body.lines().map(|line| line.trim().trim_start_matches('*').trim());
        Some(lines.collect::<Vec<_>>().join("\n").trim().to_owned())
    }

    /// The properties of an object type; none if it is another.
    fn members(&self, kind: &'b TSType<'a>, depth: usize) -> Option<Vec<Member>> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            TSType::TSTypeLiteral(it) => Some(self.signatures(&it.members, depth)),
            TSType::TSParenthesizedType(it) => self.members(&it.type_annotation, depth),
            TSType::TSIntersectionType(it) => {
                let parts = it.types.iter().map(|part| self.members(part, depth + 1));
                parts.collect::<Option<Vec<_>>>().map(|parts| parts.concat())
            }
            TSType::TSTypeReference(it) => match self.named.get(name_of(&it.type_name)?)? {
                Named::Alias(kind) => self.members(kind, depth + 1),
                Named::Interface(it) => {
                    let mut members = Vec::new();
                    for base in &it.extends {
                        if let Some(name) = name_of(&base.type_name)
                            && let Some(Named::Interface(base)) = self.named.get(name)
                        {
                            members.extend(self.signatures(&base.body.body, depth + 1));
                        }
                    }
                    members.extend(self.signatures(&it.body.body, depth + 1));
                    Some(members)
                }
            },
            _ => None,
        }
    }

    fn signatures(&self, members: &'b [TSSignature<'a>], depth: usize) -> Vec<Member> {
        let mut found = Vec::new();
        for member in members {
            let TSSignature::TSPropertySignature(it) = member else { continue };
            let Some(name) = it.key.static_name() else { continue };
            let annotation = it.type_annotation.as_deref().map(|it| &it.type_annotation);
            let mut schema =
                annotation.map_or_else(|| "{}".to_owned(), |kind| self.schema(kind, depth + 1));
            if let Some(comment) = self.comment_before(it.span.start) {
                schema = with(&schema, "description", &text(&comment.replace('\n', " ")));
            }
            let optional = it.optional || annotation.is_some_and(may_be_undefined);
            found.push(Member { name: name.into_owned(), schema, optional });
        }
        found
    }

    fn schema(&self, kind: &'b TSType<'a>, depth: usize) -> String {
        let plain = |name: &str| format!("{{\"type\":\"{name}\"}}");
        if depth > MAX_DEPTH {
            return "{}".to_owned();
        }
        match kind {
            TSType::TSStringKeyword(_) | TSType::TSTemplateLiteralType(_) => plain("string"),
            TSType::TSNumberKeyword(_) => plain("number"),
            TSType::TSBooleanKeyword(_) => plain("boolean"),
            TSType::TSNullKeyword(_) => plain("null"),
            TSType::TSObjectKeyword(_) => plain("object"),
            TSType::TSLiteralType(it) => literal(self.source, it)
                .map_or_else(|| "{}".to_owned(), |value| format!("{{\"const\":{value}}}")),
            TSType::TSArrayType(it) => self.array(&it.element_type, depth),
            TSType::TSTupleType(_) => plain("array"),
            TSType::TSParenthesizedType(it) => self.schema(&it.type_annotation, depth),
            TSType::TSTypeOperatorType(it) => self.schema(&it.type_annotation, depth),
            TSType::TSUnionType(it) => self.union(&it.types, depth),
            TSType::TSTypeReference(it) => self.reference(it, kind, depth),
            TSType::TSTypeLiteral(_) | TSType::TSIntersectionType(_) => {
                let members = self.members(kind, depth).unwrap_or_default();
                object(&members, &HashMap::new(), &HashMap::new())
            }
            _ => "{}".to_owned(),
        }
    }

    fn array(&self, item: &'b TSType<'a>, depth: usize) -> String {
        format!("{{\"type\":\"array\",\"items\":{}}}", self.schema(item, depth + 1))
    }

    fn reference(&self, it: &'b TSTypeReference<'a>, kind: &'b TSType<'a>, depth: usize) -> String {
        let arguments = it.type_arguments.as_deref().map_or(&[][..], |it| &it.params);
        match (name_of(&it.type_name).unwrap_or_default(), arguments) {
            ("Array" | "ReadonlyArray" | "Set", [item]) => self.array(item, depth),
            ("Record" | "Map", [_, value]) => {
                let value = self.schema(value, depth + 1);
                format!("{{\"type\":\"object\",\"additionalProperties\":{value}}}")
            }
            ("Readonly" | "Promise", [inner]) => self.schema(inner, depth + 1),
            ("Date", []) => "{\"type\":\"string\",\"format\":\"date-time\"}".to_owned(),
            (name, _) => match self.named.get(name) {
                Some(Named::Alias(kind)) => self.schema(kind, depth + 1),
                Some(Named::Interface(_)) => {
                    let members = self.members(kind, depth).unwrap_or_default();
                    object(&members, &HashMap::new(), &HashMap::new())
                }
                None => "{}".to_owned(),
            },
        }
    }

    fn union(&self, kinds: &'b [TSType<'a>], depth: usize) -> String {
        let kinds = kinds.iter().filter(|kind| !matches!(kind, TSType::TSUndefinedKeyword(_)));
        let kinds: Vec<&TSType<'_>> = kinds.collect();
        let values: Option<Vec<String>> = kinds
            .iter()
            .map(|kind| match kind {
                TSType::TSLiteralType(it) => literal(self.source, it),
                TSType::TSNullKeyword(_) => Some("null".to_owned()),
                _ => None,
            })
            .collect();
        if let Some(values) = values {
            return format!("{{\"enum\":[{}]}}", values.join(","));
        }
        let mut any: Vec<String> = kinds.iter().map(|kind| self.schema(kind, depth + 1)).collect();
        match any.len() {
            1 => any.remove(0),
            _ => format!("{{\"anyOf\":[{}]}}", any.join(",")),
        }
    }
}

#[derive(Clone)]
struct Member {
    name: String,
    schema: String,
    optional: bool,
}

fn object(
    members: &[Member],
    defaults: &HashMap<String, Option<String>>,
    told: &HashMap<String, String>,
) -> String {
    let mut properties = Vec::new();
    let mut required = Vec::new();
    for Member { name, schema, optional } in members {
        let mut schema = schema.clone();
        if let Some(told) = told.get(name) {
            schema = with(&schema, "description", &text(told));
        }
        if let Some(Some(value)) = defaults.get(name) {
            schema = with(&schema, "default", value);
        }
        properties.push(format!("{}:{schema}", text(name)));
        if !optional && !defaults.contains_key(name) {
            required.push(text(name));
        }
    }
    let mut made = format!("{{\"type\":\"object\",\"properties\":{{{}}}", properties.join(","));
    if !required.is_empty() {
        let _ = write!(made, ",\"required\":[{}]", required.join(","));
    }
    made + "}"
}

/// A schema with one more member.
fn with(schema: &str, key: &str, value: &str) -> String {
    let inner = &schema[1..schema.len() - 1];
    let comma = if inner.is_empty() { "" } else { "," };
    format!("{{{inner}{comma}\"{key}\":{value}}}")
}

/// `{ limit = 5 }`: the names with defaults, and their values where they are literals.
fn defaults(source: &str, pattern: &BindingPattern<'_>) -> HashMap<String, Option<String>> {
    let mut found = HashMap::new();
    let BindingPattern::ObjectPattern(pattern) = pattern else { return found };
    for property in &pattern.properties {
        let BindingPattern::AssignmentPattern(it) = &property.value else { continue };
        let Some(name) = property.key.static_name() else { continue };
        let value = match &it.right {
            Expression::StringLiteral(it) => Some(text(&it.value)),
            Expression::BooleanLiteral(it) => Some(it.value.to_string()),
            Expression::NumericLiteral(it) => {
                number(&source[it.span().start as usize..it.span().end as usize])
            }
            Expression::NullLiteral(_) => Some("null".to_owned()),
            _ => None,
        };
        found.insert(name.into_owned(), value);
    }
    found
}

fn literal(source: &str, it: &TSLiteralType<'_>) -> Option<String> {
    match &it.literal {
        TSLiteral::StringLiteral(it) => Some(text(&it.value)),
        TSLiteral::BooleanLiteral(it) => Some(it.value.to_string()),
        TSLiteral::NumericLiteral(it) => {
            number(&source[it.span().start as usize..it.span().end as usize])
        }
        _ => None,
    }
}

/// A number as JSON writes it, if the source does too.
fn number(raw: &str) -> Option<String> {
    let plain = raw.parse::<f64>().ok()?.is_finite();
    let looks = raw.starts_with(|c: char| c.is_ascii_digit()) && !raw.ends_with('.');
    (plain && looks && (raw == "0" || !raw.starts_with('0') || raw.starts_with("0.")))
        .then(|| raw.to_owned())
}

fn may_be_undefined(kind: &TSType<'_>) -> bool {
    match kind {
        TSType::TSUnionType(it) => {
            it.types.iter().any(|it| matches!(it, TSType::TSUndefinedKeyword(_)))
        }
        _ => false,
    }
}

fn awaited<'b, 'a>(kind: &'b TSType<'a>) -> &'b TSType<'a> {
    if let TSType::TSTypeReference(it) = kind
        && name_of(&it.type_name) == Some("Promise")
        && let Some(inner) = it.type_arguments.as_deref().and_then(|it| it.params.first())
    {
        return inner;
    }
    kind
}

fn name_of<'b>(name: &'b TSTypeName<'_>) -> Option<&'b str> {
    match name {
        TSTypeName::IdentifierReference(it) => Some(it.name.as_str()),
        _ => None,
    }
}

/// A comment's description, and what its `@param` lines say of each argument.
fn parts(comment: &str) -> (String, HashMap<String, String>) {
    let mut description = Vec::new();
    let mut told = HashMap::new();
    let mut in_tags = false;
    for line in comment.lines() {
        in_tags |= line.starts_with('@');
        if !in_tags {
            description.push(line);
        }
        let Some(rest) = line.strip_prefix("@param ") else { continue };
        let rest = match rest.trim_start().strip_prefix('{') {
            Some(kind) => kind.split_once('}').map_or(rest, |(_, rest)| rest),
            None => rest,
        };
        let (name, said) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
        let name = name.rsplit('.').next().unwrap_or(name).trim_matches(['[', ']']);
        let said = said.trim().trim_start_matches('-').trim();
        if !said.is_empty() {
            told.insert(name.to_owned(), said.to_owned());
        }
    }
    (description.join("\n").trim().to_owned(), told)
}

/// A JSON string.
fn text(plain: &str) -> String {
    let mut made = String::from("\"");
    for c in plain.chars() {
        match c {
            '"' | '\\' => made.extend(['\\', c]),
            '\n' => made.push_str("\\n"),
            c if c < ' ' => {
                let _ = write!(made, "\\u{:04x}", u32::from(c));
            }
            c => made.push(c),
        }
    }
    made + "\""
}
