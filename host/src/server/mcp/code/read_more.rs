//! The rest of a result that was too long: as a tool, because most frameworks show a model nothing
//! but tools, and as a resource.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::cut::page_bytes;
use super::results::ToolResult;
use super::{Answer, Facade, argument};
use crate::server::mcp::kept::{KeptPart, Link, LinkError, Page};
use crate::server::mcp::lifecycle::raw_of;
use crate::server::mcp::request::{Outcome, Request};
use crate::server::mcp::wire::RpcError;
use crate::upstream::Caller;

impl Facade {
    pub(super) fn read_more(&self, arguments: &Map<String, Value>, caller: &Caller) -> Answer {
        let Some(Value::String(link)) = arguments.get("link") else {
            return Err("`link` has to be one that a result gave, as text".to_owned());
        };
        let mut link = Link::read(link).map_err(|error| error.to_string())?;
        link.page = argument(arguments, "page")?.or(link.page);
        let page = self.kept_page(&link, caller).map_err(|error| error.to_string())?;
        let Page { text, number, pages } = page;
        let next = (number < pages).then(|| Link { page: Some(number + 1), ..link.clone() });
        let words = match &next {
            Some(next) => format!("{text}\n[… page {number} of {pages}; next: \"{next}\"]"),
            None => text,
        };
        let next = next.map(|next| next.to_string());
        let structured = json!({ "part": link.part, "page": number, "pages": pages, "next": next });
        Ok(ToolResult::new(words, Some(structured), false))
    }

    /// Reads one of our own resources, `toolcell://results/…`. `None` if the URI is a server's.
    pub(in crate::server::mcp) fn read_kept(&self, request: &Request) -> Option<Outcome> {
        let uri: String = request.params.get("uri").ok()??;
        if !Link::is_ours(&uri) {
            return None;
        }
        let page = Link::read(&uri).and_then(|link| self.kept_page(&link, &request.caller));
        Some(match page {
            Ok(page) => Ok(raw_of(&json!({
                "contents": [{ "uri": uri, "mimeType": "text/plain", "text": page.text }],
            }))),
            Err(error) => {
                // The newer protocol has no code of its own for it.
                let code = match request.client.is_modern() {
                    true => RpcError::INVALID_PARAMS,
                    false => RpcError::RESOURCE_NOT_FOUND,
                };
                let shown: String = uri.chars().take(200).collect();
                Err(RpcError::new(code, error.to_string()).with_data(&json!({ "uri": shown })))
            }
        })
    }

    /// Keeps what does not fit into a result, and gives its id.
    pub(super) fn keep(&self, parts: Vec<KeptPart>, caller: &Caller) -> Option<String> {
        self.kept().keep(caller, parts, Instant::now())
    }

    fn kept_page(&self, link: &Link, caller: &Caller) -> Result<Page, LinkError> {
        let page_bytes = page_bytes(self.settings().result_bytes);
        self.kept().page(link, caller, page_bytes, Instant::now())
    }
}
