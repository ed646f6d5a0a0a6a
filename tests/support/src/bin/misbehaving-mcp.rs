//! An MCP server on stdio that breaks the rules, one rule per mode.
//!
//! ```text
//! misbehaving-mcp MODE [--legacy | --modern] [ANY OTHER WORDS...]
//! misbehaving-mcp --list
//! misbehaving-mcp proxy ADDRESS
//! ```
//! As a proxy it carries lines between its pipes and a `toolcell_tests::faulty::Faulty`.
//! It speaks both eras of the protocol unless told otherwise; other words are ignored, so that a test
//! can mark a process. Variables:
//! `MISBEHAVING_LOG`, a file that gets one line for every message that arrives, so that a test can
//! prove what was sent and how often; `MISBEHAVING_SECRET`, what `leaks-secret` leaks.

use std::fs::OpenOptions;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{self, Command, ExitCode};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::json;
use toolcell_tests::plain_tools;
use toolcell_tests::tiny_mcp::{Eras, Request, any_tool, failure, text};

type Mode = (&'static str, &'static str, fn(&Wire));

const MODES: &[Mode] = &[
    ("ok", "behaves: echo, add, slow, slow_read, fail, big, image, structured, nested", ok),
    ("exit-at-start", "complains on stderr and exits with 3", exit_at_start),
    ("exit-in-call", "exits with 4 when a tool is called", exit_in_call),
    ("silent", "never answers anything", silent),
    ("silent-on-discover", "legacy; unknown methods get no answer", silent_on_discover),
    ("slow-start", "behaves, after two seconds", slow_start),
    ("never-answers-call", "a call gets no answer", never_answers_call),
    ("garbage", "writes junk before every answer", garbage),
    ("garbage-only", "writes junk instead of answers", garbage_only),
    ("long-line", "tools whose answers are lines of 1 MiB and of 20 MiB", long_line),
    ("deep-json", "a tool whose answer nests 10,000 deep", deep_json),
    ("deep-schema", "a tool whose schema nests 10,000 deep", deep_schema),
    ("many-tools", "10,000 tools", many_tools),
    ("endless-list", "every page of tools/list has a next one", endless_list),
    ("duplicate-tools", "two tools of one name", duplicate_tools),
    ("bad-names", "tools whose names are no identifiers, or collide as such", bad_names),
    ("wrong-id", "answers a call under another id", wrong_id),
    ("duplicate-id", "answers a call twice, differently", duplicate_id),
    ("unknown-content-type", "a content block of a type that nobody knows", unknown_content_type),
    ("json-rpc-error", "answers a call with error -32050 and data", json_rpc_error),
    ("rejects-arguments", "answers a call with error -32602", rejects_arguments),
    ("grandchild", "starts two processes that outlive it, one in a session of its own", grandchild),
    ("ignores-eof-and-term", "lives on after end of input and SIGTERM", ignores_eof_and_term),
    ("floods-stderr", "writes 64 MiB to stderr, and behaves", floods_stderr),
    ("leaks-secret", "puts its secret on stderr, into answers and into errors", leaks_secret),
    ("changes-tools", "each call adds a tool, and says so in a notification", changes_tools),
    ("cries-wolf", "each call says that the tools changed; they did not", cries_wolf),
    (
        "changes-resources",
        "each read adds a resource, and says so in a notification",
        changes_resources,
    ),
    ("odd-offers", "resources without end, odd contents, prompts that are no prompts", odd_offers),
    ("odd-fields", "a tool, and answers of it, with members that nobody knows", odd_fields),
    ("odd-forms", "tools with members of a wrong form", odd_forms),
    ("asks-client", "sends requests of its own before each answer", asks_client),
    ("legacy-only", "behaves, and knows nothing of 2026-07-28", legacy_only),
    ("modern-only", "behaves, and knows nothing before 2026-07-28", modern_only),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted = args.first().map_or("", String::as_str);
    if wanted == "--list" {
        for (name, about, _) in MODES {
            println!("{name:22} {about}");
        }
        return ExitCode::SUCCESS;
    }
    if wanted == "proxy" {
        return proxy(args.get(1).map_or("", String::as_str));
    }
    let Some((_, _, behave)) = MODES.iter().find(|(name, ..)| *name == wanted) else {
        eprintln!("no mode is called {wanted:?}; --list shows them");
        return ExitCode::from(64);
    };
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let eras = match (has("--legacy"), has("--modern")) {
        (true, _) => Eras::Legacy,
        (_, true) => Eras::Modern,
        _ => Eras::Both,
    };
    behave(&Wire::new(eras, wanted != "ignores-eof-and-term"));
    ExitCode::SUCCESS
}

/// Lives as long as both its ends do. It fails when told so, when it is cut off, and when nobody is
/// there.
fn proxy(address: &str) -> ExitCode {
    const DIE: u8 = 1;
    let fatal = || -> ! {
        eprintln!("misbehaving-mcp: fatal: out of luck");
        process::exit(4);
    };
    let Ok(server) = TcpStream::connect(address) else { fatal() };
    let Ok(mut from_server) = server.try_clone() else { fatal() };
    let mut to_server = server;
    let token = std::env::var("TOKEN").unwrap_or_default();
    if writeln!(to_server, "{} {token}", process::id()).is_err() {
        fatal();
    }
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to_server);
        process::exit(0);
    });
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from_server.read(&mut buffer) {
            Ok(0) => return ExitCode::SUCCESS,
            Ok(count) if buffer[..count].contains(&DIE) => fatal(),
            Ok(count) => {
                let mut out = io::stdout().lock();
                if out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err() {
                    return ExitCode::SUCCESS;
                }
            }
            Err(_) => fatal(),
        }
    }
}

fn ok(wire: &Wire) {
    wire.serve(&plain_tools::list(), plain_tools::call);
}

fn exit_at_start(_: &Wire) {
    eprintln!("misbehaving-mcp: cannot open database \"/nowhere/data.db\": no such file");
    process::exit(3);
}

fn exit_in_call(wire: &Wire) {
    wire.serve(&plain_tools::list(), |_| {
        eprintln!("misbehaving-mcp: fatal: out of luck");
        process::exit(4);
    });
}

fn silent(wire: &Wire) {
    wire.read(|_| {});
}

fn silent_on_discover(wire: &Wire) {
    wire.read(|request| {
        if matches!(request.method.as_str(), "initialize" | "ping" | "tools/list") {
            wire.write_some(request.answer(Eras::Legacy, &plain_tools::list()));
        } else if request.method == "tools/call" {
            wire.write(&plain_tools::call(&request));
        }
    });
}

fn slow_start(wire: &Wire) {
    thread::sleep(Duration::from_secs(2));
    ok(wire);
}

fn never_answers_call(wire: &Wire) {
    wire.serve_some(&plain_tools::list(), |_| None);
}

const JUNK: &[&[u8]] = &[
    b"npm notice New major version of npm available!",
    b"",
    b"\x1b[32mServer started\x1b[0m",
    b"{\"jsonrpc\":\"2.0\",\"id\":",
    b"\xff\xfe\x80 not UTF-8",
    b"[]",
    b"null",
    b"{\"foo\":1}",
    b"{\"jsonrpc\":\"2.0\",\"id\":\"nobody asked\",\"result\":{}}",
    b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nobody-knows\"}",
];

fn garbage(wire: &Wire) {
    wire.read(|request| {
        for junk in JUNK {
            wire.write_bytes(junk);
        }
        let answer = request.answer(wire.eras, &plain_tools::list());
        let is_call = request.method == "tools/call";
        wire.write_some(answer.or_else(|| is_call.then(|| plain_tools::call(&request))));
    });
}

fn garbage_only(wire: &Wire) {
    wire.read(|_| JUNK.iter().for_each(|junk| wire.write_bytes(junk)));
}

fn long_line(wire: &Wire) {
    let tools = format!("[{},{}]", any_tool("one_mebibyte"), any_tool("twenty_mebibytes"));
    wire.serve(&tools, |request| {
        let mebibytes = if request.tool() == "one_mebibyte" { 1 } else { 20 };
        request.result(&text(&"x".repeat(mebibytes << 20)))
    });
}

const DEPTH: usize = 10_000;

fn deep_json(wire: &Wire) {
    wire.serve(&format!("[{}]", any_tool("deep")), |request| {
        let (open, close) = ("[".repeat(DEPTH), "]".repeat(DEPTH));
        request.result(&format!(r#""content":[],"structuredContent":{{"deep":{open}{close}}}"#))
    });
}

fn deep_schema(wire: &Wire) {
    let open = r#"{"type":"object","properties":{"a":"#.repeat(DEPTH);
    let close = "}}".repeat(DEPTH);
    let tool = format!(r#"{{"name":"deep","inputSchema":{open}{{"type":"integer"}}{close}}}"#);
    wire.serve(&format!("[{tool},{}]", any_tool("shallow")), |request| {
        request.result(&text("the depths are fine"))
    });
}

fn many_tools(wire: &Wire) {
    let tools: Vec<String> = (0..10_000).map(|n| any_tool(&format!("tool_{n}"))).collect();
    wire.serve(&format!("[{}]", tools.join(",")), |request| request.result(&text(request.tool())));
}

fn endless_list(wire: &Wire) {
    wire.read(|request| {
        if request.method == "tools/list" {
            let page: u64 =
                request.params["cursor"].as_str().and_then(|page| page.parse().ok()).unwrap_or(0);
            let (tool, next) = (any_tool(&format!("tool_{page}")), page + 1);
            let members = format!(
                r#""tools":[{tool}],"nextCursor":"{next}","ttlMs":0,"cacheScope":"private""#
            );
            wire.write(&request.result(&members));
        } else {
            wire.write_some(request.answer(wire.eras, "[]"));
        }
    });
}

fn duplicate_tools(wire: &Wire) {
    let tools = format!("[{},{},{}]", any_tool("echo"), any_tool("echo"), any_tool("other"));
    wire.serve(&tools, |request| request.result(&text(request.tool())));
}

fn bad_names(wire: &Wire) {
    let long = "n".repeat(300);
    #[rustfmt::skip]
    let names = [
        "plain", "a.b", "with space", "ünï", "../../etc/passwd", "new\nline", "", &long, "class", "None",
        "print", "__init__", "__class__", "get-sum", "get_sum", "1st", "a\"b'c", "\u{202e}reversed", "tools", "aio",
    ];
    let tools: Vec<String> = names.iter().map(|name| any_tool(name)).collect();
    wire.serve(&format!("[{}]", tools.join(",")), |request| {
        request.result(&text(&format!("called {:?}", request.tool())))
    });
}

fn wrong_id(wire: &Wire) {
    wire.serve(&plain_tools::list(), |request| {
        let id = Some(json!(1_000_000));
        plain_tools::call(&Request { id, ..request.clone() })
    });
}

fn duplicate_id(wire: &Wire) {
    wire.serve(&plain_tools::list(), |request| {
        wire.write(&request.result(&text("first")));
        request.result(&text("second"))
    });
}

fn unknown_content_type(wire: &Wire) {
    wire.serve(&format!("[{}]", any_tool("show")), |request| {
        let hologram = json!({"type": "hologram", "depth": 3, "data": {"points": [1, 2]}});
        let words = json!({
            "type": "text",
            "text": "behold",
            "annotations": {"audience": ["operator"]},
        });
        request.result(&format!(r#""content":[{words},{hologram}]"#))
    });
}

fn json_rpc_error(wire: &Wire) {
    wire.serve(&plain_tools::list(), |request| {
        request.error(-32050, "the index is being rebuilt", Some(json!({"retry_after": 30})))
    });
}

fn rejects_arguments(wire: &Wire) {
    wire.serve(&plain_tools::list(), |request| {
        request.error(-32602, &format!("Invalid arguments for tool {}", request.tool()), None)
    });
}

/// The grandchildren keep our stdin, stdout and stderr open: no end of file tells that we are gone.
fn grandchild(wire: &Wire) {
    let started = Command::new("sh").args(["-c", "sleep 600 & setsid sleep 600 &"]).status();
    if let Err(error) = started {
        eprintln!("misbehaving-mcp: no shell: {error}");
    }
    ok(wire);
}

fn ignores_eof_and_term(wire: &Wire) {
    // SAFETY: SIG_IGN is a valid disposition, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    ok(wire);
    loop {
        thread::sleep(Duration::from_secs(600));
    }
}

fn floods_stderr(wire: &Wire) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let line = format!("{}\n", "blah ".repeat(200));
            (0..64 << 10).try_for_each(|_| io::stderr().write_all(line.as_bytes()))
        });
        ok(wire);
    });
}

fn leaks_secret(wire: &Wire) {
    let secret = std::env::var("MISBEHAVING_SECRET").unwrap_or_else(|_| "(none)".to_owned());
    eprintln!("misbehaving-mcp: connecting with token {secret}");
    let tools = ["tell", "fail", "reject", "exit"].map(any_tool).join(",");
    wire.serve(&format!("[{tools}]"), |request| match request.tool() {
        "tell" => request.result(&text(&format!("the token is {secret}"))),
        "fail" => request.result(&failure(&format!("token {secret} has expired"))),
        "reject" => {
            request.error(-32001, &format!("bad token {secret}"), Some(json!({"token": secret})))
        }
        _ => {
            eprintln!("misbehaving-mcp: panic while using token {secret}");
            process::exit(5);
        }
    });
}

fn changes_tools(wire: &Wire) {
    let names = Mutex::new(vec!["first".to_owned()]);
    wire.read(|request| {
        let mut names = names.lock().expect("no thread panics");
        if request.method == "tools/call" {
            let next = format!("tool_{}", names.len());
            names.push(next);
            wire.write(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
            wire.write(&request.result(&text(request.tool())));
        } else {
            let tools: Vec<String> = names.iter().map(|name| any_tool(name)).collect();
            let answer = request.answer(wire.eras, &format!("[{}]", tools.join(",")));
            wire.write_some(answer.map(|answer| {
                answer.replace(r#"{"tools":{}}"#, r#"{"tools":{"listChanged":true}}"#)
            }));
        }
    });
}

fn cries_wolf(wire: &Wire) {
    wire.read(|request| {
        if request.method == "tools/call" {
            wire.write(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
            wire.write(&request.result(&text("wolf")));
        } else {
            wire.write_some(request.answer(wire.eras, &plain_tools::list()));
        }
    });
}

/// Says at the handshake that it has resources and prompts too.
fn with_offers(answer: String) -> String {
    let all = r#"{"tools":{},"resources":{"listChanged":true},"prompts":{"listChanged":true}}"#;
    answer.replace(r#"{"tools":{}}"#, all)
}

fn changes_resources(wire: &Wire) {
    let count = Mutex::new(1);
    wire.read(|request| {
        let mut count = count.lock().expect("no thread panics");
        match request.method.as_str() {
            "resources/list" => {
                let all: Vec<_> =
                    (1..=*count).map(|n| json!({"uri": format!("x://{n}")})).collect();
                let members = format!(r#""resources":{},"ttlMs":60000"#, json!(all));
                wire.write(&request.result(&members));
            }
            "resources/read" => {
                *count += 1;
                wire.write(r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#);
                let part = json!([{"uri": request.params["uri"], "text": "new"}]);
                wire.write(&request.result(&format!(r#""contents":{part},"_meta":{{"own":1}}"#)));
            }
            // The subscription stays open.
            "subscriptions/listen" => {}
            _ => wire.write_some(request.answer(wire.eras, "[]").map(with_offers)),
        }
    });
}

fn odd_offers(wire: &Wire) {
    wire.read(|request| match request.method.as_str() {
        "resources/list" => {
            let cursor = request.params["cursor"].as_str();
            let page: u64 = cursor.and_then(|page| page.parse().ok()).unwrap_or(0);
            let resources = json!([{"uri": format!("x://{page}")}, {"uri": "x://0"}, {"uri": 7}]);
            let next = page + 1;
            wire.write(&request.result(&format!(r#""resources":{resources},"nextCursor":"{next}""#)));
        }
        "prompts/list" => {
            let prompts = json!([
                {"name": "good", "arguments": [{"name": "who", "required": true}, {"name": "how"}]},
                {"name": "good"}, {"title": "no name"}, 5,
            ]);
            wire.write(&request.result(&format!(r#""prompts":{prompts}"#)));
        }
        "prompts/get" => {
            let said = json!([{"role": "user", "content": {"type": "text", "text": request.params["arguments"].to_string()}}]);
            wire.write(&request.result(&format!(r#""messages":{said}"#)));
        }
        "resources/read" => {
            let uri = request.params["uri"].as_str().unwrap_or_default();
            match uri {
                "x://empty" => wire.write(&request.result(r#""contents":[]"#)),
                "x://odd" => wire.write(&request.result(r#""contents":[{"uri":"x://odd"}]"#)),
                "x://gone" => wire.write(&request.error(-32002, "Resource not found", None)),
                "x://big" => {
                    let part = json!([{"uri": uri, "text": "x".repeat(8 << 20)}]);
                    wire.write(&request.result(&format!(r#""contents":{part}"#)));
                }
                _ => {
                    let meta = &request.params["_meta"];
                    let parts = json!([{"uri": uri, "text": meta.to_string()}, {"uri": uri, "blob": "aGk="}]);
                    wire.write(&request.result(&format!(r#""contents":{parts}"#)));
                }
            }
        }
        "subscriptions/listen" => {}
        // Among the rest are the templates, which it does not know.
        _ => wire.write_some(request.answer(wire.eras, "[]").map(with_offers)),
    });
}

/// What typed clients lose: unknown members, numbers that no float holds, nothing where an object was
/// expected.
fn odd_fields(wire: &Wire) {
    wire.serve(&format!("[{}]", plain_tools::ODD_TOOL), |request| {
        request.result(plain_tools::ODD_ANSWER)
    });
}

fn odd_forms(wire: &Wire) {
    let tools = r#"[
        {"name":"wrong","title":3,"description":["x"],"inputSchema":{},"outputSchema":"x","annotations":{"readOnlyHint":"yes"},"_meta":7},
        {"name":"no_object","inputSchema":"x"},
        {"name":"string","inputSchema":{"type":"string"}},
        {"name":"right","inputSchema":{"type":"object"}}
    ]"#;
    wire.serve(&tools.replace('\n', " "), |request| request.result(&text(request.tool())));
}

fn asks_client(wire: &Wire) {
    wire.serve(&plain_tools::list(), |request| {
        for (id, method) in ["roots/list", "sampling/createMessage", "elicitation/create", "no/such"]
            .iter()
            .enumerate()
        {
            let asked = json!({"jsonrpc": "2.0", "id": format!("ask-{id}"), "method": method, "params": {}});
            wire.write(&asked.to_string());
        }
        plain_tools::call(request)
    });
}

fn legacy_only(wire: &Wire) {
    ok(&wire.of(Eras::Legacy));
}

fn modern_only(wire: &Wire) {
    ok(&wire.of(Eras::Modern));
}

/// Our stdin and stdout.
struct Wire {
    eras: Eras,
    ends_with_input: bool,
    log: Option<PathBuf>,
}

impl Wire {
    fn new(eras: Eras, ends_with_input: bool) -> Self {
        let log = std::env::var_os("MISBEHAVING_LOG").map(PathBuf::from);
        Self { eras, ends_with_input, log }
    }

    fn of(&self, eras: Eras) -> Self {
        Self { eras, ends_with_input: self.ends_with_input, log: self.log.clone() }
    }

    /// Hands over every request and notification until stdin ends. As a good server does, it then
    /// exits, whatever calls are still being worked on.
    fn read(&self, handle: impl Fn(Request)) {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            self.note(&line);
            if let Some(request) = Request::parse(&line) {
                handle(request);
            }
        }
        self.append("end of input");
        if self.ends_with_input {
            process::exit(0);
        }
    }

    /// Answers everything as a good server does, and calls with `call`, each in a thread of its own.
    fn serve(&self, tools: &str, call: impl Fn(&Request) -> String + Sync) {
        self.serve_some(tools, |request| Some(call(request)));
    }

    fn serve_some(&self, tools: &str, call: impl Fn(&Request) -> Option<String> + Sync) {
        let call = &call;
        thread::scope(|scope| {
            self.read(|request| {
                if let Some(answer) = request.answer(self.eras, tools) {
                    self.write(&answer);
                } else if request.method == "tools/call" {
                    scope.spawn(move || self.write_some(call(&request)));
                }
            });
        });
    }

    /// Writes one line. A client that has gone is no error of ours.
    fn write(&self, line: &str) {
        self.write_bytes(line.as_bytes());
    }

    fn write_some(&self, line: Option<String>) {
        if let Some(line) = line {
            self.write(&line);
        }
    }

    fn write_bytes(&self, line: &[u8]) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    }

    /// One line of the log: the method, and for a call its tool and arguments.
    fn note(&self, line: &str) {
        match Request::parse(line) {
            Some(request) if request.method == "tools/call" => {
                self.append(&format!("tools/call {} {}", request.tool(), request.arguments()));
            }
            Some(request) if request.method == "notifications/cancelled" => {
                self.append(&format!("notifications/cancelled {}", request.params["requestId"]));
            }
            Some(request) => self.append(&request.method),
            None => self.append(&format!("other {line}")),
        }
    }

    fn append(&self, line: &str) {
        if let Some(path) = &self.log {
            let log = OpenOptions::new().create(true).append(true).open(path);
            let mut log = log.expect("the log can be written");
            let _ = log.write_all(format!("{line}\n").as_bytes());
        }
    }
}
