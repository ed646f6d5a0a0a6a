//! The Rust side of `guest-sdk/wit`, generated. Nothing is written here by hand.

wasmtime::component::bindgen!({
    path: "../guest-sdk/wit",
    world: "script-runtime",
    imports: { default: async | trappable },
    exports: { default: async },
    additional_derives: [Clone],
});

/// The world of plugins, with the types of the interfaces that it has in common with the other.
pub(super) mod guest {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "plugin-guest",
        imports: { default: async | trappable },
        exports: { default: async },
        additional_derives: [Clone],
        with: {
            "toolcell:guest/tools": super::toolcell::guest::tools,
            "toolcell:guest/console": super::toolcell::guest::console,
            "toolcell:guest/resources": super::toolcell::guest::resources,
            "toolcell:guest/prompts": super::toolcell::guest::prompts,
            "toolcell:guest/events": super::toolcell::guest::events,
        },
    });
}
