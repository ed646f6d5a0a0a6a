//! The plugins of a host: those that lie in the folder, and those that an embedder brought. A plugin
//! that cannot be used harms no other and does not stop the host: whoever calls it hears why.
//!
//! A plugin is loaded when it is first needed, or by [`PluginSet::load_all`]. When its file changes,
//! the new one is loaded beside the old one and takes its place once it is ready: new runs have the
//! new one, those that have begun finish with the old one, and a new file that cannot be used changes
//! nothing but what is told of it. What the operator takes away is away at once.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::Serialize;
use tokio::sync::OnceCell;

use super::calling;
use super::installed::{
    FolderError, InstalledPlugin, MAX_COMPONENT_BYTES, PluginFolder, read_component, read_manifest,
};
use super::kept::Kept;
use super::lock::{Lock, LockedPlugin, Standing};
use super::manifest::Manifest;
use super::settings::{PluginSettings, PluginsSettings};
use super::signed;
use super::state::{StateLimits, States};
use crate::broker::{PluginCall, PluginEnd, PluginGrants, PluginState, PluginTools, Session};
use crate::grants::Policy;
use crate::ids::{ToolName, UpstreamName};
use crate::sandbox::{KeptPlugin, LoadedPlugin, PluginKind, Sandbox};
use crate::tool::ToolDescription;
use crate::upstream::{Catalog, UpstreamError};

/// The plugins of a host. Cheap to clone.
#[derive(Clone)]
pub struct PluginSet {
    inner: Arc<Inner>,
}

struct Inner {
    common: Arc<Common>,
    current: Mutex<Arc<Snapshot>>,
    embedded: Vec<EmbeddedPlugin>,
}

/// What all plugins share.
pub(super) struct Common {
    sandbox: Sandbox,
    pub(super) states: States,
    pub(super) kept: Kept<KeptOf>,
}

/// A kept instance, and of which code it is.
pub(super) struct KeptOf {
    pub(super) of: Arc<Loaded>,
    pub(super) guest: KeptPlugin,
}

/// A plugin that an embedder brings along.
#[derive(Clone, Debug)]
pub struct EmbeddedPlugin {
    /// What it may do at most. It asks for nothing of its own: this alone decides.
    pub settings: PluginSettings,
    /// The component.
    pub component: Arc<[u8]>,
}

/// A plugin, as its operator may see it.
#[derive(Clone, Debug, Serialize)]
pub struct PluginInfo {
    /// Its installed name.
    pub name: UpstreamName,
    /// How it is.
    pub state: PluginStanding,
    /// What is wrong with it, in words; for one that can be used all the same, what is wrong with the
    /// file that should take its place.
    pub problem: Option<String>,
    /// What should be known of one that can be used.
    pub notice: Option<String>,
    /// Its version, as its author calls it.
    pub version: Option<String>,
    /// SHA-256 of its component, in hexadecimal digits.
    pub digest: Option<String>,
    /// How it says what its tools are.
    pub kind: Option<PluginKind>,
    /// Its tools.
    pub tools: Vec<String>,
    /// Its file.
    pub path: Option<PathBuf>,
}

/// How a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginStanding {
    /// It can be called.
    Ready,
    /// It is loaded when it is first needed.
    Unloaded,
    /// It cannot be used.
    Failed,
    /// Its operator turned it off.
    Disabled,
}

impl PluginStanding {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unloaded => "unloaded",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

/// The plugins at one moment.
struct Snapshot {
    common: Arc<Common>,
    slots: IndexMap<UpstreamName, Slot>,
    disabled: Vec<UpstreamName>,
    /// What is wrong with files that are no plugins, or with the folder.
    problems: Vec<String>,
}

/// One plugin.
#[derive(Clone)]
struct Slot {
    settings: PluginSettings,
    /// What is called.
    code: Arc<Code>,
    /// What should take its place: it is being loaded, or cannot be.
    next: Option<Arc<Code>>,
}

/// A component, loaded once.
struct Code {
    name: UpstreamName,
    source: Source,
    loaded: OnceCell<Result<Arc<Loaded>, Arc<str>>>,
}

/// Where a component comes from. Two that are equal are the same component.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    File {
        path: PathBuf,
        manifest: PathBuf,
        stamps: [Option<Stamp>; 2],
        /// What was accepted; or why nothing can be.
        lock: Result<Option<Box<LockedPlugin>>, Arc<str>>,
        only_locked: bool,
        signed_by: Option<SignedBy>,
    },
    /// One that cannot be used, as far as is known without loading it.
    Faulty(Arc<str>),
    Embedded(Arc<[u8]>),
}

/// The key with which a plugin has to be signed, and the signature that is kept beside it.
#[derive(Clone, Debug, PartialEq)]
struct SignedBy {
    key: (PathBuf, Option<Stamp>),
    signature: (PathBuf, Option<Stamp>),
}

/// What tells whether a file is still the same, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// A component that can be called.
pub(super) struct Loaded {
    pub(super) plugin: LoadedPlugin,
    catalog: Arc<Catalog>,
    version: Option<String>,
    digest: Arc<str>,
    /// What it asks for; nothing where that does not matter.
    asks: Option<(Policy, bool)>,
    notice: Option<String>,
}

impl PluginSet {
    /// No plugins but these, and those of [`PluginSet::apply`]. At most `max_kept` instances are kept
    /// between calls.
    pub(crate) fn new(sandbox: Sandbox, max_kept: usize, embedded: Vec<EmbeddedPlugin>) -> Self {
        let states = States::new(StateLimits::default());
        let common = Arc::new(Common { sandbox, states, kept: Kept::new(max_kept) });
        let current = Snapshot {
            common: Arc::clone(&common),
            slots: IndexMap::new(),
            disabled: Vec::new(),
            problems: Vec::new(),
        };
        let inner = Inner { common, current: Mutex::new(Arc::new(current)), embedded };
        Self { inner: Arc::new(inner) }
    }

    /// Takes new settings, and looks at what lies in the folder. Loads nothing. A name that is a
    /// server's is no plugin's.
    pub(crate) fn apply(&self, settings: &PluginsSettings, servers: &[UpstreamName]) {
        let mut current = self.lock();
        let mut problems = Vec::new();
        let mut disabled = Vec::new();
        let mut slots = IndexMap::new();
        let found = self.found(settings, &mut problems);
        for (name, (settings, source)) in found {
            if servers.contains(&name) {
                problems.push(format!("plugin {name} has a server's name and is not used"));
            } else if !settings.enabled {
                disabled.push(name);
            } else {
                let before = current.slots.get(&name);
                slots.insert(name.clone(), Slot::after(before, name, settings, source));
            }
        }
        for problem in &problems {
            tracing::warn!("{problem}");
        }
        self.inner.common.kept.retain(|name| slots.contains_key(name));
        let common = Arc::clone(&self.inner.common);
        *current = Arc::new(Snapshot { common, slots, disabled, problems });
    }

    /// All plugins there are by name: the embedder's, then the folder's.
    fn found(
        &self,
        settings: &PluginsSettings,
        problems: &mut Vec<String>,
    ) -> IndexMap<UpstreamName, (PluginSettings, Source)> {
        let embedded = self.inner.embedded.iter().map(|plugin| {
            let source = Source::Embedded(Arc::clone(&plugin.component));
            (plugin.settings.name.clone(), (plugin.settings.clone(), source))
        });
        let mut found: IndexMap<_, _> = embedded.collect();
        let Some(folder) = &settings.folder else { return found };
        let lock = settings.lock_file.as_deref().map(Lock::load).transpose();
        let lock = lock.map(Option::unwrap_or_default).map_err(|error| chain(&error));
        let folder = PluginFolder::new(folder);
        let listing = match folder.list() {
            Ok(listing) => listing,
            Err(error) => {
                problems.push(format!("no installed plugin is used: {}", chain(&error)));
                return found;
            }
        };
        for path in &listing.misnamed {
            problems.push(format!(
                "{} is no plugin: a file's name without `.wasm` has to be 1 to 64 of A-Z a-z 0-9 _ -",
                path.display()
            ));
        }
        let installed = listing.plugins.into_iter().map(|plugin| {
            let signed_by = settings.of(&plugin.name).signed_by;
            let source = Source::of_file(&folder, &plugin, &lock, settings.locked, signed_by);
            (plugin.name, source)
        });
        let faulty = listing.faulty.into_iter();
        let faulty = faulty.map(|(name, error)| (name, Source::Faulty(chain(&error).into())));
        let mut all: Vec<_> = installed.chain(faulty).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, source) in all {
            if found.contains_key(&name) {
                problems
                    .push(format!("there are two plugins called {name}; the folder's is not used"));
                continue;
            }
            found.insert(name.clone(), (settings.of(&name), source));
        }
        found
    }

    /// Loads all that is not loaded yet, and puts new code in the place of old. Cancel-safe: what is
    /// not done is done by the next one.
    pub async fn load_all(&self) {
        let snapshot = Arc::clone(&*self.lock());
        let common = &snapshot.common;
        let loading = snapshot.slots.values().map(|slot| async move {
            let code = slot.next.as_ref().unwrap_or(&slot.code);
            let is_new = code.loaded.get().is_none();
            let loaded = code.load(common).await;
            if let (Err(problem), true) = (&loaded, is_new) {
                let kept = if slot.next.is_some() { "; the one before stays in force" } else { "" };
                tracing::error!(plugin = %code.name, "cannot be used: {problem}{kept}");
            }
        });
        futures::future::join_all(loading).await;
        let mut current = self.lock();
        let mut slots = current.slots.clone();
        for slot in slots.values_mut() {
            slot.step_forward();
        }
        let Snapshot { common, disabled, problems, .. } = &**current;
        let (common, disabled, problems) = (Arc::clone(common), disabled.clone(), problems.clone());
        *current = Arc::new(Snapshot { common, slots, disabled, problems });
    }

    /// The plugins as they are now, for the broker.
    pub(crate) fn tools(&self) -> Arc<dyn PluginTools> {
        Arc::clone(&*self.lock()) as Arc<dyn PluginTools>
    }

    /// What is wrong with the folder, or with files in it that are no plugins.
    pub fn problems(&self) -> Vec<String> {
        self.lock().problems.clone()
    }

    /// All plugins, by name. Loads nothing; see [`PluginSet::load_all`].
    pub fn list(&self) -> Vec<PluginInfo> {
        let snapshot = Arc::clone(&*self.lock());
        let mut infos: Vec<PluginInfo> = snapshot.slots.values().map(Slot::info).collect();
        let disabled = snapshot.disabled.iter();
        infos.extend(disabled.map(|name| PluginInfo::new(name, PluginStanding::Disabled)));
        infos.sort_by(|one, other| one.name.cmp(&other.name));
        infos
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Snapshot>> {
        self.inner.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PluginInfo {
    fn new(name: &UpstreamName, state: PluginStanding) -> Self {
        Self {
            name: name.clone(),
            state,
            problem: None,
            notice: None,
            version: None,
            digest: None,
            kind: None,
            tools: Vec::new(),
            path: None,
        }
    }
}

impl Slot {
    /// A plugin in the place of what it was before.
    fn after(
        before: Option<&Self>,
        name: UpstreamName,
        settings: PluginSettings,
        source: Source,
    ) -> Self {
        let fresh = |source| Arc::new(Code { name, source, loaded: OnceCell::new() });
        let Some(before) = before else {
            return Self { settings, code: fresh(source), next: None };
        };
        let mut slot = Self { settings, ..before.clone() };
        slot.step_forward();
        let is_same_key = match &source {
            Source::Faulty(_) => before.settings.signed_by == slot.settings.signed_by,
            source => slot.code.source.key() == source.key(),
        };
        if slot.code.source == source {
            slot.next = None;
        } else if !is_same_key {
            // What was signed with one key says nothing of another.
            (slot.code, slot.next) = (fresh(source), None);
        } else if slot.next.as_ref().is_none_or(|next| next.source != source) {
            match slot.code.loaded() {
                Some(_) => slot.next = Some(fresh(source)),
                // Nothing is lost with it.
                None => (slot.code, slot.next) = (fresh(source), None),
            }
        }
        slot
    }

    /// Puts the new code in its place, if it can be called.
    fn step_forward(&mut self) {
        if let Some(next) = self.next.take_if(|next| next.loaded().is_some()) {
            tracing::info!(plugin = %next.name, "its new file is in force");
            self.code = next;
        }
    }

    fn info(&self) -> PluginInfo {
        let Code { name, source, loaded } = &*self.code;
        let mut info = PluginInfo::new(name, PluginStanding::Unloaded);
        if let Source::File { path, .. } = source {
            info.path = Some(path.clone());
        }
        match loaded.get() {
            None => {}
            Some(Err(problem)) => {
                info.state = PluginStanding::Failed;
                info.problem = Some(problem.to_string());
            }
            Some(Ok(loaded)) => {
                info.state = PluginStanding::Ready;
                info.version.clone_from(&loaded.version);
                info.digest = Some(loaded.digest.to_string());
                info.kind = Some(loaded.plugin.inspection().kind);
                info.notice.clone_from(&loaded.notice);
                let tools = loaded.plugin.tools().iter();
                info.tools = tools.map(|tool| tool.name.clone()).collect();
            }
        }
        if let Some(Err(problem)) = self.next.as_ref().and_then(|next| next.loaded.get()) {
            info.problem = Some(format!(
                "its new file cannot be used, so the one before stays in force: {problem}"
            ));
        }
        info
    }
}

impl Source {
    fn of_file(
        folder: &PluginFolder,
        plugin: &InstalledPlugin,
        lock: &Result<Lock, String>,
        only_locked: bool,
        signed_by: Option<PathBuf>,
    ) -> Self {
        let manifest = folder.manifest(&plugin.name);
        let stamps = [Stamp::of(&plugin.component), Stamp::of(&manifest)];
        let lock = match lock {
            Ok(lock) => Ok(lock.get(&plugin.name).cloned().map(Box::new)),
            Err(problem) => Err(problem.as_str().into()),
        };
        let signed_by = signed_by.map(|key| {
            let stamped = |path: PathBuf| (path.clone(), Stamp::of(&path));
            SignedBy { key: stamped(key), signature: stamped(folder.signature(&plugin.name)) }
        });
        let path = plugin.component.clone();
        Self::File { path, manifest, stamps, lock, only_locked, signed_by }
    }

    /// The key with which it has to be signed, as it is now.
    fn key(&self) -> Option<&(PathBuf, Option<Stamp>)> {
        match self {
            Self::File { signed_by, .. } => signed_by.as_ref().map(|signed_by| &signed_by.key),
            Self::Faulty(_) | Self::Embedded(_) => None,
        }
    }
}

impl Stamp {
    fn of(path: &std::path::Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { bytes: metadata.len(), modified: metadata.modified().ok() })
    }
}

impl Code {
    /// What was loaded, if that was done and went well.
    fn loaded(&self) -> Option<&Arc<Loaded>> {
        self.loaded.get().and_then(|loaded| loaded.as_ref().ok())
    }

    /// Loads it, once. Cancel-safe: another one begins anew.
    async fn load(&self, common: &Common) -> Result<Arc<Loaded>, Arc<str>> {
        self.loaded.get_or_init(|| self.try_load(common)).await.clone()
    }

    async fn try_load(&self, common: &Common) -> Result<Arc<Loaded>, Arc<str>> {
        let name = self.name.clone();
        let (component, manifest, lock) = match self.source.clone() {
            Source::Faulty(problem) => return Err(problem),
            Source::Embedded(component) => {
                if component.len() as u64 > MAX_COMPONENT_BYTES {
                    let error = format!("it has more than {MAX_COMPONENT_BYTES} bytes");
                    return Err(error.into());
                }
                (component, None, None)
            }
            Source::File { path, manifest, lock, only_locked, signed_by, .. } => {
                let lock = lock?;
                let named = name.clone();
                let read = move || -> Result<_, Arc<str>> {
                    let told = |error: FolderError| Arc::from(chain(&error));
                    let component = read_component(&path).map_err(told)?;
                    let manifest = read_manifest(&manifest).map_err(told)?;
                    if let Some(SignedBy { key, signature }) = signed_by {
                        let checked = signed::check(&named, &key.0, &signature.0, &component);
                        checked.map_err(|error| Arc::from(error.to_string()))?;
                    }
                    Ok((component, manifest))
                };
                let read = tokio::task::spawn_blocking(read).await;
                let read = read.map_err(|_| Arc::from("reading it broke off"))?;
                let (component, manifest) = read?;
                (component.into(), manifest, Some((lock, only_locked)))
            }
        };
        let loaded = common.sandbox.load_plugin(name.as_str(), &component).await;
        let plugin = loaded.map_err(|error| Arc::from(chain(&error)))?;
        let digest: Arc<str> = plugin.inspection().sha256.as_str().into();
        let mut notice = None;
        if let Some((locked, only_locked)) = &lock {
            let locked = locked.clone().map(|locked| (name.to_string(), *locked));
            let lock = Lock { plugins: locked.into_iter().collect() };
            let standing = lock.check(&name, &digest, manifest.as_ref(), *only_locked);
            if standing.map_err(|error| Arc::from(error.to_string()))? == Standing::Dropped {
                notice = Some(format!(
                    "it is not in toolcell.lock: somebody put it there; accept it with \
                     `toolcell plugin add {name}`"
                ));
                tracing::warn!(plugin = %name, "is not in toolcell.lock; it is used all the same");
            }
        }
        if let Some(manifest) = &manifest {
            check_tools(manifest, &plugin)?;
        }
        let asks = lock.map(|_| {
            let asks = manifest.as_ref().map(|manifest| manifest.asks.clone()).unwrap_or_default();
            (asks.policy(), asks.questions)
        });
        let version = manifest.as_ref().map(|manifest| manifest.version.to_string());
        let catalog = Arc::new(catalog(&name, version.clone(), &plugin));
        Ok(Arc::new(Loaded { plugin, catalog, version, digest, asks, notice }))
    }
}

/// What a manifest says of a plugin's tools must be what the plugin says.
fn check_tools(manifest: &Manifest, plugin: &LoadedPlugin) -> Result<(), Arc<str>> {
    if manifest.tools.is_empty() {
        return Ok(());
    }
    let mut said: Vec<&str> = manifest.tools.iter().map(String::as_str).collect();
    let mut has: Vec<&str> = plugin.tools().iter().map(|tool| tool.name.as_str()).collect();
    said.sort_unstable();
    has.sort_unstable();
    if said == has {
        return Ok(());
    }
    let problem = format!(
        "its manifest says that its tools are {}, and its component has {}; build it anew",
        said.join(", "),
        if has.is_empty() { "none".to_owned() } else { has.join(", ") }
    );
    Err(problem.into())
}

fn catalog(name: &UpstreamName, version: Option<String>, plugin: &LoadedPlugin) -> Catalog {
    let tools = plugin.tools().iter().map(|tool| ToolDescription {
        name: ToolName::new(name.clone(), tool.name.as_str()),
        title: tool.title.clone(),
        description: tool.description.clone(),
        input_schema: Arc::clone(&tool.input_schema),
        output_schema: tool.output_schema.clone(),
        hints: tool.hints,
        raw: None,
    });
    Catalog::of_plugin(name.as_str(), version, tools.collect())
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(words, ": {cause}");
        source = cause.source();
    }
    words
}

#[async_trait]
impl PluginTools for Snapshot {
    fn names(&self) -> Vec<UpstreamName> {
        self.slots.keys().cloned().collect()
    }

    async fn catalog(&self, plugin: &UpstreamName) -> Result<Arc<Catalog>, UpstreamError> {
        let unknown = || UpstreamError::UnknownServer { name: plugin.to_string() };
        let slot = self.slots.get(plugin).ok_or_else(unknown)?;
        match slot.code.load(&self.common).await {
            Ok(loaded) => Ok(Arc::clone(&loaded.catalog)),
            Err(problem) => Err(UpstreamError::Plugin { plugin: plugin.clone(), problem }),
        }
    }

    fn known_catalog(&self, plugin: &UpstreamName) -> Option<Arc<Catalog>> {
        Some(Arc::clone(&self.slots.get(plugin)?.code.loaded()?.catalog))
    }

    fn grants(&self, plugin: &UpstreamName) -> Option<PluginGrants> {
        let Slot { settings, code, .. } = self.slots.get(plugin)?;
        let loaded = code.loaded()?;
        let (policy, questions) = match &loaded.asks {
            None => (settings.policy.clone(), settings.questions),
            Some((asks, questions)) => {
                (settings.policy.at_most(asks), settings.questions && *questions)
            }
        };
        Some(PluginGrants {
            policy,
            limits: settings.limits.clone(),
            questions,
            version: loaded.version.clone(),
            digest: Some(Arc::clone(&loaded.digest)),
        })
    }

    fn state(&self, plugin: &UpstreamName, session: &Session) -> Option<Arc<dyn PluginState>> {
        Some(self.common.states.of(plugin, session))
    }

    async fn call(&self, call: PluginCall) -> PluginEnd {
        let slot = self.slots.get(&call.name.upstream);
        let loaded = slot.and_then(|slot| Some((slot.code.loaded()?, slot.settings.stateful)));
        let Some((loaded, stateful)) = loaded else { return calling::gone(&call.name) };
        calling::call(loaded, stateful, &self.common, call).await
    }

    fn session_ended(&self, session: &Session) {
        self.common.states.end(session);
        self.common.kept.end(session);
    }
}

impl EmbeddedPlugin {
    /// A component that may do what the settings say, whatever it asks for.
    pub fn new(settings: PluginSettings, component: impl Into<Arc<[u8]>>) -> Self {
        Self { settings, component: component.into() }
    }
}
