//! What a plugin asks for, beside what the operator grants it; and the section that grants it.

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, Value};
use toolcell::config::Config;
use toolcell::grants::{Pattern, ToolGlob};
use toolcell::ids::UpstreamName;
use toolcell::plugins::installed::write_whole;
use toolcell::plugins::manifest::Asks;
use toolcell::plugins::settings::PluginSettings;

use crate::cli::failure::Failure;

/// How much of a wish is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Granted,
    Partly,
    NotGranted,
}

impl Standing {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Partly => "partly granted",
            Self::NotGranted => "not granted",
        }
    }
}

/// A wish, and what the operator says to it.
pub(super) struct Answered {
    pub(super) kind: &'static str,
    pub(super) pattern: String,
    pub(super) standing: Standing,
}

/// All wishes of a manifest, with what the configuration says to them.
pub(super) fn answered(asks: &Asks, settings: &PluginSettings) -> Vec<Answered> {
    let policy = &settings.policy;
    let mut all = Vec::new();
    for ask in &asks.tools {
        let standing = of_glob(&ask.0, policy.patterns());
        all.push(Answered { kind: "tools", pattern: ask.0.to_string(), standing });
    }
    for ask in &asks.resources {
        let patterns = policy.resources();
        let covers = patterns.iter().any(|pattern| pattern.includes() && pattern.covers(&ask.0));
        let standing = match (covers, patterns.iter().all(|pattern| pattern.includes())) {
            (true, true) => Standing::Granted,
            (true, false) => Standing::Partly,
            _ if policy.may_grant_resources(ask.0.server()) => Standing::Partly,
            _ => Standing::NotGranted,
        };
        all.push(Answered { kind: "resources", pattern: ask.0.to_string(), standing });
    }
    for ask in &asks.prompts {
        let standing = of_glob(&ask.0, policy.prompts());
        all.push(Answered { kind: "prompts", pattern: ask.0.to_string(), standing });
    }
    if asks.questions {
        let standing = if settings.questions { Standing::Granted } else { Standing::NotGranted };
        all.push(Answered { kind: "questions", pattern: "questions".to_owned(), standing });
    }
    all
}

fn of_glob(ask: &ToolGlob, patterns: &[Pattern]) -> Standing {
    let covers = |pattern: &Pattern| pattern.includes() && pattern.glob().covers(ask);
    let touches = |pattern: &Pattern| {
        pattern.includes()
            && (ask.covers(pattern.glob()) || pattern.glob().server() == ask.server())
    };
    let excludes = patterns.iter().any(|pattern| !pattern.includes());
    if patterns.iter().any(covers) {
        if excludes { Standing::Partly } else { Standing::Granted }
    } else if patterns.iter().any(touches) {
        Standing::Partly
    } else {
        Standing::NotGranted
    }
}

/// The keys of a section that grants what is asked for, of the servers that there are; and the
/// patterns that none of them fits.
pub(super) struct Section {
    tools: Vec<String>,
    resources: Vec<String>,
    prompts: Vec<String>,
    questions: bool,
    pub(super) unknown: Vec<String>,
}

impl Section {
    pub(super) fn of(asks: &Asks, config: &Config, installed: &[UpstreamName]) -> Self {
        let servers = config.servers.iter().map(|server| server.name.as_str());
        let names: Vec<&str> = servers.chain(installed.iter().map(UpstreamName::as_str)).collect();
        let is_known = |server: &str| {
            let glob = server.parse::<ToolGlob>();
            server == "*"
                || glob.is_ok_and(|glob| names.iter().any(|name| glob.matches_server(name)))
        };
        let mut section = Self {
            tools: Vec::new(),
            resources: Vec::new(),
            prompts: Vec::new(),
            questions: asks.questions,
            unknown: Vec::new(),
        };
        let kinds = [
            (&mut section.tools, asks.tools.iter().map(|ask| &ask.0).collect::<Vec<_>>()),
            (&mut section.prompts, asks.prompts.iter().map(|ask| &ask.0).collect()),
        ];
        for (granted, globs) in kinds {
            for glob in globs {
                let to = if is_known(glob.server()) { &mut *granted } else { &mut section.unknown };
                to.push(glob.to_string());
            }
        }
        for ask in &asks.resources {
            let known = is_known(ask.0.server());
            let to = if known { &mut section.resources } else { &mut section.unknown };
            to.push(ask.0.to_string());
        }
        section
    }

    /// The section as it would be written.
    pub(super) fn text(&self, name: &UpstreamName) -> String {
        let mut document = DocumentMut::new();
        // A document that is empty has no section in its way.
        let _ = self.write_into(&mut document, name);
        document.to_string()
    }

    /// Writes it into a configuration and leaves the rest of that as it is.
    pub(super) fn write(&self, file: &Path, name: &UpstreamName) -> Result<(), Failure> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut document: DocumentMut = text.parse()?;
        self.write_into(&mut document, name).map_err(|()| {
            Failure::usage(format!(
                "{} has `plugins` in a form that cannot be changed here; write it yourself:\n{}",
                file.display(),
                self.text(name)
            ))
        })?;
        write_whole(file, document.to_string().as_bytes())?;
        Ok(())
    }

    fn write_into(&self, document: &mut DocumentMut, name: &UpstreamName) -> Result<(), ()> {
        let plugins = document.entry("plugins").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let plugins = plugins.as_table_mut().ok_or(())?;
        let section = plugins.entry(name.as_str()).or_insert_with(|| Item::Table(Table::new()));
        let section = section.as_table_like_mut().ok_or(())?;
        for (key, patterns) in
            [("tools", &self.tools), ("resources", &self.resources), ("prompts", &self.prompts)]
        {
            if patterns.is_empty() {
                continue;
            }
            let list = section.entry(key).or_insert_with(|| Item::Value(Array::new().into()));
            let list = list.as_array_mut().ok_or(())?;
            for pattern in patterns {
                let is_there = list.iter().any(|one| one.as_str() == Some(pattern.as_str()));
                if !is_there {
                    list.push(pattern.as_str());
                }
            }
        }
        if self.questions {
            section.insert("questions", Item::Value(Value::from(true)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use toolcell::plugins::manifest::Manifest;

    use super::*;

    fn asks(text: &str) -> Asks {
        let text = format!("name = \"x\"\nversion = \"1.0.0\"\n[asks]\n{text}\n");
        Manifest::parse(text.as_bytes()).expect("a manifest").asks
    }

    #[test]
    fn a_section_is_added_and_the_rest_stays() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("toolcell.toml");
        let before = "# mine\n[servers.search] # here\ncommand = \"x\"\n\n[plugins.other]\ntools = [] # none\n";
        std::fs::write(&file, before).expect("writes");
        let name = UpstreamName::try_new("x").expect("a name");
        let known = [UpstreamName::try_new("search").expect("a name")];
        let asks = asks("tools = [\"sear*.search\", \"wiki.*\"]\nquestions = true");
        let section = Section::of(&asks, &Config::default(), &known);
        assert_eq!(section.unknown, ["wiki.*"]);
        section.write(&file, &name).expect("writes");
        section.write(&file, &name).expect("changes nothing more");
        let after = std::fs::read_to_string(&file).expect("reads");
        let expected =
            format!("{before}\n[plugins.x]\ntools = [\"sear*.search\"]\nquestions = true\n");
        assert_eq!(after, expected);
    }

    #[test]
    fn wishes_are_compared_with_what_is_granted() {
        #[track_caller]
        fn check(granted: &[&str], asked: &str, expected: Standing) {
            let patterns: Vec<Pattern> =
                granted.iter().map(|text| text.parse().expect("a pattern")).collect();
            assert_eq!(of_glob(&asked.parse().expect("a pattern"), &patterns), expected, "{asked}");
        }
        check(&["search.*"], "search.query", Standing::Granted);
        check(&["search.*", "!search.delete"], "search.*", Standing::Partly);
        check(&["search.query"], "search.*", Standing::Partly);
        check(&["wiki.*"], "search.*", Standing::NotGranted);
        check(&[], "search.*", Standing::NotGranted);
    }
}
