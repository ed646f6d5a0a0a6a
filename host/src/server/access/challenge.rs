//! What a client is told that is not let in, so that it can come back with a token: the challenge of
//! RFC 6750 with the address of the metadata of RFC 9728, as MCP's authorization wants it.

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use super::Refused;
use super::settings::{AccessSettings, JwtSettings};

/// Where the metadata of a resource begins; the resource's path follows.
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// What is wrong with a request's credentials. No text in here holds a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There are none.
    Missing,
    /// They are not good here, whatever is asked for.
    Invalid(String),
    /// They are good, and for less than this.
    Scope(String),
    /// They are good, and for other profiles.
    Profile(String),
    /// Nobody can tell just now.
    Unavailable(String),
}

impl Fault {
    pub(super) fn invalid(words: impl Into<String>) -> Self {
        Self::Invalid(words.into())
    }

    /// A profile that is none of the open ones. Whether there is one of this name is not told.
    pub(super) fn profile(open: &[String], wanted: Option<&str>) -> Self {
        let named = match wanted {
            Some(name) => format!("the profile `{name}`"),
            None => "the default profile".to_owned(),
        };
        Self::Profile(match open {
            [] => format!("{named} is not open to you: no profile is"),
            open => format!("{named} is not open to you; open are {}", open.join(", ")),
        })
    }

    /// The answer to a client.
    pub(super) fn refused(
        self,
        settings: &AccessSettings,
        headers: &HeaderMap,
        named: Option<&str>,
    ) -> Refused {
        let challenge = |members: &[(&str, &str)]| {
            let metadata = settings.jwt.as_ref().map(|_| metadata_url(settings, headers, named));
            Some(challenge(metadata.as_deref(), members))
        };
        match self {
            Self::Missing => Refused {
                status: 401,
                challenge: challenge(&[]),
                message: "a token is needed: send `Authorization: Bearer TOKEN`".to_owned(),
            },
            Self::Invalid(message) => Refused {
                status: 401,
                challenge: challenge(&[
                    ("error", "invalid_token"),
                    ("error_description", &message),
                ]),
                message,
            },
            Self::Scope(scope) => {
                let message = format!("the token has not all of these scopes: {scope}");
                Refused {
                    status: 403,
                    challenge: challenge(&[
                        ("error", "insufficient_scope"),
                        ("scope", &scope),
                        ("error_description", &message),
                    ]),
                    message,
                }
            }
            Self::Profile(message) => Refused { status: 403, challenge: None, message },
            Self::Unavailable(message) => Refused { status: 503, challenge: None, message },
        }
    }
}

/// The document of RFC 9728 about the endpoint at `url`.
pub(super) fn protected_resource(settings: &AccessSettings, jwt: &JwtSettings, url: &str) -> Value {
    let resource = match (&settings.public_url, url.split_once("://")) {
        (Some(public), Some((_, rest))) => {
            let path = rest.find('/').map_or("", |at| &rest[at..]);
            format!("{public}{path}")
        }
        _ => url.to_owned(),
    };
    let mut document = json!({
        "resource": resource,
        "authorization_servers": [jwt.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": "toolcell",
    });
    if !jwt.scopes.is_empty() {
        document["scopes_supported"] = json!(jwt.scopes);
    }
    document
}

/// The URL of a profile's endpoint, if the operator named it: what a client writes into `Host` says
/// nothing about for whom its token was issued.
pub(super) fn public_endpoint(settings: &AccessSettings, named: Option<&str>) -> Option<String> {
    Some(format!("{}{}", settings.public_url.as_ref()?, path(named)))
}

fn metadata_url(settings: &AccessSettings, headers: &HeaderMap, named: Option<&str>) -> String {
    format!("{}{METADATA_PATH}{}", base(settings, headers), path(named))
}

fn path(named: Option<&str>) -> String {
    match named {
        // A name that no profile has must not come back as part of a header.
        Some(name)
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) =>
        {
            format!("/mcp/{name}")
        }
        _ => "/mcp".to_owned(),
    }
}

/// How clients reach us. Without a public URL they speak plain HTTP with us, and say by which name.
fn base(settings: &AccessSettings, headers: &HeaderMap) -> String {
    if let Some(url) = &settings.public_url {
        return url.clone();
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let host = host.filter(|host| !host.is_empty() && host.bytes().all(fits));
    format!("http://{}", host.unwrap_or("localhost"))
}

fn challenge(metadata: Option<&str>, members: &[(&str, &str)]) -> String {
    let realm = ("realm", "toolcell");
    let metadata = metadata.map(|url| ("resource_metadata", url));
    let members = metadata.iter().chain(members).map(|(name, value)| {
        // What a quoted text must not hold (RFC 6750, section 3).
        let value: String = value
            .chars()
            .map(|c| match c {
                '"' | '\\' | '`' => '\'',
                ' '..='~' => c,
                _ => '?',
            })
            .collect();
        format!(", {name}=\"{value}\"")
    });
    format!("Bearer {}=\"{}\"{}", realm.0, realm.1, members.collect::<String>())
}
