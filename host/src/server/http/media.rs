//! What a client sends and what it takes, by `Content-Type` and `Accept`. Clients are sloppy with
//! both, and so we are lenient: the specification's own examples of bare POSTs have neither.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::refusal;

/// What a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepts {
    /// `application/json`; also what nothing is said about.
    pub(super) json: bool,
    /// `text/event-stream`, only if it says so: whoever takes `*/*` expects one JSON text.
    pub(super) events: bool,
}

impl Accepts {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<String> = values.flat_map(|value| value.split(',')).map(essence).collect();
        let takes = |names: &[&str]| ranges.iter().any(|range| names.contains(&&**range));
        let events = takes(&["text/event-stream", "text/*"]);
        let json = takes(&["application/json", "application/*", "*/*"]) || !events;
        Self { json, events }
    }
}

/// Checks that a body is called JSON, if it is called anything.
///
/// # Errors
/// 415.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Response> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    match content_type.to_str().map(essence).as_deref() {
        Ok("application/json" | "") => Ok(()),
        _ => Err(refusal::words(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body has to be application/json",
        )),
    }
}

/// The type without its parameters.
fn essence(range: &str) -> String {
    range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_client_takes_is_what_it_says_or_json() {
        #[track_caller]
        fn check(accept: Option<&'static str>, json: bool, events: bool) {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(Accepts::of(&headers), Accepts { json, events });
        }
        check(None, true, false);
        check(Some("*/*"), true, false);
        check(Some("application/json"), true, false);
        check(Some("text/html"), true, false);
        check(Some("application/json, text/event-stream"), true, true);
        check(Some("Text/Event-Stream;q=0.5 , application/json;v=1"), true, true);
        check(Some("text/event-stream"), false, true);
        check(Some("*/*, text/event-stream"), true, true);
    }

    #[test]
    fn json_may_be_called_json_in_many_ways() {
        let status = |content_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            check_content_type(&headers).map_err(|response| response.status().as_u16())
        };
        assert!(check_content_type(&HeaderMap::new()).is_ok());
        assert_eq!(status("application/json"), Ok(()));
        assert_eq!(status("Application/JSON ; charset=utf-8"), Ok(()));
        for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonl"] {
            assert_eq!(status(other), Err(415), "{other}");
        }
    }
}
