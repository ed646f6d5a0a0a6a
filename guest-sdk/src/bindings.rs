//! What `wit-bindgen` makes of `wit/`.

wit_bindgen::generate!({
    path: "wit",
    world: "plugin-guest",
    pub_export_macro: true,
    export_macro_name: "export_plugin",
    default_bindings_module: "toolcell_guest::__private::bindings",
});
