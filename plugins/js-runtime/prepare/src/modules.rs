//! What is module syntax at the top of a program becomes script: imports are made first, exports are
//! plain declarations, and of the last expression it is known that it is the value.

use oxc_ast::ast::*;
use oxc_span::{GetSpan, Span};

use crate::edits::Edits;
use crate::refusal::Refusal;
use crate::strip::is_type;

/// Where a program's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueFrom {
    /// Its last statement is an expression.
    LastExpression,
    /// It has a default export, which is in `__toolcell.value` at the end.
    DefaultExport,
    /// Neither: the variable `result`, if the program has one.
    Nothing,
}

/// What the top-level statements were found to be.
pub(crate) struct Top<'s> {
    pub(crate) source: &'s str,
    pub(crate) kept: bool,
    pub(crate) value: ValueFrom,
    /// Names that are exported, and the variables they are of.
    pub(crate) exports: Vec<(String, String)>,
    pub(crate) refusals: Vec<Refusal>,
    /// What comes before the first line: the imports.
    prefix: String,
    /// What comes after the last.
    pub(crate) suffix: String,
}

impl<'s> Top<'s> {
    pub(crate) fn new(source: &'s str, kept: bool) -> Self {
        Self {
            source,
            kept,
            value: ValueFrom::Nothing,
            exports: Vec::new(),
            refusals: Vec::new(),
            prefix: String::new(),
            suffix: String::new(),
        }
    }

    pub(crate) fn read(&mut self, program: &Program<'_>, edits: &mut Edits) {
        if let Some(hashbang) = &program.hashbang {
            edits.blank(hashbang.span.start, hashbang.span.end);
        }
        let body = &program.body;
        let last =
            body.iter().rposition(|it| !is_type(it) && !matches!(it, Statement::EmptyStatement(_)));
        for (nth, statement) in body.iter().enumerate() {
            self.statement(statement, edits);
            let is_last = Some(nth) == last;
            if is_last
                && matches!(statement, Statement::ExpressionStatement(_))
                && self.value == ValueFrom::Nothing
            {
                self.value = ValueFrom::LastExpression;
            }
        }
        if last.is_none() && !program.directives.is_empty() {
            self.value = ValueFrom::LastExpression;
        }
        if !self.prefix.is_empty() {
            let prefix = std::mem::take(&mut self.prefix);
            edits.insert(0, prefix);
        }
    }

    fn refuse(&mut self, span: Span, message: impl Into<String>) {
        self.refusals.push(Refusal::at(self.source, span, message));
    }

    fn statement(&mut self, statement: &Statement<'_>, edits: &mut Edits) {
        match statement {
            Statement::ImportDeclaration(it) => self.import(it, edits),
            Statement::ExportAllDeclaration(it) => self.refuse(it.span, RE_EXPORT),
            Statement::ExportFromDeclaration(it) => self.refuse(it.span, RE_EXPORT),
            Statement::ExportDefaultDeclaration(it) => self.export_default(it, edits),
            Statement::ExportNamedDeclaration(it) => {
                edits.blank(it.span.start, it.span.end);
                edits.replace(it.span.start, it.span.start + 1, ";");
                if !it.export_kind.is_type() {
                    for specifier in &it.specifiers {
                        if !specifier.export_kind.is_type() {
                            self.exports.push((
                                specifier.exported.name().to_string(),
                                specifier.local.name().to_string(),
                            ));
                        }
                    }
                }
            }
            Statement::ExportDeclaration(it) => {
                if is_type(statement) {
                    // The walk over the types does not know the word before them.
                    edits.blank(it.span.start, it.span.end);
                    edits.replace(it.span.start, it.span.start + 1, ";");
                    return;
                }
                edits.blank(it.span.start, it.declaration.span().start);
                self.exported(&it.declaration);
                self.declaration(&it.declaration, edits);
            }
            _ => {
                if let Some(declaration) = statement.as_declaration() {
                    self.declaration(declaration, edits);
                }
            }
        }
    }

    fn exported(&mut self, declaration: &Declaration<'_>) {
        let mut names = Vec::new();
        match declaration {
            Declaration::VariableDeclaration(it) => {
                for declarator in &it.declarations {
                    names.extend(declarator.id.get_binding_identifiers());
                }
            }
            Declaration::FunctionDeclaration(it) => names.extend(&it.id),
            Declaration::ClassDeclaration(it) => names.extend(&it.id),
            _ => {}
        }
        self.exports.extend(names.into_iter().map(|id| (id.name.to_string(), id.name.to_string())));
    }

    /// In a session a name may be declared again, which only `var` allows.
    fn declaration(&mut self, declaration: &Declaration<'_>, edits: &mut Edits) {
        if !self.kept {
            return;
        }
        match declaration {
            Declaration::VariableDeclaration(it) if !it.declare => {
                let start = it.span.start;
                match it.kind {
                    VariableDeclarationKind::Let => {
                        edits.replace(start, start + 3, "var");
                        for declarator in it.declarations.iter().filter(|it| it.init.is_none()) {
                            edits.insert(declarator.span.end, "=void 0");
                        }
                    }
                    VariableDeclarationKind::Const => edits.replace(start, start + 5, "var  "),
                    _ => {}
                }
            }
            Declaration::ClassDeclaration(it) if !it.declare => {
                if let Some(id) = &it.id {
                    edits.insert(it.span.start, format!("var {}=", id.name));
                    edits.insert(it.span.end, ";");
                }
            }
            _ => {}
        }
    }

    fn import(&mut self, it: &ImportDeclaration<'_>, edits: &mut Edits) {
        edits.blank(it.span.start, it.span.end);
        edits.replace(it.span.start, it.span.start + 1, ";");
        if it.import_kind.is_type() {
            return;
        }
        let module = it.source.value.as_str();
        if !can_import(module) {
            return self.refuse(it.source.span, cannot_import(module));
        }
        let word = if self.kept { "var" } else { "const" };
        let from = format!("__toolcell.module({})", quoted(module));
        let Some(specifiers) = &it.specifiers else { return };
        let mut named = Vec::new();
        for specifier in specifiers {
            match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(it) if it.import_kind.is_type() => {}
                ImportDeclarationSpecifier::ImportSpecifier(it) => {
                    let (name, local) = (it.imported.name(), it.local.name.as_str());
                    // `import { default as x }` is the module.
                    if name == "default" {
                        self.prefix.push_str(&format!("{word} {local}={from};"));
                    } else {
                        named.push(format!("{}:{local}", quoted(&name)));
                    }
                }
                ImportDeclarationSpecifier::ImportDefaultSpecifier(it) => {
                    self.prefix.push_str(&format!("{word} {}={from};", it.local.name));
                }
                ImportDeclarationSpecifier::ImportNamespaceSpecifier(it) => {
                    self.prefix.push_str(&format!("{word} {}={from};", it.local.name));
                }
            }
        }
        if !named.is_empty() {
            self.prefix.push_str(&format!("{word} {{{}}}={from};", named.join(",")));
        }
    }

    fn export_default(&mut self, it: &ExportDefaultDeclaration<'_>, edits: &mut Edits) {
        let (start, inner) = (it.span.start, it.declaration.span().start);
        self.value = ValueFrom::DefaultExport;
        match &it.declaration {
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => {
                edits.blank(start, it.span.end);
                edits.replace(start, start + 1, ";");
                self.value = ValueFrom::Nothing;
            }
            ExportDefaultDeclarationKind::FunctionDeclaration(function)
                if function.id.is_some() =>
            {
                edits.blank(start, inner);
                self.named_default(function.id.as_ref());
            }
            ExportDefaultDeclarationKind::FunctionDeclaration(function)
                if function.body.is_none() =>
            {
                edits.blank(start, it.span.end);
            }
            ExportDefaultDeclarationKind::ClassDeclaration(class)
                if class.id.is_some() && !self.kept =>
            {
                edits.blank(start, inner);
                self.named_default(class.id.as_ref());
            }
            _ => {
                edits.blank(start, inner);
                edits.insert(inner, "__toolcell.value=");
                if self.source.as_bytes()[it.span.end as usize - 1] != b';' {
                    edits.insert(it.span.end, ";");
                }
            }
        }
    }

    fn named_default(&mut self, id: Option<&BindingIdentifier<'_>>) {
        if let Some(id) = id {
            self.suffix.push_str(&format!("\n;__toolcell.value={};", id.name));
        }
    }
}

const RE_EXPORT: &str =
    "a program cannot export what is another module's: import it, and return what it gives";

/// Whether there is a module of this name.
fn can_import(module: &str) -> bool {
    matches!(module, "tools" | "resources" | "prompts" | "events" | "state" | "asks")
        || module.strip_prefix("tools/").is_some_and(|server| !server.is_empty())
}

/// Why a module cannot be imported, and what can.
pub fn cannot_import(module: &str) -> String {
    let bare = module.strip_prefix("node:").unwrap_or(module);
    let shown = quoted(&module.chars().take(100).collect::<String>());
    let why = if module.starts_with('.') || module.starts_with('/') || module.contains("://") {
        "there are no files and no network in the sandbox"
    } else if NODE.contains(&bare) {
        "it is Node's, and the sandbox has no files, no processes and no network: call a tool instead"
    } else {
        "there are no packages in the sandbox"
    };
    format!(
        "{shown} cannot be imported: {why}. What can be: \"tools\" (`import {{ server }} from \"tools\"`), \
         \"tools/SERVER\", \"resources\", \"prompts\" and \"events\""
    )
}

const NODE: [&str; 22] = [
    "assert",
    "buffer",
    "child_process",
    "crypto",
    "dns",
    "events",
    "fs",
    "fs/promises",
    "http",
    "https",
    "net",
    "os",
    "path",
    "process",
    "querystring",
    "readline",
    "stream",
    "timers",
    "url",
    "util",
    "worker_threads",
    "zlib",
];

/// A string literal.
pub(crate) fn quoted(text: &str) -> String {
    let mut made = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => made.extend(['\\', c]),
            c if c.is_control() || c == '\u{2028}' || c == '\u{2029}' => {
                made.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => made.push(c),
        }
    }
    made + "\""
}
