//! What is armed, and what a request is answered with.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Fault, Faulty, Moment, Shared, Wire, lock};
use crate::tiny_mcp::{Eras, Request, text};

/// More than anybody reads.
const HUGE: usize = (16 << 20) + 1000;

/// An id that nobody has used.
const NOBODYS_ID: u64 = 1_000_000;

/// What is armed.
#[derive(Debug, Default)]
pub(super) struct Plan {
    armed: Mutex<Option<(Fault, Moment)>>,
}

/// What is done about one message.
pub(super) enum Deed {
    /// Nothing, for ever.
    Nothing,
    /// These messages.
    Answer(Vec<String>),
    /// The first half of this one.
    Half(String),
    /// The whole server dies.
    Exit,
    /// The first half of this one, then a reset.
    Reset(String),
    /// The connection ends.
    Close,
    /// A status of HTTP.
    Status(u16),
    /// The answer under a content type that is not MCP's.
    MediaType(String),
}

impl Plan {
    pub(super) fn arm(&self, fault: Fault, moment: Moment) {
        *lock(&self.armed) = Some((fault, moment));
    }

    pub(super) fn is_armed(&self, fault: Fault) -> bool {
        lock(&self.armed).is_some_and(|(armed, _)| armed == fault)
    }

    /// What goes wrong when a stream is opened.
    pub(super) fn at_connect(&self) -> Option<Fault> {
        lock(&self.armed).filter(|(_, moment)| *moment == Moment::Connect).map(|(fault, _)| fault)
    }

    pub(super) fn heal(&self) {
        *lock(&self.armed) = None;
    }

    /// What goes wrong with this message.
    fn strikes(&self, request: &Request) -> Option<Fault> {
        let (fault, moment) = (*lock(&self.armed))?;
        let strikes = match moment {
            Moment::Connect => matches!(&*request.method, "server/discover" | "initialize"),
            Moment::List => request.method == "tools/list",
            Moment::Call => request.method == "tools/call",
            Moment::Idle => matches!(&*request.method, "server/discover" | "ping"),
        };
        (strikes && request.id.is_some()).then_some(fault)
    }
}

/// `act` changes things, `look` only reads, `again` may be repeated, `wait` answers after `ms`
/// milliseconds, `ask` wants to know something before it answers. Calls with a `number` are noted.
fn tools() -> String {
    let schema = json!({"type": "object"});
    json!([
        {"name": "act", "inputSchema": schema},
        {"name": "look", "inputSchema": schema, "annotations": {"readOnlyHint": true}},
        {"name": "again", "inputSchema": schema, "annotations": {"idempotentHint": true}},
        {"name": "wait", "inputSchema": schema},
        {"name": "ask", "inputSchema": schema},
    ])
    .to_string()
}

impl Shared {
    /// What is done about one message.
    pub(super) fn deed(&self, request: &Request) -> Deed {
        if request.id.is_none() {
            return Deed::Nothing;
        }
        let Some(fault) = self.plan.strikes(request) else {
            return Deed::Answer(vec![self.answer(request)]);
        };
        if let Fault::Status(status) = fault
            && self.wire != Wire::Stdio
        {
            return Deed::Status(status);
        }
        match fault {
            Fault::Silent => {
                self.note_call(request);
                Deed::Nothing
            }
            Fault::Late => {
                let answer = self.answer(request);
                thread::sleep(Faulty::LATE);
                Deed::Answer(vec![answer])
            }
            Fault::HalfLine | Fault::StreamStops => Deed::Half(self.answer(request)),
            Fault::OverTheCap => {
                self.note_call(request);
                let filler = "x".repeat(HUGE);
                Deed::Answer(vec![request.result(&format!(r#""filler":"{filler}""#))])
            }
            Fault::WrongId => {
                let id = Some(json!(NOBODYS_ID));
                Deed::Answer(vec![self.answer(&Request { id, ..request.clone() })])
            }
            Fault::DuplicateId => {
                let answer = self.answer(request);
                Deed::Answer(vec![answer.clone(), answer])
            }
            Fault::UnknownBlock => {
                self.note_call(request);
                let block = json!({"type": "hologram", "depth": 3});
                Deed::Answer(vec![request.result(&format!(r#""content":[{block}]"#))])
            }
            Fault::UnknownMediaType => Deed::MediaType(self.answer(request)),
            Fault::NotJsonRpc => {
                self.note_call(request);
                Deed::Answer(vec![json!({"hello": "world"}).to_string()])
            }
            Fault::Exits => {
                self.note_call(request);
                Deed::Exit
            }
            Fault::Reset => Deed::Reset(self.answer(request)),
            Fault::CleanClose => {
                self.note_call(request);
                Deed::Close
            }
            Fault::Older => Deed::Answer(vec![self.answer_of_revision(request, "2024-10-07")]),
            Fault::Newer => Deed::Answer(vec![self.answer_of_revision(request, "2099-01-01")]),
            // These are in the URL, in the command, or in what is armed itself.
            Fault::Refused
            | Fault::Dns
            | Fault::Tls
            | Fault::WrongPath
            | Fault::CommandMissing
            | Fault::Restart
            | Fault::Status(_) => Deed::Answer(vec![self.answer(request)]),
        }
    }

    /// What happens at once, with nobody asking.
    pub(super) fn fail_now(self: &Arc<Self>, fault: Fault) {
        let nobodys = json!({"jsonrpc": "2.0", "id": NOBODYS_ID, "result": {}}).to_string();
        let log = |words: &str| {
            let params = json!({"level": "info", "data": words});
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
                .to_string()
        };
        match fault {
            Fault::HalfLine | Fault::StreamStops => self.sockets.begin_all(&log("half of this")),
            Fault::OverTheCap => {
                // Whoever arms this may be the one who reads it.
                let (server, huge) = (Arc::clone(self), log(&"x".repeat(HUGE)));
                thread::spawn(move || server.sockets.tell_all(&huge));
            }
            Fault::WrongId => self.sockets.tell_all(&nobodys),
            Fault::DuplicateId => {
                self.sockets
                    .tell_all(&json!({"jsonrpc": "2.0", "id": 1, "result": {}}).to_string());
            }
            Fault::NotJsonRpc => self.sockets.tell_all(&json!({"hello": "world"}).to_string()),
            Fault::CleanClose => self.sockets.close_all(),
            Fault::Reset => self.sockets.reset_all(),
            Fault::Exits => self.exit(),
            // The others show when the server is asked for something.
            _ => {}
        }
    }

    fn note_call(&self, request: &Request) {
        if request.method == "tools/call" {
            self.note_execution(request);
        }
    }

    /// The answer of a good server.
    fn answer(&self, request: &Request) -> String {
        self.note_call(request);
        let answer = request.answer(self.eras, &tools());
        answer.unwrap_or_else(|| match request.tool() {
            "ask" => ask(request),
            "wait" => {
                let ms = request.arguments()["ms"].as_u64().unwrap_or(0);
                thread::sleep(Duration::from_millis(ms));
                request.result(&text("done"))
            }
            "act" | "look" | "again" => request.result(&text("done")),
            other => request.error(-32602, &format!("Unknown tool: {other}"), None),
        })
    }

    /// The handshake of a server that speaks only this revision.
    fn answer_of_revision(&self, request: &Request, revision: &str) -> String {
        if self.eras == Eras::Modern {
            return match &*request.method {
                "server/discover" => request.result(&format!(
                    r#""supportedVersions":["{revision}"],"capabilities":{{"tools":{{}}}},"ttlMs":0,"cacheScope":"private""#
                )),
                _ => {
                    let data = json!({"supported": [revision]});
                    request.error(-32022, "Unsupported protocol version", Some(data))
                }
            };
        }
        match &*request.method {
            "initialize" => request.result(&format!(
                r#""protocolVersion":"{revision}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"odd","version":"1"}}"#
            )),
            _ => request.error(-32601, "Method not found", None),
        }
    }
}

/// Revision 2026-07-28 asks its client by a result, and is called again with the answers.
fn ask(request: &Request) -> String {
    const STATE: &str = "the state that I keep with my client";
    let id = request.id.clone().unwrap_or_default();
    let answers = &request.params["inputResponses"];
    if answers.is_object() && request.params["requestState"] == STATE {
        return request.result(&text(&answers.to_string()));
    }
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    let who = json!({"message": "Who are you?", "requestedSchema": schema});
    let messages = json!([{"role": "user", "content": {"type": "text", "text": "Say hi."}}]);
    let requests = json!({
        "who": {"method": "elicitation/create", "params": who},
        "roots": {"method": "roots/list"},
        "words": {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": 9}},
    });
    json!({"jsonrpc": "2.0", "id": id, "result": {
        "resultType": "input_required", "inputRequests": requests, "requestState": STATE,
    }})
    .to_string()
}
