//! What the values of a file refer to, and how they get their values.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::env::{ExpandError, Lookup, variable};
use super::error::KeyPath;
use super::findings::Findings;
use super::providers::Providers;
use super::template::{Part, parts};
use super::written::Template;
use crate::upstream::settings::SecretPart;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Ours: the operator wrote it for us.
    Own,
    /// Another program's: such files are copied from elsewhere, so they name no files and no
    /// commands whose output would go to a server.
    Foreign,
}

/// What the values of a file refer to.
pub(super) struct Surroundings<'a> {
    /// The folder of the file: relative paths start here.
    pub(super) folder: &'a Path,
    /// The environment.
    pub(super) lookup: &'a Lookup<'a>,
    pub(super) origin: Origin,
    pub(super) providers: &'a Providers,
    /// How often a server is probed that does not say so.
    pub(super) probe_interval: Option<Duration>,
}

impl Surroundings<'_> {
    /// The text with its variables replaced.
    pub(super) fn text(
        &self,
        template: &Template,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) -> Option<String> {
        let mut text = String::new();
        for part in self.parts(template, path, findings)? {
            match part {
                SecretPart::Text(part) => text.push_str(&part),
                SecretPart::CallerToken | SecretPart::CallerId => {
                    let cause = "what belongs to the caller can stand in `headers` and `env` only";
                    findings.problem(path, cause);
                    return None;
                }
            }
        }
        Some(text)
    }

    /// The value with its variables replaced, but for those that every caller has its own of.
    pub(super) fn parts(
        &self,
        template: &Template,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) -> Option<Vec<SecretPart>> {
        let written = parts(&template.0).map_err(|error| expand_problem(&error, path, findings));
        let mut values: Vec<SecretPart> = Vec::new();
        let mut all_known = true;
        for part in written.ok()? {
            let value = match part {
                Part::CallerToken => SecretPart::CallerToken,
                Part::CallerId => SecretPart::CallerId,
                _ => match self.value(part, path, findings) {
                    Some(text) => SecretPart::Text(text),
                    None => {
                        all_known = false;
                        continue;
                    }
                },
            };
            match (values.last_mut(), value) {
                (Some(SecretPart::Text(before)), SecretPart::Text(text)) => before.push_str(&text),
                (_, value) => values.push(value),
            }
        }
        all_known.then_some(values)
    }

    fn value(&self, part: Part<'_>, path: &KeyPath, findings: &mut Findings<'_>) -> Option<String> {
        match part {
            Part::Text(text) => Some(text.to_owned()),
            Part::Variable { name, default } => {
                let value = variable(name, default, self.lookup);
                value.map_err(|error| expand_problem(&error, path, findings)).ok()
            }
            Part::File(_) | Part::Command(_) if self.origin == Origin::Foreign => {
                let cause = "`${file:…}` and `${command:…}` have no meaning in a file of other \
                             programs, which may come from anywhere";
                let way_out = "write the server in toolcell.toml, or use ${NAME}";
                findings.problem_with(path, cause, way_out);
                None
            }
            Part::File("") => {
                findings.problem_with(path, "no file is named", "write ${file:PATH}");
                None
            }
            Part::File(file) => {
                let file: PathBuf = self.folder.join(file).components().collect();
                findings.check(path, self.providers.file(&file))
            }
            Part::Command(line) => findings.check(path, self.providers.command(line, self.folder)),
            // Only the wire knows them; see `parts`.
            Part::CallerToken | Part::CallerId => None,
        }
    }

    /// The path with its variables replaced, from the file's folder.
    pub(super) fn path(
        &self,
        template: &Template,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) -> Option<PathBuf> {
        let text = self.text(template, path, findings)?;
        if text.is_empty() {
            findings.problem(path, "the path is empty");
            return None;
        }
        if text == "~" || text.starts_with("~/") {
            let cause = "`~` is not replaced in paths";
            findings.problem_with(path, cause, "write ${HOME} for the home directory");
            return None;
        }
        Some(self.folder.join(text).components().collect())
    }
}

fn expand_problem(error: &ExpandError, path: &KeyPath, findings: &mut Findings<'_>) {
    match error {
        ExpandError::Unset { name } => {
            let way_out = format!("set it, or write a default: ${{{name}:-…}}");
            findings.problem_with(path, error, way_out);
        }
        ExpandError::Unclosed | ExpandError::NotAName => {
            let way_out = "write ${NAME} or ${NAME:-default}, and $${ for ${ itself";
            findings.problem_with(path, error, way_out);
        }
        ExpandError::UnknownOfCaller | ExpandError::NotAVariable => findings.problem(path, error),
    }
}
