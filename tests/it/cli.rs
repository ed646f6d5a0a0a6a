//! The command line: what is printed, which exit code, and what is left behind.

use serde_json::{Value, json};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{Cli, Marker, Signal, fixtures, wait_until};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn ok_server() -> String {
    fixtures::misbehaving("ok").toml("fake")
}

#[test]
fn a_script_comes_from_a_file_the_line_or_stdin() {
    let file = Cli::new("run").file("sum.py", "print('hi')\n1 + 1").args(["sum.py", "-q"]).run();
    assert_eq!(file.success().stdout, "hi\n2\n");
    let code = Cli::new("run").args(["--quiet", "-c", "{'a': 'b'}"]).run().success();
    assert_eq!((code.stdout.as_str(), code.stderr.as_str()), ("{\n  \"a\": \"b\"\n}\n", ""));
    let stdin = Cli::new("run").arg("-").stdin("'text as it is'").run().success();
    assert_eq!(stdin.stdout, "text as it is\n");
    assert!(stdin.stderr.starts_with("-- 0 tool calls"), "{stdin}");
    let begun = Cli::new("run").args(["-c", "print('begun', end='')\n1"]).run().success();
    assert_eq!(begun.stdout, "begun\n1\n", "the value has a line of its own");
    let none = Cli::new("run").args(["-c", "print('ends so', end='')"]).run().success();
    assert_eq!(none.stdout, "ends so");
    let input = Cli::new("run").args(["-c", "inputs['n'] + 1", "--input", r#"{"n": 41}"#]).run();
    assert_eq!(input.success().stdout, "42\n");
}

/// What `--help` promises.
#[test]
fn every_exit_code_is_what_the_help_says() {
    let help = Cli::new("--help").run().success();
    for code in
        ["0    done", "1    the script failed", "2    the", "3    a limit", "4    an up", "130  c"]
    {
        assert!(help.stdout.contains(code), "{code}: {help}");
    }
    let run = |code: &str| Cli::new("run").args(["-c", code]);
    run("1").run().expect_code(0);
    run("import sys; sys.exit(0)").run().expect_code(0);
    for failing in ["1 / 0", "import sys; sys.exit(3)", "import sys; sys.exit('x')", "x ="] {
        run(failing).run().expect_code(1);
    }
    run("while True: pass").args(["--fuel", "50M"]).run().expect_code(3);
    run("x = bytearray(2**30)").run().expect_code(3);
    let absent = "[servers.absent]\ncommand = \"/no/such/program\"\n";
    let unavailable = run("tools.absent.x()").config(absent).run().expect_code(4);
    assert!(
        unavailable.stderr.contains("hint: the server `absent` cannot be used"),
        "{unavailable}"
    );
    // Who catches it goes on.
    run("try:\n    tools.absent.x()\nexcept tools.ToolUnavailable: pass")
        .config(absent)
        .run()
        .success();
}

#[test]
fn json_is_one_object_of_a_fixed_shape() {
    let code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\ntools.fake.add(a=1)\ntools.fake.fail(message='no')";
    let run = Cli::new("run").config(&ok_server()).args(["-c", code, "--json"]).run();
    let run = run.expect_code(1);
    assert_eq!(run.stderr, "", "nothing but JSON");
    assert_eq!(run.stdout.lines().count(), 1);
    let report = run.json();
    assert_eq!(
        keys(&report),
        [
            "ok",
            "value",
            "stdout",
            "stderr",
            "error",
            "usage",
            "calls",
            "run",
            "seed",
            "replayable",
            "degraded"
        ]
    );
    let usage = ["fuel", "compute_ms", "wall_ms", "memory_bytes", "tool_calls", "output_bytes"];
    assert_eq!(keys(&report["usage"]), usage);
    let of_a_call = ["kind", "message", "traceback", "hint", "tool", "server", "retryable"];
    assert_eq!(keys(&report["error"]), of_a_call);
    assert_eq!(report["error"]["retryable"], false);
    assert_eq!((&report["ok"], &report["value"]), (&json!(false), &json!(null)));
    assert_eq!((&report["stdout"], &report["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!(report["error"]["kind"], "tool.error");
    assert_eq!(report["usage"]["tool_calls"], 2);
    for number in usage {
        assert!(report["usage"][number].as_f64().is_some_and(|used| used > 0.0), "{number}: {run}");
    }
    let calls = report["calls"].as_array().expect("a list");
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(keys(call), ["tool", "ok", "ms", "error"]);
        assert!(call["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{call}");
    }
    assert_eq!((&calls[0]["tool"], &calls[0]["ok"]), (&json!("fake.add"), &json!(true)));
    assert_eq!(calls[1]["error"], json!({"kind": "tool", "message": "no"}));

    let limit = Cli::new("run").args(["-c", "while True: pass", "--fuel", "50M", "--json"]).run();
    let report = limit.expect_code(3).json();
    assert_eq!(report["error"]["kind"], "limit.fuel");
    assert_eq!(report["error"]["limit"], 50_000_000);
    assert!(report["error"]["used"].as_u64() >= Some(50_000_000), "{report}");
}

/// Arguments, what the message must contain, in words and with `--json`.
#[test]
fn bad_input_is_one_clear_message_and_exit_code_2() {
    #[rustfmt::skip]
    let cases: &[(&[&str], &[&str])] = &[
        (&["absent.py"], &["cannot read absent.py", "No such file"]),
        (&["."], &["cannot read .", "is a directory"]),
        (&["latin1.py"], &["latin1.py is not UTF-8", "byte at 5"]),
        (&["huge.py"], &["huge.py is longer than a script may be", "4194304", "--input or --dir"]),
        (&["-c", "1", "--input", "{oops"], &["--input is not JSON", "quotes"]),
        (&["-c", "1", "--profile", "none"], &["no profile `none`", "default"]),
        (&["-c", "1", "--fuel", "many"], &["fuel", "many"]),
        (&["-c", "1", "--deadline", "soon"], &["deadline", "soon"]),
        (&["-c", "1", "--grant", "no-dot"], &["no-dot"]),
        (&["-c", "1", "--dir", "/tmp"], &["--dir", "HOST::GUEST"]),
        (&["-c", "1", "--dir", "/no/such/dir::/d"], &["/no/such/dir"]),
        (&["-c", "1", "--config", "absent.toml"], &["absent.toml"]),
    ];
    for (args, words) in cases {
        let cli = || {
            let cli = Cli::new("run").file("latin1.py", b"x = '\xe9'");
            // Sparse: 50 MB that nobody wrote.
            let huge = std::fs::File::create(cli.folder().join("huge.py")).expect("a file");
            huge.set_len(50 << 20).expect("a file can be long");
            cli.args(args.iter().copied())
        };
        let said = cli().run().expect_code(2);
        for word in *words {
            assert!(said.stderr.contains(word), "{word:?}: {said}");
        }
        assert!(!said.stderr.contains("panicked") && said.stdout.is_empty(), "{said}");
        let report = cli().arg("--json").run().expect_code(2).json();
        assert_eq!((&report["ok"], &report["error"]["kind"]), (&json!(false), &json!("usage")));
        assert_eq!(
            keys(&report)[..7],
            ["ok", "value", "stdout", "stderr", "error", "usage", "calls"]
        );
        let message = report["error"]["message"].as_str().expect("a text");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    for args in
        [&["run"][..], &["run", "a.py", "-c", "1"], &["run", "-c", "1", "--seed", "x"], &["fly"]]
    {
        let said = Cli::new(args[0]).args(args[1..].iter().copied()).run().expect_code(2);
        assert!(said.stderr.contains("Usage:") || said.stderr.contains("--help"), "{said}");
    }
}

#[test]
fn output_is_streamed_while_the_script_runs() {
    let code = "import sys\nprint('first line')\nprint('to stderr', file=sys.stderr)\ntools.fake.echo(text='never answered')";
    let server = fixtures::misbehaving("never-answers-call").toml("fake");
    let running = Cli::new("run").config(&server).args(["-c", code]).spawn();
    // The call is never answered, so these can only come while the script runs.
    running.wait_for_line("first line");
    running.wait_for_line("to stderr");
    running.signal(Signal::Interrupt);
    let ended = running.finish(PATIENCE).expect_code(130);
    assert_eq!(ended.stdout, "first line\n");
    assert!(ended.stderr.contains("the run was cancelled"), "{ended}");
}

#[test]
fn ctrl_c_ends_the_run_with_a_report_and_leaves_nothing() {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let marker = Marker::new();
        let cli = Cli::new("run");
        let log = cli.folder().join("log");
        let server = fixtures::misbehaving("grandchild").marked(&marker);
        let server = server.env("MISBEHAVING_LOG", log.to_str().expect("UTF-8"));
        let code = "print('before')\ntools.fake.add(a=1)\ntools.fake.slow(ms=600_000)";
        let running = cli.config(&server.toml("fake")).args(["-c", code, "--json"]).spawn();
        wait_until(PATIENCE, "the second call is out", || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains("tools/call slow"))
        });
        running.signal(signal);
        let report = running.finish(PATIENCE).expect_code(130).json();
        assert_eq!(report["error"]["kind"], "cancelled");
        assert_eq!(report["stdout"], "before\n");
        let calls = report["calls"].as_array().expect("a list");
        assert_eq!((&calls[0]["tool"], &calls[0]["ok"]), (&json!("fake.add"), &json!(true)));
        assert_eq!(calls[1]["tool"], "fake.slow");
        assert_eq!(calls[1]["error"]["kind"], "cancelled");
        marker.assert_nothing_survives();
    }
}

#[test]
fn ctrl_c_ends_every_command_that_waits_for_a_server() {
    let commands: [&[&str]; 4] = [&["tools"], &["check"], &["stubs"], &["call", "fake.x"]];
    for args in commands {
        let marker = Marker::new();
        let server = fixtures::misbehaving("silent").marked(&marker).toml("fake");
        let cli = Cli::new(args[0]).args(args[1..].iter().copied()).config(&server);
        let running = cli.spawn();
        wait_until(PATIENCE, "the server lives", || {
            marker.processes().iter().any(|(_, command)| command.contains("misbehaving-mcp silent"))
        });
        running.signal(Signal::Interrupt);
        running.finish(PATIENCE).expect_code(130);
        marker.assert_nothing_survives();
    }
}

#[test]
fn tools_are_listed_with_what_the_profile_grants() {
    let config = format!("{}[servers.absent]\ncommand = \"/no/such/program\"\n", ok_server());
    let listed = Cli::new("tools").config(&config).args(["fake", "--deny", "fake.big"]).run();
    let listed = listed.success();
    for line in ["fake (9 tools)", "  + echo  Gives the text back.", "  - big  "] {
        assert!(listed.stdout.contains(line), "{line}: {listed}");
    }
    let listed = Cli::new("tools").config(&config).arg("--json").run().expect_code(4).json();
    assert_eq!(keys(&listed), ["profile", "servers"]);
    let tool = &listed["servers"][0]["tools"][0];
    assert_eq!((&tool["name"], &tool["granted"]), (&json!("fake.echo"), &json!(true)));
    assert_eq!(tool["input_schema"]["required"], json!(["text"]));
    let error = listed["servers"][1]["error"].as_str().expect("a text");
    assert!(error.contains("/no/such/program"), "{error}");
    let wrong = Cli::new("tools").config(&config).arg("fak").run().expect_code(2);
    assert!(wrong.stderr.contains("no server \"fak\"") && wrong.stderr.contains("fake"), "{wrong}");
}

#[test]
fn one_tool_is_called_as_a_script_would() {
    let call =
        |tool: &str, args: &str| Cli::new("call").config(&ok_server()).args([tool, "--args", args]);
    assert_eq!(call("fake.add", r#"{"a":1}"#).run().success().stdout, "{\n  \"sum\": 2\n}\n");
    assert_eq!(call("fake.echo", r#"{"text":"x"}"#).run().success().stdout, "x\n");
    assert!(
        call("fake.image", "{}").run().success().stdout.contains("[image image/png, 70 bytes]")
    );
    let numbers = call("fake.structured", "{}").run().success();
    assert!(numbers.stdout.contains("9007199254740993"), "{numbers}");
    let answer = call("fake.add", r#"{"a":1}"#).arg("--json").run().success().json();
    assert_eq!(keys(&answer), ["tool", "ok", "content", "structured"]);
    assert_eq!(answer["structured"], json!({"sum": 2}));

    let failed = call("fake.fail", r#"{"message":"no luck"}"#).run().expect_code(1);
    assert_eq!((failed.stdout.as_str(), failed.stderr.as_str()), ("", "no luck\n"));
    for (tool, args, word) in [
        ("fake.add", "{", "not JSON"),
        ("fake.add", r#"{"a":"x"}"#, "/a"),
        ("fake.ad", "{}", "nearest granted: fake.add"),
        ("nodot", "{}", "no tool `nodot`"),
    ] {
        let refused = call(tool, args).run().expect_code(2);
        assert!(refused.stderr.contains(word), "{word}: {refused}");
    }
    let denied = call("fake.add", r#"{"a":1}"#).args(["--deny", "fake.*"]).run().expect_code(2);
    assert!(denied.stderr.contains("no tool `fake.add` is granted"), "{denied}");
    let absent = "[servers.absent]\ncommand = \"/no/such/program\"\n";
    Cli::new("call").config(absent).arg("absent.x").run().expect_code(4);
}

#[test]
fn stubs_are_what_a_model_would_be_shown() {
    let stubs = Cli::new("stubs").config(&ok_server()).args(["--deny", "fake.big"]).run().success();
    assert!(stubs.stdout.contains("def add(*, a: int, b: int = 1) -> AddResult:"), "{stubs}");
    assert!(!stubs.stdout.contains("def big"), "{stubs}");
    // It is Python: the runtime itself compiles it.
    let compiled = Cli::new("run")
        .args(["-c", "import ast, sys\nlen(ast.parse(inputs).body) > 5", "--input"])
        .arg(json!(stubs.stdout).to_string());
    assert_eq!(compiled.run().success().stdout, "true\n");
}

#[test]
fn logs_go_to_stderr_and_a_bad_filter_is_told() {
    let said = Cli::new("run").args(["-q", "-c", "1", "--log", "a=b=c"]).run().success();
    assert_eq!(said.stdout, "1\n");
    assert!(said.stderr.contains("the log filter \"a=b=c\" is not understood"), "{said}");
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let cli =
        Cli::new("run").file("many.py", "for i in range(20000): print('line', i)\n'x' * 100000");
    let toolcell = toolcell_tests::cli::toolcell();
    let command =
        format!("{} run -q many.py | head -1; exit ${{PIPESTATUS[0]}}", toolcell.display());
    let cache = crate::hosts::cache_folder();
    let output = std::process::Command::new("bash")
        .args(["-c", &command])
        .current_dir(cli.folder())
        .env("TOOLCELL_CACHE_DIR", cache)
        .output()
        .expect("bash starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""));
    assert_eq!(output.stdout, b"line 0\n");
}
