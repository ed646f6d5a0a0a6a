//! The calls of tools that can be told from a program's text, and what of their arguments is written
//! out. What cannot be told for sure is left out: nothing that is right is ever complained about.

use std::collections::HashMap;
use std::fmt::Write as _;

use oxc_allocator::Allocator;
use oxc_ast::ast::*;
use oxc_ast_visit::{Visit, walk};
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType};

use crate::is_javascript;

/// How deep an argument is looked into.
const MAX_DEPTH: u32 = 32;

/// Calls that are looked at. A program with more is looked at so far.
const MAX_CALLS: usize = 2_000;

/// A text that is longer stands in no list of choices.
const MAX_CHOICE_BYTES: usize = 200;

/// The calls of a program, as JSON for the prelude: `{server, serverAt, tool, at, args}`, or `full`
/// instead of `server` and `tool` where the tool is called by its full name. `args` is null where their
/// number is not known. An argument has where it stands (`at`, in bytes), and as far as they are known its
/// `kind` as JSON Schema names it, its `value`, its `items`, its `entries`, and whether it may have more
/// of these (`partial`). None if there is no call, or the program is none.
pub fn calls(name: &str, source: &str) -> Option<String> {
    let allocator = Allocator::default();
    let kind = if is_javascript(name) { SourceType::mjs() } else { SourceType::ts() };
    let parsed = Parser::new(&allocator, source, kind.with_module(true)).parse();
    if parsed.panicked || !parsed.diagnostics.is_empty() {
        return None;
    }
    let mut declared = Declared::default();
    declared.visit_program(&parsed.program);
    let mut calls = Calls { roots: declared.roots(&parsed.program), found: Vec::new() };
    calls.visit_program(&parsed.program);
    (!calls.found.is_empty()).then(|| format!("[{}]", calls.found.join(",")))
}

/// How often each name is declared, wherever that is.
#[derive(Default)]
struct Declared {
    count: HashMap<String, u32>,
}

impl<'a> Visit<'a> for Declared {
    fn visit_binding_identifier(&mut self, it: &BindingIdentifier<'a>) {
        *self.count.entry(it.name.to_string()).or_default() += 1;
    }
}

/// Names that mean `tools` or something in it, with the way there.
type Roots = HashMap<String, Vec<String>>;

impl Declared {
    /// A name that is declared more than once may mean something else somewhere: it is left out.
    fn roots(&self, program: &Program<'_>) -> Roots {
        let mut roots = Roots::new();
        if !self.count.contains_key("tools") {
            roots.insert("tools".to_owned(), Vec::new());
        }
        for statement in &program.body {
            match statement {
                Statement::ImportDeclaration(it) => self.import(it, &mut roots),
                Statement::VariableDeclaration(it) if it.kind == VariableDeclarationKind::Const => {
                    for declarator in &it.declarations {
                        self.alias(declarator, &mut roots);
                    }
                }
                _ => {}
            }
        }
        roots
    }

    fn add(&self, roots: &mut Roots, local: &str, way: Vec<String>) {
        if self.count.get(local) == Some(&1) {
            roots.insert(local.to_owned(), way);
        }
    }

    fn import(&self, it: &ImportDeclaration<'_>, roots: &mut Roots) {
        let module = it.source.value.as_str();
        let start = match module.strip_prefix("tools/") {
            Some(server) => vec![server.to_owned()],
            None if module == "tools" => Vec::new(),
            None => return,
        };
        for specifier in it.specifiers.iter().flatten() {
            let (local, way) = match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(it) => {
                    let name = it.imported.name();
                    let mut way = start.clone();
                    let is_all = name == "default" || (name == "tools" && way.is_empty());
                    if !is_all {
                        way.push(name.to_string());
                    }
                    (&it.local, way)
                }
                ImportDeclarationSpecifier::ImportDefaultSpecifier(it) => {
                    (&it.local, start.clone())
                }
                ImportDeclarationSpecifier::ImportNamespaceSpecifier(it) => {
                    (&it.local, start.clone())
                }
            };
            self.add(roots, local.name.as_str(), way);
        }
    }

    /// `const papers = tools.papers`, `const { papers } = tools`.
    fn alias(&self, declarator: &VariableDeclarator<'_>, roots: &mut Roots) {
        let Some(way) = declarator.init.as_ref().and_then(|init| way(init, roots)) else { return };
        match &declarator.id {
            BindingPattern::BindingIdentifier(id) => self.add(roots, id.name.as_str(), way.names()),
            BindingPattern::ObjectPattern(pattern) => {
                for property in &pattern.properties {
                    let BindingPattern::BindingIdentifier(local) = &property.value else {
                        continue;
                    };
                    let Some(name) = key(&property.key) else { continue };
                    let mut names = way.names();
                    names.push(name);
                    self.add(roots, local.name.as_str(), names);
                }
            }
            _ => {}
        }
    }
}

/// A way from `tools`, and where each of its names stands.
struct Way(Vec<(String, u32)>);

impl Way {
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// The way that `a.b["c"]` goes, if it begins at `tools`.
fn way(callee: &Expression<'_>, roots: &Roots) -> Option<Way> {
    let mut names = Vec::new();
    let mut at = callee.get_inner_expression();
    loop {
        match at {
            Expression::StaticMemberExpression(it) if !it.optional => {
                names.push((it.property.name.to_string(), it.property.span.start));
                at = it.object.get_inner_expression();
            }
            Expression::ComputedMemberExpression(it) if !it.optional => {
                let Expression::StringLiteral(name) = &it.expression else { return None };
                names.push((name.value.to_string(), name.span.start));
                at = it.object.get_inner_expression();
            }
            Expression::Identifier(it) => {
                let root = roots.get(it.name.as_str())?;
                names.extend(root.iter().rev().map(|name| (name.clone(), it.span.start)));
                names.reverse();
                return Some(Way(names));
            }
            _ => return None,
        }
    }
}

struct Calls {
    roots: Roots,
    /// Each as JSON.
    found: Vec<String>,
}

impl<'a> Visit<'a> for Calls {
    fn visit_call_expression(&mut self, it: &CallExpression<'a>) {
        if self.found.len() < MAX_CALLS
            && !it.optional
            && let Some(Way(names)) = way(&it.callee, &self.roots)
        {
            match names.as_slice() {
                [(call, _)] if call == "call" => self.by_full_name(it),
                [(server, server_at), (tool, at)] => {
                    let (server, tool) = (json(server), json(tool));
                    let args = arguments(&it.arguments);
                    self.found.push(format!(
                        "{{\"server\":{server},\"serverAt\":{server_at},\"tool\":{tool},\"at\":{at},\
                         \"args\":{args}}}"
                    ));
                }
                _ => {}
            }
        }
        walk::walk_call_expression(self, it);
    }
}

impl Calls {
    /// `tools.call("server.tool", {…})`.
    fn by_full_name(&mut self, it: &CallExpression<'_>) {
        let Some(Argument::StringLiteral(full)) = it.arguments.first() else { return };
        let (name, at) = (json(full.value.as_str()), full.span.start);
        let args = arguments(&it.arguments[1..]);
        self.found.push(format!("{{\"full\":{name},\"at\":{at},\"args\":{args}}}"));
    }
}

fn arguments(given: &[Argument<'_>]) -> String {
    let given: Option<Vec<String>> =
        given.iter().map(|it| it.as_expression().map(|it| value(it, 0))).collect();
    given.map_or_else(|| "null".to_owned(), |given| format!("[{}]", given.join(",")))
}

fn value(expression: &Expression<'_>, depth: u32) -> String {
    let mut made = format!("{{\"at\":{}", expression.span().start);
    match expression.get_inner_expression() {
        _ if depth >= MAX_DEPTH => {}
        Expression::NullLiteral(_) => made.push_str(",\"kind\":\"null\",\"value\":null"),
        Expression::BooleanLiteral(it) => {
            let _ = write!(made, ",\"kind\":\"boolean\",\"value\":{}", it.value);
        }
        Expression::NumericLiteral(it) => made.push_str(&number(it.value)),
        Expression::UnaryExpression(it) if it.operator == UnaryOperator::UnaryNegation => {
            if let Expression::NumericLiteral(it) = it.argument.get_inner_expression() {
                made.push_str(&number(-it.value));
            }
        }
        Expression::StringLiteral(it) => {
            made.push_str(",\"kind\":\"string\"");
            if it.value.len() <= MAX_CHOICE_BYTES {
                let _ = write!(made, ",\"value\":{}", json(it.value.as_str()));
            }
        }
        Expression::TemplateLiteral(_) => made.push_str(",\"kind\":\"string\""),
        Expression::ArrayExpression(it) => {
            made.push_str(",\"kind\":\"array\"");
            let items: Option<Vec<String>> = it
                .elements
                .iter()
                .map(|it| it.as_expression().map(|it| value(it, depth + 1)))
                .collect();
            if let Some(items) = items {
                let _ = write!(made, ",\"items\":[{}]", items.join(","));
            }
        }
        Expression::ObjectExpression(it) => {
            made.push_str(",\"kind\":\"object\"");
            let entries: Vec<String> =
                it.properties.iter().filter_map(|it| entry(it, depth + 1)).collect();
            let is_partial = entries.len() < it.properties.len();
            let _ = write!(made, ",\"partial\":{is_partial},\"entries\":[{}]", entries.join(","));
        }
        _ => {}
    }
    made.push('}');
    made
}

fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let kind = if value.fract() == 0.0 { "integer" } else { "number" };
    format!(",\"kind\":\"{kind}\",\"value\":{value:e}")
}

fn entry(property: &ObjectPropertyKind<'_>, depth: u32) -> Option<String> {
    let ObjectPropertyKind::ObjectProperty(property) = property else { return None };
    if property.computed || property.kind != PropertyKind::Init {
        return None;
    }
    let name = json(&key(&property.key)?);
    let at = property.key.span().start;
    Some(format!("{{\"name\":{name},\"at\":{at},\"value\":{}}}", value(&property.value, depth)))
}

fn key(key: &PropertyKey<'_>) -> Option<String> {
    match key {
        PropertyKey::StaticIdentifier(it) => Some(it.name.to_string()),
        PropertyKey::StringLiteral(it) => Some(it.value.to_string()),
        _ => None,
    }
}

/// A text as JSON.
fn json(text: &str) -> String {
    let mut made = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => made.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(made, "\\u{:04x}", u32::from(c));
            }
            c => made.push(c),
        }
    }
    made + "\""
}
