//! What `#[tool]` makes of a function, and how it is called.

use std::pin::Pin;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::Output;
#[cfg(target_family = "wasm")]
use crate::executor;

/// A tool: what `#[tool]` implements, on a type that has the function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    label = "not a tool",
    note = "name a function that has `#[toolcell::tool]`"
)]
pub trait Tool {
    /// Its name.
    const NAME: &'static str;

    /// How it is listed.
    fn definition() -> Definition;

    /// Calls it.
    fn call(arguments: Arguments) -> Running;
}

/// A tool's call.
pub type Running = Pin<Box<dyn Future<Output = Result<Output, Refusal>>>>;

/// How a tool is listed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Definition {
    /// Its name, without the plugin's.
    pub name: &'static str,
    /// A name for people.
    pub title: Option<&'static str>,
    /// What it does: the function's doc comment.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// JSON Schema of its answer, if that is an object.
    pub output_schema: Option<Value>,
    /// The author's claims.
    pub hints: Hints,
}

/// What the author says of a tool: hints, not guarantees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// Calling it twice is as calling it once.
    pub idempotent: bool,
    /// It may destroy something.
    pub destructive: bool,
}

impl Definition {
    /// A tool without an answer's schema.
    #[must_use]
    pub fn new(
        name: &'static str,
        title: Option<&'static str>,
        description: &str,
        arguments: Schema,
        output_schema: Option<Value>,
        hints: Hints,
    ) -> Self {
        let description = Some(description.to_owned()).filter(|text| !text.is_empty());
        Self { name, title, description, input_schema: arguments.finish(), output_schema, hints }
    }
}

/// Why a tool did not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The plugin has no such tool.
    UnknownTool,
    /// The arguments do not fit.
    InvalidArguments {
        /// JSON Pointer of the value.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

/// The schema of a tool's arguments, while it is written.
pub struct Schema {
    generator: SchemaGenerator,
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Default for Schema {
    fn default() -> Self {
        Self::new()
    }
}

impl Schema {
    /// Of no argument.
    #[must_use]
    pub fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
        let generator = settings.into_generator();
        Self { generator, properties: Map::new(), required: Vec::new() }
    }

    /// An argument that must be there.
    pub fn required<T: JsonSchema>(&mut self, name: &str, description: &str) {
        self.add::<T>(name, description, None);
        self.required.push(Value::from(name));
    }

    /// One that may be absent.
    pub fn optional<T: JsonSchema>(&mut self, name: &str, description: &str) {
        self.add::<T>(name, description, None);
    }

    /// One that has a value when it is absent.
    pub fn with_default<T: JsonSchema + Serialize>(
        &mut self,
        name: &str,
        description: &str,
        default: &T,
    ) {
        self.add::<T>(name, description, serde_json::to_value(default).ok());
    }

    fn add<T: JsonSchema>(&mut self, name: &str, description: &str, default: Option<Value>) {
        let mut schema = self.generator.subschema_for::<T>();
        if !description.is_empty() {
            schema.insert("description".to_owned(), Value::from(description));
        }
        if let Some(default) = default {
            schema.insert("default".to_owned(), default);
        }
        self.properties.insert(name.to_owned(), schema.to_value());
    }

    fn finish(mut self) -> Value {
        let mut schema = json!({"type": "object", "properties": self.properties});
        if !self.required.is_empty() {
            schema["required"] = Value::Array(self.required);
        }
        schema["additionalProperties"] = Value::Bool(false);
        let definitions = self.generator.take_definitions(true);
        if !definitions.is_empty() {
            schema["$defs"] = Value::Object(definitions);
        }
        schema
    }
}

/// A call's arguments, while they are taken.
pub struct Arguments(Map<String, Value>);

impl Arguments {
    pub(crate) fn parse(json: &str) -> Result<Self, Refusal> {
        serde_json::from_str(json).map(Self).map_err(|error| Refusal::InvalidArguments {
            path: String::new(),
            message: format!("the arguments are not a JSON object: {error}"),
        })
    }

    /// The value of an argument that must be there, or is an `Option`.
    ///
    /// # Errors
    /// It is absent, or of another type.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Refusal> {
        match self.0.remove(name) {
            Some(value) => read(name, value),
            None => Err(Refusal::InvalidArguments {
                path: format!("/{name}"),
                message: "the argument is missing".to_owned(),
            }),
        }
    }

    /// The value of one that may be absent.
    ///
    /// # Errors
    /// It is of another type.
    pub fn take_or<T: DeserializeOwned>(
        &mut self,
        name: &str,
        absent: impl FnOnce() -> T,
    ) -> Result<T, Refusal> {
        match self.0.remove(name) {
            None => Ok(absent()),
            Some(value) => read(name, value),
        }
    }

    /// No argument is left.
    ///
    /// # Errors
    /// One is that the tool does not know.
    pub fn end(self) -> Result<(), Refusal> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Refusal::InvalidArguments {
                path: format!("/{name}"),
                message: "the tool has no such argument".to_owned(),
            }),
        }
    }
}

fn read<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|error| Refusal::InvalidArguments {
        path: format!("/{name}"),
        message: error.to_string(),
    })
}

/// What a tool may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tool's answer",
    note = "a tool returns `()`, a `String`, an `Output`, a type that derives `serde::Serialize`, or a `Result` of one of these"
)]
pub trait Answer {
    /// The answer as the host takes it.
    fn into_output(self) -> Output;
}

impl<T: Serialize> Answer for T {
    fn into_output(self) -> Output {
        Output::of(&self).unwrap_or_else(|error| Output::error(error.to_string()))
    }
}

impl Answer for Output {
    fn into_output(self) -> Output {
        self
    }
}

/// The schema of a type's values, if they are objects and the type has one.
pub struct Shape<T>(std::marker::PhantomData<T>);

impl<T> Shape<T> {
    /// Of this type.
    #[must_use]
    pub fn of() -> Self {
        Self(std::marker::PhantomData)
    }
}

/// Of a type with a schema.
pub trait KnownShape {
    /// The schema, if its values are objects.
    fn object_schema(&self) -> Option<Value>;
}

impl<T: JsonSchema> KnownShape for Shape<T> {
    fn object_schema(&self) -> Option<Value> {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
        let mut schema =
            settings.for_serialize().into_generator().into_root_schema_for::<T>().to_value();
        schema.as_object_mut()?.remove("title");
        (schema.get("type")? == "object").then_some(schema)
    }
}

/// Of any other: the compiler takes this one only where [`KnownShape`] does not hold.
pub trait UnknownShape {
    /// None.
    fn object_schema(&self) -> Option<Value> {
        None
    }
}

impl<T> UnknownShape for &Shape<T> {}

/// One of a plugin's tools.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// How it is listed.
    pub definition: fn() -> Definition,
    /// Calls it.
    pub call: fn(Arguments) -> Running,
}

impl Entry {
    /// Of this tool.
    #[must_use]
    pub fn of<T: Tool + ?Sized>() -> Self {
        Self { name: T::NAME, definition: T::definition, call: T::call }
    }
}

/// Calls one of the tools and waits for its answer.
#[cfg(target_family = "wasm")]
pub(crate) fn call(entries: &[Entry], name: &str, arguments: &str) -> Result<Output, Refusal> {
    let entry = entries.iter().find(|entry| entry.name == name).ok_or(Refusal::UnknownTool)?;
    let arguments = Arguments::parse(arguments)?;
    executor::run((entry.call)(arguments)).unwrap_or_else(|executor::Stalled| {
        Ok(Output::error(format!(
            "{name} waits for something that cannot come: for no call and for no time"
        )))
    })
}

/// Refuses a plugin with two tools of one name, when it is compiled.
pub const fn assert_unique(names: &[&str]) {
    let mut first = 0;
    while first < names.len() {
        let mut second = first + 1;
        while second < names.len() {
            assert!(
                !equal(names[first].as_bytes(), names[second].as_bytes()),
                "two tools have one name"
            );
            second += 1;
        }
        first += 1;
    }
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}
