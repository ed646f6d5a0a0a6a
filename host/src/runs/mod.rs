//! One run is one execution of one piece of code: started, watched, stopped, reported.

mod hints;
mod report;
mod run;
mod script;
mod sessions;

pub use report::{Degraded, ErrorKind, RunError, RunReport};
pub(crate) use run::{Parts, random_seed, start};
pub use run::{Run, StartError};
pub use script::Script;
pub use sessions::{
    SessionError, SessionInfo, SessionName, SessionReport, SessionSettings, SessionState, Sessions,
};
