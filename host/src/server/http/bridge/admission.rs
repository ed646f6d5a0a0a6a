//! Which server a session has: one of the operator's, by its name or because it is the same; toolcell
//! itself; or one of the session's own, if the operator lets clients name such a one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, header};
use indexmap::IndexMap;
use reqwest::Url;
use serde_json::Value;

use super::params::{HttpParams, ServerParams, StdioParams};
use super::settings::{AllowedServer, BridgeSettings};
use crate::grants::Policy;
use crate::ids::UpstreamName;
use crate::server::mcp::Facade;
use crate::upstream::Caller;
use crate::upstream::encoding::{Charset, TextEncoding, Undecodable};
use crate::upstream::settings::{
    HttpFlavour, HttpSettings, Retry, Secret, Timeouts, TransportSettings, UpstreamSettings,
};

/// What a client hears whose parameters are not admitted, whatever the reason: which servers there are
/// is no business of a page that guesses.
pub(super) const NOT_ADMITTED: &str =
    "these server parameters are not admitted here; the operator decides which are";

/// The name by which one's own server goes in records and errors.
const OWN: &str = "bridge";

/// The name of what is built in, unless a server has it.
const BUILT_IN: &str = "toolcell";

/// No wait is longer, whatever a client says.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The most characters of a text that is told to the operator.
const SHOWN_CHARACTERS: usize = 64;

/// Which server it will be.
pub(super) enum Plan {
    /// One of the operator's, with its own settings.
    Named(UpstreamName),
    /// The tools of toolcell itself.
    BuiltIn,
    /// One of the session's own.
    Own(Box<UpstreamSettings>),
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "server {name}"),
            Self::BuiltIn => f.write_str("toolcell itself"),
            Self::Own(settings) => match &settings.transport {
                TransportSettings::Stdio { command, .. } => {
                    write!(f, "a server of its own, {:?}", shown(command))
                }
                _ => f.write_str("a server of its own on the net"),
            },
        }
    }
}

/// Why not, for the operator alone.
pub(super) struct NotAdmitted(String);

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a web client was refused a server: {}", self.0)
    }
}

/// Decides.
pub(super) fn decide(
    facade: &Facade,
    settings: &BridgeSettings,
    wanted: &ServerParams,
) -> Result<Plan, NotAdmitted> {
    let policy = facade.profile().map_err(NotAdmitted)?.policy;
    match wanted {
        ServerParams::Named(name) => named(facade, &policy, name),
        ServerParams::Stdio(params) => {
            let same = |transport: &TransportSettings| {
                matches!(transport, TransportSettings::Stdio { command, args, .. }
                    if *command == params.command && *args == params.args)
            };
            match configured(facade, &policy, same) {
                Some(name) => Ok(Plan::Named(name)),
                None => own_program(settings, params),
            }
        }
        ServerParams::Sse(params) => by_url(facade, &policy, settings, params, HttpFlavour::Sse),
        ServerParams::StreamableHttp(params) => {
            by_url(facade, &policy, settings, params, HttpFlavour::StreamableHttp)
        }
    }
}

/// Whether a profile grants anything of a server.
fn grants_any(policy: &Policy, server: &str) -> bool {
    policy.may_grant_server(server)
        || policy.may_grant_resources(server)
        || policy.may_grant_prompts(server)
}

fn named(facade: &Facade, policy: &Policy, name: &str) -> Result<Plan, NotAdmitted> {
    let catalogs = facade.host().catalogs(Caller::anonymous());
    let known = catalogs.names().find(|known| known.as_str() == name);
    match known {
        Some(known) if grants_any(policy, name) => Ok(Plan::Named(known.clone())),
        None if name == BUILT_IN => Ok(Plan::BuiltIn),
        Some(_) => Err(NotAdmitted(format!("the profile grants nothing of server `{name}`"))),
        None => {
            let name = shown(name);
            Err(NotAdmitted(format!("there is no server {name:?}; write [servers.{name}]")))
        }
    }
}

/// The server of the configuration that is reached in the same way. It is that server, then, with the
/// operator's settings and credentials and nothing of what the client says beside.
fn configured(
    facade: &Facade,
    policy: &Policy,
    same: impl Fn(&TransportSettings) -> bool,
) -> Option<UpstreamName> {
    let config = facade.host().config();
    let mut servers = config.servers.iter();
    let found =
        servers.find(|server| same(&server.transport) && grants_any(policy, server.name.as_str()));
    found.map(|server| server.name.clone())
}

fn by_url(
    facade: &Facade,
    policy: &Policy,
    settings: &BridgeSettings,
    params: &HttpParams,
    flavour: HttpFlavour,
) -> Result<Plan, NotAdmitted> {
    let same = |transport: &TransportSettings| matches!(transport, TransportSettings::Http(http) if http.url == params.url);
    match configured(facade, policy, same) {
        Some(name) => Ok(Plan::Named(name)),
        None => own_address(settings, params, flavour),
    }
}

fn own_program(settings: &BridgeSettings, params: &StdioParams) -> Result<Plan, NotAdmitted> {
    let StdioParams { command, args, env, cwd, encoding, encoding_error_handler, .. } = params;
    let commands = settings.allow.iter().filter_map(|allowed| match allowed {
        AllowedServer::Command(allowed) => Some(allowed),
        AllowedServer::Url(_) => None,
    });
    let mut why =
        format!("no entry admits its command; this one would: {}", line_for(command, args));
    for allowed in commands.filter(|allowed| allowed.admits(command, args)) {
        let foreign = env.iter().flatten().find(|(name, _)| !allowed.admits_variable(name));
        if let Some((name, _)) = foreign {
            let name = shown(name);
            why = format!("the entry of its command lacks env = [{name:?}]");
            continue;
        }
        if cwd.as_ref().is_some_and(|cwd| !fits_cwd(allowed.cwd.as_ref(), cwd)) {
            why = "the entry of its command does not admit its cwd".to_owned();
            continue;
        }
        let charset = encoding.as_deref().map_or(Some(Charset::Utf8), Charset::by_name);
        let Some(charset) = charset else {
            why = "its encoding is none of utf-8, ascii, latin-1".to_owned();
            continue;
        };
        let undecodable = match encoding_error_handler.as_deref() {
            Some("ignore") => Undecodable::Ignored,
            Some("replace") => Undecodable::Replaced,
            _ => Undecodable::Refused,
        };
        let given = env.iter().flatten();
        let env: BTreeMap<String, Secret> =
            given.map(|(name, value)| (name.clone(), Secret::new(value))).collect();
        if has_nul(command, args, &env, cwd.as_deref()) {
            why = "a text of it has a NUL".to_owned();
            continue;
        }
        let (command, args, cwd) = (command.clone(), args.clone(), cwd.clone().map(PathBuf::from));
        let mut own = own(TransportSettings::Stdio { command, args, env, cwd })?;
        own.encoding = TextEncoding { charset, undecodable };
        set(&mut own.timeouts.read, params.read_timeout_seconds);
        return Ok(Plan::Own(Box::new(own)));
    }
    Err(NotAdmitted(why))
}

/// A path that goes up would leave what its pattern says.
fn fits_cwd(allowed: Option<&super::settings::Glob>, cwd: &str) -> bool {
    let plain = cwd.split('/').all(|part| !matches!(part, "." | ".."));
    plain && cwd.starts_with('/') && allowed.is_some_and(|allowed| allowed.matches(cwd))
}

fn has_nul(
    command: &str,
    args: &[String],
    env: &BTreeMap<String, Secret>,
    cwd: Option<&str>,
) -> bool {
    let texts = args.iter().map(String::as_str).chain([command]).chain(cwd);
    let names = env.keys().any(|name| name.is_empty() || name.contains(['=', '\0']));
    names || texts.into_iter().any(|text| text.contains('\0'))
}

fn own_address(
    settings: &BridgeSettings,
    params: &HttpParams,
    flavour: HttpFlavour,
) -> Result<Plan, NotAdmitted> {
    let url = Url::parse(&params.url).ok().filter(Url::has_host);
    let url = url.ok_or_else(|| NotAdmitted("its url is none".to_owned()))?;
    let admits = |allowed: &AllowedServer| match allowed {
        AllowedServer::Url(allowed) => allowed.admits(&url),
        AllowedServer::Command(_) => false,
    };
    if !settings.allow.iter().any(admits) {
        let place = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let place = shown(&place);
        let why = format!(
            "no entry admits its address; this one would: [server.bridge] allow = [{{ url = \
             {place:?} }}]"
        );
        return Err(NotAdmitted(why));
    }
    let http = HttpSettings {
        flavour,
        headers: headers(params.headers.as_ref())?,
        says_goodbye: params.terminate_on_close.unwrap_or(true),
        ..HttpSettings::new(url.as_str())
    };
    let mut own = own(TransportSettings::Http(http))?;
    let Timeouts { connect, handshake, write, read, .. } = &mut own.timeouts;
    for step in [connect, handshake, write] {
        set(step, params.timeout);
    }
    set(read, params.sse_read_timeout);
    Ok(Plan::Own(Box::new(own)))
}

/// The headers of every request, but those that are HTTP's own business.
fn headers(
    given: Option<&IndexMap<String, Value>>,
) -> Result<BTreeMap<String, Secret>, NotAdmitted> {
    const OURS: [HeaderName; 8] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::ACCEPT,
        header::EXPECT,
    ];
    let mut all = BTreeMap::new();
    for (name, value) in given.into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(NotAdmitted("a header of it is no text".to_owned())),
        };
        let known = HeaderName::try_from(name.as_str()).ok().filter(|name| !OURS.contains(name));
        if known.is_none() || HeaderValue::from_str(&text).is_err() {
            return Err(NotAdmitted("it has a header that cannot be sent".to_owned()));
        }
        all.insert(name.clone(), Secret::new(text));
    }
    Ok(all)
}

/// The settings of a session's own server: nobody else waits for it, so it is not tried again and again.
fn own(transport: TransportSettings) -> Result<UpstreamSettings, NotAdmitted> {
    let name = UpstreamName::try_new(OWN).map_err(|error| NotAdmitted(error.to_string()))?;
    let mut own = UpstreamSettings::new(name, transport);
    own.retry = Retry { attempts: 1, ..own.retry };
    own.connections.max = 1;
    own.timeouts.idle = None;
    own.probe_interval = None;
    Ok(own)
}

fn set(time: &mut Duration, seconds: Option<f64>) {
    let given = seconds.filter(|seconds| *seconds > 0.0);
    let given = given.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST));
    *time = given.map_or(*time, |given| given.min(LONGEST));
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARACTERS).collect()
}

/// The line of the configuration that would admit a command. An argument that may hold a credential is
/// not written into a log.
fn line_for(command: &str, args: &[String]) -> String {
    let quoted = |arg: &String| {
        let tells = arg.len() <= SHOWN_CHARACTERS && !arg.contains('=');
        format!("{:?}", if tells { shown(arg) } else { "*".to_owned() })
    };
    let args: Vec<String> = args.iter().take(20).map(quoted).collect();
    let command = shown(command);
    format!("[server.bridge] allow = [{{ command = {command:?}, args = [{}] }}]", args.join(", "))
}
