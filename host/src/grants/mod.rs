//! Who may call what, and why not. Plain functions over values: no I/O, no clock, no tokio.
//!
//! A [`Policy`] has two parts, and both must agree before a call leaves a run:
//! * its **patterns** say which tools are granted at all. The last pattern that matches a tool
//!   decides, and a tool that no pattern matches is not granted. A tool that is not granted is
//!   invisible: it is neither listed nor callable.
//! * its **rules** say with which arguments a granted tool may be called ([`Policy::decide`]).
//!
//! Resources and prompts have patterns of their own, and no rules.
//!
//! Policies of several authors are put together by [`Policy::at_most`]: then each of them must agree.
//!
//! Nothing in here can widen a policy, and nothing that a guest or an upstream says reaches one.

mod constraint;
mod decision;
mod error;
mod nearest;
mod pattern;
mod policy;
mod resource;

pub use constraint::{ArgumentConstraint, ArgumentPath, Condition};
pub use decision::Decision;
pub use error::{InvalidConstraint, InvalidPattern};
pub use nearest::nearest;
pub use pattern::{Pattern, ToolGlob};
pub use policy::{Effect, Policy, Rule};
pub use resource::ResourcePattern;
