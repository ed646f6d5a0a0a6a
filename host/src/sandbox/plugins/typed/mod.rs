//! Components that export plain functions and know nothing of us: each function is a tool. Its
//! parameters are the tool's arguments, its result is the structured content; see `schema.rs` for
//! what each type of WIT is in JSON.

mod schema;
mod shape;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, Val};

use self::schema::Direction;
use self::shape::{Budget, Field, Name, Shape};
use super::listing::{MAX_SCHEMA_BYTES, MAX_TOOLS, check_name};
use super::{PluginError, PluginOutcome, PluginTool, answer};
use crate::limits::Limits;
use crate::tool::{ContentBlock, ToolHints, ToolOutput};

/// The functions of a component, by their tools' names.
pub(super) struct Functions(HashMap<String, Function>);

/// A function that is a tool.
pub(super) struct Function {
    pub(super) index: ComponentExportIndex,
    parameters: Vec<Field>,
    result: Option<Shape>,
}

/// What was found of the functions of a component.
pub(super) struct Found {
    pub(super) functions: Functions,
    pub(super) tools: Vec<PluginTool>,
    /// What cannot be a tool, and why.
    pub(super) left_out: Vec<String>,
}

/// A function before it has its tool's name.
struct Exported {
    interface: Option<String>,
    name: String,
    function: Function,
}

impl Functions {
    /// Looks at all functions that a component exports.
    ///
    /// # Errors
    /// None of them can be a tool, or two would have one name.
    pub(super) fn of(component: &Component, engine: &Engine) -> Result<Found, PluginError> {
        let mut budget = Budget::new();
        let (mut exported, mut left_out) = (Vec::new(), Vec::new());
        let mut look = |interface: Option<&str>, name: &str, ty: &ComponentFunc| {
            let parent = interface.and_then(|name| component.get_export_index(None, name));
            let index = component.get_export_index(parent.as_ref(), name);
            let function = index
                .ok_or_else(|| "it cannot be found".to_owned())
                .and_then(|index| Function::of(index, name, ty, &mut budget));
            let (interface, name) = (interface.map(str::to_owned), name.to_owned());
            match function {
                Ok(function) => exported.push(Exported { interface, name, function }),
                Err(problem) => left_out.push((name, problem)),
            }
        };
        for (name, export) in component.component_type().exports(engine) {
            match &export.ty {
                ComponentItem::ComponentFunc(ty) => look(None, name, ty),
                // What it does for a host of another kind is no tool.
                ComponentItem::ComponentInstance(_) if name.starts_with("wasi:") => {}
                ComponentItem::ComponentInstance(instance) => {
                    for (function, export) in instance.exports(engine) {
                        if let ComponentItem::ComponentFunc(ty) = &export.ty {
                            look(Some(name), function, ty);
                        }
                    }
                }
                _ => {}
            }
        }
        if exported.is_empty() {
            return Err(match left_out.into_iter().next() {
                Some((function, problem)) => PluginError::UntypedFunction { function, problem },
                None => PluginError::NoTools,
            });
        }
        let left_out = left_out.into_iter().map(|(name, problem)| format!("`{name}`: {problem}"));
        let left_out = left_out.collect();
        let (functions, tools) = named(exported)?;
        Ok(Found { functions: Self(functions), tools, left_out })
    }

    /// The function of this tool.
    pub(super) fn get(&self, tool: &str) -> Option<&Function> {
        self.0.get(tool)
    }
}

/// Gives each function its tool's name: its own, and its interface's too where two have the same.
fn named(
    exported: Vec<Exported>,
) -> Result<(HashMap<String, Function>, Vec<PluginTool>), PluginError> {
    if exported.len() > MAX_TOOLS {
        return Err(PluginError::TooManyTools { count: exported.len(), limit: MAX_TOOLS });
    }
    let mut same: HashMap<String, usize> = HashMap::new();
    for function in &exported {
        *same.entry(Name::new(&function.name).json).or_default() += 1;
    }
    let (mut functions, mut tools) = (HashMap::new(), Vec::with_capacity(exported.len()));
    let mut schema_bytes = 0;
    for Exported { interface, name, function } in exported {
        let own = Name::new(&name).json;
        let tool = match &interface {
            Some(interface) if same[&own] > 1 => format!("{}_{own}", last_part(interface)),
            _ => own,
        };
        let failed = |problem| PluginError::Tool { tool: tool.clone(), problem };
        check_name(&tool).map_err(failed)?;
        let described = function.described(&tool, interface.as_deref(), &name);
        schema_bytes += described.input_schema.to_string().len();
        schema_bytes += described.output_schema.as_ref().map_or(0, |json| json.to_string().len());
        if schema_bytes > MAX_SCHEMA_BYTES {
            return Err(failed(format!(
                "and those before it have more than {MAX_SCHEMA_BYTES} bytes of schemas"
            )));
        }
        if functions.insert(tool.clone(), function).is_some() {
            return Err(failed("is exported twice, by interfaces of one name".to_owned()));
        }
        tools.push(described);
    }
    Ok((functions, tools))
}

/// `package:name/two-words@1.0.0` → `two_words`.
fn last_part(interface: &str) -> String {
    let path = interface.split('@').next().unwrap_or(interface);
    Name::new(path.rsplit(['/', ':']).next().unwrap_or(path)).json
}

impl Function {
    fn of(
        index: ComponentExportIndex,
        name: &str,
        ty: &ComponentFunc,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        if name.starts_with('[') {
            return Err("it belongs to a resource, which no caller could hold".to_owned());
        }
        if ty.async_() {
            return Err("it is `async`, which is not offered yet".to_owned());
        }
        let parameter = |(name, ty): (&str, _)| {
            let shape = shape::of(&ty, budget)
                .map_err(|problem| format!("of its parameter `{name}`: {problem}"))?;
            Ok(Field { name: Name::new(name), shape })
        };
        let parameters = ty.params().map(parameter).collect::<Result<_, String>>()?;
        let mut result = ty.results().map(|ty| shape::of(&ty, budget));
        let result =
            result.next().transpose().map_err(|problem| format!("of its result: {problem}"))?;
        Ok(Self { index, parameters, result })
    }

    fn described(&self, tool: &str, interface: Option<&str>, function: &str) -> PluginTool {
        let of = interface.map(|name| format!(" of the interface `{name}`")).unwrap_or_default();
        PluginTool {
            name: tool.to_owned(),
            title: None,
            description: Some(format!("The function `{function}`{of} of a WebAssembly component.")),
            input_schema: Arc::new(schema::object(&self.parameters, Direction::In)),
            output_schema: self.output_schema().map(Arc::new),
            // It imports nothing through which it could change anything.
            hints: ToolHints { read_only: true, idempotent: false, destructive: false },
        }
    }

    /// What it gives when it does not fail.
    fn value_shape(&self) -> Option<&Shape> {
        match &self.result {
            Some(Shape::Result(ok, _)) => ok.as_deref(),
            other => other.as_ref(),
        }
    }

    fn output_schema(&self) -> Option<Value> {
        let shape = self.value_shape()?;
        let value = schema::of(shape, Direction::Out);
        Some(match shape {
            Shape::Record(_) => value,
            _ => json!({
                "type": "object",
                "properties": { "result": value },
                "required": ["result"],
                "additionalProperties": false,
            }),
        })
    }

    pub(super) fn result_count(&self) -> usize {
        usize::from(self.result.is_some())
    }

    /// The values to call it with.
    ///
    /// # Errors
    /// The arguments do not fit; where, as a JSON Pointer, and why.
    pub(super) fn arguments(&self, json: &str) -> Result<Vec<Val>, (String, String)> {
        let json: Value = serde_json::from_str(json)
            .map_err(|error| (String::new(), format!("the arguments are not JSON: {error}")))?;
        values::arguments(&self.parameters, &json)
    }

    /// What a call of it came to.
    pub(super) fn answer(&self, results: &[Val], limits: &Limits) -> PluginOutcome {
        let output = match (&self.result, results) {
            (None, []) => Some(ToolOutput::default()),
            (Some(Shape::Result(ok, err)), [Val::Result(result)]) => match result {
                Ok(value) => succeeded(ok.as_deref(), value.as_deref()),
                Err(value) => failed(err.as_deref(), value.as_deref()),
            },
            (Some(shape), [value]) => succeeded(Some(shape), Some(value)),
            _ => None,
        };
        match output.map(|output| answer::within(output, limits)) {
            Some(Ok(output)) => PluginOutcome::Answered(output),
            Some(Err(reached)) => PluginOutcome::LimitReached(reached),
            None => PluginOutcome::Trapped("its result is of another type than it said".to_owned()),
        }
    }
}

/// The value as structured content, and as text for who reads only that.
fn succeeded(shape: Option<&Shape>, value: Option<&Val>) -> Option<ToolOutput> {
    let (Some(shape), Some(value)) = (shape, value) else { return Some(ToolOutput::default()) };
    let json = values::to_json(shape, value)?;
    let text = in_text(&json);
    let structured = match shape {
        Shape::Record(_) => json,
        _ => json!({ "result": json }),
    };
    let structured = Some(to_raw_value(&structured).ok()?);
    Some(ToolOutput {
        content: vec![ContentBlock::Text(text)],
        structured,
        ..ToolOutput::default()
    })
}

fn failed(shape: Option<&Shape>, value: Option<&Val>) -> Option<ToolOutput> {
    let (Some(shape), Some(value)) = (shape, value) else {
        return Some(ToolOutput::error("it failed, and does not say why"));
    };
    Some(ToolOutput::error(in_text(&values::to_json(shape, value)?)))
}

fn in_text(json: &Value) -> String {
    match json {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
