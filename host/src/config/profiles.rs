//! Profiles as written become [`Profile`]s.

use indexmap::IndexMap;

use super::error::KeyPath;
use super::findings::{Findings, suggestion};
use super::limits::{MIN_PYTHON_MEMORY_BYTES, apply};
use super::resolved::{Endpoint, Profile, ProfileName};
use super::units::format_size;
use super::written::{WrittenConfig, WrittenConstraint, WrittenProfile, WrittenRule};
use crate::grants::{
    ArgumentConstraint, ArgumentPath, Condition, InvalidConstraint, Pattern, Policy,
    ResourcePattern, Rule, ToolGlob,
};
use crate::language::Language;
use crate::limits::Limits;

/// The names that patterns may refer to.
pub(super) struct ServerNames<'a> {
    /// Servers that can be called.
    pub(super) configured: Vec<&'a str>,
    /// Servers that a file names and that were left out, each with a notice of its own.
    pub(super) skipped: Vec<&'a str>,
    /// Plugins, installed or with a section.
    pub(super) plugins: Vec<&'a str>,
}

impl<'a> ServerNames<'a> {
    /// All of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.configured.iter().chain(&self.skipped).chain(&self.plugins).copied()
    }
}

/// The profiles, and the name of the one for runs that name none.
pub(super) type Profiles = (IndexMap<ProfileName, Profile>, Option<ProfileName>);

/// Checks all profiles of a file.
pub(super) fn resolve(
    written: &WrittenConfig,
    servers: &ServerNames<'_>,
    findings: &mut Findings<'_>,
) -> Profiles {
    let mut limits = Limits::default();
    let limits_path = KeyPath::of(["limits"]);
    apply(&mut limits, &written.limits, &limits_path, findings);
    let mut profiles = IndexMap::new();
    let path = KeyPath::of(["profiles"]);
    for (name, profile) in &written.profiles {
        let path = path.key(name);
        if let Some(name) = findings.check(&path, ProfileName::try_new(name)) {
            let profile = resolve_one(&name, profile, &limits, &path, servers, findings);
            profiles.insert(name, profile);
        }
    }
    if written.profiles.is_empty() && !findings.is_faulty(&path) {
        check_memory(&limits, &limits_path.key("memory"), findings);
        let profile = Profile::granting_everything(limits);
        profiles.insert(profile.name.clone(), profile);
    }
    let default = default_profile(written, &profiles, findings);
    (profiles, default)
}

fn default_profile(
    written: &WrittenConfig,
    profiles: &IndexMap<ProfileName, Profile>,
    findings: &mut Findings<'_>,
) -> Option<ProfileName> {
    let Some(name) = &written.default_profile else {
        let mut names = profiles.keys().cloned();
        return names.next().filter(|_| names.next().is_none());
    };
    let found = profiles.get_key_value(name.as_str()).map(|(name, _)| name.clone());
    if found.is_none() && !findings.is_faulty(&KeyPath::of(["profiles"]).key(name)) {
        let path = KeyPath::of(["default_profile"]);
        let names = profiles.keys().map(ProfileName::as_str);
        findings.problem_with(
            &path,
            format!("there is no profile {name:?}"),
            suggestion(name, names),
        );
    }
    found
}

fn resolve_one(
    name: &ProfileName,
    written: &WrittenProfile,
    defaults: &Limits,
    path: &KeyPath,
    servers: &ServerNames<'_>,
    findings: &mut Findings<'_>,
) -> Profile {
    let patterns = patterns(&written.tools, &path.key("tools"), servers, findings);
    if written.tools.is_empty() && !findings.is_faulty(path) {
        findings.notice(path, "the profile grants no tool: write tools = [\"SERVER.*\"]");
    }
    let prompts = self::patterns(&written.prompts, &path.key("prompts"), servers, findings);
    let resources = resources(&written.resources, &path.key("resources"), servers, findings);
    let rules_path = path.key("rules");
    let rules = written.rules.iter().enumerate();
    let rules: Vec<Rule> = rules
        .filter_map(|(nth, rule)| resolve_rule(rule, &rules_path.index(nth), servers, findings))
        .collect();
    let runtimes = written.runtimes.clone().unwrap_or_else(|| Language::ALL.to_vec());
    let mut limits = defaults.clone();
    let limits_path = path.key("limits");
    apply(&mut limits, &written.limits, &limits_path, findings);
    if runtimes.contains(&Language::Python) {
        check_memory(&limits, &limits_path.key("memory"), findings);
    }
    let imports_path = path.key("imports");
    for (nth, module) in written.imports.iter().flatten().enumerate() {
        if !is_module(module) {
            let cause = format!("{module:?} is no name of a Python module");
            findings.problem_with(&imports_path.index(nth), cause, "write for example \"json\"");
        }
    }
    Profile {
        name: name.clone(),
        policy: Policy::new(patterns, rules).with_resources(resources).with_prompts(prompts),
        limits,
        runtimes,
        imports: written.imports.clone(),
        endpoint: endpoint(written, path, findings),
        all_granted_by_default: false,
    }
}

fn endpoint(written: &WrittenProfile, path: &KeyPath, findings: &mut Findings<'_>) -> Endpoint {
    let by_default = Endpoint::default();
    let endpoint = Endpoint {
        code: written.code.unwrap_or(by_default.code),
        gateway: written.gateway.unwrap_or(by_default.gateway),
        prefix: written.prefix.unwrap_or(by_default.prefix),
        list_changed: written.list_changed.unwrap_or(by_default.list_changed),
    };
    if !endpoint.code && !endpoint.gateway && !findings.is_faulty(&path.key("gateway")) {
        let cause = "agents would see nothing at all";
        findings.problem_with(&path.key("code"), cause, "write gateway = true too");
    }
    endpoint
}

fn check_memory(limits: &Limits, path: &KeyPath, findings: &mut Findings<'_>) {
    if limits.memory_bytes < MIN_PYTHON_MEMORY_BYTES {
        let min = format_size(MIN_PYTHON_MEMORY_BYTES);
        let cause = format!("Python does not run in {}", format_size(limits.memory_bytes));
        findings.problem_with(path, cause, format!("give at least {min}"));
    }
}

fn is_module(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

pub(super) fn patterns(
    written: &[String],
    path: &KeyPath,
    servers: &ServerNames<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Pattern> {
    let mut patterns: Vec<Pattern> = Vec::with_capacity(written.len());
    for (nth, text) in written.iter().enumerate() {
        let path = path.index(nth);
        let Some(pattern) = findings.check(&path, text.parse::<Pattern>()) else { continue };
        check_server(pattern.glob(), &path, servers, findings);
        if !pattern.includes() && nth == 0 {
            takes_nothing_back(&pattern, &path, findings);
        }
        patterns.push(pattern);
    }
    patterns
}

pub(super) fn resources(
    written: &[String],
    path: &KeyPath,
    servers: &ServerNames<'_>,
    findings: &mut Findings<'_>,
) -> Vec<ResourcePattern> {
    let mut patterns = Vec::with_capacity(written.len());
    for (nth, text) in written.iter().enumerate() {
        let path = path.index(nth);
        let pattern = findings.check(&path, text.parse::<ResourcePattern>());
        let Some(pattern) = pattern else { continue };
        // A pattern of servers is one of tools too.
        if let Ok(glob) = pattern.server().parse() {
            check_server(&glob, &path, servers, findings);
        }
        if !pattern.includes() && nth == 0 {
            takes_nothing_back(&pattern, &path, findings);
        }
        patterns.push(pattern);
    }
    patterns
}

fn takes_nothing_back(
    pattern: &impl std::fmt::Display,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    let cause = format!("`{pattern}` stands before everything it could take back");
    findings.problem_with(path, cause, "move it to the end: the last match decides");
}

/// A pattern that can match no server is a slip of the pen, and a dangerous one behind a `!`.
fn check_server(
    glob: &ToolGlob,
    path: &KeyPath,
    servers: &ServerNames<'_>,
    findings: &mut Findings<'_>,
) {
    let names = servers.names();
    if !matches_one(glob, names.clone()) {
        let cause = format!("no server is called `{}`", glob.server());
        findings.problem_with(path, cause, suggestion(glob.server(), names));
    }
}

/// Whether a pattern means any of these servers, or plainly all that there are.
pub(super) fn matches_one<'a>(glob: &ToolGlob, mut servers: impl Iterator<Item = &'a str>) -> bool {
    glob.server() == "*" || servers.any(|server| glob.matches_server(server))
}

fn resolve_rule(
    written: &WrittenRule,
    path: &KeyPath,
    servers: &ServerNames<'_>,
    findings: &mut Findings<'_>,
) -> Option<Rule> {
    let tools = match &written.tool {
        Some(text) => {
            let path = path.key("tool");
            let tools = findings.check(&path, text.parse::<ToolGlob>());
            tools.inspect(|tools| check_server(tools, &path, servers, findings))
        }
        None if findings.is_faulty(&path.key("tool")) => None,
        None => {
            let way_out = "write tool = \"SERVER.TOOL\"";
            findings.problem_with(path, "the rule names no tool", way_out);
            None
        }
    };
    if written.effect.is_none() && !findings.is_faulty(&path.key("effect")) {
        let way_out = "write effect = \"allow\", \"deny\" or \"ask\"";
        findings.problem_with(path, "the rule has no effect", way_out);
    }
    let args_path = path.key("args");
    let constraints: Vec<Option<ArgumentConstraint>> = written
        .args
        .iter()
        .map(|(name, constraint)| {
            let path = args_path.key(name);
            // What could not be read of it was told already.
            if findings.is_faulty(&path) {
                return None;
            }
            findings.check(&path, resolve_constraint(name, constraint))
        })
        .collect();
    let constraints = constraints.into_iter().collect::<Option<_>>()?;
    Some(Rule { tools: tools?, constraints, effect: written.effect? })
}

fn resolve_constraint(
    name: &str,
    written: &WrittenConstraint,
) -> Result<ArgumentConstraint, InvalidConstraint> {
    let WrittenConstraint { pattern, one_of, max, min, max_length, starts_with, equals, optional } =
        written;
    let pattern = pattern.as_deref().map(Condition::matches).transpose()?;
    let conditions = [
        pattern,
        one_of.clone().map(Condition::OneOf),
        equals.clone().map(Condition::Equals),
        min.clone().map(Condition::AtLeast),
        max.clone().map(Condition::AtMost),
        max_length.map(Condition::MaxLength),
        starts_with.clone().map(Condition::StartsWith),
    ];
    let path = ArgumentPath::try_new(name)?;
    ArgumentConstraint::try_new(path, conditions.into_iter().flatten().collect(), *optional)
}
