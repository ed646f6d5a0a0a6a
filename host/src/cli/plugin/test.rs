//! `toolcell plugin test`: a project's tests, in the real host. The plugin runs in the real sandbox,
//! its calls go through the real broker; what answers them is a recording, or with `--real` the servers
//! of the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::json;
use toolcell::Host;
use toolcell::config::Config;
use toolcell::grants::{Pattern, Policy};
use toolcell::ids::{CallId, RunId, ToolName};
use toolcell::journal::{Entry, EntryKind, JournalError, JournalStore};
use toolcell::limits::Limits;
use toolcell::plugins::EmbeddedPlugin;
use toolcell::plugins::build::Project;
use toolcell::plugins::cases::{
    self, Case, CaseCall, CaseTool, MAX_CASE_BYTES, MAX_TIME, RecordingFile,
};
use toolcell::plugins::installed::{read_component, write_whole};
use toolcell::plugins::settings::PluginSettings;
use toolcell::upstream::Caller;
use toolcell::upstream::recorded::Recording;

use super::args::TestArgs;
use super::count;
use crate::cli::args::Cli;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::setup;

/// The folder of the tests, and that of their recordings.
const TESTS: &str = "tests";
const RECORDED: &str = "recorded";

/// Room for a plugin that calls itself, and that plugin's instances.
const MAX_GUESTS: u32 = 16;

pub(super) async fn test(cli: &Cli, args: &TestArgs) -> Result<Exit, Failure> {
    let project = Project::open(&args.dir)?;
    let component = project.component();
    if !component.exists() {
        return Err(Failure::usage(format!(
            "{} is not built yet: run `toolcell plugin build {}`",
            component.display(),
            args.dir.display()
        )));
    }
    if is_stale(&project, &component) {
        eprintln!(
            "toolcell: the sources are newer than {}: what is tested is the last build",
            component.display()
        );
    }
    let tests = Tests {
        component: read_component(&component)?.into(),
        real: if args.real || args.record { Some(setup::config(cli)?) } else { None },
        cli,
        args,
        project,
    };
    let files = tests.files()?;
    let mut failed = 0;
    let mut shown = Vec::new();
    for file in &files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let complaints = tests.run(file, name).await?;
        failed += usize::from(!complaints.is_empty());
        if args.json {
            let ok = complaints.is_empty();
            shown.push(json!({ "name": name, "ok": ok, "complaints": complaints }));
            continue;
        }
        println!("{}  {name}", if complaints.is_empty() { "ok    " } else { "FAILED" });
        for complaint in complaints {
            println!("        {complaint}");
        }
    }
    if args.json {
        println!("{:#}", json!({ "ok": failed == 0, "tests": shown }));
    } else {
        println!("{}, {failed} failed", count(files.len(), "test"));
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

struct Tests<'a> {
    cli: &'a Cli,
    args: &'a TestArgs,
    project: Project,
    component: Arc<[u8]>,
    /// The configuration whose servers are called.
    real: Option<Config>,
}

impl Tests<'_> {
    fn folder(&self) -> PathBuf {
        self.project.folder.join(TESTS)
    }

    /// The tests, sorted by name.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.folder();
        let entries = std::fs::read_dir(&folder).map_err(|error| {
            Failure::usage(format!("the tests in {} cannot be read: {error}", folder.display()))
        })?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let is_case = path.extension().is_some_and(|kind| kind == "toml" || kind == "json");
                let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                is_case && self.args.only.as_deref().is_none_or(|only| name.contains(only))
            })
            .collect();
        files.sort();
        if files.is_empty() {
            return Err(Failure::usage(format!(
                "there is no test to run in {}: write one, as `toolcell plugin test --help` shows",
                folder.display()
            )));
        }
        Ok(files)
    }

    /// Runs one test, and says what is wrong.
    async fn run(&self, file: &Path, name: &str) -> Result<Vec<String>, Failure> {
        let case: Case = match read(file) {
            Ok(case) => case,
            Err(cause) => return Ok(vec![format!("{}: {cause}", file.display())]),
        };
        let recorded_file = self.folder().join(RECORDED).join(format!("{name}.json"));
        let recording = if self.real.is_some() {
            None
        } else {
            match self.recording(&case, &recorded_file) {
                Ok(recording) => Some(recording),
                Err(cause) => return Ok(vec![cause]),
            }
        };
        let policy = match policy(&case, &self.project) {
            Ok(policy) => policy,
            Err(cause) => return Ok(vec![cause]),
        };
        let journal = Arc::new(Keeping::default());
        let host = self.host(recording.as_ref(), policy, Arc::clone(&journal))?;
        let arguments = serde_json::Value::Object(case.arguments.clone()).to_string();
        let tool = format!("{}.{}", self.project.manifest.name, case.tool);
        let config = host.config();
        let everything = Config::default();
        // What the profiles of the configuration grant is another question.
        let profile = everything.profile(None).or_else(|_| config.profile(None))?;
        let call = host.call_tool(profile, &tool, &arguments);
        let answer = tokio::time::timeout(MAX_TIME, call).await;
        let mut complaints = match &answer {
            Ok(answer) => case.expect.complaints(answer),
            Err(_) => vec![format!("it did not end within {} s", MAX_TIME.as_secs())],
        };
        if let Some(recording) = &recording {
            let strays = recording.strays();
            complaints.extend(
                strays.iter().map(|stray| format!("it called {stray}, which is not recorded")),
            );
            let uncalled = recording.uncalled();
            complaints.extend(uncalled.iter().map(|call| format!("it did not call {call}")));
        }
        if self.args.record {
            let recorded = self.recorded(&host, &journal).await;
            let text = serde_json::to_string_pretty(&recorded)?;
            if let Some(folder) = recorded_file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            write_whole(&recorded_file, format!("{text}\n").as_bytes())?;
            setup::progress(&format!("wrote {}", recorded_file.display()));
        }
        host.close().await;
        Ok(complaints)
    }

    /// What the test says that the servers answer, or what was recorded for it.
    fn recording(&self, case: &Case, recorded_file: &Path) -> Result<Recording, String> {
        if case.calls.is_empty() && recorded_file.exists() {
            let file: RecordingFile = read(recorded_file)
                .map_err(|cause| format!("{}: {cause}", recorded_file.display()))?;
            return cases::recording(&file.tools, &file.calls);
        }
        cases::recording(&case.tools, &case.calls)
    }

    fn host(
        &self,
        recording: Option<&Recording>,
        policy: Policy,
        journal: Arc<Keeping>,
    ) -> Result<Host, Failure> {
        let name = &self.project.manifest.name;
        let mut config = self.real.clone().unwrap_or_default();
        if let Some(recording) = recording {
            config.servers = recording.servers();
        }
        // The one that is installed under this name is not the one that is tested.
        config.plugins.named.shift_remove(name);
        let settings = PluginSettings {
            policy,
            questions: self.project.manifest.asks.questions,
            ..PluginSettings::new(name.clone(), Limits::default())
        };
        let builder = setup::builder_of(self.cli, config, 0, MAX_GUESTS)?;
        let builder = builder.plugin(EmbeddedPlugin::new(settings, Arc::clone(&self.component)));
        Ok(builder.journal(journal).build_lazily()?)
    }

    /// What the plugin called, what came of it, and what it may call.
    async fn recorded(&self, host: &Host, journal: &Keeping) -> RecordingFile {
        let policy = self.project.manifest.asks.policy();
        let mut tools = IndexMap::new();
        let access = host.upstreams().access(Caller::anonymous());
        for server in host.upstreams().names() {
            if !policy.may_grant_server(server.as_str()) {
                continue;
            }
            let Ok(catalog) = access.catalog(&server).await else { continue };
            for tool in catalog.tools.iter().filter(|tool| policy.grants(&tool.name)) {
                let described = CaseTool {
                    description: tool.description.clone(),
                    input_schema: Some((*tool.input_schema).clone()),
                    output_schema: tool.output_schema.as_deref().cloned(),
                };
                tools.insert(tool.name.to_string(), described);
            }
        }
        RecordingFile { tools, calls: journal.calls(self.project.manifest.name.as_str()) }
    }
}

/// What is granted: what the test says, or all that the plugin asks for.
fn policy(case: &Case, project: &Project) -> Result<Policy, String> {
    let Some(granted) = &case.granted else { return Ok(project.manifest.asks.policy()) };
    let patterns = granted
        .iter()
        .map(|text| text.parse::<Pattern>().map_err(|error| format!("granted: {text:?}: {error}")));
    Ok(Policy::new(patterns.collect::<Result<_, _>>()?, Vec::new()))
}

/// Reads a test or a recording.
fn read<T: for<'de> serde::Deserialize<'de>>(path: &Path) -> Result<T, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(MAX_CASE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_CASE_BYTES {
        return Err(format!("it is larger than {} MiB", MAX_CASE_BYTES >> 20));
    }
    cases::parse(&text, path.extension().is_some_and(|kind| kind == "json"))
}

/// Whether a source was changed after the last build.
fn is_stale(project: &Project, component: &Path) -> bool {
    const NO_SOURCES: [&str; 7] =
        ["dist", "target", "tests", "node_modules", "__pycache__", "venv", "typings"];
    fn newest(folder: &Path, depth: usize) -> Option<SystemTime> {
        let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
        let entries = entries.filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            !name.starts_with('.') && !NO_SOURCES.contains(&&*name) && !name.ends_with(".md")
        });
        let times = entries.filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            match metadata.is_dir() {
                true if depth > 0 => newest(&entry.path(), depth - 1),
                true => None,
                // Cargo writes it while it builds.
                false if entry.file_name() == "Cargo.lock" => None,
                false => metadata.modified().ok(),
            }
        });
        times.max()
    }
    let built = std::fs::metadata(component).and_then(|metadata| metadata.modified()).ok();
    newest(&project.folder, 8).zip(built).is_some_and(|(source, built)| source > built)
}

/// Keeps all records of one test.
#[derive(Default)]
struct Keeping {
    entries: Mutex<Vec<(RunId, Entry)>>,
}

impl Keeping {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(RunId, Entry)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls of the plugin itself, in their order, with their answers.
    fn calls(&self, plugin: &str) -> Vec<CaseCall> {
        let entries = self.lock();
        let mut answers = BTreeMap::new();
        for (run, entry) in entries.iter() {
            if let EntryKind::Completed { call, answer } = &entry.kind {
                answers.insert((run.to_string(), *call), Arc::clone(answer));
            }
        }
        let requested = entries.iter().filter_map(|(run, entry)| {
            let EntryKind::Requested { call, tool, arguments, method, .. } = &entry.kind else {
                return None;
            };
            // The test's own call of the plugin is no call of the plugin.
            let own = ToolName::parse(tool)?.upstream.as_str() == plugin && *call == CallId(1);
            let answer = answers.get(&(run.to_string(), *call))?;
            (method.is_tool() && !own).then(|| cases::recorded(tool, arguments, answer))
        });
        requested.collect()
    }
}

#[async_trait]
impl JournalStore for Keeping {
    async fn append(&self, run: &RunId, entry: Entry) -> Result<(), JournalError> {
        self.lock().push((run.clone(), entry));
        Ok(())
    }

    async fn entries(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        let entries = self.lock();
        let of_run = entries.iter().filter(|(other, _)| other == run);
        Ok(of_run.map(|(_, entry)| entry.clone()).collect())
    }
}
