//! What may be asked of a client, and what counts as an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::server::mcp::wire::RpcError;
use crate::tool::Json;
use crate::upstream::{ClientCapabilities, Refusal, ServerRequest};

/// The longest question. A prompt for a model may have pictures in it.
const MAX_QUESTION_BYTES: usize = 1 << 20;

/// The longest answer that is passed to a server.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// How many questions one request may bring about, one after the other: a person has to read them.
const MAX_QUESTIONS: usize = 100;

/// Lets through what may be asked about one request.
pub(super) struct Gate {
    capabilities: Mutex<ClientCapabilities>,
    asked: AtomicUsize,
}

impl Gate {
    pub(super) fn new(capabilities: ClientCapabilities) -> Self {
        Self { capabilities: Mutex::new(capabilities), asked: AtomicUsize::new(0) }
    }

    /// What the client can do.
    pub(super) fn capabilities(&self) -> ClientCapabilities {
        *self.capabilities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A modern client says anew with each request what it can do.
    pub(super) fn set_capabilities(&self, capabilities: ClientCapabilities) {
        *self.capabilities.lock().unwrap_or_else(PoisonError::into_inner) = capabilities;
    }

    /// Looks at a question; gives its params as the client gets them.
    pub(super) fn admit(&self, request: &ServerRequest) -> Result<Option<Json>, Refusal> {
        let ServerRequest { server, method, params, .. } = request;
        if !can_answer(self.capabilities(), method, params.as_deref()) {
            return Err(Refusal::nobody(method));
        }
        if self.asked.fetch_add(1, Ordering::Relaxed) >= MAX_QUESTIONS {
            return Err(refused(format!("one request may ask {MAX_QUESTIONS} questions")));
        }
        let Some(params) = params else { return Ok(None) };
        if params.get().len() > MAX_QUESTION_BYTES {
            return Err(refused(format!("a question may have {MAX_QUESTION_BYTES} bytes")));
        }
        let members: Result<IndexMap<String, Json>, _> = serde_json::from_str(params.get());
        let members = members.map_err(|_| refused("`params` is no object".to_owned()))?;
        match method.as_str() {
            "elicitation/create" => Ok(Some(signed(server.as_str(), members))),
            _ => Ok(Some(params.clone())),
        }
    }
}

fn refused(message: String) -> Refusal {
    Refusal { code: RpcError::INVALID_PARAMS, message }
}

/// Whether such a client can answer this: the mode of a question counts too.
pub(super) fn can_answer(
    capabilities: ClientCapabilities,
    method: &str,
    params: Option<&RawValue>,
) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Written {
        mode: Option<String>,
        tools: Option<Json>,
        tool_choice: Option<Json>,
    }
    let written = params.and_then(|params| serde_json::from_str::<Written>(params.get()).ok());
    let written = written.unwrap_or_default();
    match method {
        "roots/list" => capabilities.roots,
        "sampling/createMessage" => {
            let has_tools = written.tools.is_some() || written.tool_choice.is_some();
            capabilities.sampling && (capabilities.sampling_tools || !has_tools)
        }
        "elicitation/create" => match written.mode.as_deref() {
            None | Some("form") => capabilities.elicitation,
            Some("url") => capabilities.elicitation_url,
            Some(_) => false,
        },
        _ => false,
    }
}

/// Puts the server's name before its message, in brackets. Whoever writes brackets of its own stands
/// behind ours.
fn signed(server: &str, mut members: IndexMap<String, Json>) -> Json {
    let message =
        members.get("message").and_then(|it| serde_json::from_str::<String>(it.get()).ok());
    if let Some(message) = message
        && let Ok(message) = to_raw_value(&format!("[{server}] {message}"))
    {
        members.insert("message".to_owned(), message);
    }
    to_raw_value(&members).unwrap_or_default()
}

/// Whether this answers such a question. What is in it is between the server and the user.
///
/// # Errors
/// It does not; in words.
pub(super) fn check_answer(method: &str, answer: &RawValue) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Elicited {
        action: String,
        #[serde(default, rename = "content")]
        _content: Option<IndexMap<String, Json>>,
    }
    #[derive(Deserialize)]
    struct Sampled {
        role: String,
        #[serde(rename = "content")]
        _content: Json,
    }
    #[derive(Deserialize)]
    struct Roots {
        roots: Vec<Root>,
    }
    #[derive(Deserialize)]
    struct Root {
        uri: String,
    }
    if answer.get().len() > MAX_ANSWER_BYTES {
        return Err(format!("it is longer than {MAX_ANSWER_BYTES} bytes"));
    }
    let wrong = |error: serde_json::Error| error.to_string();
    match method {
        "elicitation/create" => {
            let elicited: Elicited = serde_json::from_str(answer.get()).map_err(wrong)?;
            match &*elicited.action {
                "accept" | "decline" | "cancel" => Ok(()),
                other => {
                    Err(format!("{:?} is no action", other.chars().take(40).collect::<String>()))
                }
            }
        }
        "sampling/createMessage" => {
            let sampled: Sampled = serde_json::from_str(answer.get()).map_err(wrong)?;
            if sampled.role.is_empty() { Err("it has no role".to_owned()) } else { Ok(()) }
        }
        _ => {
            let listed: Roots = serde_json::from_str(answer.get()).map_err(wrong)?;
            let is_empty = listed.roots.iter().any(|root| root.uri.is_empty());
            if is_empty { Err("a root has no URI".to_owned()) } else { Ok(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ids::UpstreamName;

    fn raw(value: &Value) -> Json {
        to_raw_value(value).unwrap()
    }

    fn request(method: &str, params: Option<&Value>) -> ServerRequest {
        let server = UpstreamName::try_new("shop").unwrap();
        ServerRequest { server, key: None, method: method.to_owned(), params: params.map(raw) }
    }

    const ALL: ClientCapabilities = ClientCapabilities {
        roots: true,
        sampling: true,
        sampling_tools: true,
        elicitation: true,
        elicitation_url: true,
    };

    #[test]
    fn a_client_is_asked_only_what_it_can_answer() {
        #[track_caller]
        fn check(without: ClientCapabilities, method: &str, params: &Value) {
            let request = request(method, Some(params));
            let refusal = Gate::new(without).admit(&request).unwrap_err();
            assert!(refusal.message.contains("nobody"), "{refusal:?}");
            Gate::new(ALL).admit(&request).expect("this client can do everything");
        }
        check(ClientCapabilities { roots: false, ..ALL }, "roots/list", &json!({}));
        let sampling = ClientCapabilities { sampling: false, ..ALL };
        check(sampling, "sampling/createMessage", &json!({}));
        let tools = ClientCapabilities { sampling_tools: false, ..ALL };
        check(tools, "sampling/createMessage", &json!({ "tools": [] }));
        let forms = ClientCapabilities { elicitation: false, ..ALL };
        check(forms, "elicitation/create", &json!({ "message": "?" }));
        check(forms, "elicitation/create", &json!({ "message": "?", "mode": "form" }));
        let urls = ClientCapabilities { elicitation_url: false, ..ALL };
        check(urls, "elicitation/create", &json!({ "message": "?", "mode": "url" }));
        for (method, params) in
            [("elicitation/create", json!({ "mode": "hypnosis" })), ("tools/list", json!({}))]
        {
            Gate::new(ALL).admit(&request(method, Some(&params))).unwrap_err();
        }
    }

    #[test]
    fn the_user_is_told_who_asks_and_the_rest_stays_as_it_was() {
        let params = r#"{"message":"[bank] PIN?","requestedSchema":{"n":1e400},"odd":1.0}"#;
        let mut asked = request("elicitation/create", None);
        asked.params = Some(RawValue::from_string(params.to_owned()).unwrap());
        let shown = Gate::new(ALL).admit(&asked).unwrap().unwrap();
        assert_eq!(
            shown.get(),
            r#"{"message":"[shop] [bank] PIN?","requestedSchema":{"n":1e400},"odd":1.0}"#
        );
        asked.method = "sampling/createMessage".to_owned();
        assert_eq!(Gate::new(ALL).admit(&asked).unwrap().unwrap().get(), params);
    }

    #[test]
    fn questions_are_bounded_in_size_and_number() {
        let gate = Gate::new(ALL);
        let long = json!({ "message": "x".repeat(MAX_QUESTION_BYTES) });
        let refusal = gate.admit(&request("elicitation/create", Some(&long))).unwrap_err();
        assert!(refusal.message.contains("bytes"), "{refusal:?}");
        gate.admit(&request("elicitation/create", Some(&json!([])))).unwrap_err();
        let roots = request("roots/list", None);
        let admitted = (0..1_000).filter(|_| gate.admit(&roots).is_ok()).count();
        assert_eq!(admitted, MAX_QUESTIONS - 2);
    }

    #[test]
    fn an_answer_has_the_form_of_its_question() {
        #[track_caller]
        fn check(method: &str, answer: &Value, is_one: bool) {
            assert_eq!(check_answer(method, &raw(answer)).is_ok(), is_one, "{answer}");
        }
        for action in ["accept", "decline", "cancel"] {
            check("elicitation/create", &json!({ "action": action, "content": null }), true);
        }
        check("elicitation/create", &json!({ "action": "accept", "content": { "a": 1 } }), true);
        check("elicitation/create", &json!({ "action": "accept", "content": [] }), false);
        check("elicitation/create", &json!({ "action": "obey" }), false);
        check("elicitation/create", &json!({ "content": {} }), false);
        let said =
            json!({ "role": "assistant", "content": { "type": "text", "text": "" }, "model": "m" });
        check("sampling/createMessage", &said, true);
        check("sampling/createMessage", &json!({ "role": "assistant" }), false);
        check("roots/list", &json!({ "roots": [{ "uri": "file:///a", "name": "a" }] }), true);
        check("roots/list", &json!({ "roots": {} }), false);
        for method in ["elicitation/create", "sampling/createMessage", "roots/list"] {
            for junk in [json!(12345), json!("x"), json!([]), json!(null), json!({})] {
                check(method, &junk, false);
            }
        }
    }
}
