//! `toolcell init`: a configuration to start with, and what each client needs to find it.
//!
//! It writes one file, never over another one unless told, and changes nobody else's: the lines for
//! clients are printed. `places` knows where clients keep their servers, `snippets` what they need.

mod places;
mod snippets;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use toolcell::config::env::{self, Lookup, PATH};
use toolcell::config::{AdoptedServer, Adoption, MAX_FOREIGN_BYTES};

use super::args::{Cli, InitArgs};
use super::exit::Exit;
use super::failure::Failure;
use places::System;
use snippets::{CLIENTS, Start};

pub(crate) use places::Source;
pub(crate) use snippets::Client;

/// What the file begins with, whatever was taken over.
const HEAD: &str = "\
# What toolcell connects, and what scripts may do. `toolcell config check` tells what is wrong with this
# file, `toolcell config reference` prints every key, and `toolcell check` tries the servers.

# A directory as tools: files.list_directory, files.search_files, files.read_file and more.
[servers.files]
builtin = \"files\"
roots = { project = { path = \".\", read_only = true } }
";

/// What follows if nothing was taken over.
const EXAMPLES: &str = "
# A server that is started:
# [servers.time]
# command = \"uvx\"
# args = [\"mcp-server-time\"]

# A server over HTTP. ${NAME} is an environment variable; ${file:PATH} and ${command:PROGRAM} work too.
# [servers.search]
# url = \"https://example.com/mcp\"
# headers = { Authorization = \"Bearer ${SEARCH_TOKEN}\" }
";

/// What it ends with.
const TAIL: &str = "
# What a script may use. Without a profile that is every tool of every server.
# [profiles.default]
# tools = [\"files.*\", \"search.*\", \"!search.delete_*\"]
# limits = { deadline = \"60s\", memory = \"256MiB\", tool_calls = 100 }
";

/// Writes the file and tells what clients need; with `--client` it only tells.
pub(super) fn init(cli: &Cli, args: &InitArgs) -> Result<Exit, Failure> {
    let here = std::env::current_dir()?;
    let config = here.join(cli.config.as_deref().unwrap_or(Path::new("toolcell.toml")));
    let lookup = env::of_process;
    let program = std::env::current_exe()?;
    let is_in_path = is_in_path(&program, &lookup);
    let start = |variables| Start { program: &program, is_in_path, config: &config, variables };
    if let Some(client) = args.client {
        let snippet = client.snippet(&start(&[]));
        if args.json {
            println!("{:#}", json!({ "client": client.name(), "snippet": snippet }));
        } else {
            println!("{snippet}");
        }
        return Ok(Exit::Done);
    }
    // Before anybody's files are read for nothing.
    if !args.force && config.exists() {
        return Err(exists_already(&config));
    }
    let files = places::files(&args.import, System::here(), &here, &lookup);
    let (adoption, read) = take_over(&files, &here, &lookup);
    write(&config, &text(adoption.found(), &adoption.variables()), args.force)?;
    let report = Report { config: &config, read: &read, adoption: &adoption };
    let variables = adoption.variables();
    if args.json {
        println!("{:#}", report.json(&start(&variables)));
    } else {
        print!("{}", report.text(&start(&variables), !args.import.is_empty()));
    }
    Ok(Exit::Done)
}

/// Takes over what the files have. Returns those that there are, too.
fn take_over(files: &[PathBuf], project: &Path, lookup: &Lookup<'_>) -> (Adoption, Vec<PathBuf>) {
    let mut adoption = Adoption::default();
    let mut read = Vec::new();
    for file in files {
        match read_capped(file) {
            Ok(text) => {
                adoption.file(file, &text, project, lookup);
                read.push(file.clone());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("{} cannot be read: {error}", file.display()),
        }
    }
    (adoption, read)
}

fn read_capped(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(file)?;
    file.take(MAX_FOREIGN_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FOREIGN_BYTES {
        let cause = format!("it is larger than {} MiB", MAX_FOREIGN_BYTES >> 20);
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, cause));
    }
    Ok(text)
}

/// The whole file.
fn text(servers: &[AdoptedServer], variables: &[String]) -> String {
    let is_taken = servers.iter().any(|server| server.name == "files");
    let mut text = match is_taken {
        true => HEAD.replace("[servers.files]", "[servers.project-files]"),
        false => HEAD.to_owned(),
    };
    if servers.is_empty() {
        text.push_str(EXAMPLES);
    }
    if !variables.is_empty() {
        text.push_str("\n# These variables stand for credentials, and have to be set:\n");
        text.extend(variables.iter().map(|name| format!("# {name}\n")));
    }
    for AdoptedServer { from, toml, .. } in servers {
        text.push_str(&format!("\n# From {}\n{toml}", from.escape_debug()));
    }
    text.push_str(TAIL);
    text
}

fn write(config: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).truncate(force).create(force).create_new(!force);
    let written = options.open(config).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists_already(config),
        _ => Failure::usage(format!("{} cannot be written: {error}", config.display())),
    })
}

fn exists_already(config: &Path) -> Failure {
    Failure::usage(format!(
        "{} exists already; --force replaces it, --config FILE writes another one, and --client \
         CLIENT only tells how a client finds it",
        config.display()
    ))
}

fn is_in_path(program: &Path, lookup: &Lookup<'_>) -> bool {
    let path = lookup(PATH).unwrap_or_default();
    program.parent().is_some_and(|folder| std::env::split_paths(&path).any(|part| part == folder))
}

/// What was done.
struct Report<'a> {
    config: &'a Path,
    read: &'a [PathBuf],
    adoption: &'a Adoption,
}

impl Report<'_> {
    fn json(&self, start: &Start<'_>) -> Value {
        let servers = self.adoption.found().iter();
        let servers: Vec<Value> =
            servers.map(|server| json!({ "name": server.name, "from": server.from })).collect();
        let clients = CLIENTS.iter();
        let clients: Map<String, Value> = clients
            .map(|client| (client.name().to_owned(), client.snippet(start).into()))
            .collect();
        json!({
            "file": self.config,
            "read": self.read,
            "servers": servers,
            "variables": start.variables,
            "notes": self.adoption.notes(),
            "clients": clients,
        })
    }

    fn text(&self, start: &Start<'_>, imports: bool) -> String {
        let mut lines = vec![format!("wrote {}", self.config.display())];
        if imports && self.read.is_empty() {
            lines.push("found no configuration of another client".to_owned());
        }
        for file in self.read {
            let from = file.display().to_string();
            let servers = self.adoption.found().iter().filter(|server| server.from == from);
            let names: Vec<&str> = servers.map(|server| server.name.as_str()).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            lines.push(format!("took over {names} from {from}"));
        }
        lines.extend(self.adoption.notes().iter().map(|note| format!("note: {note}")));
        if !start.variables.is_empty() {
            lines.push(format!(
                "set these variables where toolcell is started; their values are where they were: {}",
                start.variables.join(", ")
            ));
        }
        for client in CLIENTS {
            lines.push(format!("\n{}", client.instruction()));
            let snippet = client.snippet(start);
            lines.extend(snippet.lines().map(|line| format!("    {line}").trim_end().to_owned()));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}
