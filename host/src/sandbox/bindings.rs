//! The Rust side of `guest-sdk/wit`, generated. Nothing is written here by hand.

#![expect(missing_docs, reason = "the documentation is in guest-sdk/wit")]
#![expect(unreachable_pub, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../guest-sdk/wit",
    world: "script-runtime",
    imports: { default: async | trappable },
    exports: { default: async },
    additional_derives: [Clone],
});
