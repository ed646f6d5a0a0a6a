//! Doc comments as a tool's words.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// A doc comment, with what it says of single arguments apart.
pub(crate) struct Doc {
    pub(crate) description: String,
    arguments: Vec<(String, String)>,
}

/// The text of the doc comments among these attributes.
pub(crate) fn text(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(line).collect();
    // Each line begins with the space that follows `///`.
    let lines = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    match &pair.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if pair.path.is_ident("doc") => {
            Some(text.value())
        }
        _ => None,
    }
}

impl Doc {
    /// Reads a function's doc comment: the section `# Arguments` is a list of arguments, each
    /// ``- `name`: what it means``.
    pub(crate) fn of(attributes: &[Attribute]) -> Self {
        let text = text(attributes);
        let mut description: Vec<&str> = Vec::new();
        let mut arguments: Vec<(String, String)> = Vec::new();
        let mut in_arguments = false;
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix('#') {
                in_arguments = heading.trim_start_matches('#').trim() == "Arguments";
                if in_arguments {
                    continue;
                }
            }
            if !in_arguments {
                description.push(line);
            } else if let Some((name, meaning)) = item(line) {
                arguments.push((name, meaning));
            } else if let Some((_, meaning)) = arguments.last_mut() {
                let more = line.trim();
                if !more.is_empty() {
                    meaning.push(' ');
                    meaning.push_str(more);
                }
            }
        }
        Self { description: description.join("\n").trim().to_owned(), arguments }
    }

    /// What is said of an argument.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find(|(of, _)| of == name).map(|(_, meaning)| meaning.as_str())
    }

    /// The names of which something is said.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(|(name, _)| name.as_str())
    }
}

/// An item of the list: ``- `name`: meaning`` or ``* `name` - meaning``.
fn item(line: &str) -> Option<(String, String)> {
    let rest = line.trim_start().strip_prefix(['-', '*'])?.trim_start().strip_prefix('`')?;
    let (name, rest) = rest.split_once('`')?;
    let meaning = rest.trim_start().trim_start_matches([':', '-', '–', '—']).trim();
    Some((name.to_owned(), meaning.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_apart() {
        let function: syn::ItemFn = syn::parse_quote! {
            /// Finds pages.
            ///
            /// All of them.
            /// # Arguments
            /// - `query`: what to look for,
            ///   in words
            /// * `limit` - how many
            /// # Notes
            /// It is fast.
            fn find() {}
        };
        let doc = Doc::of(&function.attrs);
        assert_eq!(doc.description, "Finds pages.\n\nAll of them.\n# Notes\nIt is fast.");
        assert_eq!(doc.argument("query"), Some("what to look for, in words"));
        assert_eq!(doc.argument("limit"), Some("how many"));
        assert_eq!(doc.names().count(), 2);
    }
}
