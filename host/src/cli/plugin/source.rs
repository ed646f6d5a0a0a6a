//! What somebody wants to install: a file, a project, a name in a registry, or what lies in the folder.

use std::path::Path;

use toolcell::config::env;
use toolcell::ids::UpstreamName;
use toolcell::plugins::build::Project;
use toolcell::plugins::installed::{read_component, read_manifest};
use toolcell::plugins::manifest::{Manifest, PROJECT_FILE};
use toolcell::plugins::registry::{Credentials, PluginReference, PullOptions, Registry};
use toolcell::plugins::signature::{PublicKey, verify_kept};
use toolcell::plugins::signed::{self, read_text};

use super::Place;
use super::args::RegistryArgs;
use crate::cli::failure::Failure;
use crate::cli::setup;

/// A plugin that is not installed yet.
pub(super) struct Candidate {
    pub(super) component: Vec<u8>,
    /// As its author wrote it; nothing for a component alone.
    pub(super) manifest: Option<Manifest>,
    /// Where it came from, for the lock.
    pub(super) source: String,
    /// What it is called if it has no manifest.
    pub(super) stem: String,
    /// Its signature, to be kept beside it.
    pub(super) signature: Option<String>,
    /// The digest of the key with which it was verified.
    pub(super) signed_by: Option<String>,
}

impl Candidate {
    /// Fetches it. `name` is what the operator wants to call it.
    pub(super) async fn find(
        source: &str,
        name: Option<&str>,
        registry: &RegistryArgs,
        place: &Place,
        accept: bool,
    ) -> Result<Self, Failure> {
        if source.starts_with("oci://") {
            return pulled(source, name, registry, place, accept).await;
        }
        let path = Path::new(source);
        if let Ok(installed) = UpstreamName::try_new(source)
            && !path.exists()
            && place.folder.component(&installed).exists()
        {
            let plugin = place.folder.get(&installed)?;
            let source = place.lock.get(&installed).map(|locked| locked.source.clone());
            let source = source.unwrap_or_else(|| "dropped into the folder".to_owned());
            let component = plugin.read()?;
            let stem = installed.to_string();
            let beside = place.folder.signature(&installed);
            let signature = read_text(&beside).ok();
            let manifest = plugin.manifest;
            let candidate = Self { component, manifest, source, stem, signature, signed_by: None };
            return candidate.verified(&beside, name, place);
        }
        let candidate = Self::local(path)?;
        let beside = candidate.signature_beside(path);
        let signature = read_text(&beside).ok();
        Self { signature, ..candidate }.verified(&beside, name, place)
    }

    /// A component, or what was built of a project.
    pub(super) fn local(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            let project = Project::open(path)?;
            let file = project.component();
            if !file.exists() {
                return Err(Failure::usage(format!(
                    "{} is not built yet: run `toolcell plugin build {}`",
                    file.display(),
                    path.display()
                )));
            }
            let manifest = read_manifest(&project.completed_manifest())?;
            return Self::of_file(&file, manifest.or(Some(project.manifest)));
        }
        if !path.exists() {
            return Err(Failure::usage(format!(
                "{} is neither a file nor a project, nor the name of an installed plugin",
                path.display()
            )));
        }
        let beside = read_manifest(&path.with_extension("toml"))?;
        Self::of_file(path, beside)
    }

    fn of_file(path: &Path, manifest: Option<Manifest>) -> Result<Self, Failure> {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let source = format!("file:{}", path.display());
        let component = read_component(path)?;
        Ok(Self { component, manifest, source, stem, signature: None, signed_by: None })
    }

    /// The name that it is to have.
    pub(super) fn name(&self, given: Option<&str>) -> Result<UpstreamName, Failure> {
        let name = match (given, &self.manifest) {
            (Some(name), _) => name,
            (None, Some(manifest)) => return Ok(manifest.name.clone()),
            (None, None) => &self.stem,
        };
        UpstreamName::try_new(name).map_err(|_| {
            Failure::usage(format!(
                "{name:?} is no plugin's name: use 1 to 64 of A-Z a-z 0-9 _ -, for example with \
                 --name my-plugin"
            ))
        })
    }

    /// Where the operator wants a signature, a file needs one beside it.
    fn verified(
        mut self,
        beside: &Path,
        name: Option<&str>,
        place: &Place,
    ) -> Result<Self, Failure> {
        let name = self.name(name)?;
        let Some(key_file) = place.config.plugins.of(&name).signed_by else { return Ok(self) };
        let key = signed::key_of(&name, &key_file)?;
        let Some(signature) = &self.signature else {
            return Err(Failure::usage(format!(
                "plugins.{name}.signed_by wants a signature by {}, and there is none in {}: its author \
                 makes it with `cosign sign-blob --key`",
                key_file.display(),
                beside.display()
            )));
        };
        verify_kept(&key, &self.component, signature).map_err(|error| {
            let beside = beside.display();
            Failure::usage(format!("{beside}, by plugins.{name}.signed_by: {error}"))
        })?;
        self.signed_by = Some(key.sha256().to_owned());
        Ok(self)
    }

    fn signature_beside(&self, path: &Path) -> std::path::PathBuf {
        let file = self.source.strip_prefix("file:").map_or(path, Path::new);
        let mut name = file.as_os_str().to_owned();
        name.push(".sig");
        name.into()
    }
}

async fn pulled(
    source: &str,
    name: Option<&str>,
    registry_args: &RegistryArgs,
    place: &Place,
    accept: bool,
) -> Result<Candidate, Failure> {
    let reference: PluginReference = source.parse()?;
    let stem = reference.repository().rsplit('/').next().unwrap_or_default().to_owned();
    // The key is that of the name under which it will be installed; without a name given that is
    // known only of one that is installed already, or by the last part of where it lies.
    let known = place.lock.plugins.iter().filter_map(|(known, locked)| {
        let lies: PluginReference = locked.source.parse().ok()?;
        let is_it = lies.is_beside(&reference) && name.is_none_or(|name| name == known);
        is_it.then_some((known.as_str(), lies))
    });
    let known: Vec<(&str, PluginReference)> = known.collect();
    let guessed = name.or(known.first().map(|(name, _)| *name)).unwrap_or(&stem);
    let settings = UpstreamName::try_new(guessed).ok().map(|name| place.config.plugins.of(&name));
    let key_file = settings.as_ref().and_then(|settings| settings.signed_by.clone());
    let key = settings
        .iter()
        .find_map(|settings| Some(signed::key_of(&settings.name, settings.signed_by.as_deref()?)));
    let key = key.transpose()?;
    let registry = registry(&reference, registry_args).await?;
    setup::progress(&format!("pulling {reference}"));
    // A name that means something else than when it was accepted is told before anything is taken.
    let locked = known.iter().find(|(_, lies)| lies.tag() == reference.tag());
    let locked = locked.and_then(|(_, lies)| lies.digest());
    let locked = locked.filter(|_| !accept && reference.digest().is_none());
    let options = PullOptions { signed_by: key.as_ref(), locked, ..PullOptions::default() };
    let pulled = registry.pull(&reference, &options).await?;
    let manifest = pulled.manifest.as_deref().map(|text| Manifest::parse(text.as_bytes()));
    let manifest = manifest.transpose()?;
    let candidate = Candidate {
        component: pulled.wasm,
        manifest,
        source: reference.pinned(&pulled.digest).to_string(),
        stem,
        signature: pulled.signature,
        signed_by: key.as_ref().map(|key: &PublicKey| key.sha256().to_owned()),
    };
    let wanted = place.config.plugins.of(&candidate.name(name)?).signed_by;
    if wanted != key_file {
        let name = candidate.name(name)?;
        return Err(Failure::usage(format!(
            "plugins.{name}.signed_by wants a signature; say which plugin this is with --name {name}, so \
             that it is checked"
        )));
    }
    Ok(candidate)
}

/// A registry, with whoever Docker's configuration says that we are there.
pub(super) async fn registry(
    reference: &PluginReference,
    args: &RegistryArgs,
) -> Result<Registry, Failure> {
    let credentials = Credentials::find(reference.registry(), &env::of_process).await?;
    Ok(Registry { plain_http: args.plain_http, credentials, ..Registry::default() })
}

/// Whether a folder is an author's project.
pub(super) fn is_project(path: &Path) -> bool {
    path.is_dir() && path.join(PROJECT_FILE).exists()
}
