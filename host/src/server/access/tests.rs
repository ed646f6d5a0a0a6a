//! Who is let in, as a table; tokens of authorization servers come in through the front door, in
//! `tests/it/access.rs`.

use super::*;

const OPS: &str = "operators-token-0123456789";
const AGENT: &str = "agents-token-9876543210";

fn token(name: &str, token: &str, profiles: Option<&[&str]>) -> StaticToken {
    StaticToken {
        name: name.to_owned(),
        digest: TokenDigest::of(token),
        caller: name.into(),
        profiles: profiles.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        quotas: QuotaLimits::default(),
    }
}

fn settings() -> AccessSettings {
    AccessSettings {
        tokens: vec![token("ops", OPS, None), token("agent", AGENT, Some(&["reader"]))],
        ..AccessSettings::default()
    }
}

fn headers(headers: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    map
}

async fn admit(
    doorkeeper: &Doorkeeper,
    header: &str,
    profile: Option<&str>,
) -> Result<Visitor, Refused> {
    let asked = Asked { named: profile, profile: profile.or(Some("reader")) };
    let headers = headers(&[("authorization", header), ("host", "127.0.0.1:7420")]);
    doorkeeper.admit(&headers, asked).await
}

#[tokio::test]
async fn a_token_makes_its_caller_and_opens_its_profiles() {
    let doorkeeper = Doorkeeper::new(settings());
    let visitor = admit(&doorkeeper, &format!("Bearer {OPS}"), Some("any")).await.unwrap();
    assert_eq!(visitor.caller.id.as_deref(), Some("ops"));
    assert_eq!((visitor.caller.token, visitor.profiles), (None, None));
    for profile in [None, Some("reader")] {
        let visitor = admit(&doorkeeper, &format!("bearer  {AGENT} "), profile).await.unwrap();
        assert_eq!(visitor.caller.id.as_deref(), Some("agent"));
    }
    let refused = admit(&doorkeeper, &format!("Bearer {AGENT}"), Some("writer")).await.unwrap_err();
    assert_eq!(refused.status, 403);
    assert_eq!(refused.message, "the profile `writer` is not open to you; open are reader");
}

#[tokio::test]
async fn what_is_no_good_token_is_refused_in_words_without_it() {
    let doorkeeper = Doorkeeper::new(settings());
    let long = format!("Bearer {}", "x".repeat(1 << 20));
    for header in [
        "Bearer wrong-token-0123456789",
        "Bearer ",
        "Bearer",
        "Basic b3BzOm9wcw==",
        &long,
        &format!("Bearer {}", &OPS[1..]),
        &format!("Bearer {OPS}x"),
        OPS,
    ] {
        let refused = admit(&doorkeeper, header, None).await.unwrap_err();
        assert_eq!(refused.status, 401, "{header}");
        let challenge = refused.challenge.unwrap();
        assert!(challenge.starts_with("Bearer realm=\"toolcell\", error=\"invalid_token\""));
        let told = format!("{challenge} {}", refused.message);
        let word = header.split(' ').next_back().unwrap();
        assert!(word.len() < 7 || !told.contains(word), "{told}");
    }
    let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
    assert_eq!(doorkeeper.admit(&twice, Asked::default()).await.unwrap_err().status, 401);
    let none = doorkeeper.admit(&HeaderMap::new(), Asked::default()).await.unwrap_err();
    assert_eq!((none.status, none.challenge.as_deref()), (401, Some("Bearer realm=\"toolcell\"")));
}

#[tokio::test]
async fn without_any_token_everybody_is_anonymous_and_no_bearer_is_handed_on() {
    let settings =
        AccessSettings { caller_token: CallerToken::Bearer, ..AccessSettings::default() };
    let doorkeeper = Doorkeeper::new(settings);
    assert!(!doorkeeper.asks_for_credentials());
    let visitor = admit(&doorkeeper, &format!("Bearer {OPS}"), None).await.unwrap();
    assert_eq!(visitor.caller, Caller::anonymous());
}

#[tokio::test]
async fn what_upstreams_get_has_a_header_of_its_own_or_is_the_bearer_if_the_operator_says_so() {
    let authorization = format!("Bearer {OPS}");
    let headers =
        headers(&[("authorization", &authorization), (CallerToken::HEADER, "upstreams-own-token")]);
    let by_header = Doorkeeper::new(settings()).admit(&headers, Asked::default()).await.unwrap();
    assert_eq!(by_header.caller.token, Some(Secret::new("upstreams-own-token")));
    let settings = AccessSettings { caller_token: CallerToken::Bearer, ..settings() };
    let bearer = Doorkeeper::new(settings).admit(&headers, Asked::default()).await.unwrap();
    assert_eq!(bearer.caller.token, Some(Secret::new(OPS)));
    assert!(!format!("{bearer:?} {by_header:?}").contains("token-"), "{bearer:?}");
}

#[test]
fn a_client_learns_where_tokens_are_issued() {
    let jwt = JwtSettings {
        issuer: "https://login.example.org".to_owned(),
        scopes: vec!["tools:use".to_owned()],
        ..JwtSettings::default()
    };
    let settings = AccessSettings { jwt: Some(jwt), ..AccessSettings::default() };
    let near = Doorkeeper::new(settings.clone());
    let document = near.protected_resource("http://127.0.0.1:7420/mcp").unwrap();
    assert_eq!(document["resource"], "http://127.0.0.1:7420/mcp");
    assert_eq!(document["authorization_servers"][0], "https://login.example.org");
    assert_eq!(document["scopes_supported"][0], "tools:use");
    assert_eq!(document["bearer_methods_supported"][0], "header");
    let public_url = Some("https://tools.example.org/x".to_owned());
    let behind = Doorkeeper::new(AccessSettings { public_url, ..settings });
    let document = behind.protected_resource("http://127.0.0.1:7420/mcp/reader").unwrap();
    assert_eq!(document["resource"], "https://tools.example.org/x/mcp/reader");
    assert!(Doorkeeper::default().protected_resource("http://x/mcp").is_none());
}

#[test]
fn a_challenge_names_the_metadata_and_nothing_that_a_client_invented() {
    #[track_caller]
    fn check(host: &str, profile: Option<&str>, url: &str) {
        let settings =
            AccessSettings { jwt: Some(JwtSettings::default()), ..AccessSettings::default() };
        let refused = Fault::invalid("it \"has\" expired é\\").refused(
            &settings,
            &headers(&[("host", host)]),
            profile,
        );
        let challenge = refused.challenge.unwrap();
        assert_eq!(
            challenge,
            format!(
                "Bearer realm=\"toolcell\", resource_metadata=\"{url}\", error=\"invalid_token\", \
                 error_description=\"it 'has' expired ?'\""
            )
        );
    }
    let known = "/.well-known/oauth-protected-resource/mcp";
    check("127.0.0.1:7420", None, &format!("http://127.0.0.1:7420{known}"));
    check("[::1]:7420", Some("reader"), &format!("http://[::1]:7420{known}/reader"));
    check("evil\"x", Some("a\"b"), &format!("http://localhost{known}"));
}

#[tokio::test]
async fn a_token_that_is_taken_back_opens_nothing_and_no_change_opens_the_door_to_everybody() {
    let doorkeeper = Doorkeeper::new(settings());
    let bearer = format!("Bearer {AGENT}");
    admit(&doorkeeper, &bearer, None).await.unwrap();
    let without = AccessSettings { tokens: vec![token("ops", OPS, None)], ..settings() };
    assert!(doorkeeper.replace(without));
    assert_eq!(admit(&doorkeeper, &bearer, None).await.unwrap_err().status, 401);
    assert!(!doorkeeper.replace(AccessSettings::default()));
    assert_eq!(admit(&doorkeeper, &bearer, None).await.unwrap_err().status, 401);
}
