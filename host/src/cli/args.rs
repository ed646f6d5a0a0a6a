//! The command line, as typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::exit::Exit;
use super::init::{Client, Source};
use super::plugin::args::PluginArgs;

/// Runs agent-written code in a WebAssembly sandbox against the tools of MCP servers.
#[derive(Debug, Parser)]
#[command(name = "toolcell", version, after_help = Exit::HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// The configuration: a toolcell.toml, or an mcpServers JSON as other programs have it
    /// [default: ./toolcell.toml]
    #[arg(long, short = 'f', value_name = "FILE", global = true, env = "TOOLCELL_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Where built runtimes and compiled code are kept [default: the user's cache folder]
    #[arg(long, value_name = "FOLDER", global = true, env = "TOOLCELL_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// What to log on stderr: error, warn, info, debug, trace, or a filter such as
    /// "warn,toolcell::upstream=debug"
    #[arg(long, value_name = "LEVEL", global = true, env = "TOOLCELL_LOG", default_value = "warn")]
    pub(crate) log: String,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a script in a sandbox of its own
    Run(Box<RunArgs>),
    /// Write a toolcell.toml to start with, and tell what MCP clients need to find it
    Init(InitArgs),
    /// List the tools of all servers, and what the profile grants
    Tools(ToolsArgs),
    /// Call one tool, as a script would
    Call(CallArgs),
    /// List the resources of all servers and their templates, and what the profile grants
    Resources(OffersArgs),
    /// Read one resource, as a script would
    Read(ReadArgs),
    /// List the prompts of all servers, and what the profile grants
    Prompts(OffersArgs),
    /// Fill in one prompt, as a script would
    Prompt(PromptArgs),
    /// Print typed stubs of the granted tools, as a model would be shown
    Stubs(StubsArgs),
    /// Check that the servers can be used: connect, handshake, list, at least one tool
    Check(CheckArgs),
    /// Let toolcell use a server that wants OAuth: a browser opens, you agree, the token is kept
    Login(LoginArgs),
    /// Forget the tokens for a server
    Logout(LogoutArgs),
    /// Watch the servers: probe each at its interval, and tell when one goes down or comes back
    Monitor(MonitorArgs),
    /// Show what the monitor knows: how each server is, and since when
    Status(StatusArgs),
    /// Serve agents as an MCP server on stdin and stdout: search tools, run Python and TypeScript
    Mcp(McpArgs),
    /// Serve agents as an MCP server over HTTP, many at once
    Serve(ServeArgs),
    /// List, build, verify and remove what the cache has: language runtimes, and plugins' compiled code
    Runtimes(RuntimesArgs),
    /// Make, build, test, install and publish plugins: components whose exports are tools
    Plugin(PluginArgs),
    /// Show or check the configuration, print its schema or its reference
    Config(ConfigArgs),
}

/// Which tools are granted.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// The profile [default: the configuration's default]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Grant the tools that match, e.g. "search.*". Without a profile of its own, the
    /// configuration grants every tool; with this flag, only what matches
    #[arg(long = "grant", value_name = "PATTERN")]
    pub(crate) grants: Vec<String>,

    /// Take away the tools that match
    #[arg(long = "deny", value_name = "PATTERN")]
    pub(crate) denials: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The script, in Python, or in TypeScript or JavaScript if its name ends so (.ts, .mts, .js,
    /// .mjs); "-" reads it from stdin
    #[arg(required_unless_present = "code", conflicts_with = "code")]
    pub(crate) file: Option<PathBuf>,

    /// The script itself, instead of a file
    #[arg(long, short, value_name = "CODE")]
    pub(crate) code: Option<String>,

    /// The language, where no file's name tells it [default: python]
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub(crate) lang: Option<ScriptLanguage>,

    #[command(flatten)]
    pub(crate) grants: GrantArgs,

    /// What the script gets as the variable `inputs`, and as text from input() and sys.stdin
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,

    /// Let the script see a directory: HOST::GUEST, read-only with ":ro" at the end
    #[arg(long = "dir", value_name = "HOST::GUEST[:ro]")]
    pub(crate) directories: Vec<String>,

    /// Make the run repeatable: randomness from this seed, the clock from a fixed instant
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Compare the calls in the script with the tools' schemas before it starts: arguments' names and
    /// kinds, and what is missing (TypeScript and JavaScript)
    #[arg(long)]
    pub(crate) check: bool,

    /// Check all servers of which a tool is granted before the script starts; if one cannot be used,
    /// run nothing and end with exit code 4
    #[arg(long)]
    pub(crate) preflight: bool,

    /// The time for each server's check
    #[arg(long, value_name = "TIME", default_value = PREFLIGHT_TIME, requires = "preflight")]
    pub(crate) preflight_timeout: String,

    /// End with exit code 4 if a server failed meanwhile, also when the script came to its end
    #[arg(long)]
    pub(crate) fail_degraded: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// No summary of calls and usage on stderr
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

/// Limits other than the profile's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits [default: the profile's]")]
pub(crate) struct LimitArgs {
    /// Units of compute, e.g. 20G
    #[arg(long, value_name = "N")]
    pub(crate) fuel: Option<String>,
    /// Time inside the script, waiting not counted, e.g. 10s
    #[arg(long, value_name = "TIME")]
    pub(crate) compute_time: Option<String>,
    /// Time in all, e.g. 2m
    #[arg(long, value_name = "TIME")]
    pub(crate) deadline: Option<String>,
    /// Memory, the interpreter's own included, e.g. 256MiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Tool calls
    #[arg(long, value_name = "N")]
    pub(crate) tool_calls: Option<String>,
    /// Time of one call, e.g. 30s
    #[arg(long, value_name = "TIME")]
    pub(crate) call_timeout: Option<String>,
    /// Output that is kept, and the value's size, e.g. 256KiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) output: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ToolsArgs {
    /// Only these servers
    pub(crate) servers: Vec<String>,

    #[command(flatten)]
    pub(crate) grants: GrantArgs,

    /// Print JSON, schemas included
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OffersArgs {
    /// Only these servers
    pub(crate) servers: Vec<String>,

    /// The profile [default: the configuration's default]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Print JSON, everything that the servers list included
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// The server
    pub(crate) server: String,

    /// The resource
    pub(crate) uri: String,

    /// The profile [default: the configuration's default]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Print the whole result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PromptArgs {
    /// The prompt, SERVER.PROMPT
    #[arg(value_name = "SERVER.PROMPT")]
    pub(crate) prompt: String,

    /// What to fill in, a JSON object of texts
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) args: String,

    /// The profile [default: the configuration's default]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Print the whole result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The tool, SERVER.TOOL
    #[arg(value_name = "SERVER.TOOL")]
    pub(crate) tool: String,

    /// Its arguments, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) args: String,

    #[command(flatten)]
    pub(crate) grants: GrantArgs,

    /// Print the whole answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StubsArgs {
    /// Only these servers
    pub(crate) servers: Vec<String>,

    /// The language
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value = "python")]
    pub(crate) lang: StubLanguage,

    #[command(flatten)]
    pub(crate) grants: GrantArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StubLanguage {
    /// A module per server, as of a .pyi file
    Python,
    /// One .d.ts file for all servers
    #[value(name = "typescript", alias = "ts", alias = "javascript", alias = "js")]
    TypeScript,
}

/// What a script can be written in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ScriptLanguage {
    #[value(alias = "py")]
    Python,
    #[value(name = "typescript", alias = "ts")]
    TypeScript,
    #[value(name = "javascript", alias = "js")]
    JavaScript,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Only these servers
    pub(crate) servers: Vec<String>,

    /// The time for each server, from starting or connecting it to its list of tools
    #[arg(long, value_name = "TIME", default_value = PREFLIGHT_TIME)]
    pub(crate) timeout: String,

    #[command(flatten)]
    pub(crate) caller: CallerArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How long one server's preflight may take.
const PREFLIGHT_TIME: &str = "5s";

/// For servers whose settings refer to the caller.
#[derive(Debug, Args)]
pub(crate) struct CallerArgs {
    /// Fill in ${caller.token} with what this environment variable holds
    #[arg(long = "caller-token-env", value_name = "NAME")]
    pub(crate) token_env: Option<String>,

    /// Fill in ${caller.id} with this
    #[arg(long = "caller-id", value_name = "ID")]
    pub(crate) id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MonitorArgs {
    /// Only these servers
    pub(crate) servers: Vec<String>,

    /// Probe each server once, tell who is to be told, and end: exit code 1 if one is down
    #[arg(long)]
    pub(crate) once: bool,

    /// Print one JSON object per change instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// Where to keep the report that `toolcell status` reads [default: the configuration's
    /// state_file, or one in the user's state folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) state_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Print it again every two seconds, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,

    /// The report of `toolcell monitor` [default: the configuration's state_file, or the one in the
    /// user's state folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) state_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Take over the servers of this client, or of all; credentials become ${NAME}
    #[arg(long, value_name = "CLIENT", num_args = 0..=1, default_missing_value = "all")]
    pub(crate) import: Vec<Source>,

    /// Write nothing, and print what this client needs
    #[arg(long, value_name = "CLIENT", conflicts_with_all = ["import", "force"])]
    pub(crate) client: Option<Client>,

    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) force: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The server
    pub(crate) server: String,

    /// Open no browser; only print the address
    #[arg(long)]
    pub(crate) no_browser: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The server
    pub(crate) server: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    /// The profile that decides what agents see and may do [default: the configuration's default]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Show agents the servers' own tools, resources and prompts too, tools and prompts as
    /// SERVER_NAME
    #[arg(long)]
    pub(crate) gateway: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 for any that is free [default: 127.0.0.1:7420]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// The profile of /mcp; the others are on /mcp/NAME [default: the configuration's default]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Show agents the servers' own tools, resources and prompts too, tools and prompts as
    /// SERVER_NAME, whatever the profiles say
    #[arg(long)]
    pub(crate) gateway: bool,

    /// Print the address as JSON on stdout, too
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RuntimesArgs {
    #[command(subcommand)]
    pub(crate) action: Option<RuntimesAction>,

    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum RuntimesAction {
    /// List what the cache has (the default)
    List,
    /// Build and compile the language runtimes that are missing or stale
    Build,
    /// Check every cached file's content; what is corrupt is rebuilt at its next use
    Verify,
    /// Remove what is stale, and the code of plugins that were not used for 30 days
    Remove {
        /// Remove everything
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Print what is in force, with every default filled in and without secrets
    Show {
        /// Only this server
        #[arg(long, value_name = "NAME")]
        server: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell every problem and notice, and start nothing
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of toolcell.toml, for editors
    Schema,
    /// Print the reference page of toolcell.toml
    Reference,
}
