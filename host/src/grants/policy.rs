//! The rules of one profile, and the questions that are asked of them.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::constraint::{ArgumentConstraint, Voice};
use super::decision::Decision;
use super::pattern::{Pattern, ToolGlob};
use super::resource::{self, ResourcePattern};
use crate::ids::ToolName;

/// What a rule does with a call that it applies to.
#[derive(Clone, Copy, Debug, Deserialize, schemars::JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The call is made.
    Allow,
    /// The call is refused.
    Deny,
    /// The call waits for a person's approval.
    Ask,
}

impl Effect {
    /// All of them, in the order in which documentation lists them.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::Ask];

    /// The name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ask => "ask",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// With which arguments some granted tools may be called.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The tools that it is about.
    pub tools: ToolGlob,
    /// What it asks of the arguments; all of it must hold. Without any, it applies to every call.
    pub constraints: Vec<ArgumentConstraint>,
    /// What it does.
    pub effect: Effect,
}

/// Which tools a run may see, and with which arguments it may call them.
///
/// The default grants nothing.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    patterns: Vec<Pattern>,
    rules: Vec<Rule>,
    resources: Vec<ResourcePattern>,
    prompts: Vec<Pattern>,
    /// What has to agree with each of its answers; these have no bounds of their own.
    bounds: Vec<Arc<Policy>>,
}

impl Policy {
    /// Rules that a denial names at most.
    const RULES_NAMED: usize = 3;

    /// A policy of patterns and rules, each in the order in which they are tried.
    pub fn new(patterns: Vec<Pattern>, rules: Vec<Rule>) -> Self {
        Self { patterns, rules, ..Self::default() }
    }

    /// Grants every tool, with any arguments, every resource and every prompt.
    pub fn everything() -> Self {
        let all = || vec![Pattern::Include(ToolGlob::everything())];
        Self::new(all(), Vec::new())
            .with_resources(vec![ResourcePattern::everything()])
            .with_prompts(all())
    }

    /// The same with these patterns of resources, in the order in which they are tried.
    pub fn with_resources(self, resources: Vec<ResourcePattern>) -> Self {
        Self { resources, ..self }
    }

    /// The same with these patterns of prompts, which look like those of tools.
    pub fn with_prompts(self, prompts: Vec<Pattern>) -> Self {
        Self { prompts, ..self }
    }

    /// What this grants and the other one grants too: everything, with any arguments, needs the leave of
    /// both. Where one of them asks, it is asked.
    #[must_use]
    pub fn at_most(&self, other: &Self) -> Self {
        let mut narrowed = self.clone();
        narrowed.bounds.extend(other.bounds.iter().cloned());
        narrowed.bounds.push(Arc::new(Self { bounds: Vec::new(), ..other.clone() }));
        narrowed
    }

    /// Whether all parts say so.
    fn all(&self, says: impl Fn(&Self) -> bool) -> bool {
        says(self) && self.bounds.iter().all(|bound| says(bound))
    }

    /// The patterns, in the order in which they are tried. What bounds a policy ([`Policy::at_most`])
    /// is in none of its lists.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The patterns of resources, in the order in which they are tried.
    pub fn resources(&self) -> &[ResourcePattern] {
        &self.resources
    }

    /// The patterns of prompts, in the order in which they are tried.
    pub fn prompts(&self) -> &[Pattern] {
        &self.prompts
    }

    /// The rules, in the order in which they are tried.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Grants further tools. Being last, this wins over every exclusion that stands so far.
    pub fn grant(&mut self, tools: ToolGlob) {
        self.patterns.push(Pattern::Include(tools));
    }

    /// Takes tools away. Being last, this wins over every grant that stands so far.
    pub fn deny(&mut self, tools: ToolGlob) {
        self.patterns.push(Pattern::Exclude(tools));
    }

    /// Forgets what is granted, and keeps the rules.
    pub fn clear_grants(&mut self) {
        self.patterns.clear();
        self.resources.clear();
        self.prompts.clear();
    }

    /// Whether a resource can be read.
    pub fn grants_resource(&self, server: &str, uri: &str) -> bool {
        self.all(|part| resource::grants(&part.resources, server, uri))
    }

    /// Whether any resource of a server can be read.
    pub fn may_grant_resources(&self, server: &str) -> bool {
        self.all(|part| resource::may_grant_server(&part.resources, server))
    }

    /// Whether a resource that a template makes can be read.
    pub fn may_grant_template(&self, server: &str, uri_template: &str) -> bool {
        let start = uri_template.split('{').next().unwrap_or_default();
        self.all(|part| resource::may_grant_from(&part.resources, server, start))
    }

    /// Whether a prompt can be seen and used.
    pub fn grants_prompt(&self, name: &ToolName) -> bool {
        self.all(|part| last_match(&part.prompts, name))
    }

    /// Whether any prompt of a server can be.
    pub fn may_grant_prompts(&self, server: &str) -> bool {
        self.all(|part| may_match_server(&part.prompts, server))
    }

    /// Whether a tool is visible and, as far as its name goes, callable: the last pattern that
    /// matches it includes it.
    pub fn grants(&self, name: &ToolName) -> bool {
        self.all(|part| last_match(&part.patterns, name))
    }

    /// Whether any tool of a server can be visible, as far as can be told without its tools'
    /// names: `false` means that the server need not be connected.
    pub fn may_grant_server(&self, server: &str) -> bool {
        self.all(|part| may_match_server(&part.patterns, server))
    }

    /// Decides a call.
    ///
    /// 1. A tool that is not granted is denied. (Whoever answers a guest asks [`Policy::grants`]
    ///    first, since that answer must not differ from the one for a tool that does not exist.)
    /// 2. The rules about the tool are tried in order, and the first that applies decides by its
    ///    effect. A rule applies when each of its constraints holds; without constraints it
    ///    always applies.
    /// 3. When none applies, the call is denied if one of the rules about the tool has the effect
    ///    `allow`, since that one then lists what is allowed; otherwise it is allowed.
    ///
    /// What a constraint cannot judge never helps the caller. An argument of an unexpected kind,
    /// such as a list where `pattern` expects a text, does not fulfil a rule that allows and is
    /// caught by a rule that denies or asks. A missing argument and `null` are the same: they
    /// fulfil and are caught only if the constraint is `optional`. Where a path has a `*`, a rule
    /// that allows wants every element to fit, and a rule that denies or asks is content with one.
    ///
    /// Of a policy with bounds ([`Policy::at_most`]) each part decides for itself: one denial denies,
    /// and without one, whoever asks is asked.
    pub fn decide(&self, name: &ToolName, arguments: &Map<String, Value>) -> Decision {
        if !self.grants(name) {
            return Decision::Deny { reason: format!("no tool `{name}` is granted to this run") };
        }
        let mut decision = self.decide_by_rules(name, arguments);
        for bound in &self.bounds {
            if matches!(decision, Decision::Deny { .. }) {
                break;
            }
            match bound.decide_by_rules(name, arguments) {
                Decision::Allow => {}
                Decision::Ask { .. } if matches!(decision, Decision::Ask { .. }) => {}
                narrower => decision = narrower,
            }
        }
        decision
    }

    /// What the rules of this part say of a tool that is granted.
    fn decide_by_rules(&self, name: &ToolName, arguments: &Map<String, Value>) -> Decision {
        let mut unfulfilled = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.tools.matches(name) {
                continue;
            }
            let number = index + 1;
            match rule.effect {
                Effect::Allow => {
                    let complaint =
                        rule.constraints.iter().find_map(|one| one.complaint(arguments));
                    match complaint {
                        None => return Decision::Allow,
                        Some(complaint) => unfulfilled.push((number, rule, complaint)),
                    }
                }
                Effect::Deny | Effect::Ask => {
                    if rule.constraints.iter().all(|one| one.catches(arguments)) {
                        return caught(number, rule);
                    }
                }
            }
        }
        if unfulfilled.is_empty() {
            return Decision::Allow;
        }
        let shown = unfulfilled.iter().take(Self::RULES_NAMED);
        let mut complaints: Vec<String> = shown
            .map(|(number, rule, complaint)| {
                format!("rule {number} for `{}`: {complaint}", rule.tools)
            })
            .collect();
        let more = unfulfilled.len() - complaints.len();
        if more > 0 {
            complaints.push(format!("{more} further rules do not allow it either"));
        }
        let reason = format!("these arguments are not allowed ({})", complaints.join("; or "));
        Decision::Deny { reason }
    }
}

/// Whether the last of the patterns that matches a name includes it.
fn last_match(patterns: &[Pattern], name: &ToolName) -> bool {
    let last = patterns.iter().rev().find(|pattern| pattern.glob().matches(name));
    last.is_some_and(Pattern::includes)
}

/// Whether a name of a server can be included, as far as can be told without it.
fn may_match_server(patterns: &[Pattern], server: &str) -> bool {
    for pattern in patterns.iter().rev() {
        if !pattern.glob().matches_server(server) {
            continue;
        }
        if pattern.includes() {
            return true;
        }
        if pattern.glob().tool() == "*" {
            return false;
        }
    }
    false
}

/// What a rule that denies or asks makes of a call that it applies to.
fn caught(number: usize, rule: &Rule) -> Decision {
    let conditions: Vec<String> = rule
        .constraints
        .iter()
        .map(|one| format!("{} {}", one.path(), one.words(Voice::Finding)))
        .collect();
    let conditions = if conditions.is_empty() {
        String::new()
    } else {
        format!(" where {}", conditions.join(" and "))
    };
    let rule_words = format!("rule {number} for `{}`{conditions}", rule.tools);
    match rule.effect {
        Effect::Ask => Decision::Ask { rule: rule_words },
        _ => Decision::Deny { reason: format!("denied by {rule_words}") },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::grants::{ArgumentPath, Condition};

    fn name(text: &str) -> ToolName {
        ToolName::parse(text).expect("a tool's name")
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().expect("a pattern")).collect()
    }

    fn rule(tools: &str, constraints: &[(&str, Condition)], effect: Effect) -> Rule {
        let constraint = |(path, condition): &(&str, Condition)| {
            let path = ArgumentPath::try_new(path).expect("a path");
            ArgumentConstraint::try_new(path, vec![condition.clone()], false).expect("a constraint")
        };
        let constraints = constraints.iter().map(constraint).collect();
        Rule { tools: tools.parse().expect("a pattern"), constraints, effect }
    }

    fn regex(expression: &str) -> Condition {
        Condition::matches(expression).expect("a regex")
    }

    #[test]
    fn the_last_matching_pattern_decides() {
        #[track_caller]
        fn check(texts: &[&str], tool: &str, expected: bool) {
            let policy = Policy::new(patterns(texts), Vec::new());
            assert_eq!(policy.grants(&name(tool)), expected, "{texts:?} on {tool}");
        }
        check(&[], "search.papers", false);
        check(&["*"], "search.papers", true);
        check(&["search.*", "!search.delete_*"], "search.read", true);
        check(&["search.*", "!search.delete_*"], "search.delete_all", false);
        check(&["search.*", "!search.delete_*", "search.delete_one"], "search.delete_one", true);
        check(&["!search.delete_*", "search.*"], "search.delete_all", true);
        check(&["files.read_*"], "files.write", false);
        check(&["*", "!files"], "files.read_text", false);
    }

    #[test]
    fn servers_out_of_reach_are_known_without_their_tools() {
        #[track_caller]
        fn check(texts: &[&str], server: &str, expected: bool) {
            let policy = Policy::new(patterns(texts), Vec::new());
            assert_eq!(policy.may_grant_server(server), expected, "{texts:?} on {server}");
        }
        check(&[], "a", false);
        check(&["a.read"], "a", true);
        check(&["a.read"], "b", false);
        check(&["*", "!a"], "a", false);
        check(&["*", "!a.x*"], "a", true);
        check(&["*", "!a", "a.b"], "a", true);
    }

    #[track_caller]
    fn check(policy: &Policy, tool: &str, arguments: Value, expected: &Decision) {
        let decision = policy.decide(&name(tool), arguments.as_object().expect("an object"));
        assert_eq!(&decision, expected, "{tool} {arguments}");
    }

    fn denied(reason: &str) -> Decision {
        Decision::Deny { reason: reason.into() }
    }

    #[test]
    fn rules_that_allow_list_what_is_allowed() {
        let policy = Policy::new(
            patterns(&["database", "time"]),
            vec![
                rule("database.run_query", &[("sql", regex("(?i)^select"))], Effect::Allow),
                rule(
                    "database.run_*",
                    &[("dry_run", Condition::Equals(json!(true)))],
                    Effect::Allow,
                ),
            ],
        );
        check(&policy, "time.now", json!({}), &Decision::Allow);
        check(&policy, "database.list", json!({}), &Decision::Allow);
        check(&policy, "database.run_query", json!({"sql": "select 1"}), &Decision::Allow);
        check(
            &policy,
            "database.run_query",
            json!({"sql": "drop", "dry_run": true}),
            &Decision::Allow,
        );
        check(
            &policy,
            "database.run_query",
            json!({"sql": "drop"}),
            &denied(
                "these arguments are not allowed (rule 1 for `database.run_query`: sql must match \
                 (?i)^select; or rule 2 for `database.run_*`: dry_run is missing: it must be true)",
            ),
        );
        check(
            &policy,
            "mail.send",
            json!({}),
            &denied("no tool `mail.send` is granted to this run"),
        );
    }

    #[test]
    fn the_first_rule_that_applies_decides() {
        let policy = Policy::new(
            patterns(&["*"]),
            vec![
                rule("db.query", &[("sql", regex("(?i)\\bdrop\\b"))], Effect::Deny),
                rule("db.query", &[("sql", regex("^--ask"))], Effect::Ask),
                rule("db.query", &[], Effect::Allow),
                rule("mail.*", &[], Effect::Ask),
                rule("shell", &[], Effect::Deny),
            ],
        );
        check(
            &policy,
            "db.query",
            json!({"sql": "DROP TABLE t"}),
            &denied("denied by rule 1 for `db.query` where sql matches (?i)\\bdrop\\b"),
        );
        let rule = "rule 2 for `db.query` where sql matches ^--ask".to_owned();
        check(&policy, "db.query", json!({"sql": "--ask"}), &Decision::Ask { rule });
        check(&policy, "db.query", json!({"sql": "select"}), &Decision::Allow);
        let rule = "rule 4 for `mail.*`".to_owned();
        check(&policy, "mail.send", json!({}), &Decision::Ask { rule });
        check(&policy, "shell.run", json!({}), &denied("denied by rule 5 for `shell`"));
    }

    #[test]
    fn rules_that_only_deny_or_ask_leave_the_rest_allowed() {
        let rules = vec![rule("a.b", &[("n", Condition::AtLeast(10.into()))], Effect::Ask)];
        let policy = Policy::new(patterns(&["a"]), rules);
        check(&policy, "a.b", json!({"n": 3}), &Decision::Allow);
        check(&policy, "a.b", json!({}), &Decision::Allow);
        let asks = Decision::Ask { rule: "rule 1 for `a.b` where n is at least 10".into() };
        check(&policy, "a.b", json!({"n": 10}), &asks);
        check(&policy, "a.b", json!({"n": "10"}), &asks);
    }

    fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
        let effect = prop::sample::select(Effect::ALL.to_vec());
        let tools = prop::sample::select(vec!["*", "a.*", "a.x", "b"]);
        let one = (tools, prop::option::of(0i64..4), effect).prop_map(|(tools, max, effect)| {
            let max = max.map(|max| ("n", Condition::AtMost(max.into())));
            rule(tools, max.as_slice(), effect)
        });
        prop::collection::vec(one, 0..5)
    }

    fn any_patterns() -> impl Strategy<Value = Vec<Pattern>> {
        let one = prop::sample::select(vec!["*", "a.*", "a.x", "b", "!a.x", "!b.*", "!*"]);
        prop::collection::vec(one, 0..5).prop_map(|texts| patterns(&texts))
    }

    fn any_call() -> impl Strategy<Value = (ToolName, Map<String, Value>)> {
        let tool = prop::sample::select(vec!["a.x", "a.y", "b.x"]).prop_map(name);
        let argument = prop_oneof![
            Just(json!({})),
            (0i64..5).prop_map(|n| json!({ "n": n })),
            Just(json!({"n": "3"}))
        ];
        (tool, argument.prop_map(|json| json.as_object().cloned().expect("an object")))
    }

    proptest! {
        #[test]
        fn what_is_not_granted_is_never_allowed(
            patterns in any_patterns(), rules in any_rules(), (tool, arguments) in any_call()
        ) {
            let policy = Policy::new(patterns, rules);
            let decision = policy.decide(&tool, &arguments);
            let denied = matches!(decision, Decision::Deny { .. });
            prop_assert!(policy.grants(&tool) || denied);
            prop_assert!(!policy.grants(&tool) || policy.may_grant_server(tool.upstream.as_str()));
        }

        #[test]
        fn a_denial_in_front_never_widens(
            patterns in any_patterns(), rules in any_rules(), mut more in any_rules(),
            (tool, arguments) in any_call()
        ) {
            more.retain(|rule| rule.effect != Effect::Allow);
            more.extend(rules.iter().cloned());
            let (before, after) = (Policy::new(patterns.clone(), rules), Policy::new(patterns, more));
            let allowed = |policy: &Policy| policy.decide(&tool, &arguments) == Decision::Allow;
            prop_assert!(allowed(&before) || !allowed(&after));
        }

        #[test]
        fn a_narrowed_policy_grants_what_all_of_its_parts_do_and_nothing_else(
            parts in prop::collection::vec((any_patterns(), any_rules(), any_patterns()), 1..4),
            (tool, arguments) in any_call(),
        ) {
            let parts: Vec<Policy> = parts
                .into_iter()
                .map(|(tools, rules, prompts)| {
                    let resources = prompts.iter().map(|one| {
                        one.to_string().replace('.', ":").parse().expect("a pattern")
                    });
                    let resources = resources.collect();
                    Policy::new(tools, rules).with_prompts(prompts).with_resources(resources)
                })
                .collect();
            // From the left, and from the right.
            let first = parts[1..].iter().fold(parts[0].clone(), |all, part| all.at_most(part));
            let (last, rest) = parts.split_last().expect("one at least");
            let second = rest.iter().rev().fold(last.clone(), |all, part| part.at_most(&all));
            for narrowed in [first, second] {
                let server = tool.upstream.as_str();
                let uri = tool.tool.as_ref();
                let all = |says: &dyn Fn(&Policy) -> bool| parts.iter().all(says);
                prop_assert_eq!(narrowed.grants(&tool), all(&|it| it.grants(&tool)));
                prop_assert_eq!(narrowed.grants_prompt(&tool), all(&|it| it.grants_prompt(&tool)));
                let resource = |it: &Policy| it.grants_resource(server, uri);
                prop_assert_eq!(resource(&narrowed), all(&resource));
                for may in [
                    Policy::may_grant_server, Policy::may_grant_resources, Policy::may_grant_prompts,
                ] {
                    prop_assert_eq!(may(&narrowed, server), all(&|it| may(it, server)));
                }
                let template = |it: &Policy| it.may_grant_template(server, "x{y}");
                prop_assert_eq!(template(&narrowed), all(&template));
                let decisions: Vec<Decision> =
                    parts.iter().map(|part| part.decide(&tool, &arguments)).collect();
                let allows = |it: &Decision| *it == Decision::Allow;
                let denies = |it: &Decision| matches!(it, Decision::Deny { .. });
                let decided = narrowed.decide(&tool, &arguments);
                prop_assert_eq!(allows(&decided), decisions.iter().all(allows));
                prop_assert_eq!(denies(&decided), decisions.iter().any(denies));
            }
        }

        #[test]
        fn nothing_that_is_done_to_a_narrowed_policy_widens_its_bounds(
            mine in any_patterns(), bound in any_patterns(), (tool, _) in any_call(),
        ) {
            let bound = Policy::new(bound, Vec::new());
            let mut narrowed = Policy::new(mine, Vec::new()).at_most(&bound);
            narrowed.grant(ToolGlob::everything());
            prop_assert_eq!(narrowed.grants(&tool), bound.grants(&tool));
        }

        #[test]
        fn denying_always_removes(
            patterns in any_patterns(), rules in any_rules(), (tool, arguments) in any_call()
        ) {
            let mut policy = Policy::new(patterns, rules);
            policy.deny(tool.to_string().parse().expect("a pattern"));
            prop_assert!(!policy.grants(&tool));
            prop_assert_ne!(policy.decide(&tool, &arguments), Decision::Allow);
        }
    }
}
