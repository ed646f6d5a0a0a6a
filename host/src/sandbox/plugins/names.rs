//! The names of interfaces, `package:name/interface@version`: which we offer, and what is said of
//! those that we do not.

use semver::Version;

use super::PluginError;

/// The version of `toolcell:guest` in `guest-sdk/wit`.
pub(super) const OFFERED: &str = "0.1.0";

/// The interfaces of `toolcell:guest` that a plugin may import.
const OURS: [&str; 7] = ["tools", "console", "resources", "prompts", "events", "state", "asks"];

/// The packages of WASI 0.2 that are linked, over a world that has nothing.
const WASI: [&str; 6] = ["io", "clocks", "random", "cli", "filesystem", "sockets"];

/// What becomes of an import.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Import {
    /// Everybody gets it.
    Offered,
    /// It is one of ours.
    OfferedToPlugins,
    /// Nobody gets it; what to do instead.
    Refused(&'static str),
}

/// What becomes of the import of this name.
pub(super) fn import(name: &str) -> Import {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    if let Some(interface) = path.strip_prefix("toolcell:guest/") {
        return match OURS.contains(&interface) {
            true => Import::OfferedToPlugins,
            false => Import::Refused("which toolcell does not have; is its name right?"),
        };
    }
    let Some((package, _)) = path.strip_prefix("wasi:").and_then(|rest| rest.split_once('/'))
    else {
        return Import::Refused(match name.contains(':') {
            true => "which toolcell does not offer: a plugin calls granted tools, and nothing else",
            false => "which the component has to bring along: link it in (`wasm-tools compose`)",
        });
    };
    if WASI.contains(&package) {
        return match version.starts_with("0.2.") {
            true => Import::Offered,
            false => Import::Refused("but only WASI 0.2 is offered: build it for `wasm32-wasip2`"),
        };
    }
    Import::Refused(match package {
        "http" => "but a plugin has no network: call a granted server's tool instead",
        "keyvalue" => "but values are kept with `toolcell:guest/state`",
        "logging" => "but entries for a log go to `toolcell:guest/events`",
        _ => "which toolcell does not offer",
    })
}

/// Whether it is this interface of `toolcell:guest`, in whatever version.
pub(super) fn is_ours(name: &str, interface: &str) -> bool {
    let path = name.split('@').next().unwrap_or(name);
    path.strip_prefix("toolcell:guest/") == Some(interface)
}

/// The version of `toolcell:guest` in the name of one of its interfaces.
pub(super) fn our_version(name: &str) -> Option<Version> {
    let rest = name.strip_prefix("toolcell:guest/")?;
    let version = rest.split_once('@').map_or("0.0.0", |(_, version)| version);
    Some(Version::parse(version).unwrap_or(Version::new(0, 0, 0)))
}

/// Whether a component that was built for this version of `toolcell:guest` can be loaded: patches
/// of one minor version go together, older or newer.
///
/// # Errors
/// It cannot, and why.
pub(super) fn check_version(built_for: &Version) -> Result<(), PluginError> {
    let offered = Version::parse(OFFERED).unwrap_or(Version::new(0, 0, 0));
    let (theirs, ours) = ((built_for.major, built_for.minor), (offered.major, offered.minor));
    if theirs == ours {
        return Ok(());
    }
    Err(PluginError::WitVersion {
        built_for: built_for.to_string(),
        offered: OFFERED,
        advice: match theirs > ours {
            true => "update toolcell",
            false => "build it again with the current guest SDK",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_imports() {
        for offered in
            ["wasi:io/poll@0.2.0", "wasi:cli/environment@0.2.12", "wasi:sockets/tcp@0.2.3"]
        {
            assert_eq!(import(offered), Import::Offered, "{offered}");
        }
        assert_eq!(import("toolcell:guest/tools@0.1.0"), Import::OfferedToPlugins);
        let advice = |name| match import(name) {
            Import::Refused(advice) => advice,
            offered => panic!("{name}: {offered:?}"),
        };
        assert!(advice("wasi:http/outgoing-handler@0.2.0").contains("no network"));
        assert!(advice("wasi:io/poll@0.3.0").contains("WASI 0.2"));
        assert!(advice("wasi:io/poll").contains("WASI 0.2"));
        assert!(advice("toolcell:guest/teleport@0.1.0").contains("is its name right"));
        assert!(advice("acme:db/sql@1.0.0").contains("granted tools"));
        assert!(advice("log").contains("link it in"));
    }

    #[test]
    fn patches_of_one_minor_version_go_together() {
        let check = |version: &str| check_version(&Version::parse(version).expect("a version"));
        assert!(check("0.1.0").is_ok() && check("0.1.7").is_ok());
        let newer = check("0.9.0").expect_err("is newer").to_string();
        assert_eq!(
            newer,
            "it was built for toolcell:guest 0.9.0, this toolcell offers 0.1.0; update toolcell"
        );
        assert!(check("1.0.0").expect_err("is newer").to_string().ends_with("update toolcell"));
        assert!(check("0.0.9").expect_err("is older").to_string().contains("build it again"));
    }
}
