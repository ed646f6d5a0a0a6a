//! MCP's server side in the little that hostile fixtures need, written by hand: a library would
//! refuse to misbehave. Results are put together as text, because some of them nest deeper than a
//! JSON library goes.

use serde_json::{Value, json};

/// Which revisions of the protocol a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eras {
    /// 2025-11-25 with its `initialize`, and 2026-07-28.
    Both,
    /// Only what begins with `initialize`.
    Legacy,
    /// Only 2026-07-28.
    Modern,
}

const MODERN: &str = "2026-07-28";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// What a server says about itself, in either era.
fn server_info() -> Value {
    json!({"name": "misbehaving", "version": "1"})
}

/// A request or notification as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The id; a notification has none.
    pub id: Option<Value>,
    /// The method.
    pub method: String,
    /// The parameters, or null.
    pub params: Value,
}

impl Request {
    /// Reads one message. `None` when it is no request: JSON-RPC answers, and junk.
    pub fn parse(message: &str) -> Option<Self> {
        let mut message: Value = serde_json::from_str(message).ok()?;
        Some(Self {
            method: message.get("method")?.as_str()?.to_owned(),
            id: message.get("id").cloned(),
            params: message.get_mut("params").map(Value::take).unwrap_or_default(),
        })
    }

    /// Whether the request is of 2026-07-28, which carries its version in every request.
    pub fn is_modern(&self) -> bool {
        self.params["_meta"][VERSION_KEY].is_string()
    }

    /// The tool that a `tools/call` names.
    pub fn tool(&self) -> &str {
        self.params["name"].as_str().unwrap_or_default()
    }

    /// The arguments of a `tools/call`.
    pub fn arguments(&self) -> &Value {
        &self.params["arguments"]
    }

    /// The answer whose result object has these members, given as the text between its braces.
    pub fn result(&self, members: &str) -> String {
        let id = self.id.clone().unwrap_or_default();
        let modern = if self.is_modern() {
            let info = server_info();
            format!(
                r#""resultType":"complete","_meta":{{"io.modelcontextprotocol/serverInfo":{info}}},"#
            )
        } else {
            String::new()
        };
        let members = format!("{modern}{members}");
        let members = members.trim_end_matches(',');
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{members}}}}}"#)
    }

    /// A JSON-RPC error as the answer.
    pub fn error(&self, code: i64, message: &str, data: Option<Value>) -> String {
        let mut error = json!({"code": code, "message": message});
        if let Some(data) = data {
            error["data"] = data;
        }
        json!({"jsonrpc": "2.0", "id": self.id, "error": error}).to_string()
    }

    /// The answer to everything but `tools/call`: handshakes of these eras, and `tools/list` with
    /// these tools (a JSON array). `None` for `tools/call` and for notifications.
    pub fn answer(&self, eras: Eras, tools: &str) -> Option<String> {
        self.id.as_ref()?;
        let is_list = self.method.ends_with("/list");
        let caching =
            if self.is_modern() && is_list { r#","ttlMs":0,"cacheScope":"private""# } else { "" };
        let refused = match eras {
            Eras::Legacy if self.is_modern() && self.method != "server/discover" => {
                Some(self.error(-32602, "Invalid request parameters", None))
            }
            Eras::Modern if self.method == "initialize" => Some(self.unsupported()),
            Eras::Modern if !self.is_modern() => {
                Some(self.error(-32602, &format!("params._meta needs {VERSION_KEY}"), None))
            }
            _ if self.is_modern() && self.params["_meta"][VERSION_KEY] != MODERN => {
                Some(self.unsupported())
            }
            _ => None,
        };
        if refused.is_some() {
            return refused;
        }
        match self.method.as_str() {
            "tools/call" => None,
            "server/discover" if eras != Eras::Legacy => Some(self.result(
                r#""supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private""#,
            )),
            "initialize" => {
                let version = match self.params["protocolVersion"].as_str() {
                    Some(version) if version < MODERN => version,
                    _ => "2025-11-25",
                };
                let info = server_info();
                Some(self.result(&format!(
                    r#""protocolVersion":"{version}","capabilities":{{"tools":{{}}}},"serverInfo":{info}"#
                )))
            }
            "ping" => Some(self.result("")),
            "tools/list" => Some(self.result(&format!(r#""tools":{tools}{caching}"#))),
            _ => Some(self.error(-32601, "Method not found", Some(json!(self.method)))),
        }
    }

    fn unsupported(&self) -> String {
        let data = json!({"supported": [MODERN], "requested": self.params["protocolVersion"]});
        self.error(-32022, "Unsupported protocol version", Some(data))
    }
}

/// The member `content` with one text block.
pub fn text(text: &str) -> String {
    format!(r#""content":[{}]"#, json!({"type": "text", "text": text}))
}

/// The members of a result that says that the tool failed.
pub fn failure(message: &str) -> String {
    format!(r#"{},"isError":true"#, text(message))
}

/// A tool of this name that takes any arguments.
pub fn any_tool(name: &str) -> String {
    json!({"name": name, "description": "Takes anything.", "inputSchema": {"type": "object"}})
        .to_string()
}
