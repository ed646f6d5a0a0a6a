//! Servers of revision 2024-11-05 (HTTP+SSE) through the front door: real ones, by name and found
//! out.

use serde_json::json;
use toolcell_tests::fixtures::RealHttp;
use toolcell_tests::{Cli, Server, fixtures};

use crate::hosts::survives_restarts;

#[test]
fn a_real_server_answers_over_sse_and_a_restarted_one_answers_again() {
    survives_restarts(fixtures::everything_sse());
}

#[test]
fn which_of_the_two_ways_a_server_speaks_is_found_out() {
    #[track_caller]
    fn check(server: &RealHttp, name: &str, code: &str, expected: serde_json::Value) {
        let toml = Server::at(server.url()).toml("x");
        let checked = Cli::new("check").config(&toml).arg("--json").run().success();
        let report = &checked.json()["servers"][0];
        assert_eq!(report["era"], "legacy", "{checked}");
        assert!(report.to_string().contains(name), "{checked}");
        let run = Cli::new("run").config(&toml).arg("--json").args(["-c", code]).run().success();
        assert_eq!(run.json()["value"], expected, "{run}");
    }
    let echo = "tools['x']['echo'](message='hi')";
    check(&fixtures::everything_http(), "everything", echo, json!("Echo: hi"));
    check(&fixtures::everything_sse(), "everything", echo, json!("Echo: hi"));
    check(
        &fixtures::python_sse(),
        "python-sdk",
        "tools['x']['add'](a=2, b=40)['result']",
        json!(42),
    );
}
