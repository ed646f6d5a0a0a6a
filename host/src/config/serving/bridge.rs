//! `[server.bridge]` as written becomes [`BridgeSettings`].

use std::time::Duration;

use super::{MAX_SESSIONS, Reading};
use crate::config::error::KeyPath;
use crate::config::findings::suggestion;
use crate::config::written::{WrittenAllowed, WrittenBridge};
use crate::server::settings::{AllowedCommand, AllowedServer, AllowedUrl, BridgeSettings, Glob};

const MAX_FRAME_BYTES: u64 = 256 << 20;
const MAX_QUEUE: u32 = 100_000;

impl Reading<'_, '_> {
    pub(super) fn bridge(&mut self, written: &WrittenBridge, path: &KeyPath) -> BridgeSettings {
        let mut settings = BridgeSettings::default();
        let WrittenBridge {
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
        } = written;
        if let Some(name) = profile {
            if !self.profiles.contains(&name.as_str()) {
                let cause = format!("there is no profile {name:?}");
                let way_out = suggestion(name, self.profiles.iter().copied());
                self.findings.problem_with(&path.key("profile"), cause, way_out);
            }
            settings.profile = Some(name.clone());
        }
        let allow_path = path.key("allow");
        let allow = allow.iter().enumerate();
        settings.allow = allow
            .filter_map(|(nth, allowed)| self.allowed(allowed, &allow_path.index(nth)))
            .collect();
        for (written, max, key, setting) in [
            (max_sessions, MAX_SESSIONS, "max_sessions", &mut settings.max_sessions),
            (max_in_flight, MAX_QUEUE, "max_in_flight", &mut settings.max_in_flight),
            (queue, MAX_QUEUE, "queue", &mut settings.queue),
            (
                connects_per_minute,
                MAX_SESSIONS,
                "connects_per_minute",
                &mut settings.connects_per_minute,
            ),
        ] {
            self.number(*written, max, &path.key(key), setting);
        }
        self.size(max_frame, MAX_FRAME_BYTES, &path.key("max_frame"), &mut settings.max_frame);
        for (written, key, setting) in [
            (idle, "idle", &mut settings.idle),
            (heartbeat, "heartbeat", &mut settings.heartbeat),
            (ticket_lifetime, "ticket_lifetime", &mut settings.ticket_lifetime),
            (elicitation_timeout, "elicitation_timeout", &mut settings.elicitation_timeout),
        ] {
            let path = path.key(key);
            self.time(written, &path, setting);
            if *setting > Duration::from_secs(24 * 3600) {
                self.findings.problem(&path, "the greatest value is 24h");
            }
        }
        settings
    }

    fn allowed(&mut self, written: &WrittenAllowed, path: &KeyPath) -> Option<AllowedServer> {
        let WrittenAllowed { command, args, env, cwd, url } = written;
        let globs = |texts: &[String]| texts.iter().map(Glob::new).collect();
        match (command, url) {
            (Some(command), None) if !command.is_empty() => {
                if command.trim_matches('*').is_empty() {
                    let text = "this lets web clients run any program of this machine";
                    self.findings.notice(&path.key("command"), text);
                }
                Some(AllowedServer::Command(AllowedCommand {
                    command: Glob::new(command),
                    args: globs(args),
                    env: globs(env),
                    cwd: cwd.as_ref().map(Glob::new),
                }))
            }
            (None, Some(url)) => {
                let beside = [("args", !args.is_empty()), ("env", !env.is_empty())];
                let beside = beside.into_iter().chain([("cwd", cwd.is_some())]);
                for (key, _) in beside.filter(|(_, is_there)| *is_there) {
                    let cause = format!("`{key}` belongs to a `command`, and this one has `url`");
                    self.findings.problem_with(&path.key(key), cause, "remove it");
                }
                let allowed = AllowedUrl::parse(url);
                if allowed.is_none() {
                    let cause = format!("{url:?} is no URL of http or https with a path");
                    let way_out = "write for example https://*.example.org/mcp";
                    self.findings.problem_with(&path.key("url"), cause, way_out);
                }
                allowed.map(AllowedServer::Url)
            }
            _ => {
                if !self.findings.is_faulty(path) {
                    let cause = "it has to name either a command or a URL";
                    let way_out = "write { command = \"uvx\", args = [\"mcp-server-*\"] } or { url = \
                                   \"https://*.example.org/mcp\" }";
                    self.findings.problem_with(path, cause, way_out);
                }
                None
            }
        }
    }
}
