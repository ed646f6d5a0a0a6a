//! `toolcell:guest/resources`.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::tools::{completed, lower, name, request};
use crate::offers::{Resource, ResourceTemplate};
use crate::sandbox::bindings::toolcell::guest::resources as wit;
use crate::sandbox::bindings::toolcell::guest::tools::CallError;
use crate::sandbox::state::{GuestState, lend};
use crate::tool::CallMethod;

const INTERFACE: &str = "toolcell:guest/resources@0.1.0";

type Store<'a> = StoreContextMut<'a, GuestState>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut resources = linker.instance(INTERFACE)?;
    resources.func_wrap("servers", |store: Store<'_>, ()| {
        Ok((store.data().calls.resource_servers(),))
    })?;
    resources.func_wrap_async("listed", |mut store: Store<'_>, (server,): (WasmStr,)| {
        Box::new(async move {
            let server = name(&server.to_str(&store)?);
            lend(&mut store);
            let listed = store.data_mut().calls.resources(&server).await;
            completed(&mut store)?;
            let listed = listed.map(|all| all.into_iter().map(resource).collect::<Vec<_>>());
            Ok((listed.map_err(CallError::from),))
        })
    })?;
    resources.func_wrap_async("templates", |mut store: Store<'_>, (server,): (WasmStr,)| {
        Box::new(async move {
            let server = name(&server.to_str(&store)?);
            lend(&mut store);
            let listed = store.data_mut().calls.templates(&server).await;
            completed(&mut store)?;
            let listed = listed.map(|all| all.into_iter().map(template).collect::<Vec<_>>());
            Ok((listed.map_err(CallError::from),))
        })
    })?;
    resources.func_wrap_async(
        "read",
        |mut store: Store<'_>, (server, uri): (WasmStr, WasmStr)| {
            Box::new(async move {
                let request = request(&store, CallMethod::Resource, &server, &uri)?;
                lend(&mut store);
                let answer = store.data_mut().calls.call(request).await;
                completed(&mut store)?;
                Ok((lower(answer),))
            })
        },
    )?;
    resources.func_wrap("start", |mut store: Store<'_>, (server, uri): (WasmStr, WasmStr)| {
        let request = request(&store, CallMethod::Resource, &server, &uri)?;
        Ok((store.data_mut().calls.start(request)?.0,))
    })
}

fn resource(resource: Resource) -> wit::Resource {
    wit::Resource {
        uri: resource.uri.to_string(),
        name: resource.name,
        title: resource.title,
        description: resource.description,
        mime_type: resource.mime_type,
        size: resource.size,
    }
}

fn template(template: ResourceTemplate) -> wit::Template {
    wit::Template {
        uri_template: template.uri_template.to_string(),
        name: template.name,
        title: template.title,
        description: template.description,
        mime_type: template.mime_type,
    }
}
