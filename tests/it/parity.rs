//! One aggregator as a Python script, a TypeScript script and a plugin in Rust (`plugins/briefing/`):
//! the same answer, the same calls in the record, and the same refusals.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;
use toolcell::ids::RunId;
use toolcell::journal::{Entry, EntryKind, JournalError, JournalStore};
use toolcell::{Host, Script};
use toolcell_tests::examples;
use toolcell_tests::fixtures::{self, corpus};

use crate::hosts::{block_on, cache_folder, value};

/// Keeps every run's record, in the order in which it was written.
#[derive(Default)]
struct Recorder(Mutex<Vec<(RunId, Entry)>>);

#[async_trait]
impl JournalStore for Recorder {
    async fn append(&self, run: &RunId, entry: Entry) -> Result<(), JournalError> {
        self.0.lock().expect("no writer panics").push((run.clone(), entry));
        Ok(())
    }

    async fn entries(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        let all = self.0.lock().expect("no writer panics");
        Ok(all.iter().filter(|(of, _)| of == run).map(|(_, entry)| entry.clone()).collect())
    }
}

impl Recorder {
    /// The calls since the last look, in the order in which they were asked for: tool, arguments or
    /// the refusal's kind, and what came back. A call of the plugin itself is not one of its own.
    fn calls(&self) -> Vec<Value> {
        let entries = std::mem::take(&mut *self.0.lock().expect("no writer panics"));
        let mut calls: Vec<(RunId, Value, Value)> = Vec::new();
        for (run, Entry { kind, .. }) in entries {
            match kind {
                EntryKind::Requested { call, tool, arguments, .. } => {
                    let arguments: Value = serde_json::from_str(&arguments).expect("JSON");
                    let made = json!({ "tool": tool, "arguments": arguments });
                    calls.push((run, json!(call.0), made));
                }
                EntryKind::Refused { call, tool, kind } => {
                    let made = json!({ "tool": tool, "refused": kind });
                    calls.push((run, json!(call.0), made));
                }
                EntryKind::Completed { call, answer } => {
                    let id = json!(call.0);
                    let made = calls.iter_mut().find(|(of, known, _)| (of, known) == (&run, &id));
                    let (.., made) = made.expect("what is completed was asked for");
                    made["answer"] = match &*answer {
                        Ok(output) => json!(format!("{:?}", output.content)),
                        Err(error) => json!([error.kind(), error.message()]),
                    };
                }
                EntryKind::Cancelled { call } => {
                    let id = json!(call.0);
                    let made = calls.iter_mut().find(|(of, known, _)| (of, known) == (&run, &id));
                    made.expect("what is cancelled was asked for").2["answer"] = json!("cancelled");
                }
                _ => {}
            }
        }
        // Calls that are started together are written down as they come; their numbers are in order.
        calls.sort_by_key(|(_, id, _)| id.as_u64());
        let made = calls.into_iter().map(|(.., made)| made);
        made.filter(|made| made["tool"] != "briefing.briefing").collect()
    }
}

/// A host with search servers, of which one is down, one hangs and one is not granted.
struct Library {
    host: Host,
    recorder: Arc<Recorder>,
    _folder: TempDir,
}

impl Library {
    fn open() -> Self {
        let folder = TempDir::with_prefix("toolcell-parity-").expect("a temporary folder");
        let hanging = folder.path().join("hanging.jsonl");
        assert!(Command::new("mkfifo").arg(&hanging).status().expect("mkfifo starts").success());
        let servers = ["papers", "wiki", "notes"]
            .map(|name| fixtures::search(&corpus(name)).toml(name))
            .concat();
        let toml = servers
            + &fixtures::search(&corpus("notes")).toml("private")
            + &fixtures::search(&hanging).toml("hanging")
            + "[servers.down]\ncommand = \"/no/such/program\"\n\
               [plugins.briefing]\ntools = [\"*.search\"]\n\
               [profiles.p]\ntools = [\"*.*\", \"!private.*\"]\n";
        let file = folder.path().join("toolcell.toml");
        fs::write(&file, toml).expect("a temporary file can be written");
        examples::install("briefing", folder.path());
        let recorder = Arc::new(Recorder::default());
        let host =
            Host::builder().config_file(file).cache_folder(cache_folder()).ready_instances(0);
        let host =
            block_on(host.journal(Arc::clone(&recorder) as _).build()).expect("a host starts");
        // From here on every server is there, and time-outs are about answers.
        let library = Self { host, recorder, _folder: folder };
        let greeting = "[tools[name].search(query='x') for name in ['papers', 'wiki', 'notes']]";
        library.run(Script::python(greeting));
        library
    }

    /// The value of a run, and its calls.
    #[track_caller]
    fn run(&self, script: Script) -> (Value, Vec<Value>) {
        let report = block_on(self.host.run(script)).expect("the run starts");
        let calls = self.recorder.calls().iter().map(without_hint).collect();
        (without_hint(&value(&report)), calls)
    }
}

/// The same without what is suggested in place of a tool that is not there. That depends on the lists of
/// tools that a run has had by then, and of calls that are made at once any may be the first to get one.
fn without_hint(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let hint = [" (nearest granted: ", " (granted servers: "];
            let at = hint.iter().find_map(|hint| text.find(hint));
            at.map_or_else(|| value.clone(), |at| text[..at].into())
        }
        Value::Array(items) => items.iter().map(without_hint).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), without_hint(value)));
            members.collect::<serde_json::Map<_, _>>().into()
        }
        _ => value.clone(),
    }
}

fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/briefing").join(name);
    fs::read_to_string(path).expect("the example is there")
}

#[test]
fn a_python_script_a_typescript_script_and_a_rust_plugin_are_one_program() {
    let library = Library::open();
    for (sources, fallbacks) in [
        (json!(["papers.search", "wiki.search", "notes.search"]), json!({})),
        (
            json!(["papers.search", "down.search", "wiki.search"]),
            json!({ "down.search": "notes.search" }),
        ),
        // What is not granted to the profile, what is not there, and what does not answer.
        (
            json!(["private.search", "papers.search", "hanging.search", "papers.none"]),
            json!({ "private.search": "wiki.search" }),
        ),
    ] {
        let question = json!({
            "question": "webassembly sandbox",
            "sources": sources,
            "fallbacks": fallbacks,
            "timeout_ms": 3000,
        });
        let python = Script::python(source("briefing.py")).name("briefing.py");
        let (answer, calls) = library.run(python.input(question.clone()));
        assert!(!answer["hits"].as_array().expect("a list").is_empty(), "{answer:#}");
        if sources[0] == "private.search" {
            let failures = answer["failures"].as_array().expect("a list");
            let kinds: Vec<&Value> = failures.iter().map(|failure| &failure["kind"]).collect();
            assert_eq!(kinds, ["unknown-tool", "timed-out", "unknown-tool"], "{answer:#}");
        }

        let typescript = Script::javascript(source("briefing.ts")).name("briefing.ts");
        let (theirs, their_calls) = library.run(typescript.input(question.clone()));
        assert_eq!(theirs, answer, "TypeScript: {sources}");
        assert_eq!(their_calls, calls, "TypeScript: {sources}");

        let plugin = Script::python("from tools import briefing\nbriefing.briefing(inputs)");
        let (theirs, their_calls) = library.run(plugin.input(question));
        assert_eq!(theirs, answer, "the plugin: {sources}");
        assert_eq!(their_calls, calls, "the plugin: {sources}");
    }
    block_on(library.host.close());
}
