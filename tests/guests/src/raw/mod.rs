//! For guests that do by hand what the SDK would not let them do.

wit_bindgen::generate!({
    path: "../../guest-sdk/wit",
    world: "plugin-guest",
    pub_export_macro: true,
    default_bindings_module: "crate::raw",
});

pub(crate) use self::toolcell::guest::tools::Output;
pub(crate) use exports::toolcell::guest::plugin::{Definition, Guest, Refusal};

/// A tool with a schema that is none of ours to judge.
pub(crate) fn definition(name: &str, input_schema: &str) -> Definition {
    Definition {
        name: name.to_owned(),
        title: None,
        description: None,
        input_schema: input_schema.to_owned(),
        output_schema: None,
        read_only: false,
        idempotent: false,
        destructive: false,
    }
}
