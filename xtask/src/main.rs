//! The project's chores, as `cargo xtask CHORE`. Everything they install or build stays below the
//! build folder (`target/`), so `cargo clean` undoes all of it.

mod bench;
mod check;
mod clients;
mod conformance;
mod demo;
mod docs;
mod fixtures;
mod guests;
mod js_runtime;
mod process;
mod registry;
mod test;
mod wasm_toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::wasm_toolchain::WasmToolchain;
use crate::workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask CHORE

  demo              build toolcell, install three MCP servers from npm and PyPI, and run
                    examples/demo/briefing.py against them and this repository's files
  test [ARGS...]    install what the tests need, build, and run every test;
                    ARGS go to `cargo test`
  conformance [client|server [SCENARIO...]]
                    run MCP's conformance suite against the upstream stack (`client`) and through
                    the host as a gateway (`server`): all that the revisions require, or single
                    scenarios with all their output
  check             formatting, lints, documentation, and licences and advisories of dependencies
  docs              write docs/config.md and docs/config.schema.json
  bench             measure toolcell beside pyeryx and native CPython, as ratios in one run
  fixtures          install the MCP servers of demo and test, the agent frameworks and the registry
                    of test, and print where the servers are
  wasm-toolchain    make sure that something compiles for wasm32, and print the file with the
                    variables for it: `. \"$(cargo xtask wasm-toolchain)\"`
  guests            build the plugins that tests load, and print their folder
  js-runtime        build the guest that runs JavaScript, plugins/js-runtime/js-runtime.wasm
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let chore = args.next();
    let rest: Vec<String> = args.collect();
    match perform(chore.as_deref(), &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(chore: Option<&str>, rest: &[String]) -> Result<()> {
    if !matches!(chore, Some("test" | "conformance"))
        && let Some(arg) = rest.first()
    {
        bail!("unexpected argument {arg:?}\n\n{USAGE}");
    }
    let workspace = Workspace::locate()?;
    match chore {
        Some("bench") => bench::bench(&workspace),
        Some("demo") => demo::demo(&workspace),
        Some("docs") => docs::docs(&workspace),
        Some("test") => test::test(&workspace, rest),
        Some("conformance") => conformance::conformance(&workspace, rest),
        Some("check") => check::check(&workspace),
        Some("fixtures") => {
            let fixtures = fixtures::install(&workspace)?;
            clients::install(&workspace)?;
            registry::install(&workspace)?;
            println!("{}", fixtures.root.display());
            Ok(())
        }
        Some("js-runtime") => {
            let toolchain = WasmToolchain::install(&workspace)?;
            println!("{}", js_runtime::build(&workspace, &toolchain)?.display());
            Ok(())
        }
        Some("guests") => {
            let toolchain = WasmToolchain::install(&workspace)?;
            println!("{}", guests::build(&workspace, &toolchain)?.display());
            Ok(())
        }
        Some("wasm-toolchain") => {
            println!("{}", WasmToolchain::install(&workspace)?.env_file.display());
            Ok(())
        }
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        Some(other) => bail!("no chore is called {other:?}\n\n{USAGE}"),
        None => bail!("which chore?\n\n{USAGE}"),
    }
}
