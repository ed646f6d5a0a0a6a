//! Who may call what: profiles, patterns, flags and rules about arguments.

use serde_json::{Value, json};
use toolcell_tests::{Cli, fixtures};

const RULES: &str = r#"
[profiles.careful]
tools = ["x.*", "!x.big"]
[[profiles.careful.rules]]
tool = "x.echo"
args.text = { pattern = "(?i)^\\s*select\\b" }
effect = "allow"
[[profiles.careful.rules]]
tool = "x.add"
args.a = { min = 100 }
effect = "deny"
[[profiles.careful.rules]]
tool = "x.fail"
effect = "ask"
[profiles.reader]
tools = ["x.echo", "x.slow_*"]
"#;

fn config() -> String {
    fixtures::misbehaving("ok").toml("x") + &fixtures::misbehaving("ok").toml("y") + RULES
}

/// What a script saw of calls: answers, or the class and the text of errors.
#[track_caller]
fn seen(flags: &[&str], calls: &str) -> Vec<Value> {
    let code = format!(
        "
def ask(name, **arguments):
    server, tool = name.split('.')
    try:
        return tools[server][tool](**arguments)
    except tools.ToolError as error:
        return [type(error).__name__, str(error)]
[{calls}]"
    );
    let cli = Cli::new("run").config(&config()).arg("--json").args(flags.iter().copied());
    let run = cli.args(["-c", &code]).run().success();
    run.json()["value"].as_array().cloned().unwrap_or_default()
}

#[test]
fn rules_allow_deny_and_ask_by_arguments() {
    let seen = seen(
        &["--profile", "careful"],
        "ask('x.echo', text='SELECT 1'), ask('x.echo', text='drop table'), ask('x.add', a=1),
         ask('x.add', a=100), ask('x.fail'), ask('x.structured')['integer']",
    );
    assert_eq!(seen[0], "SELECT 1");
    assert_eq!(seen[1][0], "ToolDenied");
    let words = seen[1][1].as_str().unwrap_or_default();
    assert!(words.contains("the operator does not allow this call of `x.echo`"), "{words}");
    assert!(words.contains("text"), "the argument is named: {words}");
    assert_eq!(seen[2], json!({"sum": 2}));
    assert_eq!(seen[3][0], "ToolDenied", "{}", seen[3]);
    let words = seen[4][1].as_str().unwrap_or_default();
    assert!(words.contains("needs a person's approval"), "{words}");
    assert_eq!(seen[5], 9_007_199_254_740_993_i64);
}

#[test]
fn what_is_denied_and_what_is_not_there_are_told_in_the_same_words() {
    let seen = seen(
        &["--profile", "careful"],
        "ask('x.big', bytes=1), ask('x.bog', bytes=1), ask('z.big', bytes=1)",
    );
    let words = |nth: usize, name: &str| {
        assert_eq!(seen[nth][0], "UnknownTool");
        let words = seen[nth][1].as_str().unwrap_or_default();
        assert!(words.starts_with(&format!("no tool `{name}` is granted to this run")), "{words}");
        words.replace(name, "NAME")
    };
    assert_eq!(words(0, "x.big"), words(1, "x.bog"));
    words(2, "z.big");
}

#[test]
fn a_denied_call_never_reaches_its_server() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let log = folder.path().join("log");
    let server = fixtures::misbehaving("ok").env("MISBEHAVING_LOG", log.to_str().expect("UTF-8"));
    let toml = server.toml("x") + &fixtures::misbehaving("ok").toml("y") + RULES;
    let code = "
for call in (lambda: tools['x']['echo'](text='drop'), lambda: tools['x']['fail'](),
             lambda: tools['x']['big'](bytes=1), lambda: tools['x']['echo'](text=1)):
    try:
        call()
    except tools.ToolError:
        pass
tools['x']['echo'](text='select')";
    let cli = Cli::new("run").config(&toml).args(["--profile", "careful", "-c", code]);
    cli.run().success();
    let log = std::fs::read_to_string(log).expect("the server ran");
    let calls: Vec<&str> = log.lines().filter(|line| line.starts_with("tools/call")).collect();
    assert_eq!(calls, ["tools/call echo {\"text\":\"select\"}"]);
}

#[test]
fn profiles_and_flags_decide_what_is_granted() {
    #[track_caller]
    fn granted(flags: &[&str], expected: &[&str]) {
        let cli = Cli::new("tools").config(&config()).arg("--json").args(flags.iter().copied());
        let tools = cli.run().success().json();
        let all = tools["servers"].as_array().into_iter().flatten();
        let all = all.flat_map(|server| server["tools"].as_array().into_iter().flatten());
        let names =
            all.filter(|tool| tool["granted"] == true).filter_map(|tool| tool["name"].as_str());
        assert_eq!(names.collect::<Vec<_>>(), expected, "{flags:?}");
    }
    granted(&["--profile", "reader"], &["x.echo", "x.slow_read"]);
    granted(&["--profile", "reader", "--grant", "y.echo"], &["x.echo", "x.slow_read", "y.echo"]);
    granted(&["--profile", "reader", "--deny", "x.echo"], &["x.slow_read"]);
    granted(&["--profile", "reader", "--grant", "x.*", "--deny", "x.*"], &[]);
}

#[test]
fn a_server_of_which_nothing_is_granted_is_neither_seen_nor_started() {
    let marker = toolcell_tests::Marker::new();
    let toml = fixtures::misbehaving("ok").toml("x")
        + &fixtures::misbehaving("exit-at-start").marked(&marker).toml("y")
        + "[profiles.p]\ntools = [\"x.echo\"]\n";
    let code = "
from tools import x
try:
    from tools import y
except ImportError as error:
    print(error)
x.echo(text='only x')";
    let run = Cli::new("run").config(&toml).args(["-c", code]).run().success();
    assert!(run.stdout.ends_with("only x\n"), "{run}");
    assert!(run.stdout.contains('y') && !run.stdout.contains("nowhere"), "{run}");
}

#[test]
fn without_profiles_everything_is_granted_and_that_is_said() {
    let toml = fixtures::misbehaving("ok").toml("x");
    let cli = Cli::new("run").config(&toml).args([
        "--log",
        "info",
        "-c",
        "tools['x']['add'](a=1)['sum']",
    ]);
    let run = cli.run().success();
    assert_eq!(run.stdout, "2\n");
    assert!(run.stderr.contains("every tool of its servers is granted"), "{run}");
}

#[test]
fn a_call_from_the_command_line_obeys_the_same_rules() {
    #[track_caller]
    fn call(tool: &str, args: &str, code: i32, part: &str) {
        let cli = Cli::new("call").config(&config()).args([tool, "--args", args]);
        let call = cli.args(["--profile", "careful"]).run().expect_code(code);
        let told = if code == 0 { &call.stdout } else { &call.stderr };
        assert!(told.contains(part), "{call}");
    }
    call("x.echo", r#"{"text": "select 1"}"#, 0, "select 1");
    call("x.echo", r#"{"text": "drop"}"#, 1, "the operator does not allow");
    call("x.big", r#"{"bytes": 1}"#, 2, "no tool `x.big` is granted");
    call("x.slow", r#"{"ms": "one"}"#, 2, "do not fit its schema at /ms");
    call("x.add", "[1]", 2, "an object of named arguments is needed");
    call("x.add", "{", 2, "are not JSON");
}
