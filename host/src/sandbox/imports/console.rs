//! `toolcell:guest/console`.

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use crate::events::{RunEvent, Stream};
use crate::sandbox::bindings::toolcell::guest::console as wit;
use crate::sandbox::state::GuestState;

const INTERFACE: &str = "toolcell:guest/console@0.1.0";

type Store<'a> = StoreContextMut<'a, GuestState>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut console = linker.instance(INTERFACE)?;
    console.func_wrap_async("write", |store: Store<'_>, (to, data): (wit::Stream, WasmList<u8>)| {
        Box::new(write(store, to, data))
    })
}

async fn write(store: Store<'_>, to: wit::Stream, data: WasmList<u8>) -> wasmtime::Result<()> {
    let to = match to {
        wit::Stream::Stdout => Stream::Stdout,
        wit::Stream::Stderr => Stream::Stderr,
    };
    let (live, bytes) = {
        let mut console = store.data().lock_console();
        // The guest chooses the length: what it may not print is not copied.
        console.allow(data.len() as u64)?;
        let bytes = Bytes::copy_from_slice(data.as_le_slice(&store));
        (console.write(to, &bytes)?, bytes)
    };
    if let Some(live) = live {
        // A reader that went away does not stop the run; one that is slow slows it down.
        let _ = live.send(RunEvent::Printed { to, bytes }).await;
    }
    Ok(())
}
