//! How connections to an endpoint are made.

use std::sync::Once;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Proxy, Url, redirect};

use super::unreachable::chain;
use crate::upstream::error::Cause;
use crate::upstream::settings::{HttpSettings, UpstreamSettings};

/// Connections that nobody uses are closed after this time. Many servers close them after five seconds
/// (uvicorn does): a call that is sent on one in that moment is lost, and nobody can tell whether it
/// took effect.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// A client with a pool of its own, so that headers and cookies of one upstream can never reach
/// another; and the name of the proxy that it goes through, where one is configured.
pub(super) fn build(
    settings: &UpstreamSettings,
    http: &HttpSettings,
    url: &Url,
) -> Result<(Client, Option<String>), Cause> {
    let (builder, proxy_name) = builder(http, url)?;
    let builder = builder
        .connect_timeout(settings.timeouts.connect)
        // Redirects are the endpoint's affair: the headers hold credentials.
        .redirect(redirect::Policy::none())
        .pool_idle_timeout(KEEP_ALIVE)
        .pool_max_idle_per_host(settings.connections.max_idle);
    let client = builder.build().map_err(|error| {
        Cause::with_source(format!("the HTTP client cannot be made: {}", chain(&error)), error)
    })?;
    Ok((client, proxy_name))
}

/// What every client needs that speaks with a server or on its behalf: the proxy, and whom to trust.
pub(in crate::upstream) fn builder(
    http: &HttpSettings,
    url: &Url,
) -> Result<(ClientBuilder, Option<String>), Cause> {
    install_crypto();
    let mut builder = Client::builder()
        .tcp_nodelay(true)
        .referer(false)
        .user_agent(concat!("toolcell/", env!("CARGO_PKG_VERSION")));
    let mut proxy_name = None;
    if let Some(secret) = &http.proxy {
        let (proxy, name) = proxy(&secret.expose())?;
        builder = builder.proxy(proxy);
        proxy_name = Some(name);
    } else if is_loopback(url) {
        // The environment's proxy is for the net; its loopback is another machine's.
        builder = builder.no_proxy();
    }
    if let Some(path) = &http.ca_file {
        builder = builder.tls_certs_merge(authorities(path)?);
    }
    Ok((builder, proxy_name))
}

/// The configured proxy and its `host:port`. The URL itself may hold a password and is never shown.
fn proxy(url: &str) -> Result<(Proxy, String), Cause> {
    let bad = || Cause::new("its proxy has to be a URL that begins with http:// or https://");
    let parsed = Url::parse(url).map_err(|_| bad())?;
    let (Some(host), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        return Err(bad());
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(bad());
    }
    Ok((Proxy::all(url).map_err(|_| bad())?, format!("{host}:{port}")))
}

fn authorities(path: &std::path::Path) -> Result<Vec<Certificate>, Cause> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| {
        Cause::with_source(format!("its ca_file {shown} cannot be read: {error}"), error)
    })?;
    let certificates = Certificate::from_pem_bundle(&text).map_err(|error| {
        Cause::new(format!("its ca_file {shown} is not in PEM form: {}", chain(&error)))
    })?;
    if certificates.is_empty() {
        return Err(Cause::new(format!("its ca_file {shown} has no certificate in PEM form")));
    }
    Ok(certificates)
}

/// TLS by ring, for the whole process, unless an embedder has chosen something else before.
pub(in crate::upstream) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    address.map_or_else(
        |_| host == "localhost" || host.ends_with(".localhost"),
        |address| address.is_loopback(),
    )
}
