//! Why no answer came, in words that tell the common reasons apart.

use super::Endpoint;
use crate::upstream::error::Cause;
use crate::upstream::transport::TransportError;

impl Endpoint {
    /// Says why no answer came at all.
    pub(super) fn unreachable(&self, error: reqwest::Error) -> TransportError {
        // The URL may carry a credential.
        let error = error.without_url();
        let authority = match (self.url.host_str(), self.url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let text = explain(&error, &authority, self.proxy.as_deref());
        let text = self.redactor.clean(&text).into_owned();
        if error.is_connect() && error.is_timeout() {
            TransportError::ConnectTimedOut(self.connect_timeout)
        } else if error.is_connect() {
            // A certificate does not become a better one by asking again.
            let is_tls = find_cause::<rustls::Error>(&error).is_some();
            let cause = Cause::with_source(text, error);
            TransportError::Unreachable(if is_tls { cause.permanent() } else { cause })
        } else {
            TransportError::Lost(Cause::with_source(text, error))
        }
    }
}

/// An answer that ended in the middle.
pub(in crate::upstream::transport) fn broken(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let text = format!("the connection broke before the answer was complete: {}", chain(&error));
    TransportError::Lost(Cause::with_source(text, error))
}

/// The common reasons why a connection fails.
fn explain(error: &reqwest::Error, authority: &str, proxy: Option<&str>) -> String {
    let whole = chain(error);
    if let Some(tls) = find_cause::<rustls::Error>(error) {
        return explain_tls(tls, authority);
    }
    if let Some(proxy) = proxy.filter(|_| error.is_connect()) {
        return format!("no connection to {authority} through the proxy {proxy}: {whole}");
    }
    let kind = find_cause::<std::io::Error>(error).map(std::io::Error::kind);
    if kind == Some(std::io::ErrorKind::ConnectionRefused) {
        return format!(
            "connection refused: nothing listens at {authority}; is the server running?"
        );
    }
    if whole.contains("dns error") || whole.contains("failed to lookup") {
        return format!("the name in {authority} cannot be resolved (DNS); is it spelled right?");
    }
    if error.is_timeout() {
        return format!("{authority} did not accept a connection in time");
    }
    if error.is_connect() && whole.contains("tls handshake") {
        return format!("TLS with {authority} failed: the server ended the handshake");
    }
    if error.is_connect() {
        return format!("no connection to {authority}: {whole}");
    }
    format!("the connection to {authority} was lost before an answer came: {whole}")
}

/// An error and its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The first error of a type in a chain of causes. An I/O error hides what it wraps from the chain.
pub(crate) fn find_cause<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as _),
            None => cause.source(),
        };
    }
    None
}

fn explain_tls(error: &rustls::Error, authority: &str) -> String {
    match error {
        rustls::Error::InvalidCertificate(_) => {
            format!("the TLS certificate of {authority} is not trusted: {error}")
        }
        rustls::Error::InvalidMessage(_) => {
            format!("{authority} does not speak TLS; is its URL http:// rather than https://?")
        }
        _ => format!("TLS with {authority} failed: {error}"),
    }
}
