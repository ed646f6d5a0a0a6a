//! What the host offers, in this crate's types: inside wasm it is the host that answers, and in an
//! author's tests a double.

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod wit;

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
#[cfg(target_family = "wasm")]
pub(crate) use wit::*;
