//! The plugins of `plugins/`: their own tests, and each of them at work with real servers, as an MCP
//! client sees it, from the command line, and from a script.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use toolcell_tests::examples;
use toolcell_tests::fixtures;
use toolcell_tests::{Cli, Talking};

/// Runs the cases in a plugin's `tests/`, as its author does.
#[track_caller]
fn passes_its_tests(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root");
    let project = root.join("plugins").join(name);
    let cli = Cli::new("plugin").limit(Duration::from_secs(120));
    let (to, built) = (cli.folder().join(name), examples::example(name));
    for folder in ["tests", "dist"] {
        fs::create_dir_all(to.join(folder)).expect("a folder can be made");
    }
    // What is built is what its sources are: nothing is left to build.
    for file in fs::read_dir(project.join("tests")).expect("it has tests") {
        let file = file.expect("an entry").path();
        if file.is_file() {
            fs::copy(&file, to.join("tests").join(file.file_name().expect("a name")))
                .expect("copied");
        }
    }
    for file in fs::read_dir(&project).expect("it is there") {
        let file = file.expect("an entry").path();
        if file.is_file() {
            fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
        }
    }
    for file in [format!("{name}.wasm"), format!("{name}.toml")] {
        fs::copy(built.join(&file), to.join("dist").join(&file)).expect("it is built");
    }
    cli.args(["test", name]).run().success();
}

#[test]
fn research_passes_the_tests_of_its_author() {
    passes_its_tests("research");
}

#[test]
fn briefing_passes_the_tests_of_its_author() {
    passes_its_tests("briefing");
}

#[test]
fn digest_passes_the_tests_of_its_author() {
    passes_its_tests("digest");
}

/// A repository with a tag and three commits since.
fn repository(folder: &Path) {
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]).args(args);
        let ended = git.current_dir(folder).output().expect("git starts");
        assert!(ended.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    };
    let commit = |message: &str| {
        git(&["add", "."]);
        git(&["commit", "-q", "-m", message]);
    };
    git(&["init", "-q"]);
    write("CHANGELOG.md", "# Changelog\n\n## 1.0.0\n\n- The first.\n");
    write("src/parser.rs", "one\n");
    commit("release 1.0.0");
    git(&["tag", "-a", "v1.0.0", "-m", "the first"]);
    write("src/parser.rs", "one\ntwo\nthree\n");
    commit("feat(parser)!: take lists");
    write("docs/guide.md", "how\n");
    commit("docs: say how");
    write("CHANGELOG.md", "# Changelog\n\n## 1.1.0\n\n- Lists.\n\n## 1.0.0\n\n- The first.\n");
    commit("chore: release 1.1.0");
}

fn with_digest(subcommand: &str) -> Cli {
    let cli = Cli::new(subcommand);
    let folder = cli.folder().join("work");
    fs::create_dir(&folder).expect("a folder can be made");
    repository(&folder);
    examples::install("digest", cli.folder());
    let toml = fixtures::git(&folder).setting("cwd = \"work\"").toml("git")
        + "[servers.files]\nbuiltin = \"files\"\nroots = { work = { path = \"work\", read_only = true } }\n\
           [plugins.digest]\ntools = [\"git.*\", \"files.*\"]\n\
           [profiles.release]\ntools = [\"digest.*\", \"git.git_log\", \"git.git_show\", \"git.git_diff\", \"files.*\"]\n";
    cli.config(&toml)
}

#[track_caller]
fn is_the_digest(answer: &Value) {
    assert_eq!(answer["complete"], true, "{answer:#}");
    assert_eq!(answer["missing"], json!([]), "{answer:#}");
    let titles: Vec<&Value> =
        answer["groups"].as_array().expect("a list").iter().map(|group| &group["title"]).collect();
    assert_eq!(titles, ["Features", "Documentation", "Chores"], "{answer:#}");
    assert_eq!(answer["breaking"], json!(["take lists"]));
    assert_eq!(answer["contributors"], json!([{ "name": "Ada", "commits": 3 }]));
    assert_eq!(answer["changelog"]["heading"], "1.1.0");
    assert_eq!(answer["changelog"]["text"], "- Lists.");
    let areas = answer["areas"].as_array().expect("a list").iter();
    let mut folders: Vec<&str> =
        areas.map(|area| area["folder"].as_str().expect("a text")).collect();
    folders.sort_unstable();
    assert_eq!(folders, ["CHANGELOG.md", "docs/", "src/"]);
    let markdown = answer["markdown"].as_str().expect("a text");
    assert!(markdown.contains("- **parser**: take lists ("), "{markdown}");
}

#[test]
fn digest_tells_a_client_what_happened_since_the_tag() {
    let mut client = Talking::modern(with_digest("mcp"));
    let tools = client.list("tools/list", "tools");
    let tool = tools.iter().find(|tool| tool["name"] == "digest_digest");
    let tool = tool.unwrap_or_else(|| panic!("no digest_digest: {tools:#?}"));
    assert_eq!(tool["inputSchema"]["required"], json!(["since"]), "{tool:#}");
    assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool:#}");
    let result = client.call("digest_digest", json!({ "since": "v1.0.0" }));
    assert_ne!(result["isError"], true, "{result}");
    is_the_digest(&result["structuredContent"]);
    // A tag that is not there is told in the git server's words.
    let result = client.call("digest_digest", json!({ "since": "v9" }));
    assert_eq!(result["isError"], true, "{result}");
    assert!(
        result["content"][0]["text"].as_str().is_some_and(|text| text.contains("v9")),
        "{result}"
    );
}

#[test]
fn digest_is_a_call_of_the_command_line_and_a_function_of_scripts() {
    let arguments = r#"{"since": "v1.0.0"}"#;
    let call = with_digest("call").args(["digest.digest", "--args", arguments, "--json"]);
    let answer = call.run().success().json();
    is_the_digest(answer.get("structured").unwrap_or(&answer));
    let script = "from tools import digest\nmade = digest.digest(since='v1.0.0', group_by='folder')\n\
                  [group['title'] for group in made['groups']]";
    let run = with_digest("run").file("ask.py", script).args(["ask.py", "--json"]);
    let report = run.run().success().json();
    assert_eq!(report["value"], json!(["CHANGELOG.md", "docs/", "src/"]), "{report:#}");
}

#[test]
fn guard_passes_the_tests_of_its_author() {
    passes_its_tests("guard");
}

const NOTES: &str = "Ask ada@example.org, who has the key AKIAIOSFODNN7EXAMPLE.\n";

fn with_guard(subcommand: &str) -> Cli {
    let cli = Cli::new(subcommand).file("notes/team.md", NOTES).file("notes/.env", "SECRET=1\n");
    examples::install("guard", cli.folder());
    cli.config(
        "[servers.files]\nbuiltin = \"files\"\nroots = { notes = { path = \"notes\", read_only = true } }\n\
         [plugins.guard]\ntools = [\"files.read_file\"]\n\
         [profiles.careful]\ntools = [\"guard.*\", \"files.*\"]\n",
    )
}

/// A file through the guard, but none of the hidden ones.
fn asked(path: &str) -> Value {
    json!({
        "tool": "files.read_file",
        "arguments": { "path": path },
        "allow": [{ "at": "/path", "pattern": "^notes/" }],
        "deny": [{ "pattern": r"/\.[^/]*$" }],
    })
}

#[track_caller]
fn is_guarded(answer: &Value) {
    assert_eq!(answer["answer"]["text"], "Ask [email 1], who has the key [aws-key 1].\n");
    assert_eq!(answer["report"]["redacted"], json!({ "aws-key": 1, "email": 1 }), "{answer:#}");
    assert_eq!(answer["report"]["cut"], false, "{answer:#}");
}

#[test]
fn guard_shows_a_client_the_answer_without_its_secrets_and_refuses_what_is_denied() {
    let mut client = Talking::modern(with_guard("mcp"));
    let result = client.call("guard_call", asked("notes/team.md"));
    assert_ne!(result["isError"], true, "{result}");
    is_guarded(&result["structuredContent"]);
    assert!(!result.to_string().contains("ada@example.org"), "{result}");
    for (path, words) in [("notes/.env", "is denied by"), ("/etc/passwd", "is not allowed")] {
        let result = client.call("guard_call", asked(path));
        assert_eq!(result["isError"], true, "{result}");
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert!(text.contains(words) && text.contains(path), "{result}");
    }
    // What the operator does not let the guard call is not there for it.
    let other = json!({ "tool": "files.stat", "arguments": { "path": "notes/team.md" } });
    let result = client.call("guard_call", other);
    assert_eq!(result["isError"], true, "{result}");
}

#[test]
fn guard_is_a_call_of_the_command_line_and_a_function_of_scripts() {
    let arguments = asked("notes/team.md").to_string();
    let call = with_guard("call").args(["guard.call", "--args", &arguments, "--json"]);
    let answer = call.run().success().json();
    is_guarded(answer.get("structured").unwrap_or(&answer));
    let script = "import tools\ntools.guard[\"call\"](inputs)";
    let run = with_guard("run").file("ask.py", script);
    let report = run.args(["ask.py", "--json", "--input", &arguments]).run().success().json();
    is_guarded(&report["value"]);
}
