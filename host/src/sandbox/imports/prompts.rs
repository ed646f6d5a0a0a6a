//! `toolcell:guest/prompts`.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::tools::{completed, lower, name, request};
use crate::offers::Prompt;
use crate::sandbox::bindings::toolcell::guest::prompts as wit;
use crate::sandbox::bindings::toolcell::guest::tools::CallError;
use crate::sandbox::state::{GuestState, lend};
use crate::tool::CallMethod;

const INTERFACE: &str = "toolcell:guest/prompts@0.1.0";

type Store<'a> = StoreContextMut<'a, GuestState>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut prompts = linker.instance(INTERFACE)?;
    prompts
        .func_wrap("servers", |store: Store<'_>, ()| Ok((store.data().calls.prompt_servers(),)))?;
    prompts.func_wrap_async("listed", |mut store: Store<'_>, (server,): (WasmStr,)| {
        Box::new(async move {
            let server = name(&server.to_str(&store)?);
            lend(&mut store);
            let listed = store.data_mut().calls.prompts(&server).await;
            completed(&mut store)?;
            let listed = listed.map(|all| all.into_iter().map(prompt).collect::<Vec<_>>());
            Ok((listed.map_err(CallError::from),))
        })
    })?;
    prompts.func_wrap_async(
        "get",
        |mut store: Store<'_>, (name, arguments): (WasmStr, WasmStr)| {
            Box::new(async move {
                let request = request(&store, CallMethod::Prompt, &name, &arguments)?;
                lend(&mut store);
                let answer = store.data_mut().calls.call(request).await;
                completed(&mut store)?;
                Ok((lower(answer),))
            })
        },
    )?;
    prompts.func_wrap("start", |mut store: Store<'_>, (name, arguments): (WasmStr, WasmStr)| {
        let request = request(&store, CallMethod::Prompt, &name, &arguments)?;
        Ok((store.data_mut().calls.start(request)?.0,))
    })
}

fn prompt(prompt: Prompt) -> wit::Prompt {
    let argument = |argument: crate::offers::PromptArgument| wit::Argument {
        name: argument.name,
        description: argument.description,
        required: argument.required,
    };
    wit::Prompt {
        name: prompt.name.to_string(),
        title: prompt.title,
        description: prompt.description,
        arguments: prompt.arguments.into_iter().map(argument).collect(),
    }
}
