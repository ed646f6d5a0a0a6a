//! Plugins that are added, replaced and taken away while `toolcell serve` serves: its clients hear of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use toolcell::plugins::signature::{SigningKey, sign_blob};
use toolcell_tests::guests::guest;
use toolcell_tests::serving::{Stream, call};
use toolcell_tests::{Cli, Serving, wait_until};

use crate::plugins_isolation::{install, install_as};

const PATIENCE: Duration = Duration::from_secs(60);

const CHANGED: &str = "notifications/tools/list_changed";

/// Serves what is in the folder of this configuration.
fn serving(toml: &str, prepare: impl FnOnce(&Path)) -> Serving {
    let cli = Cli::new("serve").config(toml);
    prepare(cli.folder());
    Serving::of(cli)
}

/// Puts a file in the place of another, as `toolcell plugin add` does: as a whole.
fn put(folder: &Path, name: &str, of: &str) {
    let (aside, file) = (folder.join("aside"), folder.join(format!("plugins/{name}.wasm")));
    fs::copy(guest(of), &aside).expect("a file can be copied");
    fs::rename(&aside, &file).expect("a file can be moved");
}

/// A client of the older era, with the stream on which it hears of things.
struct Listener<'a> {
    serving: &'a Serving,
    session: String,
    standing: Stream,
}

impl<'a> Listener<'a> {
    #[track_caller]
    fn of(serving: &'a Serving) -> Self {
        let session = serving.initialize();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(serving.in_session(&session, &initialized).send().status, 202);
        let standing = serving.request("GET", "/mcp").header("Accept", "text/event-stream");
        let standing = standing.header("Mcp-Session-Id", &session).open();
        Self { serving, session, standing }
    }

    #[track_caller]
    fn ask(&self, method: &str, params: &Value) -> Value {
        self.serving.in_session(&self.session, &call(7, method, params)).send().json()
    }

    #[track_caller]
    fn tools(&self) -> Vec<String> {
        names(&self.ask("tools/list", &json!({})))
    }

    /// Waits until it is told that the list of tools is another one.
    #[track_caller]
    fn hears(&mut self) {
        hears(&mut self.standing);
    }
}

#[track_caller]
fn names(listed: &Value) -> Vec<String> {
    let tools = listed["result"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("no tools: {listed}")).iter();
    tools.filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect()
}

#[track_caller]
fn hears(stream: &mut Stream) -> Value {
    loop {
        let (_, message) = stream.message().expect("the stream stands");
        if message["method"] == CHANGED {
            return message;
        }
    }
}

fn has(tools: &[String], name: &str) -> bool {
    tools.iter().any(|tool| tool == name)
}

#[test]
fn a_client_hears_of_plugins_that_are_added_replaced_and_removed() {
    let serving = serving("", |_| ());
    let folder = serving.process().folder().to_owned();
    let mut client = Listener::of(&serving);
    let begun = serving.post(&toolcell_tests::serving::initialize("2025-11-25")).send().json();
    assert_eq!(begun["result"]["capabilities"]["tools"]["listChanged"], true, "{begun}");
    let tools = client.tools();
    assert!(has(&tools, "run_python") && !has(&tools, "mine_fine"), "{tools:?}");

    install_as(&folder, "mine", "trapper", &[]);
    client.hears();
    assert!(has(&client.tools(), "mine_fine"), "it was added: {:?}", client.tools());

    put(&folder, "mine", "state");
    client.hears();
    let tools = client.tools();
    assert!(has(&tools, "mine_count") && !has(&tools, "mine_fine"), "replaced: {tools:?}");
    let counted = client.ask("tools/call", &json!({ "name": "mine_count", "arguments": {} }));
    assert_eq!(counted["result"]["content"][0]["text"], "1", "{counted}");

    fs::remove_file(folder.join("plugins/mine.wasm")).expect("can be removed");
    client.hears();
    assert!(!has(&client.tools(), "mine_count"), "removed: {:?}", client.tools());
}

#[test]
fn a_modern_client_hears_of_plugins_where_it_listens() {
    let serving = serving("", |folder| install(folder, "trapper", &[]));
    let wanted = json!({ "notifications": {
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
    } });
    let mut listening = serving.modern("subscriptions/listen", &wanted).open();
    let (_, told) = listening.message().expect("it is acknowledged");
    assert_eq!(told["method"], "notifications/subscriptions/acknowledged", "{told}");
    let agreed = &told["params"]["notifications"];
    assert_eq!(*agreed, json!({ "toolsListChanged": true }), "there is nothing else to hear of");
    put(serving.process().folder(), "trapper", "state");
    hears(&mut listening);
    let tools = names(&serving.modern("tools/list", &json!({})).send().json());
    assert!(has(&tools, "trapper_count") && !has(&tools, "trapper_fine"), "{tools:?}");
}

#[test]
fn a_plugin_that_is_no_longer_signed_with_the_operators_key_is_gone_at_once() {
    let key = || SigningKey::generate().expect("there is randomness").0;
    let (author, other) = (key(), key());
    let toml = "[plugins.trapper]\nsigned_by = \"author.pub\"\n";
    let serving = serving(toml, |folder| {
        install(folder, "trapper", &[]);
        let wasm = fs::read(guest("trapper")).expect("can be read");
        let signature = sign_blob(&author, &wasm).expect("there is randomness");
        fs::write(folder.join("plugins/trapper.wasm.sig"), signature).expect("can be written");
        fs::write(folder.join("author.pub"), author.public().to_pem()).expect("can be written");
    });
    let client = Listener::of(&serving);
    let fine = || client.ask("tools/call", &json!({ "name": "trapper_fine", "arguments": {} }));
    assert_eq!(fine()["result"]["content"][0]["text"], "fine", "{}", fine());
    let file = serving.process().folder().join("author.pub");
    fs::write(file, other.public().to_pem()).expect("can be written");
    wait_until(PATIENCE, "the plugin is refused", || fine()["result"]["isError"] != false);
    assert!(fine().to_string().contains("is not signed with"), "{}", fine());
}
