//! `toolcell:guest/asks`.

use serde_json::value::RawValue;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::tools::completed;
use crate::limits::{LimitKind, LimitReached};
use crate::sandbox::bindings::guest::toolcell::guest::asks as wit;
use crate::sandbox::bindings::toolcell::guest::tools::CallError as WitError;
use crate::sandbox::calls::{Abilities, Elicited};
use crate::sandbox::state::{GuestState, lend};
use crate::tool::{CallError, Json};

const INTERFACE: &str = "toolcell:guest/asks@0.1.0";

type Store<'a> = StoreContextMut<'a, GuestState>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut asks = linker.instance(INTERFACE)?;
    asks.func_wrap("abilities", |store: Store<'_>, ()| {
        Ok((wit::Ability::from(store.data().calls.abilities()),))
    })?;
    asks.func_wrap_async(
        "elicit",
        |mut store: Store<'_>, (message, schema): (WasmStr, WasmStr)| {
            Box::new(async move {
                let (message, schema) = match (text(&store, &message)?, json(&store, &schema)?) {
                    (Ok(message), Ok(schema)) => (message, schema),
                    (Err(error), _) | (_, Err(error)) => return Ok((Err(WitError::from(error)),)),
                };
                lend(&mut store);
                let answer = store.data_mut().calls.elicit(message, schema).await;
                completed(&mut store)?;
                Ok((answer.map(wit::Elicited::from).map_err(WitError::from),))
            })
        },
    )?;
    asks.func_wrap_async("sample", |mut store: Store<'_>, (params,): (WasmStr,)| {
        Box::new(async move {
            let params = match json(&store, &params)? {
                Ok(params) => params,
                Err(error) => return Ok((Err(WitError::from(error)),)),
            };
            lend(&mut store);
            let answer = store.data_mut().calls.sample(params).await;
            completed(&mut store)?;
            let answer = answer.map(|json| Box::<str>::from(json).into_string());
            Ok((answer.map_err(WitError::from),))
        })
    })
}

/// A text of the guest, copied only if it is no longer than the arguments of a call may be.
fn text(store: &Store<'_>, text: &WasmStr) -> wasmtime::Result<Result<String, CallError>> {
    let text = text.to_str(store)?;
    let (limit, used) = (store.data().argument_bytes, text.len() as u64);
    if used > limit {
        let reached = LimitReached { kind: LimitKind::Argument, limit, used };
        let message = format!("the question has {used} bytes; the run may send {limit} at once");
        return Ok(Err(CallError::Exhausted { reached, message }));
    }
    Ok(Ok(text.into_owned()))
}

fn json(store: &Store<'_>, from: &WasmStr) -> wasmtime::Result<Result<Json, CallError>> {
    let checked = text(store, from)?.and_then(|text| {
        RawValue::from_string(text).map_err(|error| CallError::InvalidArguments {
            path: String::new(),
            message: format!("the question is not JSON: {error}"),
        })
    });
    Ok(checked)
}

impl From<Abilities> for wit::Ability {
    fn from(abilities: Abilities) -> Self {
        let mut ability = Self::empty();
        if abilities.elicitation {
            ability |= Self::ELICITATION;
        }
        if abilities.sampling {
            ability |= Self::SAMPLING;
        }
        ability
    }
}

impl From<Elicited> for wit::Elicited {
    fn from(elicited: Elicited) -> Self {
        match elicited {
            Elicited::Accepted(json) => Self::Accepted(Box::<str>::from(json).into_string()),
            Elicited::Declined => Self::Declined,
            Elicited::Cancelled => Self::Cancelled,
        }
    }
}
