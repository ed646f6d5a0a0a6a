//! A plugin for a toolcell of the future.

wit_bindgen::generate!({
    inline: "
        package toolcell:guest@0.9.0;

        interface tools {
            call: func(name: string, arguments: string) -> result<string, string>;
        }

        interface plugin {
            list-tools: func() -> list<string>;
        }

        world plugin-guest {
            import tools;
            export plugin;
        }
    ",
});

use exports::toolcell::guest::plugin::Guest;

struct Newer;

impl Guest for Newer {
    fn list_tools() -> Vec<String> {
        self::toolcell::guest::tools::call("x.y", "{}").into_iter().collect()
    }
}

export!(Newer);
