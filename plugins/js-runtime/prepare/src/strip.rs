//! Takes types off: every one becomes blank, so that what is left stands where its author wrote it.

use oxc_ast::ast::*;
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan, Span};
use oxc_syntax::scope::ScopeFlags;

use crate::edits::Edits;
use crate::refusal::Refusal;

/// Walks a program once: blanks types, and finds what the rest of this crate wants to know.
pub(crate) struct Stripper<'s> {
    source: &'s str,
    pub(crate) edits: Edits,
    pub(crate) refusals: Vec<Refusal>,
    /// Functions around the place of the walk.
    depth: usize,
    /// Whether there is an `await` outside of functions.
    pub(crate) awaits: bool,
    /// Whether something is assigned to a variable `result`.
    pub(crate) assigns_result: bool,
    /// Ends of statements and members that have no `;` of their own.
    open_ends: Vec<u32>,
    /// Where statements and members start that were made blank as a whole.
    gone: Vec<u32>,
}

impl<'s> Stripper<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Self {
            source,
            edits: Edits::default(),
            refusals: Vec::new(),
            depth: 0,
            awaits: false,
            assigns_result: false,
            open_ends: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Puts a `;` where a statement without one would run into the next line, now that its last part,
    /// or the statement between them, is gone.
    pub(crate) fn close(&mut self) {
        let mut at = self.gone.clone();
        let blanks = self.edits.blanks_by_end();
        at.extend(self.open_ends.iter().filter_map(|end| blanks.get(end)));
        at.sort_unstable();
        at.dedup();
        for start in at {
            self.edits.replace(start, start + self.width(start), ";");
        }
    }

    fn width(&self, at: u32) -> u32 {
        self.source[at as usize..].chars().next().map_or(0, |c| c.len_utf8() as u32)
    }

    pub(crate) fn refuse(&mut self, span: Span, message: &str) {
        self.refusals.push(Refusal::at(self.source, span, message));
    }

    fn blank(&mut self, span: Span) {
        self.edits.blank(span.start, span.end);
    }

    /// Makes a statement or a member blank, but for a `;`.
    pub(crate) fn blank_whole(&mut self, span: Span) {
        self.blank(span);
        self.gone.push(span.start);
    }

    /// Blanks a word that stands somewhere between two bytes, outside of comments.
    fn blank_word(&mut self, word: &str, from: u32, to: u32) {
        if let Some(at) = self.find(word, from, to) {
            self.edits.blank(at, at + word.len() as u32);
        }
    }

    /// Where a word or sign is, between two bytes, outside of comments.
    pub(crate) fn find(&self, word: &str, from: u32, to: u32) -> Option<u32> {
        let bytes = self.source.as_bytes();
        let (mut at, to) = (from as usize, (to as usize).min(bytes.len()));
        while at < to {
            let rest = &self.source[at..to];
            if rest.starts_with("//") {
                at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            } else if rest.starts_with(word) && self.is_whole(at, word) {
                return Some(at as u32);
            } else {
                at += rest.chars().next().map_or(1, char::len_utf8);
            }
        }
        None
    }

    fn is_whole(&self, at: usize, word: &str) -> bool {
        let is_letter =
            |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$');
        let starts = word.starts_with(|c: char| c.is_alphanumeric());
        let (before, after) = (&self.source[..at], &self.source[at + word.len()..]);
        !starts || (!is_letter(before.chars().next_back()) && !is_letter(after.chars().next()))
    }

    fn has_newline(&self, from: u32, to: u32) -> bool {
        self.source[from as usize..to as usize].contains(['\n', '\r', '\u{2028}', '\u{2029}'])
    }

    /// Remembers the end of a statement if the source gives it no `;`.
    fn ends(&mut self, span: Span) {
        let bytes = self.source.as_bytes();
        if span.end > span.start && bytes[span.end as usize - 1] != b';' {
            self.open_ends.push(span.end);
        }
    }

    fn modifiers(&mut self, from: u32, to: u32, words: &[&str]) {
        for word in words {
            self.blank_word(word, from, to);
        }
    }

    fn decorators(&mut self, decorators: &[Decorator<'_>]) {
        if let Some(first) = decorators.first() {
            self.refuse(
                first.span,
                "decorators are no JavaScript: call a function around the class or the method instead",
            );
        }
    }

    fn type_parameters(&mut self, parameters: Option<&TSTypeParameterDeclaration<'_>>) {
        if let Some(parameters) = parameters {
            self.blank(parameters.span);
        }
    }

    fn annotation(&mut self, annotation: Option<&TSTypeAnnotation<'_>>) {
        if let Some(annotation) = annotation {
            self.blank(annotation.span);
        }
    }

    fn assigned(&mut self, name: &str) {
        if name == "result" {
            self.assigns_result = true;
        }
    }

    fn type_arguments(&mut self, arguments: Option<&TSTypeParameterInstantiation<'_>>) {
        if let Some(arguments) = arguments {
            self.blank(arguments.span);
        }
    }
}

const ENUM: &str = "an enum is no type but code, and types are only taken off here: write an object, `const Color = \
                    { Red: \"red\" } as const`, and for its type `type Color = (typeof Color)[keyof typeof Color]`";
const NAMESPACE: &str = "a namespace with code in it cannot be taken off: write an object with functions, or plain functions";
const PARAMETER_PROPERTY: &str = "a parameter property is no type but code: declare the field in the class and assign \
                                  it in the constructor, `this.name = name`";

impl<'a> Visit<'a> for Stripper<'_> {
    fn visit_statement(&mut self, it: &Statement<'a>) {
        match it {
            Statement::VariableDeclaration(declaration) if declaration.declare => {
                return self.blank_whole(declaration.span);
            }
            Statement::FunctionDeclaration(function)
                if function.declare || function.body.is_none() =>
            {
                return self.blank_whole(function.span);
            }
            Statement::ClassDeclaration(class) if class.declare => {
                return self.blank_whole(class.span);
            }
            Statement::TSTypeAliasDeclaration(it) => return self.blank_whole(it.span),
            Statement::TSInterfaceDeclaration(it) => return self.blank_whole(it.span),
            Statement::TSExternalModuleDeclaration(it) => return self.blank_whole(it.span),
            Statement::TSGlobalDeclaration(it) => return self.blank_whole(it.span),
            Statement::TSNamespaceExportDeclaration(it) => return self.blank_whole(it.span),
            Statement::TSEnumDeclaration(it) => {
                return match it.declare {
                    true => self.blank_whole(it.span),
                    false => self.refuse(Span::new(it.span.start, it.id.span.end), ENUM),
                };
            }
            Statement::TSNamespaceDeclaration(it) => {
                let text = &self.source[it.span.start as usize..];
                return match text.starts_with("declare") || is_of_types(&it.body) {
                    true => self.blank_whole(it.span),
                    false => {
                        let end = it.span.start + text.find('{').unwrap_or(text.len()) as u32;
                        self.refuse(Span::new(it.span.start, end), NAMESPACE);
                    }
                };
            }
            Statement::TSImportEqualsDeclaration(it) => {
                return match it.import_kind.is_type() {
                    true => self.blank_whole(it.span),
                    false => self.refuse(
                        it.span,
                        "`import x = require(…)` is no JavaScript: write `import { server } from \"tools\"`",
                    ),
                };
            }
            Statement::TSExportAssignment(it) => {
                return self.refuse(it.span, "`export =` is no JavaScript: write `export default`");
            }
            _ => {}
        }
        walk::walk_statement(self, it);
        self.ends(it.span());
    }

    fn visit_ts_type_annotation(&mut self, it: &TSTypeAnnotation<'a>) {
        self.blank(it.span);
    }

    fn visit_ts_type_parameter_declaration(&mut self, it: &TSTypeParameterDeclaration<'a>) {
        self.blank(it.span);
    }

    fn visit_ts_type_parameter_instantiation(&mut self, it: &TSTypeParameterInstantiation<'a>) {
        self.blank(it.span);
    }

    fn visit_ts_as_expression(&mut self, it: &TSAsExpression<'a>) {
        self.visit_expression(&it.expression);
        self.edits.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_satisfies_expression(&mut self, it: &TSSatisfiesExpression<'a>) {
        self.visit_expression(&it.expression);
        self.edits.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_non_null_expression(&mut self, it: &TSNonNullExpression<'a>) {
        self.visit_expression(&it.expression);
        self.edits.blank(it.span.end - 1, it.span.end);
    }

    fn visit_ts_type_assertion(&mut self, it: &TSTypeAssertion<'a>) {
        let (start, inner) = (it.span.start, it.expression.span());
        self.edits.blank(start, inner.start);
        // `return <T>` and a line end would return nothing.
        if self.has_newline(start, inner.start) {
            self.edits.replace(start, start + 1, "(");
            self.edits.insert(inner.end, ")");
        }
        self.visit_expression(&it.expression);
    }

    fn visit_ts_instantiation_expression(&mut self, it: &TSInstantiationExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank(it.type_arguments.span);
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if it.definite {
            let to = it.type_annotation.as_ref().map_or(it.span.end, |it| it.span.start);
            self.blank_word("!", it.id.span().end, to);
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_formal_parameter(&mut self, it: &FormalParameter<'a>) {
        self.decorators(&it.decorators);
        if it.accessibility.is_some() || it.readonly || it.r#override {
            self.refuse(Span::new(it.span.start, it.pattern.span().end), PARAMETER_PROPERTY);
        }
        if it.optional {
            let to = it.type_annotation.as_ref().map_or(it.span.end, |it| it.span.start);
            self.blank_word("?", it.pattern.span().end, to);
        }
        self.visit_binding_pattern(&it.pattern);
        self.annotation(it.type_annotation.as_deref());
        if let Some(initializer) = &it.initializer {
            self.visit_expression(initializer);
        }
    }

    fn visit_function(&mut self, it: &Function<'a>, _: ScopeFlags) {
        self.type_parameters(it.type_parameters.as_deref());
        if let Some(this) = &it.this_param {
            let next = it.params.items.first().map(|item| item.span.start);
            let next = next.or_else(|| it.params.rest.as_ref().map(|rest| rest.span.start));
            // Up to the next parameter, or to a comma after it.
            let comma = self.find(",", this.span.end, next.unwrap_or(it.params.span.end));
            let end = comma.map_or(this.span.end, |comma| comma + 1);
            self.edits.blank(this.span.start, end);
        }
        self.depth += 1;
        self.visit_formal_parameters(&it.params);
        self.annotation(it.return_type.as_deref());
        if let Some(body) = &it.body {
            self.visit_function_body(body);
        }
        self.depth -= 1;
    }

    fn visit_arrow_function_expression(&mut self, it: &ArrowFunctionExpression<'a>) {
        if let Some(parameters) = &it.type_parameters {
            let span = parameters.span;
            self.blank(span);
            // No line may end between `async` and the bracket.
            if it.r#async && self.has_newline(span.start, it.params.span.start) {
                self.edits.replace(span.start, span.start + 1, "(");
                self.edits.blank(it.params.span.start, it.params.span.start + 1);
            }
        }
        if let Some(returns) = &it.return_type {
            let span = returns.span;
            self.blank(span);
            // Nor between the bracket and the arrow: the bracket moves to the end of the type.
            let closing = it.params.span.end - 1;
            if self.has_newline(closing, span.end) {
                self.edits.blank(closing, closing + 1);
                let last = self.source[..span.end as usize].chars().next_back();
                let last = span.end - last.map_or(1, |c| c.len_utf8() as u32);
                self.edits.replace(last, span.end, ")");
            }
        }
        self.depth += 1;
        self.visit_formal_parameters(&it.params);
        self.visit_arrow_function_body(&it.body);
        self.depth -= 1;
    }

    fn visit_class(&mut self, it: &Class<'a>) {
        self.decorators(&it.decorators);
        let head = it.body.span.start;
        if it.r#abstract {
            self.blank_word("abstract", it.span.start, head);
        }
        self.type_parameters(it.type_parameters.as_deref());
        if let Some(heritage) = &it.heritage {
            self.visit_class_heritage(heritage);
        }
        if let (Some(first), Some(last)) = (it.implements.first(), it.implements.last()) {
            let from = it.heritage.as_ref().map(|it| it.span().end);
            let from = from.or(it.type_parameters.as_ref().map(|it| it.span.end));
            let from = from.or(it.id.as_ref().map(|it| it.span.end)).unwrap_or(it.span.start);
            let word = self.find("implements", from, first.span.start).unwrap_or(first.span.start);
            self.edits.blank(word, last.span.end);
        }
        self.visit_class_body(&it.body);
    }

    fn visit_class_element(&mut self, it: &ClassElement<'a>) {
        match it {
            ClassElement::TSIndexSignature(it) => return self.blank_whole(it.span),
            ClassElement::AccessorProperty(it) => {
                return self.refuse(
                    it.span,
                    "`accessor` is not known to this engine: write a getter and a setter",
                );
            }
            _ => {}
        }
        walk::walk_class_element(self, it);
    }

    fn visit_static_block(&mut self, it: &StaticBlock<'a>) {
        self.depth += 1;
        walk::walk_static_block(self, it);
        self.depth -= 1;
    }

    fn visit_method_definition(&mut self, it: &MethodDefinition<'a>) {
        self.decorators(&it.decorators);
        let is_abstract = it.r#type == MethodDefinitionType::TSAbstractMethodDefinition;
        if is_abstract || it.value.body.is_none() {
            return self.blank_whole(it.span);
        }
        let key = it.key.span();
        self.modifiers(it.span.start, key.start, &["public", "private", "protected", "override"]);
        if it.optional {
            self.blank_word("?", key.end, it.value.span.start + 1);
        }
        if it.computed {
            self.visit_property_key(&it.key);
        }
        self.visit_function(&it.value, ScopeFlags::Function);
    }

    fn visit_property_definition(&mut self, it: &PropertyDefinition<'a>) {
        self.decorators(&it.decorators);
        if it.declare || it.r#type == PropertyDefinitionType::TSAbstractPropertyDefinition {
            return self.blank_whole(it.span);
        }
        let key = it.key.span();
        let words = ["public", "private", "protected", "override", "readonly"];
        let starts_with_word = it.accessibility.is_some() || it.r#override || it.readonly;
        self.modifiers(it.span.start, key.start, &words);
        if starts_with_word && !it.r#static {
            // `private *x` cannot be, but `private ["x"]` after a line without `;` can.
            let first = self.source[it.span.start as usize..].chars().next();
            if it.computed && first.is_some_and(char::is_alphabetic) {
                self.edits.replace(it.span.start, it.span.start + 1, ";");
            }
        }
        let to = it.type_annotation.as_ref().map(|it| it.span.start);
        let to = to.or(it.value.as_ref().map(|it| it.span().start)).unwrap_or(it.span.end);
        if it.optional {
            self.blank_word("?", key.end, to);
        }
        if it.definite {
            self.blank_word("!", key.end, to);
        }
        if it.computed {
            self.visit_property_key(&it.key);
        }
        self.annotation(it.type_annotation.as_deref());
        if let Some(value) = &it.value {
            self.depth += 1;
            self.visit_expression(value);
            self.depth -= 1;
        }
        self.ends(it.span);
    }

    fn visit_await_expression(&mut self, it: &AwaitExpression<'a>) {
        self.awaits |= self.depth == 0;
        walk::walk_await_expression(self, it);
    }

    fn visit_for_of_statement(&mut self, it: &ForOfStatement<'a>) {
        self.awaits |= it.r#await && self.depth == 0;
        walk::walk_for_of_statement(self, it);
    }

    fn visit_variable_declaration(&mut self, it: &VariableDeclaration<'a>) {
        self.awaits |= it.kind == VariableDeclarationKind::AwaitUsing && self.depth == 0;
        walk::walk_variable_declaration(self, it);
    }

    fn visit_simple_assignment_target(&mut self, it: &SimpleAssignmentTarget<'a>) {
        if let SimpleAssignmentTarget::AssignmentTargetIdentifier(it) = it {
            self.assigned(&it.name);
        }
        walk::walk_simple_assignment_target(self, it);
    }

    fn visit_binding_identifier(&mut self, it: &BindingIdentifier<'a>) {
        if self.depth == 0 {
            self.assigned(&it.name);
        }
    }

    fn visit_import_expression(&mut self, it: &ImportExpression<'a>) {
        // A function of the prelude does it: it knows what there is.
        self.edits.replace(it.span.start, it.span.start + 6, "__toolcell.load");
        walk::walk_import_expression(self, it);
    }

    fn visit_import_meta(&mut self, it: &ImportMeta) {
        self.refuse(
            it.span,
            "a program has no file and no URL of its own: there is no `import.meta`",
        );
    }

    fn visit_jsx_element(&mut self, it: &JSXElement<'a>) {
        self.refuse(it.span, "JSX is no JavaScript: write function calls, or text");
    }

    fn visit_jsx_fragment(&mut self, it: &JSXFragment<'a>) {
        self.refuse(it.span, "JSX is no JavaScript: write function calls, or text");
    }

    fn visit_call_expression(&mut self, it: &CallExpression<'a>) {
        self.visit_expression(&it.callee);
        self.type_arguments(it.type_arguments.as_deref());
        self.visit_arguments(&it.arguments);
    }
}

/// Whether a namespace declares types only.
fn is_of_types(body: &TSNamespaceDeclarationBody<'_>) -> bool {
    match body {
        TSNamespaceDeclarationBody::TSModuleBlock(block) => block.body.iter().all(is_type),
        TSNamespaceDeclarationBody::TSNamespaceDeclaration(inner) => is_of_types(&inner.body),
    }
}

/// Whether a statement is gone when types are.
pub(crate) fn is_type(statement: &Statement<'_>) -> bool {
    match statement {
        Statement::TSTypeAliasDeclaration(_)
        | Statement::TSInterfaceDeclaration(_)
        | Statement::TSExternalModuleDeclaration(_)
        | Statement::TSGlobalDeclaration(_) => true,
        Statement::TSNamespaceDeclaration(it) => is_of_types(&it.body),
        Statement::TSEnumDeclaration(it) => it.declare,
        Statement::VariableDeclaration(it) => it.declare,
        Statement::FunctionDeclaration(it) => it.declare || it.body.is_none(),
        Statement::ClassDeclaration(it) => it.declare,
        Statement::ExportDeclaration(it) => match &it.declaration {
            Declaration::TSTypeAliasDeclaration(_) | Declaration::TSInterfaceDeclaration(_) => true,
            Declaration::FunctionDeclaration(it) => it.declare || it.body.is_none(),
            Declaration::VariableDeclaration(it) => it.declare,
            Declaration::ClassDeclaration(it) => it.declare,
            _ => false,
        },
        Statement::ExportNamedDeclaration(it) => it.export_kind.is_type(),
        Statement::ImportDeclaration(it) => it.import_kind.is_type(),
        _ => false,
    }
}
