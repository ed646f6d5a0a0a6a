//! Values that a plugin keeps from one call to the next.
//!
//! They belong to one session: one caller, one profile, one plugin, and the session that the caller
//! named, or its connection. No other plugin and no other caller sees them.
//!
//! ```
//! # use toolcell_guest as toolcell;
//! # toolcell::testing::Host::new().run(async {
//! use toolcell::state;
//!
//! let calls: u32 = state::get("calls")?.unwrap_or(0);
//! state::set("calls", &(calls + 1))?;
//! assert_eq!(state::keys(), ["calls"]);
//! # Ok::<_, toolcell::CallError>(())
//! # }).unwrap();
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CallError, imports};

/// The value of a key, if there is one.
///
/// # Errors
/// [`CallError::Unexpected`] when it was kept as another type.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, CallError> {
    let Some(json) = imports::state_get(key) else { return Ok(None) };
    serde_json::from_str(&json).map(Some).map_err(|error| {
        let expected = std::any::type_name::<T>();
        CallError::Unexpected(format!("what is kept as {key:?} is not a {expected}: {error}"))
    })
}

/// Keeps a value, in place of an earlier one.
///
/// # Errors
/// [`CallError::Exhausted`] when the session's share, in keys or in bytes, is used up, and
/// [`CallError::Unexpected`] when the value cannot be JSON.
pub fn set(key: &str, value: &(impl Serialize + ?Sized)) -> Result<(), CallError> {
    let json = serde_json::to_string(value).map_err(|error| {
        CallError::Unexpected(format!("what is to be kept as {key:?} cannot be JSON: {error}"))
    })?;
    imports::state_set(key, &json)
}

/// Forgets a value. Tells whether there was one.
pub fn delete(key: &str) -> bool {
    imports::state_delete(key)
}

/// All keys, sorted.
#[must_use]
pub fn keys() -> Vec<String> {
    imports::state_keys()
}
