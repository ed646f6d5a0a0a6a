//! WASI's own stdout and stderr, for what does not print through `toolcell:guest/console`
//! (`os.write(1, …)`, a C library's messages). Same console, same bounds.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::events::{RunEvent, Stream};
use crate::sandbox::console::Console;

/// The most that one write may carry.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// One of the two streams.
#[derive(Clone)]
pub(in crate::sandbox) struct WasiOutput {
    to: Stream,
    console: Arc<Mutex<Console>>,
}

impl WasiOutput {
    pub(in crate::sandbox) fn new(to: Stream, console: &Arc<Mutex<Console>>) -> Self {
        Self { to, console: Arc::clone(console) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Console> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for WasiOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for WasiOutput {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.1 and 0.3 write this way, and neither is linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for WasiOutput {
    /// Ready when a live reader, if there is one, has room for a piece.
    async fn ready(&mut self) {
        let live = self.lock().live();
        if let Some(live) = live {
            // An error means that the reader went away: nobody to wait for.
            let _ = live.reserve().await;
        }
    }
}

impl OutputStream for WasiOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let written = self.lock().write(self.to, &bytes);
        let live = written.map_err(|limit| StreamError::Trap(limit.into()))?;
        if let Some(live) = live {
            // `check_write` saw room. A run writes from one place at a time, so there still is.
            let _ = live.try_send(RunEvent::Printed { to: self.to, bytes });
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let full = self.lock().live().is_some_and(|live| live.capacity() == 0 && !live.is_closed());
        Ok(if full { 0 } else { MAX_WRITE_BYTES })
    }
}
