//! The guest that runs JavaScript and TypeScript: QuickJS-ng, a prelude in JavaScript, and what reads a
//! program before it runs. See the README for what a program can rely on.
//!
//! Everything is made once, when the guest is built: [`start`] is run, and the memory after it is what
//! each sandbox begins with. So nothing of a run may be kept before it: no time, no chance, no answer.

mod answers;
mod engine;
mod failure;
mod host;
mod json;
mod natives;
mod plugin;
mod program;
mod text;
mod urls;

#[cfg(target_arch = "wasm32")]
mod exports;

#[allow(warnings, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../guest-sdk/wit", "wit"],
        world: "toolcell:js-runtime/script",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "crate::bindings",
    });
}
