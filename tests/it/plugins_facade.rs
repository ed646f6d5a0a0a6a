//! Plugins' tools as an agent sees them: beside our own, whatever else the profile shows.

use serde_json::json;
use tempfile::TempDir;
use toolcell_tests::fixtures;

use crate::facade::{first_text, session};
use crate::plugins_isolation::install;

#[test]
fn an_agent_sees_calls_and_finds_the_tools_of_plugins() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    install(folder.path(), "caller", &["demo.*"]);
    install(folder.path(), "hog", &[]);
    let toml = format!(
        "plugin_folder = {:?}\n[plugins.caller]\ntools = [\"demo.*\"]\n\
         [server]\nmax_result = \"4KiB\"\n",
        folder.path().join("plugins")
    ) + &fixtures::misbehaving("ok").toml("demo");
    for mode in ["legacy", "auto"] {
        let program = json!([
            ["caller_call", { "tool": "demo.echo", "arguments": { "text": "through" } }],
            ["caller_tell", { "words": "half of it" }],
            ["hog_answer", { "bytes": 100_000 }],
            ["search_tools", { "query": "computes for so many rounds" }],
            ["run_python", { "code": "from tools import caller\ncaller.compute(rounds=3)" }],
            ["caller_compute", { "rounds": "many" }],
            ["caller_nothing", {}],
        ]);
        let seen = session(&toml, mode, &program);
        let tools: Vec<&str> =
            seen["tools"].as_array().expect("a list").iter().filter_map(|it| it.as_str()).collect();
        assert!(tools.contains(&"run_python") && tools.contains(&"caller_compute"), "{tools:?}");
        assert!(!tools.contains(&"demo_echo"), "the servers' own tools are not shown: {tools:?}");
        let words = seen["instructions"].as_str().expect("there are some");
        assert!(
            words.contains("plugins can be called directly as PLUGIN_TOOL: caller, hog"),
            "{words}"
        );
        let answers = &seen["answers"];
        assert_eq!(first_text(&answers[0]), "through");
        assert_eq!(answers[0]["isError"], false);
        let progress = seen["progress"].as_array().expect("a list");
        assert!(progress.contains(&json!("half of it")), "{progress:?}");
        let long = first_text(&answers[2]);
        assert!(
            long.len() < 5_000 && long.contains("of 100000 bytes of text; read_more"),
            "{long}"
        );
        assert!(first_text(&answers[3]).contains("caller.compute"), "{}", first_text(&answers[3]));
        assert!(first_text(&answers[4]).contains('3'), "{}", first_text(&answers[4]));
        let refused = first_text(&answers[5]);
        assert!(refused.contains("do not fit its schema"), "{refused}");
        assert_eq!(answers[5]["isError"], true);
        assert!(first_text(&answers[6]).contains("caller_nothing"), "{}", first_text(&answers[6]));
    }
}
