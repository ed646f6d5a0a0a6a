//! `[server.bridge]`: who may be reached over the bridge, and how much of us its clients may take.

use std::time::Duration;

use super::{Folder, notices};
use crate::config::show;
use crate::server::settings::{AllowedServer, BridgeSettings};

#[test]
fn everything_about_the_bridge_is_read() {
    let config = Folder::toml(
        r#"
        default_profile = "web"
        [server.bridge]
        profile = "web"
        allow = [
            { command = "uvx", args = ["mcp-server-*"], env = ["API_*"], cwd = "/srv/*" },
            { url = "https://*.example.org/mcp" },
        ]
        max_sessions = 10
        max_frame = "1MiB"
        max_in_flight = 4
        queue = 32
        idle = "10m"
        heartbeat = "20s"
        ticket_lifetime = "30s"
        connects_per_minute = 6
        elicitation_timeout = "2m"
        [profiles.web]
        tools = ["*"]
        "#,
    )
    .load();
    let bridge = config.server.bridge.as_ref().expect("it is there");
    let BridgeSettings {
        profile,
        allow,
        max_sessions,
        max_frame,
        max_in_flight,
        queue,
        idle,
        heartbeat,
        ticket_lifetime,
        connects_per_minute,
        elicitation_timeout,
        own_token,
    } = bridge;
    assert_eq!(profile.as_deref(), Some("web"));
    let [AllowedServer::Command(command), AllowedServer::Url(url)] = &allow[..] else {
        panic!("{allow:?}")
    };
    assert_eq!((command.command.as_str(), command.args.len()), ("uvx", 1));
    assert_eq!(command.cwd.as_ref().map(|cwd| cwd.as_str()), Some("/srv/*"));
    assert_eq!(url.to_string(), "https://*.example.org/mcp");
    assert_eq!((*max_sessions, *max_frame, *max_in_flight, *queue), (10, 1 << 20, 4, 32));
    let seconds = [idle, heartbeat, ticket_lifetime, elicitation_timeout].map(Duration::as_secs);
    assert_eq!(seconds, [600, 20, 30, 120]);
    assert_eq!((*connects_per_minute, *own_token), (6, None));
    let shown = show(&config, None).expect("all of it");
    assert_eq!(shown["server"]["bridge"]["allow"][0]["env"][0], "API_*", "{shown}");

    let empty = Folder::toml("[server.bridge]\n").load();
    assert_eq!(empty.server.bridge, Some(BridgeSettings::default()));
    assert_eq!(Folder::toml("[server]\n").load().server.bridge, None);
}

#[test]
fn what_makes_no_sense_is_told_with_a_way_out() {
    #[track_caller]
    fn check(toml: &str, expected: &str) {
        Folder::toml(&format!("[server.bridge]\n{toml}\n")).check_problems(&[expected]);
    }
    check(
        "profile = \"wbe\"\n[profiles.web]\ntools = [\"*\"]",
        "toolcell.toml:2:1: server.bridge.profile: there is no profile \"wbe\"; did you mean `web`?",
    );
    check(
        "allow = [{ args = [\"x\"] }]",
        "toolcell.toml:2:10: server.bridge.allow[0]: it has to name either a command or a URL; write { \
         command = \"uvx\", args = [\"mcp-server-*\"] } or { url = \"https://*.example.org/mcp\" }",
    );
    check(
        "allow = [{ url = \"ftp://x\" }]",
        "toolcell.toml:2:12: server.bridge.allow[0].url: \"ftp://x\" is no URL of http or https with a \
         path; write for example https://*.example.org/mcp",
    );
    check(
        "allow = [{ url = \"https://x/mcp\", env = [\"A\"] }]",
        "toolcell.toml:2:35: server.bridge.allow[0].env: `env` belongs to a `command`, and this one has \
         `url`; remove it",
    );
    check("idle = \"48h\"", "toolcell.toml:2:1: server.bridge.idle: the greatest value is 24h");
    let any = Folder::toml("[server.bridge]\nallow = [{ command = \"*\" }]\n").load();
    let told = notices(&any);
    assert!(told.iter().any(|notice| notice.contains("run any program")), "{told:?}");
}
