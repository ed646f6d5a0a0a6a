//! Servers that want OAuth: who logs in, what is kept, when it is renewed, and that nobody sees it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use serde_json::value::RawValue;
use tempfile::TempDir;
use toolcell::ids::{ToolName, UpstreamName};
use toolcell::upstream::auth::{Authorization, AuthorizationPrompt, PromptError, TokenStore};
use toolcell::upstream::settings::{
    AuthGrant, AuthSettings, HttpSettings, Secret, TransportSettings, UpstreamSettings,
};
use toolcell::upstream::{Access, CallContext, Caller, UpstreamError, Upstreams};
use toolcell_tests::oauth::CLIENT;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{Cli, Finished, OAuthServer};

use crate::hosts::block_on;

/// A user with folders of their own, at a machine without a keyring.
struct User {
    folder: TempDir,
    toml: String,
}

impl User {
    fn of(server: &OAuthServer) -> Self {
        let folder = TempDir::with_prefix("toolcell-user-").expect("a temporary folder");
        Self { folder, toml: server.server().toml("x") }
    }

    fn cli(&self, command: &str) -> Cli {
        Cli::new(command)
            .config(&self.toml)
            .env("XDG_DATA_HOME", self.folder.path().join("data"))
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .env("TOOLCELL_TOKEN_STORE", "file")
            .env("TOOLCELL_LOG", "trace")
    }

    fn call(&self) -> Finished {
        self.cli("call").arg("x.echo").args(["--args", r#"{"text":"hi"}"#]).run()
    }

    fn login(&self) -> Finished {
        let login = self.cli("login").args(["x", "--no-browser", "--json"]).spawn();
        let line = login.wait_for_line("/authorize?");
        block_on(async {
            let back = OAuthServer::agree(line.trim()).await;
            let page = reqwest::get(back).await.expect("the loopback listener answers");
            assert!(page.status().is_success(), "{page:?}");
        });
        login.finish(Duration::from_secs(30))
    }
}

#[track_caller]
fn assert_silent(server: &OAuthServer, finished: &Finished) {
    for secret in server.secrets() {
        let said = finished.stdout.contains(&secret) || finished.stderr.contains(&secret);
        assert!(!said, "{secret} in {finished}");
    }
}

/// One story, because each chapter needs the one before: log in, call, outlive a token, lose the
/// grant, log in again, log out.
#[test]
fn a_person_logs_in_once_and_calls_for_as_long_as_the_grant_holds() {
    let server = OAuthServer::start();
    let user = User::of(&server);
    let hint = "run `toolcell login x`";

    let before = user.call().expect_code(4);
    assert!(before.stderr.contains(hint), "{before}");

    let login = user.login().success();
    assert_eq!(login.json()["ok"], true, "{login}");
    assert_eq!(login.json()["scopes"][0], "tools", "{login}");
    assert_silent(&server, &login);

    let file = user.folder.path().join("data/toolcell/tokens");
    let bytes = fs::read(&file).expect("the token file");
    for secret in server.secrets() {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
    }
    for file in [&file, &user.folder.path().join("config/toolcell/token.key")] {
        let mode = fs::metadata(file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }

    let call = user.call().success();
    assert!(call.stdout.contains("hi"), "{call}");
    assert_silent(&server, &call);
    assert_eq!(server.grants("refresh_token"), 0);

    server.expire();
    let refreshed = user.call().success();
    assert_silent(&server, &refreshed);
    assert_eq!(server.grants("refresh_token"), 1);
    // The new one was kept: the old refresh token is spent.
    server.expire();
    user.call().success();
    assert_eq!(server.grants("refresh_token"), 2);

    server.revoke();
    let revoked = user.call().expect_code(4);
    assert!(revoked.stderr.contains(hint) && revoked.stderr.contains("revoked"), "{revoked}");
    assert_silent(&server, &revoked);

    user.login().success();
    user.call().success();
    let logout = user.cli("logout").arg("x").run().success();
    assert!(logout.stdout.contains("forgotten"), "{logout}");
    user.call().expect_code(4);
    let again = user.cli("logout").arg("x").run().success();
    assert!(again.stdout.contains("no tokens"), "{again}");
}

#[test]
fn a_server_that_needs_no_login_says_so() {
    let server = OAuthServer::start();
    let toml = server.server().setting("headers = { Authorization = \"Bearer mine\" }").toml("x");
    let login = Cli::new("login").config(&toml).args(["x", "--no-browser"]).run().expect_code(4);
    assert!(login.stderr.contains("Authorization header"), "{login}");
    assert_eq!(server.secrets(), [""; 0]);
}

/// Agrees to everything, and counts.
#[derive(Default)]
struct Agrees(AtomicUsize);

#[async_trait]
impl AuthorizationPrompt for Agrees {
    fn redirect_uri(&self) -> String {
        "http://127.0.0.1:9/callback".to_owned()
    }

    async fn authorize(&self, _: &UpstreamName, url: &str) -> Result<String, PromptError> {
        self.0.fetch_add(1, Ordering::AcqRel);
        Ok(OAuthServer::agree(url).await)
    }
}

fn upstreams(
    server: &OAuthServer,
    auth: Option<AuthSettings>,
    prompt: Option<Arc<dyn AuthorizationPrompt>>,
) -> Upstreams {
    let http = HttpSettings { auth, ..HttpSettings::new(server.url()) };
    let name = UpstreamName::try_new("x").expect("fits the rules");
    let settings = UpstreamSettings::new(name, TransportSettings::Http(http));
    let authorization = Authorization::new(TokenStore::in_memory(), prompt);
    Upstreams::with_authorization(vec![settings], None, authorization).expect("there is one server")
}

async fn call(access: &Access) -> Result<String, UpstreamError> {
    let tool = ToolName::parse("x.echo").expect("a tool's name");
    let arguments = RawValue::from_string(r#"{"text":"hi"}"#.into()).expect("JSON");
    let limit = PATIENCE;
    let answer = access.call(&tool, &arguments, limit, CallContext::default()).await?;
    Ok(answer.first_text().to_owned())
}

async fn twenty_calls(upstreams: &Upstreams) -> Vec<Result<String, UpstreamError>> {
    let access = upstreams.access(Caller::anonymous());
    join_all((0..20).map(|_| call(&access))).await
}

#[test]
fn many_who_wait_share_one_login_and_one_renewal() {
    let server = OAuthServer::start();
    let person = Arc::new(Agrees::default());
    block_on(async {
        let upstreams = upstreams(&server, None, Some(person.clone()));
        for answer in twenty_calls(&upstreams).await {
            assert_eq!(answer.expect("an answer"), "hi");
        }
        assert_eq!(person.0.load(Ordering::Acquire), 1);
        for round in 1..=3 {
            server.expire();
            for answer in twenty_calls(&upstreams).await {
                assert_eq!(answer.expect("an answer"), "hi");
            }
            assert_eq!(server.grants("refresh_token"), round);
        }
        assert_eq!(person.0.load(Ordering::Acquire), 1);
        // The person agrees again, once.
        server.revoke();
        for answer in twenty_calls(&upstreams).await {
            assert_eq!(answer.expect("an answer"), "hi");
        }
        assert_eq!(person.0.load(Ordering::Acquire), 2);
        upstreams.close().await;
    });
}

#[test]
fn without_a_person_a_call_ends_at_once_and_names_the_way_out() {
    let server = OAuthServer::start();
    block_on(async {
        let upstreams = upstreams(&server, None, None);
        for answer in twenty_calls(&upstreams).await {
            let error = answer.expect_err("nobody agreed");
            assert!(matches!(error, UpstreamError::Unauthorized { .. }), "{error:?}");
            assert!(error.to_string().contains("run `toolcell login x`"), "{error}");
        }
        upstreams.close().await;
    });
    assert_eq!(server.secrets(), [""; 0]);
}

#[test]
fn a_client_with_a_secret_needs_no_person() {
    let server = OAuthServer::start();
    let auth = |secret: &str| AuthSettings {
        grant: AuthGrant::ClientCredentials,
        client_id: Some(CLIENT.0.to_owned()),
        client_secret: Some(Secret::new(secret)),
        ..AuthSettings::default()
    };
    block_on(async {
        let good = upstreams(&server, Some(auth(CLIENT.1)), None);
        for round in 1..=2 {
            for answer in twenty_calls(&good).await {
                assert_eq!(answer.expect("an answer"), "hi");
            }
            assert_eq!(server.grants("client_credentials"), round);
            server.expire();
        }
        good.close().await;
        let bad = upstreams(&server, Some(auth("s3cret-wrong")), None);
        let error = call(&bad.access(Caller::anonymous())).await.expect_err("it is wrong");
        assert!(matches!(error, UpstreamError::Unauthorized { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        bad.close().await;
    });
}
