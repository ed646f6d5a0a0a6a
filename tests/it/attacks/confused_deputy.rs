//! The attacker wants the host to use its own power, or another run's, on the attacker's behalf.
//!
//! Reached by: a script whose profile grants little, in a host that can do much. Defended by: the
//! policy that travels with the run and not with the guest; one instance for each run.

use toolcell::Script;

use super::{assert_next_run_is_unaffected, attack_with, host, value};
use crate::hosts::block_on;

const SEE: &str = "import asyncio\nseen = []\nfor server in list(tools):\n    seen.append(server)\n\
                   await asyncio.sleep(0.01)\n[seen, sorted(tools['good']) if 'good' in seen else []]";

#[test]
fn i_run_beside_somebody_who_may_do_more() {
    block_on(async {
        let mut runs = Vec::new();
        for _ in 0..4 {
            for profile in ["all", "good", "none"] {
                let run = host().start(Script::python(SEE).profile(profile)).expect("starts");
                runs.push((profile, run));
            }
        }
        for (profile, run) in runs {
            let report = run.await.expect("a run has a report");
            assert!(report.ok, "{report:#?}");
            let seen = value(&report);
            let servers: Vec<&str> = seen[0]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(|name| name.as_str())
                .collect();
            let tools = seen[1].as_array().expect("a list");
            match profile {
                "all" => {
                    assert_eq!(servers, ["good", "mute"]);
                    assert!(tools.contains(&"fail".into()) && tools.contains(&"echo".into()));
                }
                "good" => {
                    assert_eq!(servers, ["good"]);
                    assert!(!tools.contains(&"fail".into()) && tools.contains(&"echo".into()));
                }
                _ => assert!(servers.is_empty() && tools.is_empty(), "{seen}"),
            }
        }
    });
}

#[test]
fn i_widen_my_grant_from_inside() {
    let tricks = [
        "tools['good']['fail']()",
        "tools['good'].fail()",
        "from wit_world.imports import tools as raw\nraw.call('good.fail', '{}')",
        "from wit_world.imports import tools as raw\nraw.call('good.FAIL', '{}')",
        "from wit_world.imports import tools as raw\nraw.call('good.echo\\0good.fail', '{}')",
        "from wit_world.imports import tools as raw\nraw.call(' good.fail', '{}')",
        "from wit_world.imports import tools as raw\nraw.describe('good.fail')",
        "from wit_world.imports import tools as raw\nraw.names('mute')",
        "import sys\nsys.modules['toolcell_runtime.host'].servers = lambda: ['mute']\n\
         sys.modules['toolcell_runtime.host'].names = lambda server: ['echo']\ntools['mute']['echo'](text='x')",
        "t = tools['good']['echo']\nt.name = 'good.fail'\nt(text='x')",
        "t = tools['good']['echo']\nt.name = 'mute.echo'\nt(text='x')",
        "aio_fail = aio['good']['fail']\nawait aio_fail()",
    ];
    for trick in tricks {
        let attack = attack_with(Script::python(trick).profile("good"));
        assert!(!attack.report.ok, "{trick}: {:#?}", attack.report);
        // What went out went to what was granted: nothing.
        assert!(
            attack.report.calls.iter().all(|call| !call.ok),
            "{trick}: {:#?}",
            attack.report.calls
        );
        assert_ne!(attack.report.error.expect("failed").kind.to_string(), "tool.error", "{trick}");
    }
}

#[test]
fn i_forge_my_own_record() {
    // Whatever I do to my own runtime, the report is written by the host.
    let source = "import sys\nraw = sys.modules['toolcell_runtime.host']\n\
                  tools['good']['echo'](text='real')\n\
                  raw.call = lambda name, arguments: 1 / 0\n\
                  try: tools['good']['echo'](text='forged')\nexcept ZeroDivisionError: pass\n\
                  sys.modules['toolcell_runtime.values'].encode = lambda value: '{\"ok\": true}'\n5";
    let attack = attack_with(Script::python(source));
    assert_eq!(attack.value(), serde_json::json!({"ok": true}));
    assert_eq!((attack.report.usage.tool_calls, attack.report.calls.len()), (1, 1));
    let source =
        "import sys\nsys.modules['toolcell_runtime.values'].encode = lambda value: 'no {json'\n5";
    let attack = attack_with(Script::python(source));
    assert!(attack.failed_as("value").message.contains("not JSON"));
    assert_next_run_is_unaffected();
}
