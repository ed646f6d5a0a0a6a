//! What the suite's output comes to, for people who want two lines of it.

use std::collections::HashSet;

/// How often each scenario's checks went well.
struct Scenario<'t> {
    name: &'t str,
    passed: bool,
    checks: u32,
    line: &'t str,
}

/// The sum of what the suite says after all scenarios have run, and each scenario that did not pass.
/// `unscored` scenarios are run too, but nobody has to pass them.
pub(super) fn of(said: &str, unscored: &[String]) -> String {
    let unexpected: HashSet<&str> =
        said.lines().filter_map(|line| line.strip_prefix("  ✗ ")).collect();
    let mut scenarios: Vec<Scenario<'_>> = said.lines().filter_map(scenario).collect();
    for scenario in &mut scenarios {
        scenario.passed &= !unexpected.contains(scenario.name);
    }
    let (others, scored): (Vec<_>, Vec<_>) =
        scenarios.iter().partition(|scenario| unscored.iter().any(|name| *name == scenario.name));
    let passed = |all: &[&Scenario<'_>]| all.iter().filter(|scenario| scenario.passed).count();
    let checks: u32 = scored.iter().map(|scenario| scenario.checks).sum();
    let mut summary = format!(
        "    {} of {} required scenarios pass, with {checks} checks",
        passed(&scored),
        scored.len(),
    );
    for scenario in scored.iter().filter(|scenario| !scenario.passed) {
        summary.push_str("\n      ");
        summary.push_str(scenario.line);
    }
    summary.push_str(&format!("\n    of others {} of {}", passed(&others), others.len()));
    let names = others.iter().filter(|scenario| !scenario.passed).map(|scenario| scenario.name);
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        summary.push_str(&format!("; not {}", names.join(", ")));
    }
    summary
}

/// `✓ NAME: 2 passed, 0 failed`
fn scenario(line: &str) -> Option<Scenario<'_>> {
    let passed = line.starts_with('✓');
    let rest = line.strip_prefix(['✓', '✗'])?.trim_start();
    let (name, sums) = rest.split_once(": ")?;
    let checks = sums.split_once(" passed")?.0.parse().ok()?;
    Some(Scenario { name, passed, checks, line })
}

#[cfg(test)]
mod tests {
    #[test]
    fn warnings_fail_and_what_nobody_requires_is_counted_apart() {
        let said = "\
✓ ping: 2 passed, 0 failed
✗ caching: 6 passed, 1 failed
✓ tools-list: 3 passed, 0 failed
✓ json-schema-2020-12: 8 passed, 0 failed
✗ tasks-lifecycle: 1 passed, 8 failed

Total: 20 passed, 9 failed

Unexpected failures (not in baseline):
  ✗ caching
  ✗ tools-list
";
        let unscored = ["json-schema-2020-12".to_owned(), "tasks-lifecycle".to_owned()];
        let summary = super::of(said, &unscored);
        let expected = "    1 of 3 required scenarios pass, with 11 checks
      ✗ caching: 6 passed, 1 failed
      ✓ tools-list: 3 passed, 0 failed
    of others 1 of 2; not tasks-lifecycle";
        assert_eq!(summary, expected);
    }
}
