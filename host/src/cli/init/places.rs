//! Where MCP clients keep their servers.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use toolcell::config::env::{APPDATA, HOME, Lookup, USERPROFILE, XDG_CONFIG_HOME};

/// Whose servers are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// All of them
    All,
    /// Claude Desktop
    ClaudeDesktop,
    /// Claude Code: the user's, and those of this project
    ClaudeCode,
    /// Cursor: this project's, and the user's
    Cursor,
    /// VS Code: this workspace's, and the user's
    Vscode,
}

/// The clients that there are files of.
const CLIENTS: [Source; 4] =
    [Source::ClaudeCode, Source::ClaudeDesktop, Source::Cursor, Source::Vscode];

/// Whose folders they are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Linux,
    MacOs,
    Windows,
}

impl System {
    /// This machine's.
    pub(super) fn here() -> Self {
        match std::env::consts::OS {
            "macos" => Self::MacOs,
            "windows" => Self::Windows,
            _ => Self::Linux,
        }
    }
}

/// The files of these clients, a project's before the user's. They need not exist.
pub(super) fn files(
    sources: &[Source],
    system: System,
    project: &Path,
    lookup: &Lookup<'_>,
) -> Vec<PathBuf> {
    let folders = Folders::of(system, lookup);
    let is_wanted = |client: &Source| sources.contains(client) || sources.contains(&Source::All);
    let files = CLIENTS.into_iter().filter(is_wanted).flat_map(|client| {
        let (in_project, of_user) = match client {
            Source::All => (None, None),
            Source::ClaudeCode => (Some(".mcp.json"), folders.home(".claude.json")),
            Source::ClaudeDesktop => (None, folders.config("Claude/claude_desktop_config.json")),
            Source::Cursor => (Some(".cursor/mcp.json"), folders.home(".cursor/mcp.json")),
            Source::Vscode => (Some(".vscode/mcp.json"), folders.config("Code/User/mcp.json")),
        };
        [in_project.map(|file| project.join(file)), of_user].into_iter().flatten()
    });
    let mut files: Vec<PathBuf> = files.collect();
    // In the home folder, a project's file may be the user's.
    let mut seen = Vec::new();
    files.retain(|file| {
        !seen.contains(file) && {
            seen.push(file.clone());
            true
        }
    });
    files
}

/// Where a user's files begin.
struct Folders {
    home: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Folders {
    fn of(system: System, lookup: &Lookup<'_>) -> Self {
        let folder = |name: &str| lookup(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = match system {
            System::Windows => folder(USERPROFILE).or_else(|| folder(HOME)),
            _ => folder(HOME),
        };
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let config = match system {
            System::Linux => folder(XDG_CONFIG_HOME).or_else(|| below_home(".config")),
            System::MacOs => below_home("Library/Application Support"),
            System::Windows => folder(APPDATA),
        };
        Self { home, config }
    }

    fn home(&self, file: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(file))
    }

    fn config(&self, file: &str) -> Option<PathBuf> {
        self.config.as_ref().map(|config| config.join(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_has_its_places() {
        #[track_caller]
        fn check(sources: &[Source], system: System, expected: &[&str]) {
            let lookup = |name: &str| match name {
                HOME | USERPROFILE => Some("/users/ada".to_owned()),
                APPDATA => Some("/users/ada/AppData/Roaming".to_owned()),
                _ => None,
            };
            let found = files(sources, system, Path::new("/project"), &lookup);
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(found, expected, "{sources:?} {system:?}");
        }
        let all = &[Source::All];
        check(
            all,
            System::Linux,
            &[
                "/project/.mcp.json",
                "/users/ada/.claude.json",
                "/users/ada/.config/Claude/claude_desktop_config.json",
                "/project/.cursor/mcp.json",
                "/users/ada/.cursor/mcp.json",
                "/project/.vscode/mcp.json",
                "/users/ada/.config/Code/User/mcp.json",
            ],
        );
        check(
            &[Source::ClaudeDesktop, Source::Vscode],
            System::MacOs,
            &[
                "/users/ada/Library/Application Support/Claude/claude_desktop_config.json",
                "/project/.vscode/mcp.json",
                "/users/ada/Library/Application Support/Code/User/mcp.json",
            ],
        );
        check(
            &[Source::ClaudeDesktop],
            System::Windows,
            &["/users/ada/AppData/Roaming/Claude/claude_desktop_config.json"],
        );
        check(&[], System::Linux, &[]);
    }

    #[test]
    fn no_home_leaves_the_project_and_a_home_is_not_read_twice() {
        let found = files(&[Source::Cursor], System::Linux, Path::new("/project"), &|_| None);
        assert_eq!(found, [PathBuf::from("/project/.cursor/mcp.json")]);
        let home = |name: &str| (name == HOME).then(|| "/users/ada".to_owned());
        let found = files(&[Source::Cursor], System::Linux, Path::new("/users/ada"), &home);
        assert_eq!(found, [PathBuf::from("/users/ada/.cursor/mcp.json")]);
    }
}
