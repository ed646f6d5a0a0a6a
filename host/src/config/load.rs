//! Finds the configuration file, reads it and what it includes, and checks the whole.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::document::Document;
use super::env::{Lookup, TOOLCELL_CONFIG};
use super::error::{ConfigError, KeyPath, Notice, Place, Problem, Problems, Step};
use super::findings::{Findings, suggestion};
use super::json::{self, Imported};
use super::monitor::{self, MonitorSettings};
use super::node::{Misfit, MisfitKind};
use super::plugins::{self, FoundPlugins};
use super::profiles::{self, Profiles, ServerNames};
use super::providers::{FileState, Providers};
use super::resolved::{Config, ProfileName, ServerSource};
use super::servers;
use super::serving;
use super::surroundings::{Origin, Surroundings};
use super::written::{Template, WrittenConfig, WrittenHints, WrittenServer};
use crate::ids::ToolName;
use crate::plugins::settings::PluginsSettings;
use crate::server::settings::ServerSettings;
use crate::stubs::identifiers::identifier;
use crate::upstream::settings::UpstreamSettings;

/// The largest configuration file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the configuration: `explicit` (the file of `--config`) if there is one, else the file
/// that the environment names, else `toolcell.toml` in `cwd`, else none, which is no mistake.
///
/// # Errors
/// The file cannot be read, or something is wrong with it or with a file that it includes; then
/// everything that is wrong is told at once.
pub fn load(
    explicit: Option<&Path>,
    cwd: &Path,
    lookup: &Lookup<'_>,
) -> Result<Config, ConfigError> {
    load_watched(explicit, cwd, lookup).0
}

/// As [`load`], with all files that the result depends on, whether there is one or not.
pub(super) fn load_watched(
    explicit: Option<&Path>,
    cwd: &Path,
    lookup: &Lookup<'_>,
) -> (Result<Config, ConfigError>, Vec<FileState>) {
    let providers = Providers::default();
    let result = load_with(explicit, cwd, lookup, &providers);
    (result, providers.into_files())
}

fn load_with(
    explicit: Option<&Path>,
    cwd: &Path,
    lookup: &Lookup<'_>,
    providers: &Providers,
) -> Result<Config, ConfigError> {
    let named = explicit.map(Path::to_owned).or_else(|| {
        let named = lookup(TOOLCELL_CONFIG).filter(|path| !path.is_empty());
        named.map(PathBuf::from)
    });
    let mut loading = Loading::new(cwd, lookup, providers);
    let is_named = named.is_some();
    let path = cwd.join(named.unwrap_or_else(|| "toolcell.toml".into()));
    if !is_named && !path.exists() {
        // Taken note of, so that it is noticed when it comes.
        let _ = providers.read(&path);
        loading.mention_foreign_file();
        return loading.finish(&WrittenConfig::default(), None);
    }
    let text = match read(&path, providers) {
        Ok(text) => text,
        Err(Unread::Io(source)) => return Err(ConfigError::Read { path, source }),
        Err(Unread::Problem(cause)) => {
            let place = Place::file(loading.shown(&path));
            return Err(Problems::one(Problem { place, cause, way_out: None }).into());
        }
    };
    loading.sources.push(path.clone());
    let is_json =
        path.extension().is_some_and(|extension| extension == "json" || extension == "jsonc");
    if is_json {
        loading.json(&path, &text);
        loading.finish(&WrittenConfig::default(), None)
    } else {
        loading.toml(&path, &text)
    }
}

/// A server, as it is used and as it stands in a file.
pub(super) struct FoundServer {
    pub(super) settings: UpstreamSettings,
    pub(super) source: ServerSource,
}

/// What was found so far.
struct Loading<'a> {
    cwd: &'a Path,
    lookup: &'a Lookup<'a>,
    providers: &'a Providers,
    servers: Vec<FoundServer>,
    skipped: Vec<String>,
    monitor: MonitorSettings,
    server: ServerSettings,
    plugins: Option<FoundPlugins>,
    sources: Vec<PathBuf>,
    problems: Vec<Problem>,
    notices: Vec<Notice>,
}

impl<'a> Loading<'a> {
    fn new(cwd: &'a Path, lookup: &'a Lookup<'a>, providers: &'a Providers) -> Self {
        Self {
            cwd,
            lookup,
            providers,
            servers: Vec::new(),
            skipped: Vec::new(),
            monitor: MonitorSettings::default(),
            server: ServerSettings::default(),
            plugins: None,
            sources: Vec::new(),
            problems: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// A path as errors show it: short if it lies below the working directory.
    fn shown<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(self.cwd).unwrap_or(path)
    }

    fn mention_foreign_file(&mut self) {
        let name = Path::new(".mcp.json");
        if self.cwd.join(name).exists() {
            let text =
                "the file is not read unless it is named: give --config .mcp.json".to_owned();
            self.notices.push(Notice { place: Place::file(name), text });
        }
    }

    fn toml(mut self, path: &Path, text: &str) -> Result<Config, ConfigError> {
        let shown = self.shown(path).to_owned();
        let document = match Document::parse(&shown, text) {
            Ok(document) => document,
            Err(problems) => {
                self.problems = problems;
                return self.finish(&WrittenConfig::default(), None);
            }
        };
        let mut findings = Findings::new(&shown, |path| document.position(path));
        let (mut written, misfits) = document.read::<WrittenConfig>();
        for (path, misfit) in &misfits {
            report_misfit(path, misfit, &mut findings);
        }
        let folder = path.parent().unwrap_or(self.cwd).to_owned();
        let surroundings = self.surroundings(&folder, Origin::Own);
        let servers_path = KeyPath::of(["servers"]);
        let profiles: Vec<&str> = match written.profiles.is_empty() {
            true => vec![ProfileName::DEFAULT],
            false => written.profiles.keys().map(String::as_str).collect(),
        };
        surroundings.providers.prepare(|| {
            let mut unused = Findings::new(&shown, |_| None);
            for (name, server) in &written.servers {
                let path = servers_path.key(name);
                servers::resolve(name, server, &path, &surroundings, &mut unused);
            }
            monitor::resolve(&written.monitor, &surroundings, &mut unused);
            serving::resolve(&written.server, &profiles, &surroundings, &mut unused);
        });
        self.monitor = monitor::resolve(&written.monitor, &surroundings, &mut findings);
        self.server = serving::resolve(&written.server, &profiles, &surroundings, &mut findings);
        let surroundings = self.surroundings(&folder, Origin::Own);
        for (name, server) in std::mem::take(&mut written.servers) {
            let path = servers_path.key(&name);
            let settings = servers::resolve(&name, &server, &path, &surroundings, &mut findings);
            if let Some(settings) = settings {
                let place = findings.place(&path);
                let source = ServerSource { place, written: server.into() };
                self.servers.push(FoundServer { settings, source });
            } else {
                // It has problems of its own; patterns that name it are right all the same.
                self.skipped.push(name);
            }
        }
        let included = written.mcp_config.iter().map(|file| (KeyPath::of(["mcp_config"]), file));
        let more_path = KeyPath::of(["include_mcp_servers"]);
        let more = written.include_mcp_servers.iter().enumerate();
        let more = more.map(|(nth, file)| (more_path.index(nth), file));
        self.plugins = Some(plugins::find(&written, &surroundings, &mut findings));
        for (path, file) in included.chain(more) {
            self.include(file, &path, &surroundings, &mut findings);
        }
        self.finish(&written, Some(findings))
    }

    fn surroundings<'f>(&self, folder: &'f Path, origin: Origin) -> Surroundings<'f>
    where
        'a: 'f,
    {
        Surroundings {
            folder,
            lookup: self.lookup,
            origin,
            providers: self.providers,
            probe_interval: Some(self.monitor.interval),
        }
    }

    fn include(
        &mut self,
        file: &Template,
        path: &KeyPath,
        surroundings: &Surroundings<'_>,
        findings: &mut Findings<'_>,
    ) {
        let Some(file) = surroundings.path(file, path, findings) else { return };
        match read(&file, self.providers) {
            Ok(text) => {
                self.sources.push(file.clone());
                self.json(&file, &text);
            }
            Err(unread) => {
                let reason = match unread {
                    Unread::Io(error) => error.to_string(),
                    Unread::Problem(reason) => reason,
                };
                let shown = self.shown(&file).display().to_string();
                findings.problem(path, format!("{shown} cannot be read: {reason}"));
            }
        }
    }

    fn json(&mut self, path: &Path, text: &str) {
        let folder = path.parent().unwrap_or(self.cwd);
        let surroundings = self.surroundings(folder, Origin::Foreign);
        let shown = self.shown(path).to_owned();
        let Imported { servers, skipped, problems, notices } =
            json::import(&shown, text, &surroundings);
        self.servers.extend(servers);
        self.skipped.extend(skipped);
        self.problems.extend(problems);
        self.notices.extend(notices);
    }

    /// Checks what only the whole can tell.
    fn finish(
        mut self,
        written: &WrittenConfig,
        findings: Option<Findings<'_>>,
    ) -> Result<Config, ConfigError> {
        let mut findings = findings.unwrap_or_else(|| Findings::new(Path::new(""), |_| None));
        let found = self.plugins.take();
        let servers = ServerNames {
            configured: self.servers.iter().map(|server| server.settings.name.as_str()).collect(),
            skipped: self.skipped.iter().map(String::as_str).collect(),
            plugins: found.as_ref().map(|found| found.names(written)).unwrap_or_default(),
        };
        let (profiles, default_profile): Profiles =
            profiles::resolve(written, &servers, &mut findings);
        for server in &self.servers {
            check_fallbacks(&server.source, &servers, &mut findings);
        }
        let plugins = match &found {
            None => PluginsSettings::default(),
            Some(found) => {
                let configured: Vec<(&str, &Place)> = self
                    .servers
                    .iter()
                    .map(|server| (server.settings.name.as_str(), &server.source.place))
                    .collect();
                plugins::resolve(written, found, &servers, &configured, &mut findings)
            }
        };
        self.compare_names();
        findings
            .problems
            .sort_by_key(|problem| problem.place.position.map(|at| (at.line, at.column)));
        findings.problems.append(&mut self.problems);
        Problems::check(findings.problems)?;
        findings.notices.append(&mut self.notices);
        let servers = self.servers.into_iter().map(|server| (server.settings, server.source));
        let (servers, server_sources) = servers.unzip();
        Ok(Config {
            servers,
            server_sources,
            profiles,
            default_profile,
            monitor: self.monitor,
            plugins,
            server: self.server,
            sources: self.sources,
            notices: findings.notices,
        })
    }

    /// Refuses servers of one name, and mentions those whose names scripts cannot tell apart.
    fn compare_names(&mut self) {
        let mut names: HashMap<&str, &Place> = HashMap::new();
        let mut identifiers: HashMap<String, &str> = HashMap::new();
        for FoundServer { settings, source } in &self.servers {
            let (name, place) = (settings.name.as_str(), &source.place);
            if let Some(first) = names.get(name) {
                let cause = format!("a second server is called `{name}`; the first is {first}");
                let way_out = Some("rename or remove one of the two".to_owned());
                self.problems.push(Problem { place: place.clone(), cause, way_out });
                continue;
            }
            names.insert(name, place);
            let identifier = identifier(name);
            match identifiers.get(&identifier) {
                Some(first) => {
                    let text = format!(
                        "`{name}` and `{first}` are both `{identifier}` in scripts, where that \
                         means `{first}`; tools[\"{name}\"] reaches the other"
                    );
                    self.notices.push(Notice { place: place.clone(), text });
                }
                None => {
                    identifiers.insert(identifier, name);
                }
            }
        }
    }
}

/// A tool to use instead must be one of a server that there is.
fn check_fallbacks(source: &ServerSource, servers: &ServerNames<'_>, findings: &mut Findings<'_>) {
    let WrittenServer { hints, tools, .. } = &*source.written;
    let path = &source.place.path;
    let of_tools = tools.iter().flatten().filter_map(|(name, tool)| {
        Some((path.key("tools").key(name).key("hints"), tool.hints.as_ref()?))
    });
    let of_server = hints.iter().map(|hints| (path.key("hints"), hints));
    for (path, WrittenHints { fallback, .. }) in of_server.chain(of_tools) {
        let Some(tool) = fallback.as_deref().and_then(ToolName::parse) else { continue };
        let names = servers.names();
        let server = tool.upstream.as_str();
        if !names.clone().any(|name| name == server) {
            let cause = format!("no server is called `{server}`");
            findings.problem_with(&path.key("fallback"), cause, suggestion(server, names));
        }
    }
}

fn report_misfit(path: &KeyPath, misfit: &Misfit, findings: &mut Findings<'_>) {
    match &misfit.kind {
        MisfitKind::Other(cause) => findings.problem(path, cause),
        MisfitKind::UnknownWord { word, known } => {
            let way_out = suggestion(word, known.iter().copied());
            findings.problem_with(path, misfit, way_out);
        }
        MisfitKind::UnknownKey { known } => {
            let Some((Step::Key(key), table)) = path.0.split_last() else {
                findings.problem(path, misfit);
                return;
            };
            let table = KeyPath(table.to_vec());
            let place = if table.0.is_empty() { String::new() } else { format!(" in {table}") };
            let cause = format!("unknown key `{}`{place}", key.escape_debug());
            let mut way_out = suggestion(key, known.iter().copied());
            // `server` is how toolcell serves, one letter away from the servers that it calls.
            if table == KeyPath::of(["server"]) {
                way_out = format!(
                    "an MCP server to call is [servers.{}]; here {way_out}",
                    key.escape_debug()
                );
            }
            findings.problem_with(path, cause, way_out);
        }
    }
}

/// Why a file has no text for us.
enum Unread {
    Io(io::Error),
    Problem(String),
}

fn read(path: &Path, providers: &Providers) -> Result<String, Unread> {
    let bytes = providers.read(path).map_err(Unread::Io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let size = super::units::format_size(MAX_FILE_BYTES);
        return Err(Unread::Problem(format!("the file is larger than {size}")));
    }
    String::from_utf8(bytes).map_err(|_| Unread::Problem("the file is not UTF-8 text".to_owned()))
}
