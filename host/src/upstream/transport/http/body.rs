//! What comes back: read in bounded memory, whatever its head promises.

use http::header;
use reqwest::Response;
use std::sync::Arc;

use super::unreachable::broken;
use crate::upstream::inbox::Watch;
use crate::upstream::message::{AnswerFault, MAX_MESSAGE_BYTES};
use crate::upstream::transport::TransportError;

/// The most that is read of the body of an HTTP error.
const MAX_ERROR_BODY_BYTES: usize = 64 << 10;

/// The most that is set aside on the word of a head.
const MAX_TRUSTED_BYTES: usize = 1 << 20;

/// A body that is an answer. Each piece of it is a sign of the server.
pub(in crate::upstream::transport) async fn read_answer(
    mut response: Response,
    watch: Option<&Arc<Watch>>,
) -> Result<Vec<u8>, TransportError> {
    let promised = response.content_length().and_then(|length| usize::try_from(length).ok());
    let promised = promised.unwrap_or_default();
    if promised > MAX_MESSAGE_BYTES {
        return Err(TransportError::Answer(AnswerFault::TooLarge));
    }
    let mut body = Vec::with_capacity(promised.min(MAX_TRUSTED_BYTES));
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if let Some(watch) = watch {
            watch.touch();
        }
        if body.len() + chunk.len() > MAX_MESSAGE_BYTES {
            return Err(TransportError::Answer(AnswerFault::TooLarge));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The beginning of a body that is only shown, or of no interest.
pub(in crate::upstream::transport) async fn read_beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ERROR_BODY_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break;
        }
    }
    body
}

/// The content type without its parameters.
pub(in crate::upstream::transport) fn media_type(response: &Response) -> String {
    let value = response.headers().get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
