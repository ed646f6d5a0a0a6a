//! Files as people write them, and what becomes of them.

mod bridge;
mod json;
mod servers;
mod serving;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use crate::config::{Config, ConfigError, MAX_FILE_BYTES, Overrides, load};
use crate::grants::Decision;
use crate::ids::ToolName;
use crate::language::Language;
use crate::upstream::settings::{FilesRoot, HttpSettings, Secret, TransportSettings};

/// A folder with files, and an environment.
pub(super) struct Folder {
    directory: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        Self { directory, variables: vec![("TOKEN", "s3cret-value"), ("HOME", "/home/ada")] }
    }

    pub(super) fn toml(text: &str) -> Self {
        Self::new(&[("toolcell.toml", text)])
    }

    pub(super) fn set(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn load_file(&self, explicit: Option<&str>) -> Result<Config, ConfigError> {
        let lookup = |name: &str| {
            let found = self.variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        load(explicit.map(Path::new), self.directory.path(), &lookup)
    }

    pub(super) fn load(&self) -> Config {
        self.load_file(None).unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    pub(super) fn check_problems(&self, expected: &[&str]) {
        assert_eq!(self.problems(), expected);
    }

    #[track_caller]
    pub(super) fn problems(&self) -> Vec<String> {
        let error = self.load_file(None).expect_err("a refusal");
        let ConfigError::Problems(problems) = error else { panic!("{error:?}") };
        problems.as_slice().iter().map(ToString::to_string).collect()
    }
}

pub(super) fn notices(config: &Config) -> Vec<String> {
    config.notices.iter().map(ToString::to_string).collect()
}

fn tool(name: &str) -> ToolName {
    ToolName::parse(name).expect("a tool's name")
}

#[test]
fn a_whole_file_is_read() {
    let folder = Folder::toml(
        r#"
        default_profile = "researcher"
        [limits]
        tool_calls = 50
        [servers.time]
        command = "uvx"
        args = ["mcp-server-time", "--tz=${TZ:-UTC}"]
        env = { KEY = "${TOKEN}" }
        cwd = "work"
        [servers.everything]
        url = "http://127.0.0.1:3001/mcp"
        transport = "streamable-http"
        headers = { Authorization = "Bearer ${TOKEN}" }
        connect_timeout = "5s"
        call_timeout = "1m30s"
        [servers.files]
        builtin = "files"
        roots = { repo = { path = ".", read_only = true }, notes = "./notes" }
        [servers.own]
        command = "./bin/server"
        [profiles.researcher]
        tools = ["time.*", "files.read_*", "everything", "!everything.print-env"]
        runtimes = ["python"]
        imports = ["json", "xml.etree"]
        limits = { fuel = "20G", memory = "64MiB", deadline = "60s" }
        [[profiles.researcher.rules]]
        tool = "everything.echo"
        args.message = { pattern = "^hi", max_length = 20 }
        effect = "allow"
        [[profiles.researcher.rules]]
        tool = "everything.*"
        args."options.level" = { one_of = [1, 2], optional = true }
        effect = "deny"
        [profiles.reader]
        tools = ["files.read_*"]
        "#,
    );
    let config = folder.load();
    let names: Vec<&str> = config.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["time", "everything", "files", "own"]);

    let TransportSettings::Stdio { command, args, env, cwd } = &config.servers[0].transport else {
        panic!("stdio");
    };
    assert_eq!((command.as_str(), args.join(" ").as_str()), ("uvx", "mcp-server-time --tz=UTC"));
    assert_eq!(env["KEY"], Secret::new("s3cret-value"));
    assert_eq!(cwd.as_deref(), Some(&*folder.path("work")));

    let everything = &config.servers[1];
    assert_eq!(everything.timeouts.connect, Duration::from_secs(5));
    assert_eq!(everything.timeouts.call, Some(Duration::from_secs(90)));
    let TransportSettings::Http(HttpSettings { url, headers, .. }) = &everything.transport else {
        panic!("HTTP");
    };
    assert_eq!(url, "http://127.0.0.1:3001/mcp");
    assert_eq!(headers["Authorization"], Secret::new("Bearer s3cret-value"));

    let TransportSettings::Files { roots } = &config.servers[2].transport else {
        panic!("files");
    };
    let root = |name: &str, directory: PathBuf, read_only| FilesRoot {
        name: name.to_owned(),
        directory,
        read_only,
    };
    let repo = root("repo", folder.directory.path().to_owned(), true);
    assert_eq!(*roots, [repo, root("notes", folder.path("notes"), false)]);

    let TransportSettings::Stdio { command, .. } = &config.servers[3].transport else {
        panic!("stdio");
    };
    assert_eq!(Path::new(command), folder.path("bin/server"));

    let profile = config.profile(None).expect("the default");
    assert_eq!(profile.name.as_str(), "researcher");
    assert_eq!(profile.runtimes, [Language::Python]);
    assert_eq!(profile.imports.as_deref(), Some(&["json".to_owned(), "xml.etree".to_owned()][..]));
    assert_eq!(profile.limits.fuel, 20_000_000_000);
    assert_eq!(profile.limits.memory_bytes, 64 << 20);
    assert_eq!(profile.limits.tool_calls, 50);
    assert!(!profile.all_granted_by_default);
    assert!(profile.policy.grants(&tool("everything.echo")));
    assert!(!profile.policy.grants(&tool("everything.print-env")));
    let arguments = serde_json::json!({"message": "hi there"});
    let arguments = arguments.as_object().expect("an object");
    assert_eq!(profile.policy.decide(&tool("everything.echo"), arguments), Decision::Allow);

    let reader = config.profile(Some("reader")).expect("a profile");
    assert_eq!(reader.runtimes, Language::ALL);
    assert!(!reader.policy.grants(&tool("time.now")));
    let unknown = config.profile(Some("raeder")).expect_err("none");
    assert_eq!(unknown.to_string(), "there is no profile `raeder`; did you mean `reader`?");
    assert_eq!(config.sources, [folder.path("toolcell.toml")]);
    assert_eq!(notices(&config), [""; 0]);
}

#[test]
fn every_problem_is_told_at_once_with_its_place_and_a_way_out() {
    Folder::toml(
        r#"default_profile = "reasearcher"
mcp_config = "missing.json"
[servers.time]
comand = "uvx"
[servers.two]
command = "a"
url = "http://x/"
[servers.web]
url = "ftp://x"
transport = "http"
args = ["x"]
retry = "3"
[servers.files]
builtin = "fils"
[servers.number]
command = 3
args = ["a", "${MISSING}"]
connect_timeout = "10"
[servers."a b"]
command = "~/bin/x"
[profiles.researcher]
tools = ["!web.*", "tmie.*", "web.[a]"]
runtimes = ["pyton"]
limits = { fule = 1, memory = "1MiB", deadline = 60, tool_calls = 0 }
[[profiles.researcher.rules]]
tool = "web.get"
args.url = { pattern = "(" }
args.n = { mx = 3 }
[[profiles.researcher.rules]]
args.x = {}
effect = "alow"
"#,
    )
    .check_problems(&[
        r#"toolcell.toml:1:1: default_profile: there is no profile "reasearcher"; did you mean `researcher`?"#,
        "toolcell.toml:2:1: mcp_config: missing.json cannot be read: No such file or directory (os error 2)",
        "toolcell.toml:4:1: servers.time.comand: unknown key `comand` in servers.time; did you mean `command`?",
        "toolcell.toml:5:10: servers.two: `command` and `url` exclude each other; make two servers of it",
        "toolcell.toml:9:1: servers.web.url: this is no URL that begins with http:// or https://; write for example http://127.0.0.1:8000/mcp",
        r#"toolcell.toml:10:1: servers.web.transport: unknown word "http"; there are `stdio`, `streamable-http`, `sse`"#,
        "toolcell.toml:11:1: servers.web.args: `args` belongs to servers with `command`, and this one has `url`; remove it",
        "toolcell.toml:12:1: servers.web.retry: a table { attempts = 3 }, a number of attempts, or false is expected, and this is a text",
        r#"toolcell.toml:14:1: servers.files.builtin: unknown word "fils"; did you mean `files`?"#,
        "toolcell.toml:16:1: servers.number.command: a text is expected, and this is a whole number",
        "toolcell.toml:17:14: servers.number.args[1]: the environment variable `MISSING` is not set; set it, or write a default: ${MISSING:-…}",
        r#"toolcell.toml:18:1: servers.number.connect_timeout: "10" has no unit that is known: use one of ms, s, m, h, d, for example "1m30s""#,
        r#"toolcell.toml:19:10: servers."a b": "a b" is not a server name: use 1 to 64 of A-Z a-z 0-9 _ -"#,
        r#"toolcell.toml:20:1: servers."a b".command: `~` is not replaced in paths; write ${HOME} for the home directory"#,
        "toolcell.toml:22:10: profiles.researcher.tools[0]: `!web.*` stands before everything it could take back; move it to the end: the last match decides",
        "toolcell.toml:22:20: profiles.researcher.tools[1]: no server is called `tmie`; did you mean `time`?",
        "toolcell.toml:22:30: profiles.researcher.tools[2]: '[' has no meaning in a pattern: only * (any characters) has one",
        r#"toolcell.toml:23:13: profiles.researcher.runtimes[0]: unknown word "pyton"; did you mean `python`?"#,
        "toolcell.toml:24:12: profiles.researcher.limits.fule: unknown key `fule` in profiles.researcher.limits; did you mean `fuel`?",
        "toolcell.toml:24:22: profiles.researcher.limits.memory: Python does not run in 1MiB; give at least 48MiB",
        r#"toolcell.toml:24:39: profiles.researcher.limits.deadline: 60 has no unit: write for example "60s""#,
        "toolcell.toml:24:54: profiles.researcher.limits.tool_calls: 0 would let nothing run: every limit is at least 1",
        r#"toolcell.toml:25:1: profiles.researcher.rules[0]: the rule has no effect; write effect = "allow", "deny" or "ask""#,
        "toolcell.toml:27:6: profiles.researcher.rules[0].args.url: `pattern` is not a regular expression: unclosed group",
        "toolcell.toml:28:12: profiles.researcher.rules[0].args.n.mx: unknown key `mx` in profiles.researcher.rules[0].args.n; did you mean `max`?",
        r#"toolcell.toml:29:1: profiles.researcher.rules[1]: the rule names no tool; write tool = "SERVER.TOOL""#,
        "toolcell.toml:30:6: profiles.researcher.rules[1].args.x: the constraint asks for nothing: give pattern, one_of, equals, min, max, max_length or starts_with",
        r#"toolcell.toml:31:1: profiles.researcher.rules[1].effect: unknown word "alow"; did you mean `allow`?"#,
    ]);
}

#[test]
fn no_file_is_an_empty_configuration() {
    let folder = Folder::new(&[(".mcp.json", r#"{"mcpServers": {"x": {"command": "evil"}}}"#)]);
    let config = folder.load();
    assert!(config.servers.is_empty());
    assert!(config.profile(None).expect("the default").all_granted_by_default);
    assert_eq!(
        notices(&config),
        [".mcp.json: the file is not read unless it is named: give --config .mcp.json"]
    );
    assert_eq!(folder.load_file(Some(".mcp.json")).expect("a config").servers.len(), 1);
}

#[test]
fn the_flag_wins_over_the_environment_and_that_over_the_folder() {
    let server = |name: &str| format!("[servers.{name}]\ncommand = 'x'\n");
    let files = [("toolcell.toml", server("a")), ("b.toml", server("b")), ("c.toml", server("c"))];
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let name = |config: Config| config.servers[0].name.to_string();
    let folder = Folder::new(&files);
    assert_eq!(name(folder.load()), "a");
    let folder = folder.set("TOOLCELL_CONFIG", "b.toml");
    assert_eq!(name(folder.load()), "b");
    assert_eq!(name(folder.load_file(Some("c.toml")).expect("a config")), "c");
    let missing = folder.load_file(Some("d.toml")).expect_err("no file");
    assert!(matches!(missing, ConfigError::Read { .. }), "{missing}");
}

#[test]
fn a_file_without_profiles_grants_everything_within_its_limits_and_says_so() {
    let folder = Folder::toml("[servers.time]\ncommand = 'x'\n[limits]\nfuel = '1G'\n");
    let config = folder.load();
    let profile = config.profile(None).expect("the default");
    assert_eq!(profile.name.as_str(), "default");
    assert!(profile.all_granted_by_default);
    assert!(profile.policy.grants(&tool("time.now")));
    assert_eq!(profile.limits.fuel, 1_000_000_000);
}

#[test]
fn the_command_line_narrows_the_default_and_adds_to_a_named_profile() {
    let folder = Folder::toml(
        "[servers.a]\ncommand = 'x'\n[servers.b]\ncommand = 'x'\n\
         [profiles.p]\ntools = ['a', '!a.delete']\n",
    );
    let config = folder.load();
    #[track_caller]
    fn check(
        config: &Config,
        profile: Option<&str>,
        grants: &[&str],
        denials: &[&str],
        expected: &[&str],
    ) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let overrides = Overrides {
            grants: owned(grants),
            denials: owned(denials),
            limits: vec![("tool_calls".into(), "7".into())],
        };
        let profile = config.profile_with(profile, &overrides).expect("a profile");
        let tools = ["a.read", "a.delete", "b.read"];
        let granted: Vec<&str> =
            tools.into_iter().filter(|name| profile.policy.grants(&tool(name))).collect();
        assert_eq!(granted, expected);
        assert_eq!(profile.limits.tool_calls, 7);
    }
    check(&config, None, &[], &[], &["a.read"]);
    check(&config, None, &["b"], &[], &["b.read"]);
    check(&config, Some("p"), &["b"], &[], &["a.read", "b.read"]);
    check(&config, Some("p"), &["a.delete"], &[], &["a.read", "a.delete"]);
    check(&config, Some("p"), &["b"], &["*.read"], &[]);
    let everything = Folder::toml("[servers.a]\ncommand = 'x'\n").load();
    check(&everything, None, &[], &["a.delete"], &["a.read", "b.read"]);
    check(&everything, None, &["a.read"], &[], &["a.read"]);

    let refused = |grants: &[&str], limits: &[(&str, &str)]| {
        let grants = grants.iter().map(|text| (*text).to_owned()).collect();
        let limits = limits.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let overrides = Overrides { grants, limits, ..Overrides::default() };
        let error = config.profile_with(None, &overrides).expect_err("a refusal");
        let source = std::error::Error::source(&error).expect("a cause").to_string();
        format!("{error}: {source}")
    };
    assert_eq!(
        refused(&["!a"], &[]),
        "--grant \"!a\": `!` has no meaning here: write the tools that are meant"
    );
    let unknown = Overrides { denials: vec!["everthing.x".into()], ..Overrides::default() };
    let everything = Folder::toml("[servers.everything]\ncommand = 'x'\n").load();
    assert_eq!(
        everything.profile_with(None, &unknown).expect_err("a refusal").to_string(),
        "--deny \"everthing.x\": no server is called `everthing`; did you mean `everything`?"
    );
    assert_eq!(
        refused(&[], &[("fuel", "0")]),
        "limit fuel = \"0\": 0 would let nothing run: every limit is at least 1"
    );
}

#[test]
fn several_profiles_need_a_default_or_a_name() {
    let config = Folder::toml("[profiles.a]\n[profiles.b]\n").load();
    let error = config.profile(None).expect_err("no default");
    assert_eq!(
        error.to_string(),
        "there are several profiles and no default_profile: name one of `a`, `b`"
    );
    assert_eq!(notices(&config).len(), 2, "each grants nothing");
}

#[test]
fn broken_json_is_told_with_its_place_and_without_its_values() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let folder = Folder::new(&[("toolcell.toml", "mcp_config = 'x.json'"), ("x.json", text)]);
        folder.check_problems(&[expected]);
    }
    check("{\n  'a': 1}", "x.json:2:3: not JSON: key must be a string at line 2 column 3");
    check("\"s3cret\"", "x.json:1:8: not JSON: an object is expected");
    check("{}", "x.json: the file names no servers; put them in `mcpServers`");
    check(
        r#"{"mcpServers": {"x": {}}}"#,
        "x.json: mcpServers.x: nothing says how to reach the server; \
         give `command` (a program to start), `url` (an endpoint) or `builtin`",
    );
    check(
        r#"{"mcpServers": {"x": {"command": "x", "args": "s3cret"}}}"#,
        "x.json: mcpServers.x.args: a list of texts is expected",
    );
    check(
        r#"{"mcpServers": {"x": {"command": "x", "env": {"K": "${NOPE}"}}}}"#,
        "x.json: mcpServers.x.env.K: the environment variable `NOPE` is not set; \
         set it, or write a default: ${NOPE:-…}",
    );
}

#[test]
fn servers_of_one_name_are_refused_with_both_places() {
    let json = r#"{"mcpServers": {"time": {"command": "x"}, "two": {"command": "a"}, "two": {"command": "b"}}}"#;
    let folder = Folder::new(&[
        ("toolcell.toml", "mcp_config = 'x.json'\n[servers.time]\ncommand = 'x'\n"),
        ("x.json", json),
    ]);
    folder.check_problems(&[
        "x.json: mcpServers.time: a second server is called `time`; the first is \
         toolcell.toml:2:10: servers.time; rename or remove one of the two",
        "x.json: mcpServers.two: a second server is called `two`; the first is \
         x.json: mcpServers.two; rename or remove one of the two",
    ]);
    Folder::toml("[servers.a]\ncommand = 'x'\n[servers.a]\ncommand = 'y'\n").check_problems(&[
        "toolcell.toml:3:10: `servers.a` stands twice, first in line 1; keep one of the two",
    ]);
}

#[test]
fn servers_that_scripts_cannot_tell_apart_are_mentioned() {
    let config =
        Folder::toml("[servers.a-b]\ncommand = 'x'\n[servers.a_b]\ncommand = 'x'\n").load();
    assert_eq!(
        notices(&config),
        ["toolcell.toml:3:10: servers.a_b: `a_b` and `a-b` are both `a_b` in scripts, where that \
          means `a-b`; tools[\"a_b\"] reaches the other"]
    );
}

#[test]
fn secrets_appear_nowhere() {
    let folder = Folder::toml(
        "[servers.a]\nurl = 'http://x/?${TOKEN}\u{7f}\u{1}'\nheaders = { A = \"${TOKEN}\\n\", B = 's3cret-plain' }\n\
         [servers.b]\ncommand = 'x'\nenv = { K = ['s3cret-list'], L = 's3cret-plain' }\n",
    );
    let error = folder.load_file(None).expect_err("a refusal");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("s3cret"), "{text}");

    let folder = Folder::toml(
        "[servers.a]\nurl = 'http://x/'\nheaders = { A = '${TOKEN}', B = 's3cret-plain' }\n\
         [servers.b]\ncommand = 'x'\nenv = { L = 's3cret-plain' }\n",
    );
    let text = format!("{:?}", folder.load());
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn large_and_binary_files_are_refused() {
    let long = "#".repeat((MAX_FILE_BYTES + 1) as usize);
    Folder::toml(&long).check_problems(&["toolcell.toml: the file is larger than 1MiB"]);
    let exact = "#".repeat(MAX_FILE_BYTES as usize);
    assert!(Folder::toml(&exact).load().servers.is_empty());
    let folder = Folder::toml("");
    std::fs::write(folder.path("toolcell.toml"), b"\xff").expect("a file");
    folder.check_problems(&["toolcell.toml: the file is not UTF-8 text"]);
}

#[test]
fn deep_and_odd_files_do_no_harm() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a.{}b = 1", "b.".repeat(100_000)),
        "servers = 3".to_owned(),
        "[servers]\nx = []".to_owned(),
        "[[servers.x]]\n[[profiles]]".to_owned(),
        "limits = 2020-01-01".to_owned(),
        format!("[limits]\n{}", (0..500).map(|n| format!("x{n} = 1\n")).collect::<String>()),
    ] {
        Folder::toml(&text).load_file(None).expect_err("a refusal");
    }
    let json = format!("{{\"mcpServers\": {{\"x\": {}1", "[".repeat(100_000));
    let folder = Folder::new(&[("toolcell.toml", "mcp_config = 'x.json'"), ("x.json", &json)]);
    folder.load_file(None).expect_err("a refusal");
}

/// Lines of configurations, right and wrong, to be shuffled.
const LINES: [&str; 24] = [
    "[servers.a]",
    "[servers.ä]",
    "[servers.\"b.c\"]",
    "[[servers.a]]",
    "command = 'x'",
    "command = 3",
    "command.x = '${A'",
    "args = ['ö', '${B:-c}', 1]",
    "env = { K = 'v', K = 'w' }",
    "env.K = \"\\u0000\"",
    "url = 'http://ü'",
    "roots = { r = 3, s = '.' }",
    "builtin = 'files'",
    "[profiles.p]",
    "tools = ['a.*', '!', 'é']",
    "[[profiles.p.rules]]",
    "args.x = { one_of = [1, [2.5, { y = nan }]] }",
    "args = { '' = { equals = 1979-05-27 } }",
    "effect = 'deny'",
    "limits = { fuel = '1e9', memory = '1🦀' }",
    "[limits]",
    "deadline = 0x7fffffffffffffff",
    "= broken 'ß",
    "\u{feff}",
];

proptest! {
    #[test]
    fn no_file_makes_it_panic(
        lines in prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..16)
    ) {
        let text = lines.join("\n");
        let json = format!("{{\"mcpServers\": {{\"x\": {text:?} /* ü */ }} }}");
        let folder = Folder::new(&[("toolcell.toml", &text), ("x.json", &json), ("y.json", &text)]);
        for file in [None, Some("x.json"), Some("y.json")] {
            if let Err(error) = folder.load_file(file) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
