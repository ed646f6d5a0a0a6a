//! Who we are to a registry: what `docker login` and its kin wrote down.
//!
//! In this order: the variable `DOCKER_AUTH_CONFIG` (the JSON itself, as CI systems set it), then
//! `config.json` in the folder `DOCKER_CONFIG` or `~/.docker`. An entry of `credHelpers` or
//! `credsStore` there is asked as Docker asks it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use reqwest::RequestBuilder;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::config::env::{DOCKER_AUTH_CONFIG, DOCKER_CONFIG, HOME, Lookup, USERPROFILE};

/// No Docker configuration is larger, and no helper's answer.
const MAX_BYTES: u64 = 1024 * 1024;

/// A helper may ask a person for the way into a keyring, not forever.
const HELPER_DEADLINE: Duration = Duration::from_secs(60);

/// A user and a password. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

/// Docker's configuration cannot be used. Values are not told.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("Docker's configuration {place} cannot be read: {cause}")]
    Unreadable {
        /// A path, or the name of a variable.
        place: String,
        /// Why not.
        cause: String,
    },
    /// It is not what Docker writes.
    #[error("Docker's configuration {place} is no JSON as Docker writes it (line {line})")]
    NotJson {
        /// A path, or the name of a variable.
        place: String,
        /// Where it stops to be.
        line: usize,
    },
    /// What it has for this registry is of no use.
    #[error("Docker's configuration {place} has an entry for {registry} that {what}")]
    Entry {
        /// A path, or the name of a variable.
        place: String,
        /// The registry.
        registry: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The helper that it names failed.
    #[error("the credential helper `{helper}` has nothing to say about {registry}: {cause}")]
    Helper {
        /// The program.
        helper: String,
        /// The registry.
        registry: String,
        /// Why not.
        cause: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

impl Credentials {
    /// A user and a password, or an access token in its place.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// What Docker's configuration has for a registry. `None` if it has nothing, or there is none.
    ///
    /// # Errors
    /// There is something, and it cannot be used.
    pub async fn find(
        registry: &str,
        lookup: &Lookup<'_>,
    ) -> Result<Option<Self>, CredentialsError> {
        let Some((place, text)) = configuration(lookup)? else { return Ok(None) };
        let config: DockerConfig = serde_json::from_str(&text).map_err(|error| {
            CredentialsError::NotJson { place: place.clone(), line: error.line() }
        })?;
        let is_ours = |key: &str| host_of(key) == host_of(registry);
        let helper = config.cred_helpers.iter().find(|(key, _)| is_ours(key));
        if let Some((_, helper)) = helper {
            return ask(helper, registry).await.map(Some);
        }
        let entry = config.auths.iter().find(|(key, _)| is_ours(key));
        if let Some((_, auth)) = entry {
            let of_entry = auth.read().map_err(|what| CredentialsError::Entry {
                place,
                registry: registry.to_owned(),
                what,
            })?;
            if of_entry.is_some() {
                return Ok(of_entry);
            }
        }
        // With a store, `docker login` leaves an empty entry that tells that the store has one.
        match (config.creds_store, entry) {
            (Some(store), Some(_)) => ask(&store, registry).await.map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(&self.user, Some(&self.password))
    }

    pub(super) fn as_oci(&self) -> RegistryAuth {
        RegistryAuth::Basic(self.user.clone(), self.password.clone())
    }

    /// A text of the registry's without our password, should it repeat that.
    pub(super) fn erase(&self, text: &str) -> String {
        if self.password.is_empty() {
            return text.to_owned();
        }
        text.replace(&self.password, "[redacted]")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

impl Auth {
    fn read(&self) -> Result<Option<Credentials>, &'static str> {
        if self.identitytoken.as_ref().is_some_and(|token| !token.is_empty()) {
            return Err(
                "is an identity token, which toolcell cannot use: log in with a password or an \
                        access token",
            );
        }
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            return Ok(Some(Credentials::new(user, password)));
        }
        let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) else {
            return Ok(None);
        };
        let text = STANDARD.decode(auth.trim()).ok().and_then(|text| String::from_utf8(text).ok());
        let text = text.ok_or("is not in Base64")?;
        let (user, password) = text.split_once(':').ok_or("has no password")?;
        Ok(Some(Credentials::new(user, password.trim_end_matches('\0'))))
    }
}

/// The configuration's text and where it stands.
fn configuration(lookup: &Lookup<'_>) -> Result<Option<(String, String)>, CredentialsError> {
    use std::io::Read as _;
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    if let Some(text) = set(DOCKER_AUTH_CONFIG) {
        return Ok(Some((DOCKER_AUTH_CONFIG.to_owned(), text)));
    }
    let folder = set(DOCKER_CONFIG).map(PathBuf::from);
    let home = || set(HOME).or_else(|| set(USERPROFILE));
    let folder = folder.or_else(|| home().map(|home| PathBuf::from(home).join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    let place = path.display().to_string();
    let unreadable = |cause: String| CredentialsError::Unreadable { place: place.clone(), cause };
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(unreadable(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(Some((place, text)))
}

/// The host of a key of `auths`: `https://index.docker.io/v1/` and `ghcr.io` are both in use.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = key.split('/').next().unwrap_or(key);
    match host {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        host => host,
    }
}

/// Asks `docker-credential-NAME`, as Docker does.
async fn ask(name: &str, registry: &str) -> Result<Credentials, CredentialsError> {
    let helper = format!("docker-credential-{name}");
    let fail = |cause: &str| CredentialsError::Helper {
        helper: helper.clone(),
        registry: registry.to_owned(),
        cause: cause.to_owned(),
    };
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(fail("this is no name of a program"));
    }
    // What Docker Hub is called in stores.
    let server = match host_of(registry) {
        "index.docker.io" => "https://index.docker.io/v1/",
        host => host,
    };
    let conversation = async {
        let mut child = Command::new(&helper)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that needs no question may have ended before it is asked.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let read = stdout.take(MAX_BYTES).read_to_end(&mut answer).await;
            read.map_err(|error| error.to_string())?;
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        // Its words could hold anything.
        status.success().then_some(answer).ok_or_else(|| "it found none, or failed".to_owned())
    };
    let answer = match tokio::time::timeout(HELPER_DEADLINE, conversation).await {
        Ok(answer) => answer.map_err(|cause| fail(&cause))?,
        Err(_) => return Err(fail("it did not answer in time")),
    };
    let answer: HelperAnswer =
        serde_json::from_slice(&answer).map_err(|_| fail("it answers with something else"))?;
    if answer.username == "<token>" {
        return Err(fail("it has an identity token, which toolcell cannot use"));
    }
    Ok(Credentials::new(answer.username, answer.secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(registry: &str, config: &str) -> Result<Option<Credentials>, String> {
        let lookup = |name: &str| (name == DOCKER_AUTH_CONFIG).then(|| config.to_owned());
        Credentials::find(registry, &lookup).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn logins_are_found_by_their_hosts() {
        let config = r#"{"auths": {
            "ghcr.io": {"auth": "YWRhOnMzY3JldDp3aXRoOmNvbG9ucw=="},
            "https://index.docker.io/v1/": {"username": "bob", "password": "pw"},
            "other.example": {}
        }}"#;
        let ada = Credentials::new("ada", "s3cret:with:colons");
        assert_eq!(find("ghcr.io", config).await, Ok(Some(ada)));
        let bob = Credentials::new("bob", "pw");
        assert_eq!(find("index.docker.io", config).await, Ok(Some(bob)));
        assert_eq!(find("other.example", config).await, Ok(None));
        assert_eq!(find("ghcr.io.evil.example", config).await, Ok(None));
        assert_eq!(find("ghcr.io:444", config).await, Ok(None));
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_told_without_its_value() {
        let check = async |config: &str, expected: &str| {
            let error = find("ghcr.io", config).await.expect_err(config);
            assert!(error.contains(expected), "{config}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        };
        check(r#"{"auths": {"ghcr.io": {"auth": "s3cret!"}}}"#, "not in Base64").await;
        check(r#"{"auths": {"ghcr.io": {"auth": "czNjcmV0"}}}"#, "has no password").await;
        check(r#"{"auths": {"ghcr.io": {"identitytoken": "s3cret"}}}"#, "identity token").await;
        check(r#"{"auths": "s3cret"}"#, "no JSON as Docker writes it").await;
        check(r#"{"credHelpers": {"ghcr.io": "../s3/x"}}"#, "no name of a program").await;
        check(r#"{"credHelpers": {"ghcr.io": "there-is-none"}}"#, "there-is-none").await;
        let printed = format!("{:?}", Credentials::new("ada", "s3cret"));
        assert!(!printed.contains("s3cret") && !printed.contains("ada"), "{printed}");
    }

    #[tokio::test]
    async fn no_configuration_is_no_login() {
        assert_eq!(Credentials::find("ghcr.io", &|_| None).await.ok(), Some(None));
        let empty = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = empty.path().to_str().map(str::to_owned);
        let lookup = |name: &str| folder.clone().filter(|_| name == DOCKER_CONFIG);
        assert_eq!(Credentials::find("ghcr.io", &lookup).await.ok(), Some(None));
    }
}
