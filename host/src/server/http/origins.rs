//! By which names we may be called, and from which web pages.
//!
//! A page that somebody merely visits can make the browser send us requests: directly, which
//! `Origin` tells, or under a name of its own that suddenly means this machine (DNS rebinding), which
//! only `Host` tells. Both are looked at before anything else.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Uri, header};

/// Who may call, besides this machine.
#[derive(Debug)]
pub(super) struct Origins {
    /// `name` or `name:port`, in lower case.
    hosts: Vec<String>,
    /// `scheme://name` or `scheme://name:port`, in lower case.
    origins: Vec<String>,
}

impl Origins {
    pub(super) fn new(hosts: &[String], origins: &[String]) -> Self {
        let lower = |names: &[String]| {
            names.iter().map(|name| name.trim_end_matches('/').to_ascii_lowercase()).collect()
        };
        Self { hosts: lower(hosts), origins: lower(origins) }
    }

    /// Checks a request that came to the address `local` of ours. Gives the page's origin, if a
    /// page sent it.
    ///
    /// # Errors
    /// What is wrong, for whoever configures the client.
    pub(super) fn check(
        &self,
        request: &Parts,
        local: IpAddr,
    ) -> Result<Option<HeaderValue>, String> {
        let mut names = request.headers.get_all(header::HOST).iter();
        let name = names.next().ok_or("the request says no Host")?;
        if names.next().is_some() {
            return Err("the request says two Hosts".to_owned());
        }
        let name: Option<Authority> = name.to_str().ok().and_then(|name| name.parse().ok());
        let named = [name.as_ref(), request.uri.authority()];
        if named[0].is_none() || !named.iter().flatten().all(|name| self.knows(name, local)) {
            let words = "this Host is not served here; the operator names others in allowed_hosts";
            return Err(words.to_owned());
        }
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(None) };
        if origins.next().is_some() || !self.admits(origin) {
            let words = "pages of this Origin may not call; the operator names those that may in \
                         allowed_origins";
            return Err(words.to_owned());
        }
        Ok(Some(origin.clone()))
    }

    fn knows(&self, name: &Authority, local: IpAddr) -> bool {
        let host = name.host().to_ascii_lowercase();
        let listed =
            |known: &String| *known == host || *known == name.as_str().to_ascii_lowercase();
        is_loopback(&host) || address(&host) == Some(local) || self.hosts.iter().any(listed)
    }

    fn admits(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let Ok(uri) = origin.parse::<Uri>() else { return false };
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        web && uri.host().is_some_and(is_loopback)
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || address(host).is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn check(host: &str, origin: Option<&str>) -> Result<Option<HeaderValue>, String> {
        let origins = Origins::new(
            &["Tools.example.com".to_owned(), "other.example.com:8443".to_owned()],
            &["https://App.example.com".to_owned(), "vscode-webview://abc/".to_owned()],
        );
        let mut request = Request::builder().uri("/mcp").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        origins.check(&parts, [192, 168, 1, 5].into())
    }

    #[test]
    fn only_names_that_are_ours_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:7420",
            "127.0.0.1:1",
            "127.8.9.1",
            "[::1]:7420",
            "192.168.1.5:7420",
            "tools.example.com",
            "tools.example.com:99",
            "other.example.com:8443",
        ] {
            assert_eq!(check(host, None), Ok(None), "{host}");
        }
        for host in [
            "evil.example.com",
            "localhost.evil.example.com",
            "127.0.0.1.evil.example.com",
            "evil.example.com:7420",
            "other.example.com",
            "other.example.com:1",
            "192.168.1.6",
            "10.0.0.1",
            "a b",
            "",
        ] {
            assert!(check(host, None).is_err(), "{host}");
        }
    }

    #[test]
    fn only_pages_that_may_are_answered() {
        for origin in [
            "http://localhost:6274",
            "https://127.0.0.1",
            "http://[::1]:3000",
            "https://app.example.com",
            "vscode-webview://abc",
        ] {
            let admitted = check("localhost", Some(origin));
            assert_eq!(admitted, Ok(Some(HeaderValue::from_static(origin))), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example.com",
            "http://localhost.evil.example.com",
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.example.com",
            "file://localhost",
            "http://user@evil.example.com",
            "vscode-webview://abcd",
        ] {
            assert!(check("localhost", Some(origin)).is_err(), "{origin}");
        }
    }
}
