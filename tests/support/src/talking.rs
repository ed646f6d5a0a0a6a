//! An MCP client that speaks raw JSON-RPC with `toolcell mcp`, so that a test sees every byte.

use serde_json::{Value, json};

use crate::cli::{Cli, Running};

/// The members of `_meta` that a request of revision 2026-07-28 carries.
pub fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}

/// A `toolcell mcp` and its client.
pub struct Talking {
    /// The process.
    pub running: Running,
    is_modern: bool,
    next_id: u64,
}

impl Talking {
    /// A client that begins with `initialize`, and what it was told.
    #[track_caller]
    pub fn legacy(cli: Cli) -> (Self, Value) {
        let mut talking = Self { running: cli.spawn_talking(), is_modern: false, next_id: 0 };
        let told = talking.ask(
            "initialize",
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": { "name": "test", "version": "1" },
            }),
        );
        talking.tell("notifications/initialized", &json!({}));
        (talking, told)
    }

    /// A client of revision 2026-07-28.
    #[track_caller]
    pub fn modern(cli: Cli) -> Self {
        Self { running: cli.spawn_talking(), is_modern: true, next_id: 0 }
    }

    /// Sends a request and gives its id.
    #[track_caller]
    pub fn begin(&mut self, method: &str, mut params: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        if self.is_modern {
            let own = params["_meta"].take();
            params["_meta"] = modern_meta();
            for (name, value) in own.as_object().into_iter().flatten() {
                params["_meta"][name] = value.clone();
            }
        }
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.running.write(&format!("{request}\n"));
        id
    }

    /// The line that answers a request.
    #[track_caller]
    pub fn line(&self, id: u64) -> String {
        self.running.wait_for_line(&format!(r#"{{"jsonrpc":"2.0","id":{id},"#))
    }

    /// The answer to a request: its result, or its error.
    #[track_caller]
    pub fn answer(&self, id: u64) -> Value {
        let line = self.line(id);
        let mut answer: Value = serde_json::from_str(&line).expect("answers are JSON");
        match answer.get("result") {
            Some(_) => answer["result"].take(),
            None => answer["error"].take(),
        }
    }

    /// Asks, and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    /// Calls a tool.
    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// The names of all tools, page by page.
    #[track_caller]
    pub fn tools(&mut self) -> Vec<String> {
        let names = self.list("tools/list", "tools").into_iter();
        names.map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// A whole list, page by page.
    #[track_caller]
    pub fn list(&mut self, method: &str, plural: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let params = if cursor.is_null() { json!({}) } else { json!({ "cursor": cursor }) };
            let mut page = self.ask(method, params);
            assert!(page[plural].is_array(), "{method}: {page}");
            all.append(page[plural].as_array_mut().expect("just looked at"));
            cursor = page["nextCursor"].take();
            if cursor.is_null() {
                return all;
            }
        }
    }

    /// Sends a notification.
    #[track_caller]
    pub fn tell(&mut self, method: &str, params: &Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.running.write(&format!("{message}\n"));
    }

    /// Waits for a notification with this in it, and gives its params.
    #[track_caller]
    pub fn heard(&self, method: &str, part: &str) -> Value {
        let begin = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":"#);
        let line = self.running.wait_for_line_with(&begin, part);
        let mut message: Value = serde_json::from_str(&line).expect("notifications are JSON");
        message["params"].take()
    }

    /// How many notifications of this method came so far.
    pub fn count(&self, method: &str) -> usize {
        let begin = format!(r#"{{"jsonrpc":"2.0","method":"{method}""#);
        self.running.stdout().lines().filter(|line| line.starts_with(&begin)).count()
    }
}
