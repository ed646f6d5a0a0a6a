//! A plugin that tells all that it can see, beside servers whose credentials are the host's: none of them
//! reaches it, and so none is in its answers, failures and last words, in reports, logs or the journal.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use toolcell::journal::{JournalStore, MemoryStore};
use toolcell::{Host, Script};
use toolcell_tests::faulty::{Faulty, Wire};
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{Cli, Server, fixtures};

use crate::hosts::{block_on, cache_folder};
use crate::plugins_isolation::install;

const TOKEN: &str = "bearer-hunter2-correct-horse";
const SECRET: &str = "env-battery-staple-5ecret";

/// Servers with a bearer token and with a secret in their environment; some of them fail.
fn servers(web: &Faulty, token: &str, secret: &str) -> String {
    let bearer = format!("headers = {{ Authorization = \"Bearer {token}\" }}");
    Server::http(web.url()).setting(&bearer).toml("web")
        + &Server::http("http://127.0.0.1:9/mcp").setting(&bearer).toml("gone")
        + &fixtures::misbehaving("ok").env("MISBEHAVING_SECRET", secret).toml("well")
        + &fixtures::misbehaving("leaks-secret").env("MISBEHAVING_SECRET", secret).toml("leaky")
        + "[plugins.snoop]\ntools = [\"web.*\", \"gone.*\", \"well.*\", \"leaky.*\"]\n"
}

fn prepare(folder: &Path) {
    install(folder, "snoop", &["web.*", "gone.*", "well.*", "leaky.*"]);
}

/// Where a secret could lie.
fn arguments(folder: &Path) -> Value {
    let paths = [".", "/", "toolcell.toml", "/proc/self/environ", "/proc/1/environ", "/etc/passwd"];
    let config = folder.join("toolcell.toml");
    let mut paths: Vec<_> = paths.map(str::to_owned).into();
    paths.extend([config.display().to_string(), folder.display().to_string()]);
    json!({ "paths": paths, "orders": [
        { "tool": "web.ask" },
        { "tool": "gone.any" },
        { "tool": "well.echo", "arguments": { "text": "Authorization" } },
        { "tool": "well.fail", "arguments": { "message": "no" } },
        { "tool": "leaky.exit" },
        { "tool": "nowhere.any" },
    ]})
}

const SCRIPT: &str = "from tools import snoop
for how in ('look', 'fail', 'panic'):
    try:
        print(getattr(snoop, how)(**inputs))
    except Exception as error:
        print(repr(error), vars(error))
snoop.look(**inputs)";

#[track_caller]
fn is_clean(what: &str, text: &str) {
    for secret in [TOKEN, SECRET] {
        assert!(!text.contains(secret), "{what} has {secret}:\n{text}");
    }
}

#[test]
fn what_a_plugin_sees_and_says_holds_no_credential() {
    let web = Faulty::start(Wire::Http, Eras::Legacy);
    for json in [true, false] {
        let toml = servers(&web, "${THE_TOKEN}", "${THE_SECRET}");
        let cli = Cli::new("run").config(&toml);
        prepare(cli.folder());
        let cli =
            cli.env("THE_TOKEN", TOKEN).env("THE_SECRET", SECRET).env("TOOLCELL_LOG", "trace");
        let inputs = arguments(cli.folder()).to_string();
        let cli = if json { cli.arg("--json") } else { cli };
        let ended = cli.args(["--input", &inputs, "-c", SCRIPT]).run().success();
        is_clean("stdout", &ended.stdout);
        is_clean("stderr", &ended.stderr);
        // It looked, was answered, and what it said was heard: the test would see a leak.
        for seen in ["environment", "well", "refused", "Authorization", "/proc/1/environ"] {
            assert!(ended.stdout.contains(seen), "{seen}: {ended}");
        }
        assert!(ended.stderr.len() > 100, "{ended}");
    }
    // The token did go to the server that it is for.
    let headers = format!("{:?}", web.seen());
    assert!(headers.contains(TOKEN), "{headers}");
}

#[test]
fn nothing_of_a_credential_is_in_the_record_of_a_plugin() {
    let web = Faulty::start(Wire::Http, Eras::Legacy);
    let folder = TempDir::new().expect("a temporary folder");
    prepare(folder.path());
    let file = folder.path().join("toolcell.toml");
    // As they stand in the file, which the plugin asks for, too.
    fs::write(&file, servers(&web, TOKEN, SECRET)).expect("can be written");
    let store = Arc::new(MemoryStore::default());
    let journal: Arc<dyn JournalStore> = store.clone();
    let builder = Host::builder().config_file(file).cache_folder(cache_folder());
    let host =
        block_on(builder.journal(journal).ready_instances(0).build()).expect("a host starts");
    let script = Script::python(SCRIPT).input(arguments(folder.path()));
    let report = block_on(host.run(script)).expect("it runs");
    assert!(report.ok, "{report:#?}");
    is_clean("the report", &format!("{report:?}"));
    let mut records = 0;
    let nested = report.calls.iter().filter_map(|call| call.run.clone());
    for run in nested.chain([report.run.clone()]) {
        let entries = block_on(store.entries(&run)).expect("it has a record");
        let text = format!("{entries:?}");
        assert!(text.contains("snoop"), "{text}");
        is_clean("the journal", &text);
        records += 1;
    }
    assert_eq!(records, 5, "the script's, and one for each call of the plugin");
    block_on(host.close());
}
