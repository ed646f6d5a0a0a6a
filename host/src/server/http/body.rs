//! Reads a request's body: within a size and within a time.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::refusal;
use crate::server::mcp::wire::RpcError;

/// Reads the whole body.
///
/// # Errors
/// The answer for a client that sends too much or too slowly.
pub(super) async fn read(body: Body, most: usize, time: Duration) -> Result<Vec<u8>, Response> {
    match tokio::time::timeout(time, read_all(body, most)).await {
        Ok(read) => read,
        Err(_) => {
            let words = format!("the request took longer than {} s to come", time.as_secs());
            Err(refused(StatusCode::REQUEST_TIMEOUT, words))
        }
    }
}

async fn read_all(mut body: Body, most: usize) -> Result<Vec<u8>, Response> {
    // What a client announces is not believed before it comes.
    let mut text = Vec::new();
    let announced = body.size_hint().lower();
    let mut too_much = announced > most as u64;
    let mut thrown_away = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            refused(StatusCode::BAD_REQUEST, "the request's body broke off".to_owned())
        })?;
        let Ok(data) = frame.into_data() else { continue };
        too_much |= text.len() + data.len() > most;
        if too_much {
            // Read on for a while: a client that is still writing would not see the answer.
            text = Vec::new();
            thrown_away += data.len();
            if thrown_away > most {
                break;
            }
        } else {
            text.extend_from_slice(&data);
        }
    }
    if too_much {
        let words = format!("a request may have {most} bytes");
        return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, words));
    }
    Ok(text)
}

fn refused(status: StatusCode, words: String) -> Response {
    let mut response = refusal::rpc(status, None, &RpcError::new(RpcError::INVALID_REQUEST, words));
    // What is left of the body cannot be told from another request.
    refusal::closes(&mut response);
    response
}
