//! A plugin that is ready to be called.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Instance, InstancePre};

use super::answer;
use super::entries::{CallFunction, CallTool};
use super::typed::Functions;
use super::{Inspection, PluginExecution, PluginOutcome, PluginTool};
use crate::limits::{LimitKind, LimitReached, Usage};
use crate::sandbox::SandboxError;
use crate::sandbox::bindings::guest::{PluginGuest, PluginGuestPre};
use crate::sandbox::drive::{Drive, Driven, Stopped};
use crate::sandbox::ready::{Maker, Ready};
use crate::sandbox::state::{GuestState, Surroundings};

/// A compiled plugin, with a shelf of instances made ready if they are slow to make. Cheap to clone;
/// the last clone ends it.
#[derive(Clone)]
pub struct LoadedPlugin {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) name: String,
    pub(super) inspection: Inspection,
    pub(super) tools: Vec<PluginTool>,
    pub(super) left_out: Vec<String>,
    pub(super) code: Code,
    pub(super) worker: Option<AbortHandle>,
}

/// The compiled component, by kind.
pub(super) enum Code {
    Toolcell(Arc<Maker<PluginGuestPre<GuestState>>>),
    Typed(Arc<Maker<InstancePre<GuestState>>>, Functions),
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.abort();
        }
    }
}

/// An instance between two calls. Dropping it forgets all that it remembers.
pub struct KeptPlugin {
    plugin: Arc<Inner>,
    guest: Guest,
    /// Whether it has served a call: what it was made with is charged to the first one.
    served: bool,
}

enum Guest {
    Toolcell(Box<Ready<PluginGuest>>),
    Typed(Box<Ready<Instance>>),
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

    /// Functions that it exports and that cannot be tools, each with the reason.
    pub fn left_out(&self) -> &[String] {
        &self.inner.left_out
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
        tool: &str,
        arguments: &str,
        surroundings: Surroundings,
        cancel: &CancellationToken,
    ) -> Result<PluginExecution, SandboxError> {
        let started = Instant::now();
        let guest = self.inner.take().await?;
        let call = Call { tool, arguments, surroundings, started, served: false };
        let (execution, guest, _) = self.inner.enter(guest, call, cancel).await?;
        self.inner.retire(guest);
        Ok(execution)
    }

    /// An instance that serves several calls, one after another. It has served none yet.
    ///
    /// # Errors
    /// There is no room for another guest.
    pub async fn open(&self) -> Result<KeptPlugin, SandboxError> {
        let guest = self.inner.take().await?;
        Ok(KeptPlugin { plugin: Arc::clone(&self.inner), guest, served: false })
    }

    /// As [`LoadedPlugin::call`], in an instance that is kept. It comes back if another call can
    /// follow; it does not if it was stopped in the middle of its work. The memory limit is one for
    /// all of its calls together, the other limits are each one's own.
    ///
    /// # Errors
    /// The call could not be started: nothing of it ran, and the instance is lost.
    ///
    /// # Panics
    /// The instance is another plugin's.
    pub async fn call_kept(
        &self,
        guest: KeptPlugin,
        tool: &str,
        arguments: &str,
        surroundings: Surroundings,
        cancel: &CancellationToken,
    ) -> Result<(PluginExecution, Option<KeptPlugin>), SandboxError> {
        let KeptPlugin { plugin, guest, served } = guest;
        assert!(Arc::ptr_eq(&plugin, &self.inner), "an instance is one plugin's");
        let call = Call { tool, arguments, surroundings, started: Instant::now(), served };
        let (execution, guest, usable) = plugin.enter(guest, call, cancel).await?;
        if usable {
            return Ok((execution, Some(KeptPlugin { plugin, guest, served: true })));
        }
        plugin.retire(guest);
        Ok((execution, None))
    }
}

/// A call on its way into a guest.
struct Call<'a> {
    tool: &'a str,
    arguments: &'a str,
    surroundings: Surroundings,
    started: Instant,
    served: bool,
}

impl Inner {
    async fn take(&self) -> Result<Guest, SandboxError> {
        Ok(match &self.code {
            Code::Toolcell(maker) => Guest::Toolcell(Box::new(maker.take().await?)),
            Code::Typed(maker, _) => Guest::Typed(Box::new(maker.take().await?)),
        })
    }

    fn retire(&self, guest: Guest) {
        match (&self.code, guest) {
            (Code::Toolcell(maker), Guest::Toolcell(ready)) => maker.retire(ready.store),
            (Code::Typed(maker, _), Guest::Typed(ready)) => maker.retire(ready.store),
            (_, other) => drop(other),
        }
    }

    /// Gives the guest back too, and whether it can serve another call.
    async fn enter(
        &self,
        guest: Guest,
        call: Call<'_>,
        cancel: &CancellationToken,
    ) -> Result<(PluginExecution, Guest, bool), SandboxError> {
        let (limits, tool) = (call.surroundings.limits.clone(), call.tool);
        match guest {
            Guest::Toolcell(ready) => {
                if let Err(reached) = call.begins(&ready) {
                    let outcome = PluginOutcome::LimitReached(reached);
                    return Ok((nothing_ran(outcome), Guest::Toolcell(ready), false));
                }
                let entry = CallTool { tool, arguments: call.arguments.to_owned() };
                let drive = call.drive(&self.name, &ready);
                let driven = drive.drive(*ready, entry, cancel).await?;
                let (execution, ready, usable) =
                    finished(driven, |answer| answer::of_plugin(answer, tool, &limits));
                Ok((execution, Guest::Toolcell(Box::new(ready)), usable))
            }
            Guest::Typed(ready) => {
                let function = match &self.code {
                    Code::Typed(_, functions) => functions.get(tool),
                    Code::Toolcell(_) => None,
                };
                // The guest has no part in what keeps a call from beginning.
                let Some(function) = function else {
                    let outcome = PluginOutcome::UnknownTool(tool.to_owned());
                    return Ok((nothing_ran(outcome), Guest::Typed(ready), true));
                };
                let arguments = match function.arguments(call.arguments) {
                    Ok(arguments) => arguments,
                    Err((path, message)) => {
                        let outcome = PluginOutcome::InvalidArguments { path, message };
                        return Ok((nothing_ran(outcome), Guest::Typed(ready), true));
                    }
                };
                if let Err(reached) = call.begins(&ready) {
                    let outcome = PluginOutcome::LimitReached(reached);
                    return Ok((nothing_ran(outcome), Guest::Typed(ready), false));
                }
                let entry = CallFunction {
                    index: function.index,
                    arguments,
                    results: function.result_count(),
                };
                let drive = call.drive(&self.name, &ready);
                let driven = drive.drive(*ready, entry, cancel).await?;
                let (execution, ready, usable) =
                    finished(driven, |results| function.answer(&results, &limits));
                Ok((execution, Guest::Typed(Box::new(ready)), usable))
            }
        }
    }
}

/// Room in what crosses at once for what is no payload, and for what is refused with words.
const CARRIED_SLACK_BYTES: u64 = 1 << 20;

impl Call<'_> {
    /// Whether the guest may be entered at all.
    fn begins<G>(&self, ready: &Ready<G>) -> Result<(), LimitReached> {
        let limits = &self.surroundings.limits;
        let limiter = &ready.store.data().limiter;
        let used = limiter.used_bytes();
        let reached = if used > limits.memory_bytes {
            LimitReached { kind: LimitKind::Memory, limit: limits.memory_bytes, used }
        } else if !self.served && ready.start_fuel > limits.fuel {
            LimitReached { kind: LimitKind::Fuel, limit: limits.fuel, used: ready.start_fuel }
        } else {
            return Ok(());
        };
        Err(reached)
    }

    fn drive<'a, G>(self, name: &'a str, ready: &Ready<G>) -> Drive<'a> {
        let Self { surroundings, started, served, .. } = self;
        let limits = &surroundings.limits;
        // An answer is lifted as a whole before anybody can look at it, and a value that is lifted
        // takes more than its JSON.
        let carried_bytes = limits
            .answer_bytes
            .max(limits.argument_bytes)
            .saturating_mul(4)
            .saturating_add(CARRIED_SLACK_BYTES);
        let fuel_before = if served { 0 } else { ready.start_fuel };
        Drive { surroundings, started, fuel_before, name, carried_bytes }
    }
}

/// That of a call which did not begin.
fn nothing_ran(outcome: PluginOutcome) -> PluginExecution {
    let (stdout, stderr) = (String::new(), String::new());
    PluginExecution { outcome, stdout, stderr, usage: Usage::default() }
}

fn finished<G, T>(
    driven: Driven<G, T>,
    answer: impl FnOnce(T) -> PluginOutcome,
) -> (PluginExecution, Ready<G>, bool) {
    let Driven { end, stdout, stderr, usage, ready } = driven;
    let usable = end.is_ok();
    let outcome = match end {
        Ok(returned) => answer(returned),
        Err(Stopped::Cancelled) => PluginOutcome::Cancelled,
        Err(Stopped::Limit(reached)) => PluginOutcome::LimitReached(reached),
        Err(Stopped::Exited(status)) => {
            PluginOutcome::Trapped(format!("it ended itself with status {status}"))
        }
        Err(Stopped::Trapped(why)) => PluginOutcome::Trapped(why),
    };
    (PluginExecution { outcome, stdout, stderr, usage }, ready, usable)
}
