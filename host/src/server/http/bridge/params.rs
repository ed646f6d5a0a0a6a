//! Which server a client wants: the three kinds of parameters that such clients know, with all their
//! fields, and names of servers. What is wrong with them is told as the original tells it (FastAPI's
//! `detail`).

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::frames::as_python;

/// The kinds that the original knows, as it names them.
const TAGS: &str = "'StdioServerParams', 'SseServerParams', 'StreamableHttpServerParams'";

/// What a client wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ServerParams {
    /// A program.
    Stdio(StdioParams),
    /// HTTP+SSE.
    Sse(HttpParams),
    /// Streamable HTTP.
    StreamableHttp(HttpParams),
    /// One that the operator named; ours alone.
    Named(String),
}

/// `StdioServerParams`. What is absent was not said, and is as the host has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StdioParams {
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) env: Option<IndexMap<String, String>>,
    pub(super) cwd: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) encoding_error_handler: Option<String>,
    pub(super) read_timeout_seconds: Option<f64>,
}

/// `SseServerParams` and `StreamableHttpServerParams`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HttpParams {
    pub(super) url: String,
    pub(super) headers: Option<IndexMap<String, Value>>,
    pub(super) timeout: Option<f64>,
    pub(super) sse_read_timeout: Option<f64>,
    pub(super) terminate_on_close: Option<bool>,
}

/// Reads the body of a request.
///
/// # Errors
/// What is wrong with it: a list of findings.
pub(super) fn read(body: &[u8], is_json: bool) -> Result<ServerParams, Value> {
    let mut findings = Findings::default();
    let read = read_body(body, is_json, &mut findings);
    match read {
        Some(params) if findings.0.is_empty() => Ok(params),
        _ => Err(Value::Array(findings.0)),
    }
}

fn read_body(body: &[u8], is_json: bool, findings: &mut Findings) -> Option<ServerParams> {
    let at = || vec![json!("body")];
    if body.is_empty() || (is_json && body.trim_ascii() == b"null") {
        findings.add("missing", at(), "Field required", &Value::Null);
        return None;
    }
    let body: Value = if is_json {
        match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => {
                let at = offset(body, error.line(), error.column());
                findings.0.push(json!({
                    "type": "json_invalid", "loc": ["body", at], "msg": "JSON decode error",
                    "input": {}, "ctx": { "error": "Expecting value" },
                }));
                return None;
            }
        }
    } else {
        Value::String(String::from_utf8_lossy(body).into_owned())
    };
    let Value::Object(members) = &body else {
        findings.no_object(at(), &body);
        return None;
    };
    let mut at = at();
    at.push(json!("server_params"));
    let Some(params) = members.get("server_params") else {
        findings.add("missing", at, "Field required", &body);
        return None;
    };
    let Value::Object(members) = params else {
        findings.no_object(at, params);
        return None;
    };
    let Some(tag) = members.get("type") else {
        findings.0.push(json!({
            "type": "union_tag_not_found", "loc": at,
            "msg": "Unable to extract tag using discriminator 'type'",
            "input": params, "ctx": { "discriminator": "'type'" },
        }));
        return None;
    };
    let kind = tag.as_str().unwrap_or_default();
    at.push(json!(kind));
    let mut fields = Fields { members, input: params, at: &at, findings };
    match kind {
        "StdioServerParams" => Some(ServerParams::Stdio(StdioParams {
            command: fields.required("command"),
            args: fields.texts("args"),
            env: fields.env(),
            cwd: fields.cwd(),
            encoding: fields.text("encoding"),
            encoding_error_handler: fields.error_handler(),
            read_timeout_seconds: fields.number("read_timeout_seconds"),
        })),
        "SseServerParams" => Some(ServerParams::Sse(fields.http(false))),
        "StreamableHttpServerParams" => Some(ServerParams::StreamableHttp(fields.http(true))),
        "NamedServerParams" => Some(ServerParams::Named(fields.required("server"))),
        _ => {
            at.pop();
            let tag = as_python(tag);
            let msg = format!(
                "Input tag '{tag}' found using 'type' does not match any of the expected tags: {TAGS}"
            );
            findings.0.push(json!({
                "type": "union_tag_invalid", "loc": at, "msg": msg, "input": params,
                "ctx": { "discriminator": "'type'", "tag": tag, "expected_tags": TAGS },
            }));
            None
        }
    }
}

/// Where in a text of several lines something is, in characters.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before = body.split(|byte| *byte == b'\n').take(line.saturating_sub(1));
    before.map(|line| line.len() + 1).sum::<usize>() + column.saturating_sub(1)
}

#[derive(Default)]
struct Findings(Vec<Value>);

impl Findings {
    fn add(&mut self, kind: &str, at: Vec<Value>, msg: &str, input: &Value) {
        self.0.push(json!({ "type": kind, "loc": at, "msg": msg, "input": input }));
    }

    fn no_object(&mut self, at: Vec<Value>, input: &Value) {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        self.add("model_attributes_type", at, msg, input);
    }
}

/// The fields of one kind of parameters.
struct Fields<'a> {
    members: &'a Map<String, Value>,
    input: &'a Value,
    at: &'a [Value],
    findings: &'a mut Findings,
}

impl<'a> Fields<'a> {
    fn place(&self, field: &str) -> Vec<Value> {
        let mut at = self.at.to_vec();
        at.push(json!(field));
        at
    }

    fn wrong(&mut self, field: &str, kind: &str, msg: &str, input: &Value) {
        let at = self.place(field);
        self.findings.add(kind, at, msg, input);
    }

    fn required(&mut self, field: &str) -> String {
        if self.members.contains_key(field) {
            return self.text(field).unwrap_or_default();
        }
        self.wrong(field, "missing", "Field required", self.input);
        String::new()
    }

    fn text(&mut self, field: &str) -> Option<String> {
        let value: &'a Value = self.members.get(field)?;
        if value.as_str().is_none() {
            self.wrong(field, "string_type", "Input should be a valid string", value);
        }
        value.as_str().map(ToOwned::to_owned)
    }

    fn texts(&mut self, field: &str) -> Vec<String> {
        let Some(value) = self.members.get(field) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            self.wrong(field, "list_type", "Input should be a valid list", value);
            return Vec::new();
        };
        for (nth, item) in list.iter().enumerate().filter(|(_, item)| !item.is_string()) {
            let mut at = self.place(field);
            at.push(json!(nth));
            self.findings.add("string_type", at, "Input should be a valid string", item);
        }
        list.iter().filter_map(|item| item.as_str().map(ToOwned::to_owned)).collect()
    }

    fn dictionary(&mut self, field: &str) -> Option<&'a Map<String, Value>> {
        let value: &'a Value = self.members.get(field).filter(|value| !value.is_null())?;
        if value.as_object().is_none() {
            self.wrong(field, "dict_type", "Input should be a valid dictionary", value);
        }
        value.as_object()
    }

    fn env(&mut self) -> Option<IndexMap<String, String>> {
        let given = self.dictionary("env")?;
        for (name, value) in given.iter().filter(|(_, value)| !value.is_string()) {
            let mut at = self.place("env");
            at.push(json!(name));
            self.findings.add("string_type", at, "Input should be a valid string", value);
        }
        let text =
            |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        Some(given.iter().filter_map(text).collect())
    }

    fn cwd(&mut self) -> Option<String> {
        let value = self.members.get("cwd").filter(|value| !value.is_null())?;
        if value.as_str().is_none() {
            let mut at = self.place("cwd");
            at.push(json!("str"));
            self.findings.add("string_type", at, "Input should be a valid string", value);
        }
        value.as_str().map(ToOwned::to_owned)
    }

    fn error_handler(&mut self) -> Option<String> {
        let value = self.members.get("encoding_error_handler")?;
        if let Some(known @ ("strict" | "ignore" | "replace")) = value.as_str() {
            return Some(known.to_owned());
        }
        let expected = "'strict', 'ignore' or 'replace'";
        let at = self.place("encoding_error_handler");
        self.findings.0.push(json!({
            "type": "literal_error", "loc": at, "msg": format!("Input should be {expected}"),
            "input": value, "ctx": { "expected": expected },
        }));
        None
    }

    fn number(&mut self, field: &str) -> Option<f64> {
        let value: &'a Value = self.members.get(field)?;
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::String(text) => {
                let number = text.trim().parse().ok();
                if number.is_none() {
                    let msg = "Input should be a valid number, unable to parse string as a number";
                    self.wrong(field, "float_parsing", msg, value);
                }
                return number;
            }
            _ => None,
        };
        if number.is_none() {
            self.wrong(field, "float_type", "Input should be a valid number", value);
        }
        number
    }

    fn flag(&mut self, field: &str) -> Option<bool> {
        let value: &'a Value = self.members.get(field)?;
        let read = match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
                "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
                _ => None,
            },
            Value::Number(number) => match number.as_f64() {
                Some(1.0) => Some(true),
                Some(0.0) => Some(false),
                _ => None,
            },
            _ => {
                self.wrong(field, "bool_type", "Input should be a valid boolean", value);
                return None;
            }
        };
        if read.is_none() {
            let msg = "Input should be a valid boolean, unable to interpret input";
            self.wrong(field, "bool_parsing", msg, value);
        }
        read
    }

    fn http(&mut self, streamable: bool) -> HttpParams {
        HttpParams {
            url: self.required("url"),
            headers: self.dictionary("headers").map(|headers| {
                headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
            }),
            timeout: self.number("timeout"),
            sse_read_timeout: self.number("sse_read_timeout"),
            terminate_on_close: match streamable {
                true => self.flag("terminate_on_close"),
                false => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(params: &Value) -> Vec<Value> {
        let body = json!({ "server_params": params }).to_string();
        let Err(Value::Array(findings)) = read(body.as_bytes(), true) else {
            panic!("nothing is wrong with {params}")
        };
        findings
    }

    #[test]
    fn what_is_no_request_is_told_as_the_original_tells_it() {
        #[track_caller]
        fn check(body: &str, kind: &str, at: &Value) {
            let findings = read(body.as_bytes(), true).expect_err("it is wrong");
            assert_eq!((&findings[0]["type"], &findings[0]["loc"]), (&json!(kind), at), "{body}");
        }
        check("", "missing", &json!(["body"]));
        check("x", "json_invalid", &json!(["body", 0]));
        check("null", "missing", &json!(["body"]));
        for no_object in ["[]", "7", "null", "\"s\""] {
            if no_object != "null" {
                check(no_object, "model_attributes_type", &json!(["body"]));
            }
            let body = format!("{{\"server_params\":{no_object}}}");
            check(&body, "model_attributes_type", &json!(["body", "server_params"]));
        }
        let at = json!(["body", "server_params"]);
        check("{}", "missing", &at);
        check(r#"{"server_params":{}}"#, "union_tag_not_found", &at);
        for tag in ["7", "null", "\"Foo\""] {
            let body = format!("{{\"server_params\":{{\"type\":{tag}}}}}");
            check(&body, "union_tag_invalid", &at);
        }
        let plain = read(b"{}", false).expect_err("it is no JSON");
        assert_eq!(plain[0]["type"], "model_attributes_type");
        let none = findings(&json!({ "type": null }));
        assert_eq!(none[0]["ctx"]["tag"], "None");
    }

    #[test]
    fn each_field_has_its_type() {
        #[track_caller]
        fn check(params: &Value, wanted: &[(&str, &str)]) {
            let found = findings(params);
            let found: Vec<(String, String)> = found
                .iter()
                .map(|finding| {
                    let at = finding["loc"].as_array().expect("a list").iter().skip(3);
                    let at: Vec<String> =
                        at.map(|part| part.to_string().replace('"', "")).collect();
                    (finding["type"].as_str().unwrap_or_default().to_owned(), at.join("."))
                })
                .collect();
            let wanted: Vec<(String, String)> =
                wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(found, wanted, "{params}");
        }
        let stdio = |more: Value| {
            let mut params = json!({ "type": "StdioServerParams", "command": "x" });
            for (name, value) in more.as_object().expect("an object") {
                params[name] = value.clone();
            }
            params
        };
        check(&json!({ "type": "StdioServerParams" }), &[("missing", "command")]);
        check(&json!({ "type": "SseServerParams" }), &[("missing", "url")]);
        check(&json!({ "type": "NamedServerParams", "server": 7 }), &[("string_type", "server")]);
        check(&stdio(json!({ "command": 7 })), &[("string_type", "command")]);
        check(&stdio(json!({ "args": "y" })), &[("list_type", "args")]);
        let odd = json!({ "args": [1, "a", null], "env": { "a": 1 } });
        let wanted =
            [("string_type", "args.0"), ("string_type", "args.2"), ("string_type", "env.a")];
        check(&stdio(odd), &wanted);
        check(&stdio(json!({ "env": [] })), &[("dict_type", "env")]);
        check(&stdio(json!({ "encoding": null })), &[("string_type", "encoding")]);
        let handler = json!({ "encoding_error_handler": "foo" });
        check(&stdio(handler), &[("literal_error", "encoding_error_handler")]);
        let time = |time: Value| stdio(json!({ "read_timeout_seconds": time }));
        check(&time(json!("abc")), &[("float_parsing", "read_timeout_seconds")]);
        check(&time(json!(null)), &[("float_type", "read_timeout_seconds")]);
        let http = json!({ "type": "StreamableHttpServerParams", "url": 5, "headers": [],
            "terminate_on_close": "maybe" });
        let wanted = [
            ("string_type", "url"),
            ("dict_type", "headers"),
            ("bool_parsing", "terminate_on_close"),
        ];
        check(&http, &wanted);
    }

    #[test]
    fn what_can_be_read_is_read() {
        let body = json!({ "server_params": { "type": "StdioServerParams", "command": "x",
            "args": ["a"], "env": { "A": "b" }, "read_timeout_seconds": "7", "bogus": 1 } });
        let Ok(ServerParams::Stdio(read)) = super::read(body.to_string().as_bytes(), true) else {
            panic!("it is good")
        };
        assert_eq!((read.read_timeout_seconds, read.args), (Some(7.0), vec!["a".to_owned()]));
        assert_eq!(read.env.expect("given")["A"], "b");
        let body = json!({ "server_params": { "type": "StreamableHttpServerParams", "url": "x",
            "headers": null, "terminate_on_close": "no", "timeout": true } });
        let read = super::read(body.to_string().as_bytes(), true).expect("it is good");
        let wanted = HttpParams {
            url: "x".to_owned(),
            timeout: Some(1.0),
            terminate_on_close: Some(false),
            ..HttpParams::default()
        };
        assert_eq!(read, ServerParams::StreamableHttp(wanted));
    }
}
