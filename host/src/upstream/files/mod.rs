//! The built-in upstream `files`: directories of this machine, as tools.
//!
//! It runs in this process, behind the same calls as every other upstream. The operator's roots are
//! opened once, when the upstream is; from then on every path is resolved below an open directory
//! handle (cap-std), never from the file system's root. So no `..`, no absolute path, no symbolic
//! link and no race between check and use leads out of a root. Only regular files are read and
//! written: opening a pipe or a device could block, or do something.
//!
//! Whatever a caller can do better next time is an answer with `is_error`, in words that say how.

mod path;
mod read;
mod search;
mod tools;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Semaphore;

use crate::ids::UpstreamName;
use crate::tool::{ContentBlock, ToolOutput};
use crate::upstream::catalog::{self, Catalog};
use crate::upstream::error::Cause;
use crate::upstream::handshake::Era;
use crate::upstream::settings::FilesRoot;

/// The most bytes of one read or write.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Calls that may work at once. Each occupies a thread.
const CONCURRENT_CALLS: usize = 16;

/// The open roots.
pub(super) struct Files {
    name: UpstreamName,
    roots: Arc<[Root]>,
    catalog: Arc<Catalog>,
    places: Arc<Semaphore>,
}

/// One open root.
struct Root {
    name: String,
    directory: Dir,
    read_only: bool,
}

/// What a tool gives: structured content and its short form in text, or words about what went
/// wrong.
type Answer = Result<Output, String>;

struct Output {
    structured: Value,
    content: ContentBlock,
}

impl Output {
    fn new(structured: Value, text: impl Into<String>) -> Self {
        Self { structured, content: ContentBlock::Text(text.into()) }
    }
}

impl Files {
    /// Opens the roots. The only place where paths of the machine are used as they are.
    ///
    /// # Errors
    /// A root is not there, is no directory, or has an unusable name.
    pub(super) fn open(server: &UpstreamName, roots: &[FilesRoot]) -> Result<Self, Cause> {
        if roots.is_empty() {
            return Err(Cause::new("it has no roots; name at least one directory"));
        }
        let mut open: Vec<Root> = Vec::with_capacity(roots.len());
        for root in roots {
            let name = &root.name;
            if name.is_empty() || matches!(name.as_str(), "." | "..") || name.contains(['/', '\0'])
            {
                return Err(Cause::new(format!("{name:?} cannot be the name of a root")));
            }
            if open.iter().any(|other| other.name == *name) {
                return Err(Cause::new(format!("two roots have the name {name:?}")));
            }
            let directory = Dir::open_ambient_dir(&root.directory, ambient_authority());
            let directory = directory.map_err(|error| {
                let text = format!("its directory {} : {error}", root.directory.display());
                Cause::with_source(text.replace(" : ", ": "), error)
            })?;
            open.push(Root { name: name.clone(), directory, read_only: root.read_only });
        }
        let writable = open.iter().any(|root| !root.read_only);
        let tools = tools::descriptions(server, writable);
        let catalog = Catalog {
            server_name: Some("toolcell files".to_owned()),
            server_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            instructions: Some(tools::instructions(&open)),
            era: Era::Modern,
            places: catalog::places(&tools),
            tools: tools.into(),
            problems: Vec::new(),
        };
        Ok(Self {
            name: server.clone(),
            roots: open.into(),
            catalog: Arc::new(catalog),
            places: Arc::new(Semaphore::new(CONCURRENT_CALLS)),
        })
    }

    pub(super) fn name(&self) -> &UpstreamName {
        &self.name
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Cancel-safe: a dropped call stops at its next step; a file is either written or not.
    pub(super) async fn call(&self, tool: &str, arguments: &RawValue) -> ToolOutput {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return ToolOutput::error("the files server is closed");
        };
        let cancelled = CancelOnDrop(Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&cancelled.0);
        let (roots, tool, arguments) =
            (Arc::clone(&self.roots), tool.to_owned(), arguments.to_owned());
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            run(&roots, &tool, &arguments, &flag)
        });
        match work.await {
            Ok(Ok(output)) => ToolOutput {
                content: vec![output.content],
                structured: to_raw_value(&output.structured).ok(),
                is_error: false,
                raw: None,
            },
            Ok(Err(text)) => ToolOutput::error(text),
            Err(error) => ToolOutput::error(format!("the call did not finish: {error}")),
        }
    }
}

/// Tells the thread of a call that nobody waits for it any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run(roots: &[Root], tool: &str, arguments: &RawValue, cancelled: &AtomicBool) -> Answer {
    match tool {
        "read_file" => read::read_file(roots, parse(arguments)?),
        "list_directory" => read::list_directory(roots, parse(arguments)?),
        "stat" => read::stat(roots, parse(arguments)?),
        "search_files" => search::search_files(roots, parse(arguments)?, cancelled),
        "write_file" => write::write_file(roots, parse(arguments)?),
        "edit_file" => write::edit_file(roots, parse(arguments)?),
        "create_directory" => write::create_directory(roots, parse(arguments)?),
        _ => Err(format!("there is no tool {tool:?}")),
    }
}

fn parse<T: DeserializeOwned>(arguments: &RawValue) -> Result<T, String> {
    serde_json::from_str(arguments.get()).map_err(|error| format!("bad arguments: {error}"))
}

#[cfg(test)]
mod tests;
