//! The command line: arguments in, library calls, text or JSON out, an exit code.

mod args;
mod call;
mod check;
mod config;
mod exit;
mod failure;
mod init;
mod login;
mod mcp;
mod monitor;
mod offers;
mod plugin;
mod pretty;
mod read;
mod run;
mod runtimes;
mod serve;
mod setup;
mod status;
mod status_line;
mod stubs;
mod tools;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::Exit;
use failure::Failure;

/// Parses, runs, prints the error if there is one.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            // Help and version go to stdout and are a success; clap knows which is which.
            let _ = help_or_error.print();
            let exit = if help_or_error.use_stderr() { Exit::Usage } else { Exit::Done };
            return exit.into();
        }
    };
    setup::logging(&cli.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("toolcell: cannot start: {error}");
            return Exit::Usage.into();
        }
    };
    let exit = runtime.block_on(async {
        match dispatch(&cli).await {
            Ok(exit) => exit,
            Err(failure) => failure.print(),
        }
    });
    // A worker may still hold a thread, such as a build of a runtime that was cancelled; what it
    // was doing must not keep the process.
    runtime.shutdown_background();
    exit.into()
}

async fn dispatch(cli: &Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Run(args) => run::run(cli, args).await,
        Command::Init(args) => init::init(cli, args),
        Command::Tools(args) => tools::tools(cli, args).await,
        Command::Resources(args) => offers::resources(cli, args).await,
        Command::Read(args) => read::read(cli, args).await,
        Command::Prompts(args) => offers::prompts(cli, args).await,
        Command::Prompt(args) => read::prompt(cli, args).await,
        Command::Call(args) => call::call(cli, args).await,
        Command::Stubs(args) => stubs::stubs(cli, args).await,
        Command::Check(args) => check::check(cli, args).await,
        Command::Login(args) => login::login(cli, args).await,
        Command::Logout(args) => login::logout(cli, args).await,
        Command::Monitor(args) => monitor::monitor(cli, args).await,
        Command::Status(args) => status::status(cli, args).await,
        Command::Mcp(args) => mcp::mcp(cli, args).await,
        Command::Serve(args) => serve::serve(cli, args).await,
        Command::Runtimes(args) => runtimes::runtimes(cli, args).await,
        Command::Plugin(args) => plugin::plugin(cli, args).await,
        Command::Config(args) => config::config(cli, args),
    }
}
