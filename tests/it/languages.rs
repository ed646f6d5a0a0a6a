//! Python and TypeScript side by side: which language a script is in, who offers which, and sessions.

use serde_json::{Value, json};
use toolcell_tests::{Cli, Marker, fixtures};

use crate::facade::{first_text, session as agent};

#[test]
fn a_scripts_name_tells_its_language_and_so_does_the_flag() {
    let run = |name: &str, source: &str| {
        Cli::new("run").file(name, source).args([name, "--quiet"]).run().success().stdout
    };
    assert_eq!(run("a.py", "[x * 2 for x in range(3)][-1]"), "4\n");
    assert_eq!(run("a", "None or 'python'"), "python\n");
    assert_eq!(run("a.js", "[1, 2, 3].map((x) => x * 2).at(-1)"), "6\n");
    assert_eq!(run("a.mjs", "export default `m${1}`;"), "m1\n");
    assert_eq!(run("a.ts", "const x: number = await Promise.resolve(7);\nx as unknown;"), "7\n");

    let given = |lang: &str, code: &str| {
        let cli = Cli::new("run").args(["--quiet", "--lang", lang, "-c", code]);
        let inline = cli.run().success().stdout;
        let cli = Cli::new("run").args(["--quiet", "--lang", lang, "-"]).stdin(code);
        assert_eq!(cli.run().success().stdout, inline);
        inline
    };
    assert_eq!(given("ts", "let y: string = 'a'; y + 1"), "a1\n");
    assert_eq!(given("js", "({ a: 1 }).a"), "1\n");
    assert_eq!(given("python", "'a' * 3"), "aaa\n");
}

#[test]
fn a_script_in_typescript_fails_with_its_own_lines() {
    let source = "type A = string;\nconst a: A = null!;\na.length;\n";
    let failed = Cli::new("run").file("broken.ts", source).arg("broken.ts").run().expect_code(1);
    assert!(failed.stderr.contains("TypeError"), "{failed}");
    assert!(failed.stderr.contains("broken.ts:3"), "{failed}");
}

#[test]
fn an_agent_calls_tools_from_typescript_in_either_era() {
    for mode in ["legacy", "auto"] {
        let marker = Marker::new();
        let toml = fixtures::misbehaving("ok").marked(&marker).toml("demo");
        let program = json!([
            ["search_tools", { "query": "echo a text", "language": "typescript" }],
            ["run_typescript", { "code":
                "import { demo } from \"tools\";\nconsole.log(\"hello\");\nconst all: string[] = \
                 await Promise.all([1, 2, 3].map((n) => demo.echo({ text: `${n}${inputs}` })));\nall",
                "input": "x" }],
            ["run_typescript", { "code": "import { demo } from \"tools\";\nawait demo.echo({ tex: 1 })" }],
            ["run_typescript", { "code": "const x: = 1" }],
        ]);
        let seen = agent(&toml, mode, &program);
        let answers = seen["answers"].as_array().expect("a list");
        assert!(first_text(&answers[0]).contains("export function echo("), "{}", answers[0]);
        assert_eq!(answers[1]["structuredContent"]["value"], json!(["1x", "2x", "3x"]));
        assert_eq!(answers[1]["structuredContent"]["stdout"], "hello\n");
        for (at, parts) in [(2, &["invalid-arguments", "demo.echo"][..]), (3, &["Error (syntax)"])]
        {
            assert_eq!(answers[at]["isError"], true, "{}", answers[at]);
            for part in parts {
                assert!(first_text(&answers[at]).contains(part), "{part}: {}", answers[at]);
            }
        }
        marker.assert_nothing_survives();
    }
}

#[test]
fn a_profile_offers_the_languages_that_it_allows() {
    let toml = "[profiles.default]\nruntimes = [\"javascript\"]\n".to_owned()
        + &fixtures::misbehaving("ok").toml("demo");
    let toml = toml.replace("[profiles.default]", "[profiles.default]\ntools = [\"demo.*\"]");
    let program = json!([
        ["describe_tools", { "names": ["demo.echo"] }],
        ["run_typescript", { "code": "1 + 1" }],
        ["run_python", { "code": "1 + 1" }],
    ]);
    let seen = agent(&toml, "auto", &program);
    let tools = ["search_tools", "describe_tools", "run_typescript", "sessions", "read_more"];
    assert_eq!(seen["tools"], json!(tools));
    let instructions = seen["instructions"].as_str().expect("has instructions");
    assert!(
        instructions.contains("TypeScript") && !instructions.contains("Python"),
        "{instructions}"
    );
    let answers = seen["answers"].as_array().expect("a list");
    assert!(first_text(&answers[0]).contains("export function echo("), "{}", answers[0]);
    assert_eq!(first_text(&answers[1]), "2");
    assert!(first_text(&answers[2]).contains("does not allow python"), "{}", answers[2]);
}

#[test]
fn each_language_has_sessions_of_its_own() {
    let program = json!([
        ["run_typescript", { "code": "let n = 20;\nconst twice = (x: number) => 2 * x;", "session": "work" }],
        ["run_typescript", { "code": "n += 1; twice(n)", "session": "work" }],
        ["run_python", { "code": "n = 'python'", "session": "work" }],
        ["run_typescript", { "code": "n", "session": "work" }],
        ["sessions", {}],
        ["sessions", { "reset": "work" }],
    ]);
    let seen = agent("", "auto", &program);
    let answers = seen["answers"].as_array().expect("a list");
    let session = |at: usize| &answers[at]["structuredContent"]["session"];
    assert_eq!(session(0)["state"], "new", "{}", answers[0]);
    assert_eq!(answers[1]["structuredContent"]["value"], 42, "{}", answers[1]);
    assert_eq!((&session(1)["state"], &session(1)["runs"]), (&json!("kept"), &json!(2)));
    assert_eq!(session(2)["state"], "new", "{}", answers[2]);
    assert_eq!(answers[3]["structuredContent"]["value"], 21, "{}", answers[3]);
    let listed = first_text(&answers[4]);
    assert!(listed.contains("work (javascript): 3 runs"), "{listed}");
    assert!(listed.contains("work (python): 1 run,"), "{listed}");
    let left = &answers[5]["structuredContent"]["sessions"];
    assert_eq!(left, &Value::Array(Vec::new()));
}

/// Calls that do not fit, each in a way of its own.
const WRONG: &str = "import { all, graph } from \"tools\";
type X = number;
const sum: X = await all.getSum({ a: 1, b: \"2\" });
await all.echo({ mesage: \"hi\" });
await graph.create_entities({ entities: [{ name: \"a\", entityType: \"b\", observation: [\"x\"] }] });
await tools.all.getSumm({});
all.getStructuredContent({ location: \"Paris\" });
sum
";

#[test]
fn calls_are_compared_with_the_tools_types_before_anything_runs() {
    let graph = tempfile::tempdir().expect("a temporary directory");
    let memory = graph.path().join("memory.json");
    let toml = fixtures::everything_stdio().toml("all") + &fixtures::memory(&memory).toml("graph");
    let run = |name: &str, source: &str| {
        let cli = Cli::new("run").config(&toml).file(name, source);
        cli.args([name, "--quiet", "--check"]).run()
    };
    let told = run("wrong.ts", WRONG).expect_code(1);
    for (at, words) in [
        ("3:44", "argument `b` of `all.get-sum` is a string and has to be a number"),
        ("4:18", "`all.echo` has no argument `mesage`; did you mean `message`?"),
        ("5:72", "has no member `observation`; did you mean `observations`?"),
        ("6:17", "no `getSumm` in `tools.all` is granted to this run; did you mean"),
        ("7:38", "argument `location` of `all.get-structured-content` cannot be \"Paris\""),
    ] {
        let place = format!("\n    at wrong.ts:{at}\n");
        assert!(told.stderr.contains(words) && told.stderr.contains(&place), "{words}\n{told}");
    }
    assert!(!memory.exists(), "something ran");

    // What is right, and what nobody can tell, is let through.
    let right = "import { all } from \"tools\";\nconst { getSum } = all;\nconst given = { b: 2, a: 1 };\n\
                 [await getSum({ a: 1, b: 2 }), await all.echo(\"x\"), await all.getSum(given),\n \
                 await tools.call(\"all.echo\", { message: \"y\" })].length";
    assert_eq!(run("right.ts", right).success().stdout, "4\n");
    let python = run("script.py", "1").expect_code(2);
    assert!(python.stderr.contains("a script in Python cannot be checked"), "{python}");

    let program = json!([
        ["run_typescript", { "code": WRONG, "check": true }],
        ["run_typescript", { "code": right, "check": true }],
        ["run_typescript", { "code": right, "check": "yes" }],
    ]);
    let seen = agent(&toml, "auto", &program);
    let answers = seen["answers"].as_array().expect("a list");
    let words = first_text(&answers[0]);
    assert!(
        words.contains("did you mean `message`?") && words.contains("nothing was run"),
        "{words}"
    );
    assert_eq!(answers[0]["structuredContent"]["calls"], json!([]), "{}", answers[0]);
    assert_eq!(answers[1]["structuredContent"]["value"], 4, "{}", answers[1]);
    assert!(first_text(&answers[2]).contains("`check` has to be true or false"), "{}", answers[2]);
}
