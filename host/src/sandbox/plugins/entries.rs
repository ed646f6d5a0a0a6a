//! What a plugin's instance is entered for.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance, Val};

use crate::sandbox::bindings::guest::PluginGuest;
use crate::sandbox::bindings::guest::exports::toolcell::guest::plugin as wit;
use crate::sandbox::drive::Entry;
use crate::sandbox::state::GuestState;

/// To list its tools.
pub(super) struct ListTools;

impl Entry<PluginGuest> for ListTools {
    type Returned = Vec<wit::Definition>;

    async fn enter(
        self,
        guest: &PluginGuest,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Self::Returned> {
        guest.toolcell_guest_plugin().call_list_tools(store).await
    }
}

/// To do the work of one of its tools.
pub(super) struct CallTool<'a> {
    pub(super) tool: &'a str,
    pub(super) arguments: String,
}

impl Entry<PluginGuest> for CallTool<'_> {
    type Returned = Result<wit::Output, wit::Refusal>;

    async fn enter(
        self,
        guest: &PluginGuest,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Self::Returned> {
        guest.toolcell_guest_plugin().call_call_tool(store, self.tool, &self.arguments).await
    }
}

/// To call a function that knows nothing of us.
pub(super) struct CallFunction {
    pub(super) index: ComponentExportIndex,
    pub(super) arguments: Vec<Val>,
    pub(super) results: usize,
}

impl Entry<Instance> for CallFunction {
    type Returned = Vec<Val>;

    async fn enter(
        self,
        guest: &Instance,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Self::Returned> {
        let function = guest
            .get_func(&mut *store, self.index)
            .ok_or_else(|| wasmtime::format_err!("the function is not there any more"))?;
        let mut results = vec![Val::Bool(false); self.results];
        function.call_async(store, &self.arguments, &mut results).await?;
        Ok(results)
    }
}
