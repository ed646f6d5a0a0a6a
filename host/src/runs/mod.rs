//! One run is one execution of one piece of code: started, watched, stopped, reported.

mod hints;
mod report;
mod run;
mod script;

pub use report::{Degraded, ErrorKind, RunError, RunReport};
pub(crate) use run::{Parts, start};
pub use run::{Run, StartError};
pub use script::Script;
