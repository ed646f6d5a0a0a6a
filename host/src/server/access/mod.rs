//! Who comes in over HTTP: whom a request's credentials make it, and what such a one may have.

use axum::http::HeaderMap;

use crate::upstream::Caller;

/// Somebody who was let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor {
    /// For whom calls are made.
    pub(crate) caller: Caller,
    /// The profiles that it may use; all if absent.
    pub(crate) profiles: Option<Vec<String>>,
}

/// Why somebody is not let in: an HTTP answer.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// 401 or 403.
    pub(crate) status: u16,
    /// `WWW-Authenticate`, for whoever may come back with a token.
    pub(crate) challenge: Option<String>,
    /// What is wrong, without the credential itself.
    pub(crate) message: String,
}

/// Decides who may come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doorkeeper {}

impl Doorkeeper {
    /// Looks at a request's credentials.
    pub(crate) async fn admit(
        &self,
        _headers: &HeaderMap,
        _profile: Option<&str>,
    ) -> Result<Visitor, Refused> {
        Ok(Visitor::default())
    }
}
