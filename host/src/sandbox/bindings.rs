//! The Rust side of `guest-sdk/wit`, generated. Nothing is written here by hand.

wasmtime::component::bindgen!({
    path: "../guest-sdk/wit",
    world: "script-runtime",
    imports: { default: async | trappable },
    exports: { default: async },
    additional_derives: [Clone],
});
