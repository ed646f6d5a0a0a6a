//! The tools of one server, as it listed them.
//!
//! A catalog is text from a stranger: how many tools, how large and how deep is the server's choice
//! until the ceilings here. A tool that cannot be used is left out and named in
//! [`Catalog::problems`]; it does not spoil the others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ids::{ToolName, UpstreamName};
use crate::tool::{ToolDescription, ToolHints};
use crate::upstream::handshake::{Era, ServerInfo};
use crate::upstream::message::{MAX_DEPTH, too_deep};
use crate::upstream::paging::Paging;
use crate::upstream::settings::ToolSettings;

/// The most bytes of one tool, its schemas included.
const MAX_TOOL_BYTES: usize = 1 << 20;

/// The longest name of a tool.
const MAX_NAME_BYTES: usize = 256;

/// What one server offers.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The server's own name for itself.
    pub server_name: Option<String>,
    /// The server's own version.
    pub server_version: Option<String>,
    /// The server's advice to its users: text from a stranger.
    pub instructions: Option<String>,
    /// Which kind of MCP it speaks.
    pub era: Era,
    /// The tools, in the server's order.
    pub tools: Arc<[ToolDescription]>,
    /// What is wrong with the list, and which tools were left out for it.
    pub problems: Vec<String>,
    /// Where a tool stands in `tools`: every call asks, and a server may have thousands.
    pub(super) places: Places,
}

/// Where a tool stands, by its server's name for it.
pub(super) type Places = Arc<HashMap<Arc<str>, usize>>;

/// Notes where each tool stands.
pub(super) fn places(tools: &[ToolDescription]) -> Places {
    let names = tools.iter().enumerate();
    Arc::new(names.map(|(place, tool)| (Arc::clone(&tool.name.tool), place)).collect())
}

impl Catalog {
    /// What a plugin offers: tools that run in this process. They are checked already.
    pub fn of_plugin(name: &str, version: Option<String>, tools: Vec<ToolDescription>) -> Self {
        Self {
            server_name: Some(name.to_owned()),
            server_version: version,
            instructions: None,
            era: Era::Modern,
            places: places(&tools),
            tools: tools.into(),
            problems: Vec::new(),
        }
    }

    /// Looks a tool up by the name that its server gives it.
    pub fn tool(&self, name: &str) -> Option<&ToolDescription> {
        self.places.get(name).and_then(|place| self.tools.get(*place))
    }

    /// Whether two lists are the same, to the letter.
    pub(super) fn has_same_tools(&self, other: &Self) -> bool {
        fn text(tool: &ToolDescription) -> Option<&str> {
            tool.raw.as_ref().map(|raw| raw.get())
        }
        Arc::ptr_eq(&self.tools, &other.tools)
            || (self.tools.len() == other.tools.len()
                && self
                    .tools
                    .iter()
                    .zip(&*other.tools)
                    .all(|(one, other)| one.name == other.name && text(one) == text(other)))
    }
}

/// One page of `tools/list`.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenTool {
    name: String,
    #[serde(default)]
    title: Option<Value>,
    #[serde(default)]
    description: Option<Value>,
    #[serde(default)]
    input_schema: Value,
    #[serde(default)]
    output_schema: Option<Value>,
    #[serde(default)]
    annotations: Option<Value>,
}

/// Puts a catalog together, page by page.
pub(super) struct Builder {
    server: UpstreamName,
    tools: Vec<ToolDescription>,
    names: HashSet<Arc<str>>,
    /// The tools that were listed, those that were left out included.
    seen: usize,
    paging: Paging,
    /// Whether tools have to obey the 2026-07-28 rules on HTTP headers.
    checks_headers: bool,
}

impl Builder {
    pub(super) fn new(server: UpstreamName, checks_headers: bool) -> Self {
        Self {
            server,
            tools: Vec::new(),
            names: HashSet::new(),
            seen: 0,
            paging: Paging::default(),
            checks_headers,
        }
    }

    /// Takes one page. Gives the cursor of the next one, or `None` when the list is complete or
    /// goes beyond a ceiling.
    ///
    /// # Errors
    /// The page is no list of tools; the text says why.
    pub(super) fn add(&mut self, page: &RawValue) -> Result<Option<String>, String> {
        let page: Page<'_> = serde_json::from_str(page.get())
            .map_err(|error| format!("its list of tools cannot be read: {error}"))?;
        self.paging.begin();
        for tool in page.tools {
            if !self.paging.has_room(self.tools.len(), tool.get().len(), "tools") {
                return Ok(None);
            }
            if let Err(problem) = self.add_tool(tool) {
                self.paging.problem(problem);
            }
        }
        Ok(self.paging.next(page.next_cursor))
    }

    fn add_tool(&mut self, raw: &RawValue) -> Result<(), String> {
        self.seen += 1;
        let number = self.seen;
        let unnamed = |why: &str| format!("tool number {number} was left out: {why}");
        if raw.get().len() > MAX_TOOL_BYTES {
            return Err(unnamed(&format!("it is larger than {MAX_TOOL_BYTES} bytes")));
        }
        if too_deep(raw.get()) {
            return Err(unnamed(&format!("it is nested deeper than {MAX_DEPTH} levels")));
        }
        let tool: WrittenTool =
            serde_json::from_str(raw.get()).map_err(|error| unnamed(&error.to_string()))?;
        let name = usable_name(&tool.name).map_err(|why| unnamed(&why))?;
        let left_out = |why: String| format!("tool {:?} was left out: {why}", tool.name);
        check_schema(&tool.input_schema).map_err(left_out)?;
        if self.checks_headers {
            super::param_headers::check(&tool.input_schema).map_err(left_out)?;
        }
        if !self.names.insert(Arc::clone(&name)) {
            return Err(left_out("another tool has the same name".to_owned()));
        }
        let output_schema = tool.output_schema.filter(Value::is_object).map(Arc::new);
        self.tools.push(ToolDescription {
            name: ToolName::new(self.server.clone(), name),
            title: title(tool.title, tool.annotations.as_ref()),
            description: tool.description.and_then(text),
            input_schema: Arc::new(tool.input_schema),
            output_schema,
            hints: hints(tool.annotations.as_ref()),
            raw: Some(raw.to_owned().into()),
        });
        Ok(())
    }

    /// Ends the list.
    pub(super) fn finish(
        mut self,
        info: &ServerInfo,
        settings: &BTreeMap<String, ToolSettings>,
    ) -> Catalog {
        self.apply(settings);
        Catalog {
            server_name: info.name.clone(),
            server_version: info.version.clone(),
            instructions: info.instructions.clone(),
            era: info.era,
            places: places(&self.tools),
            tools: self.tools.into(),
            problems: info.problems.iter().cloned().chain(self.paging.into_problems()).collect(),
        }
    }
}

impl Builder {
    /// The operator's word is over the server's.
    fn apply(&mut self, settings: &BTreeMap<String, ToolSettings>) {
        for (name, own) in settings {
            let Some(at) = self.tools.iter().position(|tool| *tool.name.tool == **name) else {
                self.paging
                    .problem(format!("the settings name a tool {name:?} that it does not have"));
                continue;
            };
            if own.hidden {
                self.tools.remove(at);
                continue;
            }
            let problems = change(&mut self.tools[at], own);
            problems.into_iter().for_each(|problem| self.paging.problem(problem));
        }
    }
}

/// Changes a tool as its settings say. Gives what cannot be done.
fn change(tool: &mut ToolDescription, own: &ToolSettings) -> Vec<String> {
    if let Some(title) = &own.title {
        tool.title = Some(title.clone());
    }
    if let Some(description) = &own.description {
        tool.description = Some(description.clone());
    }
    tool.hints.read_only = own.read_only.unwrap_or(tool.hints.read_only);
    tool.hints.idempotent = own.idempotent.unwrap_or(tool.hints.idempotent);
    let mut problems = Vec::new();
    for (name, description) in &own.parameters {
        let schema = Arc::make_mut(&mut tool.input_schema);
        let parameter = schema.get_mut("properties").and_then(|all| all.get_mut(name));
        match parameter.and_then(Value::as_object_mut) {
            Some(parameter) => {
                parameter.insert("description".to_owned(), Value::from(description.as_str()));
            }
            None => problems.push(format!(
                "the settings describe a parameter {name:?} that tool {:?} does not have",
                tool.name.tool
            )),
        }
    }
    problems
}

/// A name that can be shown and typed.
fn usable_name(name: &str) -> Result<Arc<str>, String> {
    if name.trim().is_empty() {
        Err("it has no name".to_owned())
    } else if name.len() > MAX_NAME_BYTES {
        Err(format!("its name is longer than {MAX_NAME_BYTES} bytes"))
    } else if name.chars().any(char::is_control) {
        Err("its name has control characters".to_owned())
    } else {
        Ok(name.into())
    }
}

/// Arguments are objects, so their schema has to allow objects.
fn check_schema(schema: &Value) -> Result<(), String> {
    let Value::Object(schema) = schema else {
        return Err("its input schema is not an object".to_owned());
    };
    let allowed = match schema.get("type") {
        None => true,
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(_) => false,
    };
    if allowed { Ok(()) } else { Err("its input schema does not describe an object".to_owned()) }
}

/// `title`, or what older revisions have in the annotations.
fn title(title: Option<Value>, annotations: Option<&Value>) -> Option<String> {
    title.and_then(text).or_else(|| annotations?.get("title")?.as_str().map(ToOwned::to_owned))
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn hints(annotations: Option<&Value>) -> ToolHints {
    let hint = |name: &str| annotations?.get(name)?.as_bool();
    let read_only = hint("readOnlyHint").unwrap_or(false);
    ToolHints {
        read_only,
        idempotent: hint("idempotentHint").unwrap_or(false),
        // The specification gives this hint no meaning for a tool that only reads.
        destructive: !read_only && hint("destructiveHint").unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::upstream::paging::{MAX_ITEMS, MAX_PAGES};

    fn builder() -> Builder {
        Builder::new(UpstreamName::try_new("s").unwrap(), false)
    }

    fn page(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn names(builder: &Builder) -> Vec<&str> {
        builder.tools.iter().map(|tool| &*tool.name.tool).collect()
    }

    #[test]
    fn a_bad_tool_is_left_out_and_reported_and_the_others_stay() {
        let deep = format!("{}{}", r#"{"not":"#.repeat(200), "{}".to_owned() + &"}".repeat(200));
        let long = "n".repeat(300);
        let mut builder = builder();
        let json = format!(
            r#"{{"tools":[
                {{"name":"good","inputSchema":{{"type":"object"}},"annotations":{{"readOnlyHint":true,"title":"Good"}}}},
                {{"name":"good","inputSchema":{{}}}},
                {{"name":"","inputSchema":{{}}}},
                {{"name":"{long}","inputSchema":{{}}}},
                {{"name":"a\u0000b","inputSchema":{{}}}},
                {{"name":"no_schema"}},
                {{"name":"array","inputSchema":[]}},
                {{"name":"string","inputSchema":{{"type":"string"}}}},
                {{"name":"deep","inputSchema":{deep}}},
                {{"name":5,"inputSchema":{{}}}},
                7,
                {{"name":"odd.name with space","inputSchema":{{}},"outputSchema":"x","title":3}}
            ]}}"#
        );
        assert_eq!(builder.add(&page(&json)), Ok(None));
        assert_eq!(names(&builder), ["good", "odd.name with space"]);
        assert!(builder.paging.problems()[2].starts_with("tool number 4 was left out"));
        assert_eq!(builder.paging.problems().len(), 10, "{:#?}", builder.paging.problems());
        let good = &builder.tools[0];
        assert_eq!(good.title.as_deref(), Some("Good"));
        assert_eq!(
            good.hints,
            ToolHints { read_only: true, idempotent: false, destructive: false }
        );
    }

    #[test]
    fn pages_that_go_round_in_a_circle_end() {
        let mut builder = builder();
        let json = r#"{"tools":[],"nextCursor":"a"}"#;
        assert_eq!(builder.add(&page(json)), Ok(Some("a".to_owned())));
        assert_eq!(builder.add(&page(json)), Ok(None));
        assert!(builder.paging.problems()[0].contains("circle"));
    }

    #[test]
    fn pages_and_tools_without_end_are_cut() {
        let mut pages = builder();
        let mut count = 0;
        while let Some(_cursor) =
            pages.add(&page(&format!(r#"{{"tools":[],"nextCursor":"{count}"}}"#))).unwrap()
        {
            count += 1;
        }
        assert_eq!(count, MAX_PAGES - 1);

        let mut tools = builder();
        let list: Vec<String> = (0..=MAX_ITEMS)
            .map(|number| format!(r#"{{"name":"t{number}","inputSchema":{{}}}}"#))
            .collect();
        tools.add(&page(&format!(r#"{{"tools":[{}]}}"#, list.join(",")))).unwrap();
        assert_eq!(tools.tools.len(), MAX_ITEMS);
        assert!(tools.paging.problems()[0].contains("first 20000"));
    }

    #[test]
    fn ten_thousand_tools_are_read_quickly() {
        let list: Vec<String> = (0..10_000)
            .map(|number| {
                format!(
                    r#"{{"name":"tool_{number}","description":"does {number}","inputSchema":{{"type":"object","properties":{{"a":{{"type":"string"}},"b":{{"type":"integer"}}}}}}}}"#
                )
            })
            .collect();
        let json = page(&format!(r#"{{"tools":[{}]}}"#, list.join(",")));
        let started = Instant::now();
        let mut builder = builder();
        builder.add(&json).unwrap();
        assert_eq!(builder.tools.len(), 10_000);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}
