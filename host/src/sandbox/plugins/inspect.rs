//! What a file is, found by reading it. Nothing of it runs here, and nothing of it is compiled.

use std::panic::{AssertUnwindSafe, catch_unwind};

use semver::Version;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::types::Types;
use wasmparser::{Encoding, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator};
use wit_component::ComponentEncoder;

use super::names::{self, Import};
use super::{Inspection, PluginError, PluginKind};

/// The largest file that is looked at.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Components and modules inside one another.
const MAX_NESTING: u64 = 16;

/// Components and modules in all. What CPython is linked from are two dozen.
const MAX_PARTS: u64 = 256;

/// Imports of the component.
const MAX_IMPORTS: usize = 500;

/// Exports of the component, those of its interfaces counted one by one.
const MAX_EXPORTS: usize = 5_000;

/// Types in all parts together.
const MAX_TYPES: u64 = 100_000;

/// A file that can be compiled, and what it is.
pub(super) struct Inspected {
    pub(super) inspection: Inspection,
    /// The component that was made of a core module; absent if the file is one.
    pub(super) made: Option<Vec<u8>>,
}

/// Reads a file.
///
/// # Errors
/// It is no plugin.
pub(super) fn inspect(wasm: &[u8]) -> Result<Inspected, PluginError> {
    let mut made = None;
    let component = match encoding(wasm)? {
        Encoding::Component => validated(wasm)?,
        Encoding::Module => {
            validated(wasm)?;
            let component = component_of(wasm)?;
            let types = validated(&component)?;
            made = Some(component);
            types
        }
    };
    let (kind, wit) = kind(&component)?;
    let mut imports = component.imports;
    imports.sort();
    let mut exports: Vec<String> = component
        .functions
        .iter()
        .map(|(interface, name)| match interface {
            Some(interface) => format!("{interface}#{name}"),
            None => name.clone(),
        })
        .collect();
    exports.sort();
    let sha256 = ring::digest::digest(&ring::digest::SHA256, wasm);
    let sha256 = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let size_bytes = wasm.len() as u64;
    let inspection = Inspection { kind, imports, exports, size_bytes, sha256, wit };
    Ok(Inspected { inspection, made })
}

/// Looks at the first bytes.
fn encoding(wasm: &[u8]) -> Result<Encoding, PluginError> {
    if wasm.len() > MAX_BYTES {
        let (size_bytes, limit_bytes) = (wasm.len() as u64, MAX_BYTES as u64);
        return Err(PluginError::TooLarge { size_bytes, limit_bytes });
    }
    let found = match wasm {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => return Ok(Encoding::Module),
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(Encoding::Component),
        [b'\0', b'a', b's', b'm', version @ ..] => {
            let detail = match version.get(..4) {
                Some(version) => format!("the version in its header is {version:?}"),
                None => "it breaks off in its header".to_owned(),
            };
            return Err(PluginError::Damaged { detail });
        }
        [] => "the file is empty",
        [0x7f, b'E', b'L', b'F', ..] => "it is a program for Linux",
        [0x1f, 0x8b, ..] | [b'P', b'K', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "it is an archive; unpack it"
        }
        [b'!', b'<', b'a', b'r', ..] => "it is a library archive",
        text if is_text(text, b"(module") || is_text(text, b"(component") => {
            "it is WebAssembly's text format; translate it with `wasm-tools parse`"
        }
        text if is_text(text, b"<") => "it is a web page; was a download redirected?",
        text if is_text(text, b"{") => "it is JSON; is it a manifest, not the layer it names?",
        text if std::str::from_utf8(&text[..text.len().min(64)]).is_ok() => "it is a text",
        _ => "it begins with other bytes",
    };
    Err(PluginError::NotWasm { found: found.to_owned() })
}

fn is_text(bytes: &[u8], begins: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(begins)
}

/// What the outermost component has.
struct Outline {
    imports: Vec<String>,
    /// Each with the interface that it is in, if it is in one.
    functions: Vec<(Option<String>, String)>,
    /// The interfaces that it exports, those without functions too.
    interfaces: Vec<String>,
}

/// Checks every byte of a component or module, and lists what the outermost one has.
fn validated(wasm: &[u8]) -> Result<Outline, PluginError> {
    let damaged = |error: wasmparser::BinaryReaderError| PluginError::Damaged {
        detail: format!("{} (at byte {})", error.message(), error.offset()),
    };
    let complex = |what, count: u64, limit: u64| match count > limit {
        true => Err(PluginError::TooComplex { what, count, limit }),
        false => Ok(()),
    };
    let (mut parts, mut depth, mut types) = (0, 0, 0);
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut validator = Validator::new();
    let mut allocations = FuncValidatorAllocations::default();
    let mut whole = None;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(damaged)?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                (parts, depth) = (parts + 1, depth + 1);
                complex("modules and components", parts, MAX_PARTS)?;
                complex("levels of components", depth, MAX_NESTING)?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::TypeSection(section) => types += u64::from(section.count()),
            Payload::CoreTypeSection(section) => types += u64::from(section.count()),
            Payload::ComponentTypeSection(section) => types += u64::from(section.count()),
            Payload::ComponentImportSection(section) if depth == 0 => {
                complex("imports", u64::from(section.count()), MAX_IMPORTS as u64)?;
                for import in section.clone() {
                    imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
                complex("imports", imports.len() as u64, MAX_IMPORTS as u64)?;
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                complex("exports", u64::from(section.count()), MAX_EXPORTS as u64)?;
                for export in section.clone() {
                    exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
                complex("exports", exports.len() as u64, MAX_EXPORTS as u64)?;
            }
            _ => {}
        }
        complex("types", types, MAX_TYPES)?;
        match validator.payload(&payload).map_err(damaged)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(allocations);
                function.validate(&body).map_err(damaged)?;
                allocations = function.into_allocations();
            }
            ValidPayload::End(types) => whole = Some(types),
            _ => {}
        }
    }
    let Some(whole) = whole else {
        return Err(PluginError::Damaged { detail: "it breaks off".to_owned() });
    };
    let mut outline = Outline { imports, functions: Vec::new(), interfaces: Vec::new() };
    for name in exports {
        list(&whole, name, &mut outline);
        complex("exports", outline.functions.len() as u64, MAX_EXPORTS as u64)?;
    }
    Ok(outline)
}

fn list(types: &Types, name: String, outline: &mut Outline) {
    let types = types.as_ref();
    match types.component_item_for_export(&name) {
        Some(ComponentItem { ty: ComponentEntityType::Func(_), .. }) => {
            outline.functions.push((None, name));
        }
        Some(ComponentItem { ty: ComponentEntityType::Instance(id), .. }) => {
            for (function, item) in &types[*id].exports {
                if matches!(item.ty, ComponentEntityType::Func(_)) {
                    outline.functions.push((Some(name.clone()), function.clone()));
                }
            }
            outline.interfaces.push(name);
        }
        _ => {}
    }
}

/// Makes a component of a core module that carries its WIT.
fn component_of(module: &[u8]) -> Result<Vec<u8>, PluginError> {
    let has_wit = Parser::new(0).parse_all(module).any(|payload| {
        matches!(payload, Ok(Payload::CustomSection(section)) if section.name().starts_with("component-type"))
    });
    if !has_wit {
        return Err(PluginError::CoreModule);
    }
    let encode = || {
        ComponentEncoder::default()
            .module(module)?
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
            .encode()
    };
    // The encoder is made for what compilers write, and takes some liberties with anything else.
    let encoded = catch_unwind(AssertUnwindSafe(encode));
    let detail = match encoded {
        Ok(Ok(component)) => return Ok(component),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "the WIT in it is not what a compiler writes".to_owned(),
    };
    Err(PluginError::NoComponent { detail })
}

/// Decides what kind of plugin it is, and whether we offer what it imports.
fn kind(outline: &Outline) -> Result<(PluginKind, Option<String>), PluginError> {
    let plugin = outline.interfaces.iter().find(|name| names::is_ours(name, "plugin"));
    let mut built_for: Option<Version> = None;
    for name in outline.imports.iter().chain(plugin) {
        if let Some(version) = names::our_version(name) {
            names::check_version(&version)?;
            built_for = built_for.max(Some(version));
        }
    }
    let wit = built_for.map(|version| version.to_string());
    let kind = match plugin {
        Some(_) => PluginKind::Toolcell,
        None => other_kind(outline)?,
    };
    let refused: Vec<String> = outline
        .imports
        .iter()
        .filter_map(|name| match (names::import(name), kind) {
            (Import::Offered, _) | (Import::OfferedToPlugins, PluginKind::Toolcell) => None,
            (Import::OfferedToPlugins, PluginKind::Typed) => {
                Some(format!("`{name}`, which is for plugins that export `toolcell:guest/plugin`"))
            }
            (Import::Refused(advice), _) => Some(format!("`{name}`, {advice}")),
        })
        .collect();
    match refused.is_empty() {
        true => Ok((kind, wit)),
        false => Err(PluginError::UnknownImports { imports: refused }),
    }
}

fn other_kind(outline: &Outline) -> Result<PluginKind, PluginError> {
    if outline.interfaces.iter().any(|name| names::is_ours(name, "script")) {
        return Err(PluginError::OtherProgram {
            found: "a language runtime",
            advice: "it runs source text and has no tools",
        });
    }
    let own = |interface: &Option<String>| {
        interface.as_ref().is_none_or(|interface| !interface.starts_with("wasi:"))
    };
    if outline.functions.iter().any(|(interface, _)| own(interface)) {
        return Ok(PluginKind::Typed);
    }
    let exports = |name: &str| outline.interfaces.iter().any(|found| found.starts_with(name));
    if exports("wasi:cli/run") {
        return Err(PluginError::OtherProgram {
            found: "a command",
            advice: "build a library (`crate-type = [\"cdylib\"]`) whose functions are the tools",
        });
    }
    if exports("wasi:http/incoming-handler") {
        return Err(PluginError::OtherProgram {
            found: "a web server",
            advice: "a plugin exports its tools as functions; `toolcell plugin new` makes one",
        });
    }
    Err(PluginError::NoTools)
}
