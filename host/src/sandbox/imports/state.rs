//! `toolcell:guest/state`.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::tools::exhausted;
use crate::limits::{LimitKind, LimitReached};
use crate::sandbox::calls::{Exhausted, MAX_STATE_KEY_BYTES};
use crate::sandbox::state::GuestState;
use crate::tool::Json;

const INTERFACE: &str = "toolcell:guest/state@0.1.0";

type Store<'a> = StoreContextMut<'a, GuestState>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut state = linker.instance(INTERFACE)?;
    state.func_wrap("get", |mut store: Store<'_>, (key,): (WasmStr,)| {
        let Ok(key) = short(&store, &key)? else { return Ok((None,)) };
        let value = store.data_mut().calls.state_get(&key);
        Ok((value.map(|json| Box::<str>::from(json).into_string()),))
    })?;
    state.func_wrap("set", |mut store: Store<'_>, (key, value): (WasmStr, WasmStr)| {
        Ok((set(&mut store, &key, &value)?.map_err(exhausted),))
    })?;
    state.func_wrap("delete", |mut store: Store<'_>, (key,): (WasmStr,)| {
        let Ok(key) = short(&store, &key)? else { return Ok((false,)) };
        Ok((store.data_mut().calls.state_delete(&key),))
    })?;
    state.func_wrap("keys", |mut store: Store<'_>, ()| Ok((store.data_mut().calls.state_keys(),)))
}

fn set(
    store: &mut Store<'_>,
    key: &WasmStr,
    value: &WasmStr,
) -> wasmtime::Result<Result<(), Exhausted>> {
    let key = match short(store, key)? {
        Ok(key) => key,
        Err(used) => {
            let limit = MAX_STATE_KEY_BYTES as u64;
            return Ok(Err(Exhausted {
                reached: LimitReached { kind: LimitKind::State, limit, used },
                message: format!("a key has {used} bytes; at most {limit} can be kept"),
            }));
        }
    };
    let value = value.to_str(&*store)?;
    let (limit, used) = (store.data().argument_bytes, value.len() as u64);
    if used > limit {
        return Ok(Err(Exhausted {
            reached: LimitReached { kind: LimitKind::Argument, limit, used },
            message: format!("the value for `{key}` has {used} bytes; one value may have {limit}"),
        }));
    }
    let json = Json::from(serde_json::value::RawValue::from_string(value.into_owned()).map_err(
        |error| {
            wasmtime::format_err!("the value that is to be kept as `{key}` is not JSON: {error}")
        },
    )?);
    Ok(store.data_mut().calls.state_set(&key, json))
}

/// The key, unless it is longer than any that is kept; then its length.
fn short(store: &Store<'_>, key: &WasmStr) -> wasmtime::Result<Result<String, u64>> {
    let key = key.to_str(store)?;
    Ok(if key.len() <= MAX_STATE_KEY_BYTES { Ok(key.into_owned()) } else { Err(key.len() as u64) })
}
