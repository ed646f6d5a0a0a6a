//! What a rule asks of one argument of a call.

use std::cmp::Ordering;
use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value};

use super::error::InvalidConstraint;

/// Where an argument stands in a call's arguments.
///
/// * `NAME`, or `NAME.INNER.INNER` for values inside of objects. A number selects an element of a
///   list, and `*` stands for each element.
/// * `/NAME/INNER`, a JSON Pointer (RFC 6901), for names that themselves have dots or stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentPath {
    text: Box<str>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(Box<str>),
    Each,
}

impl ArgumentPath {
    /// The most parts that a path may have.
    pub const MAX_DEPTH: usize = 32;

    /// Reads a path.
    ///
    /// # Errors
    /// A part is empty, there are too many, or a JSON Pointer has a stray `~`.
    pub fn try_new(text: &str) -> Result<Self, InvalidConstraint> {
        let steps = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(pointer_step).collect::<Result<Vec<_>, _>>()?,
            None => {
                let step =
                    |part: &str| if part == "*" { Step::Each } else { Step::Name(part.into()) };
                text.split('.').map(step).collect()
            }
        };
        if steps.iter().any(|step| matches!(step, Step::Name(name) if name.is_empty())) {
            return Err(InvalidConstraint::EmptyName);
        }
        if steps.first() == Some(&Step::Each) {
            return Err(InvalidConstraint::NoArgument);
        }
        if steps.len() > Self::MAX_DEPTH {
            return Err(InvalidConstraint::NameTooDeep { max: Self::MAX_DEPTH });
        }
        Ok(Self { text: text.into(), steps })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn find<'a>(&self, arguments: &'a Map<String, Value>) -> Found<'a> {
        let mut found = Found::default();
        if let Some((Step::Name(first), rest)) = self.steps.split_first() {
            follow(arguments.get(&**first), rest, &mut found);
        }
        found
    }
}

impl fmt::Display for ArgumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn pointer_step(part: &str) -> Result<Step, InvalidConstraint> {
    let escapes_are_whole = part.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !escapes_are_whole {
        return Err(InvalidConstraint::PointerEscape);
    }
    Ok(Step::Name(part.replace("~1", "/").replace("~0", "~").into()))
}

/// What stands at a path.
#[derive(Default)]
struct Found<'a> {
    values: Vec<&'a Value>,
    /// Nothing, or `null`, stands at the path, or at one of its places if it has a `*`.
    missing: bool,
    /// The path leads through something that has no inside, such as a text.
    blocked: bool,
}

fn follow<'a>(value: Option<&'a Value>, steps: &[Step], found: &mut Found<'a>) {
    let value = match value {
        None | Some(Value::Null) => {
            found.missing = true;
            return;
        }
        Some(value) => value,
    };
    match (steps.split_first(), value) {
        (None, _) => found.values.push(value),
        (Some((Step::Name(name), rest)), Value::Object(members)) => {
            follow(members.get(&**name), rest, found);
        }
        (Some((Step::Name(index), rest)), Value::Array(elements)) => match index.parse::<usize>() {
            Ok(index) => follow(elements.get(index), rest, found),
            Err(_) => found.blocked = true,
        },
        (Some((Step::Each, _)), Value::Array(elements)) if elements.is_empty() => {
            found.missing = true;
        }
        (Some((Step::Each, rest)), Value::Array(elements)) => {
            elements.iter().for_each(|element| follow(Some(element), rest, found));
        }
        _ => found.blocked = true,
    }
}

/// One thing that is asked of a value.
#[derive(Clone, Debug)]
pub enum Condition {
    /// A text in which the expression is found; it is anchored only by its own `^` and `$`.
    Matches(Regex),
    /// One of these values.
    OneOf(Vec<Value>),
    /// Exactly this value.
    Equals(Value),
    /// A number of at least this.
    AtLeast(Number),
    /// A number of at most this.
    AtMost(Number),
    /// A text of at most so many characters, or a list of at most so many elements.
    MaxLength(u64),
    /// A text that begins so. Nothing is normalised: `/repo/../etc` starts with `/repo/`.
    StartsWith(String),
}

impl Condition {
    /// A [`Condition::Matches`]. Such an expression is matched in time linear to the text.
    ///
    /// # Errors
    /// The expression has no meaning, or is too large.
    pub fn matches(expression: &str) -> Result<Self, InvalidConstraint> {
        let regex = RegexBuilder::new(expression).size_limit(1 << 20).build();
        regex.map(Self::Matches).map_err(|error| {
            // The parser draws a picture over several lines; its last line has the reason.
            let text = error.to_string();
            let reason = text.lines().next_back().unwrap_or_default();
            InvalidConstraint::Regex { reason: reason.trim_start_matches("error: ").to_owned() }
        })
    }

    fn judge(&self, value: &Value) -> Verdict {
        match (self, value) {
            (Self::Matches(regex), Value::String(text)) => regex.is_match(text).into(),
            (Self::StartsWith(start), Value::String(text)) => text.starts_with(start).into(),
            (Self::MaxLength(max), Value::String(text)) => {
                (text.chars().count() as u64 <= *max).into()
            }
            (Self::MaxLength(max), Value::Array(elements)) => {
                (elements.len() as u64 <= *max).into()
            }
            (Self::AtMost(max), Value::Number(number)) => {
                compare(number, max).is_some_and(Ordering::is_le).into()
            }
            (Self::AtLeast(min), Value::Number(number)) => {
                compare(number, min).is_some_and(Ordering::is_ge).into()
            }
            (Self::Equals(expected), _) => judge_equal(value, std::slice::from_ref(expected)),
            (Self::OneOf(expected), _) => judge_equal(value, expected),
            _ => Verdict::Unjudged,
        }
    }

    /// In words: what follows the argument's name, as a demand or as a finding.
    fn words(&self, voice: Voice) -> String {
        let (demand, finding, object) = match self {
            Self::Matches(regex) => ("must match", "matches", regex.as_str().to_owned()),
            Self::OneOf(values) => ("must be one of", "is one of", listed(values)),
            Self::Equals(value) => ("must be", "is", value.to_string()),
            Self::AtLeast(min) => ("must be at least", "is at least", min.to_string()),
            Self::AtMost(max) => ("must be at most", "is at most", max.to_string()),
            Self::MaxLength(max) => {
                ("must be no longer than", "is no longer than", max.to_string())
            }
            Self::StartsWith(start) => {
                ("must start with", "starts with", Value::from(start.as_str()).to_string())
            }
        };
        let verb = match voice {
            Voice::Demand => demand,
            Voice::Finding => finding,
        };
        format!("{verb} {object}")
    }
}

/// How a condition is told.
#[derive(Clone, Copy)]
pub(super) enum Voice {
    /// "must match …"
    Demand,
    /// "matches …"
    Finding,
}

fn listed(values: &[Value]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = values.iter().take(SHOWN).map(Value::to_string).collect();
    let rest = if values.len() > SHOWN { ", …" } else { "" };
    format!("{}{rest}", shown.join(", "))
}

/// What a condition says of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Holds,
    Fails,
    /// The value has a kind of which the condition says nothing, such as a list for `pattern`.
    Unjudged,
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

fn judge_equal(value: &Value, expected: &[Value]) -> Verdict {
    if expected.iter().any(|other| equal(value, other)) {
        return Verdict::Holds;
    }
    let same_kind = |other: &Value| std::mem::discriminant(value) == std::mem::discriminant(other);
    if expected.iter().any(same_kind) { Verdict::Fails } else { Verdict::Unjudged }
}

/// Equality of JSON values in which `1` and `1.0` are the same number.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let in_other =
                |(key, value)| other.get(key).is_some_and(|against: &Value| equal(value, against));
            one.len() == other.len() && one.iter().all(in_other)
        }
        _ => one == other,
    }
}

fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    // Whole numbers are compared exactly; doubles would blur them above 2^53.
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// What a rule asks of one argument: all of its conditions at once.
#[derive(Clone, Debug)]
pub struct ArgumentConstraint {
    path: ArgumentPath,
    conditions: Vec<Condition>,
    optional: bool,
}

impl ArgumentConstraint {
    /// Puts a constraint together. With `optional`, a missing argument fulfils it.
    ///
    /// # Errors
    /// It asks for nothing, or for what no value can fulfil.
    pub fn try_new(
        path: ArgumentPath,
        conditions: Vec<Condition>,
        optional: bool,
    ) -> Result<Self, InvalidConstraint> {
        if conditions.is_empty() {
            return Err(InvalidConstraint::NoCondition);
        }
        let mut range = (None, None);
        for condition in &conditions {
            match condition {
                Condition::OneOf(values) if values.is_empty() => {
                    return Err(InvalidConstraint::EmptyOneOf);
                }
                Condition::AtLeast(min) => range.0 = Some(min),
                Condition::AtMost(max) => range.1 = Some(max),
                _ => {}
            }
        }
        if let (Some(min), Some(max)) = range
            && compare(min, max).is_none_or(Ordering::is_gt)
        {
            return Err(InvalidConstraint::EmptyRange);
        }
        Ok(Self { path, conditions, optional })
    }

    /// Where the argument stands.
    pub fn path(&self) -> &ArgumentPath {
        &self.path
    }

    /// For a rule that allows: nothing, or in words why the arguments do not fulfil this. Every
    /// value at the path must fulfil every condition, and a value that cannot be judged does not.
    pub(super) fn complaint(&self, arguments: &Map<String, Value>) -> Option<String> {
        let found = self.path.find(arguments);
        let demands = || self.words(Voice::Demand);
        if found.blocked {
            return Some(format!(
                "{} is looked for inside of a value that has no parts: it {}",
                self.path,
                demands()
            ));
        }
        if found.missing && !self.optional {
            return Some(format!("{} is missing: it {}", self.path, demands()));
        }
        for value in found.values {
            match self.judge(value) {
                Verdict::Holds => {}
                Verdict::Fails => return Some(format!("{} {}", self.path, demands())),
                Verdict::Unjudged => {
                    return Some(format!("{} {} and is {}", self.path, demands(), kind(value)));
                }
            }
        }
        None
    }

    /// For a rule that denies or asks: whether the arguments are caught by this. One value at the
    /// path is enough, and a value that cannot be judged is caught: what the rule's author did not
    /// foresee never helps a caller around the rule.
    pub(super) fn catches(&self, arguments: &Map<String, Value>) -> bool {
        let found = self.path.find(arguments);
        found.blocked
            || (found.missing && self.optional)
            || found.values.iter().any(|value| self.judge(value) != Verdict::Fails)
    }

    fn judge(&self, value: &Value) -> Verdict {
        let mut unjudged = false;
        for condition in &self.conditions {
            match condition.judge(value) {
                Verdict::Fails => return Verdict::Fails,
                Verdict::Unjudged => unjudged = true,
                Verdict::Holds => {}
            }
        }
        if unjudged { Verdict::Unjudged } else { Verdict::Holds }
    }

    /// All conditions in words, without the argument's name.
    pub(super) fn words(&self, voice: Voice) -> String {
        let words: Vec<String> = self.conditions.iter().map(|one| one.words(voice)).collect();
        words.join(" and ")
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn constraint(path: &str, condition: Condition, optional: bool) -> ArgumentConstraint {
        let path = ArgumentPath::try_new(path).expect("a path");
        ArgumentConstraint::try_new(path, vec![condition], optional).expect("a constraint")
    }

    /// Checks what a rule with this constraint makes of the arguments: whether one that allows is
    /// fulfilled, and whether one that denies catches them.
    #[track_caller]
    fn check(path: &str, condition: &Condition, arguments: Value, allows: bool, catches: bool) {
        let constraint = constraint(path, condition.clone(), false);
        let arguments = arguments.as_object().expect("an object");
        assert_eq!(constraint.complaint(arguments).is_none(), allows, "allow, {arguments:?}");
        assert_eq!(constraint.catches(arguments), catches, "deny, {arguments:?}");
    }

    #[test]
    fn conditions_judge_values() {
        let select = Condition::matches(r"(?i)^\s*select\b").expect("a regex");
        check("sql", &select, json!({"sql": " SELECT 1"}), true, true);
        check("sql", &select, json!({"sql": "drop table x"}), false, false);
        check("sql", &select, json!({}), false, false);
        check("sql", &select, json!({"sql": null}), false, false);
        // A list is no text: it neither fulfils a permission nor escapes a prohibition.
        check("sql", &select, json!({"sql": ["select 1"]}), false, true);

        let max = Condition::AtMost(100.into());
        check("n", &max, json!({"n": 100}), true, true);
        check("n", &max, json!({"n": 100.5}), false, false);
        check("n", &max, json!({"n": "7"}), false, true);
        check("n", &max, json!({"n": u64::MAX}), false, false);
        let min = Condition::AtLeast(Number::from_f64(0.5).expect("a number"));
        check("n", &min, json!({"n": 1}), true, true);
        check("n", &min, json!({"n": 0.25}), false, false);
        let exact = Condition::AtMost((1u64 << 53).into());
        check("n", &exact, json!({"n": (1u64 << 53) + 1}), false, false);

        let one_of = Condition::OneOf(vec![json!("a"), json!(1)]);
        check("x", &one_of, json!({"x": "a"}), true, true);
        check("x", &one_of, json!({"x": 1.0}), true, true);
        check("x", &one_of, json!({"x": "b"}), false, false);
        check("x", &one_of, json!({"x": true}), false, true);
        let equals = Condition::Equals(json!({"a": [1, 2]}));
        check("x", &equals, json!({"x": {"a": [1.0, 2]}}), true, true);
        check("x", &equals, json!({"x": {"a": [1]}}), false, false);

        let length = Condition::MaxLength(3);
        check("x", &length, json!({"x": "äöü"}), true, true);
        check("x", &length, json!({"x": [1, 2, 3, 4]}), false, false);
        check("x", &length, json!({"x": 12345}), false, true);
        let start = Condition::StartsWith("/repo/".into());
        check("x", &start, json!({"x": "/repo/a"}), true, true);
        check("x", &start, json!({"x": "/etc"}), false, false);
    }

    #[test]
    fn paths_lead_into_objects_and_lists() {
        let ten = Condition::AtMost(10.into());
        check("a.b", &ten, json!({"a": {"b": 3}}), true, true);
        check("a.b", &ten, json!({"a": {"c": 3}}), false, false);
        check("a.b", &ten, json!({"a.b": 3}), false, false);
        check("/a.b", &ten, json!({"a.b": 3}), true, true);
        check("/a~1b/c~0", &ten, json!({"a/b": {"c~": 3}}), true, true);
        check("a.1", &ten, json!({"a": [90, 3]}), true, true);
        check("a.1", &ten, json!({"a": {"1": 3}}), true, true);
        // A text where an object is expected hides what the rule is about.
        check("a.b", &ten, json!({"a": "{\"b\": 99}"}), false, true);
        // A permission needs every element, a prohibition one.
        check("a.*", &ten, json!({"a": [1, 2]}), true, true);
        check("a.*", &ten, json!({"a": [1, 20]}), false, true);
        check("a.*", &ten, json!({"a": [20, 30]}), false, false);
        check("a.*", &ten, json!({"a": []}), false, false);
        check("a.*.n", &ten, json!({"a": [{"n": 1}, {}]}), false, true);
    }

    #[test]
    fn optional_arguments_may_be_missing() {
        let constraint = constraint("n", Condition::AtMost(10.into()), true);
        for (arguments, fulfilled) in
            [(json!({}), true), (json!({"n": null}), true), (json!({"n": 11}), false)]
        {
            let arguments = arguments.as_object().expect("an object");
            assert_eq!(constraint.complaint(arguments).is_none(), fulfilled, "{arguments:?}");
        }
    }

    #[test]
    fn complaints_say_what_to_change() {
        #[track_caller]
        fn check(condition: Condition, arguments: Value, expected: &str) {
            let complaint = constraint("x", condition, false)
                .complaint(arguments.as_object().expect("an object"));
            assert_eq!(complaint.as_deref(), Some(expected));
        }
        let select = || Condition::matches(r"(?i)^\s*select\b").expect("a regex");
        check(select(), json!({"x": "drop"}), r"x must match (?i)^\s*select\b");
        check(select(), json!({}), r"x is missing: it must match (?i)^\s*select\b");
        check(select(), json!({"x": 3}), r"x must match (?i)^\s*select\b and is a number");
        let one_of = Condition::OneOf(vec![json!("a"), json!(1)]);
        check(one_of, json!({"x": "b"}), r#"x must be one of "a", 1"#);
        check(Condition::MaxLength(2), json!({"x": "abc"}), "x must be no longer than 2");
    }

    #[test]
    fn constraints_without_meaning_are_refused() {
        let path = || ArgumentPath::try_new("x").expect("a path");
        let refused = |conditions| ArgumentConstraint::try_new(path(), conditions, false).err();
        assert_eq!(refused(vec![]), Some(InvalidConstraint::NoCondition));
        let none = vec![Condition::OneOf(vec![])];
        assert_eq!(refused(none), Some(InvalidConstraint::EmptyOneOf));
        let range = vec![Condition::AtLeast(3.into()), Condition::AtMost(2.into())];
        assert_eq!(refused(range), Some(InvalidConstraint::EmptyRange));
        for (path, expected) in [
            ("", InvalidConstraint::EmptyName),
            ("a..b", InvalidConstraint::EmptyName),
            ("*.a", InvalidConstraint::NoArgument),
            ("/a/", InvalidConstraint::EmptyName),
            ("/a~2", InvalidConstraint::PointerEscape),
            (&"a.".repeat(40)[..79], InvalidConstraint::NameTooDeep { max: 32 }),
        ] {
            assert_eq!(ArgumentPath::try_new(path), Err(expected), "{path:?}");
        }
        let Err(InvalidConstraint::Regex { reason }) = Condition::matches("(") else {
            panic!("`(` is no regular expression");
        };
        assert_eq!(reason, "unclosed group");
        assert!(Condition::matches(r"(?:\w{100}){100}").is_err(), "too large");
    }
}
