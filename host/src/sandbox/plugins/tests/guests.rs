//! Makes guests. What a compiler's bindings do for an author is done here by hand: where each value
//! lies in memory is what the canonical ABI says.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const OBJECT: &str = r#"{"type":"object"}"#;

/// A plugin in WebAssembly's text.
pub(super) struct Guest {
    /// The tools' names; each takes any object.
    pub(super) tools: Vec<String>,
    /// Runs before the tools are listed; the list is at `$list`.
    pub(super) on_list: String,
    /// What `call-tool` does with `$name $name-length $arguments $arguments-length`: leaves a pointer
    /// to its result.
    pub(super) on_call: String,
    /// Functions, globals and imports of its own.
    pub(super) more: String,
    /// The start function's body.
    pub(super) start: Option<String>,
    /// Pages of memory it begins with.
    pub(super) pages: u32,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            tools: vec!["echo".to_owned()],
            on_list: String::new(),
            on_call: answer_arguments().to_owned(),
            more: String::new(),
            start: None,
            pages: 4,
        }
    }
}

/// Answers with one block of text, the arguments.
pub(super) fn answer_arguments() -> &'static str {
    "(i32.store8 (i32.const 64) (i32.const 0))
     (i32.store (i32.const 68) (i32.const 128))
     (i32.store (i32.const 72) (i32.const 1))
     (i32.store8 (i32.const 76) (i32.const 0))
     (i32.store8 (i32.const 88) (i32.const 0))
     (i32.store8 (i32.const 128) (i32.const 0))
     (i32.store (i32.const 132) (local.get $arguments))
     (i32.store (i32.const 136) (local.get $arguments-length))
     (i32.const 64)"
}

/// Where the list of tools begins.
const LIST: usize = 1024;

/// Where texts begin; a word is there before the tools' own.
const TEXTS: usize = 80_000;

impl Guest {
    /// The core module, which says nothing of its WIT.
    pub(super) fn core(&self) -> Vec<u8> {
        let mut texts = OBJECT.as_bytes().to_vec();
        let mut list = Vec::new();
        for name in &self.tools {
            let at = (TEXTS + texts.len()) as u32;
            texts.extend(name.as_bytes());
            let mut words = vec![at, name.len() as u32, 0, 0, 0, 0, 0, 0];
            words.extend([TEXTS as u32, OBJECT.len() as u32, 0, 0, 0, 0]);
            list.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
        let head: Vec<u8> = [LIST as u32 + 8, self.tools.len() as u32]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .chain(list)
            .collect();
        assert!(LIST + head.len() < TEXTS, "room for the list");
        let Self { on_list, on_call, more, start, pages, .. } = self;
        let start = start.as_ref().map(|body| format!("(func $start {body}) (start $start)"));
        let text = format!(
            r#"(module
                {more}
                (memory (export "memory") {pages})
                (global $next (mut i32) (i32.const 131072))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                    (local.set $at (global.get $next))
                    (global.set $next (i32.add (global.get $next) (local.get 3)))
                    (local.get $at))
                (func (export "toolcell:guest/plugin@0.1.0#list-tools") (result i32)
                    {on_list}
                    (i32.const {LIST}))
                (func (export "toolcell:guest/plugin@0.1.0#call-tool")
                    (param $name i32) (param $name-length i32)
                    (param $arguments i32) (param $arguments-length i32) (result i32)
                    {on_call})
                {start}
                (data (i32.const {LIST}) "{head}")
                (data (i32.const {TEXTS}) "{texts}"))"#,
            start = start.unwrap_or_default(),
            head = escaped(&head),
            texts = escaped(&texts),
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// The core module with its WIT: what `wasm32-wasip1` and our SDK make.
    pub(super) fn module(&self) -> Vec<u8> {
        with_wit(self.core(), |wit| wit)
    }

    /// The component: what `wasm32-wasip2` makes.
    pub(super) fn component(&self) -> Vec<u8> {
        encode(&self.module())
    }
}

/// Makes a component of a core module that has its WIT.
pub(super) fn encode(module: &[u8]) -> Vec<u8> {
    let encoder = ComponentEncoder::default().module(module).expect("has its WIT");
    encoder.validate(true).encode().expect("becomes a component")
}

/// Puts our WIT, changed as wanted, into a core module.
pub(super) fn with_wit(mut core: Vec<u8>, change: impl Fn(String) -> String) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/wit");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the WIT is there")
        .map(|entry| entry.expect("can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
        .collect();
    files.sort();
    // One file may declare the package for all; in a text of its own it has to come first.
    files.sort_by_key(|path| !path.ends_with("package.wit"));
    let text: String = files
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("can be read"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guest.wit", &change(text)).expect("is WIT");
    let world = resolve.select_world(&[package], Some("plugin-guest")).expect("has the world");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("embeds");
    core
}

/// A component of plain functions, from text.
pub(super) fn typed(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}
