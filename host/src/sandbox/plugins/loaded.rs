//! A plugin that is ready to be called.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Inspection, PluginError, PluginExecution, PluginTool};
use crate::sandbox::{Sandbox, SandboxError, Surroundings};

/// A compiled plugin, with a shelf of instances made ready. Cheap to clone; the last clone ends it.
#[derive(Clone)]
pub struct LoadedPlugin {
    inner: Arc<Inner>,
}

struct Inner {
    inspection: Inspection,
    tools: Vec<PluginTool>,
}

/// An instance between two calls. Dropping it forgets all that it remembers.
pub struct KeptPlugin {
    _private: (),
}

impl Sandbox {
    /// Says what a file is. Runs nothing of it.
    ///
    /// # Errors
    /// It is no plugin.
    pub fn inspect_plugin(&self, _wasm: &[u8]) -> Result<Inspection, PluginError> {
        Err(PluginError::NoTools)
    }

    /// Compiles a plugin, or takes what was compiled before from the cache, and asks it for its tools.
    /// `name` is for errors and logs.
    ///
    /// # Errors
    /// It is no plugin, or what it says of its tools cannot be used.
    pub async fn load_plugin(&self, _name: &str, wasm: &[u8]) -> Result<LoadedPlugin, PluginError> {
        let inspection = self.inspect_plugin(wasm)?;
        Ok(LoadedPlugin { inner: Arc::new(Inner { inspection, tools: Vec::new() }) })
    }
}

impl LoadedPlugin {
    /// What was found without running it.
    pub fn inspection(&self) -> &Inspection {
        &self.inner.inspection
    }

    /// Its tools, in its own order.
    pub fn tools(&self) -> &[PluginTool] {
        &self.inner.tools
    }

    /// Calls a tool in an instance of its own, which is dropped afterwards. `arguments` is a JSON
    /// object that fits the tool's schema.
    ///
    /// Cancel-safe: dropping the future drops the guest and cancels its calls. `cancel` does the
    /// same and keeps what was printed and used until then.
    ///
    /// # Errors
    /// No instance could be made for it: nothing of it ran.
    pub async fn call(
        &self,
        _tool: &str,
        _arguments: &str,
        _surroundings: Surroundings,
        _cancel: &CancellationToken,
    ) -> Result<PluginExecution, SandboxError> {
        Err(SandboxError::Engine(wasmtime::format_err!("plugins cannot be called yet")))
    }

    /// An instance that serves several calls, one after another. It has served none yet.
    ///
    /// # Errors
    /// There is no room for another guest.
    pub async fn open(&self) -> Result<KeptPlugin, SandboxError> {
        Ok(KeptPlugin { _private: () })
    }

    /// As [`LoadedPlugin::call`], in an instance that is kept. It comes back if another call can
    /// follow; it does not if it was stopped from outside in the middle of its work.
    ///
    /// # Errors
    /// The call could not be started: nothing of it ran, and the instance is lost.
    pub async fn call_kept(
        &self,
        _guest: KeptPlugin,
        tool: &str,
        arguments: &str,
        surroundings: Surroundings,
        cancel: &CancellationToken,
    ) -> Result<(PluginExecution, Option<KeptPlugin>), SandboxError> {
        Ok((self.call(tool, arguments, surroundings, cancel).await?, None))
    }
}
