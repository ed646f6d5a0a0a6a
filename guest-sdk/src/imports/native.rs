//! Outside wasm: the double of the test that runs on this thread.

use crate::CallError;
use crate::asks::{Abilities, Elicited};
use crate::executor::Answer;
use crate::log::Level;
use crate::prompts::Prompt;
use crate::resources::{Resource, Template};
use crate::testing::{try_with_double, with_double as host};
use crate::tools::Tool;

pub(crate) fn servers() -> Vec<String> {
    host(|host| host.servers())
}

pub(crate) fn names(server: &str) -> Result<Vec<String>, CallError> {
    host(|host| host.names(server))
}

pub(crate) fn describe(name: &str) -> Result<Tool, CallError> {
    host(|host| host.describe(name))
}

pub(crate) fn start(name: &str, arguments: &str) -> u64 {
    host(|host| host.start(name, arguments))
}

pub(crate) fn start_read(server: &str, uri: &str) -> u64 {
    host(|host| host.start_read(server, uri))
}

pub(crate) fn start_prompt(name: &str, arguments: &str) -> u64 {
    host(|host| host.start_prompt(name, arguments))
}

pub(crate) fn wait(timeout_ns: Option<u64>) -> Vec<(u64, Answer)> {
    host(|host| host.wait(timeout_ns))
}

pub(crate) fn cancel(id: u64) {
    // A call may outlive its test.
    let _ = try_with_double(|host| host.cancel(id));
}

pub(crate) fn resource_servers() -> Vec<String> {
    host(|host| host.resource_servers())
}

pub(crate) fn resources_listed(server: &str) -> Result<Vec<Resource>, CallError> {
    host(|host| host.resources_listed(server))
}

pub(crate) fn resource_templates(_server: &str) -> Result<Vec<Template>, CallError> {
    Ok(Vec::new())
}

pub(crate) fn prompt_servers() -> Vec<String> {
    host(|host| host.prompt_servers())
}

pub(crate) fn prompts_listed(server: &str) -> Result<Vec<Prompt>, CallError> {
    host(|host| host.prompts_listed(server))
}

pub(crate) fn log(level: Level, message: &str) {
    host(|host| host.log(level, message));
}

pub(crate) fn progress(done: f64, total: Option<f64>, message: Option<&str>) {
    host(|host| host.progress(done, total, message));
}

pub(crate) fn state_get(key: &str) -> Option<String> {
    host(|host| host.state_get(key))
}

pub(crate) fn state_set(key: &str, value: &str) -> Result<(), CallError> {
    host(|host| host.state_set(key, value));
    Ok(())
}

pub(crate) fn state_delete(key: &str) -> bool {
    host(|host| host.state_delete(key))
}

pub(crate) fn state_keys() -> Vec<String> {
    host(|host| host.state_keys())
}

pub(crate) fn abilities() -> Abilities {
    host(|host| host.abilities())
}

pub(crate) fn elicit(message: &str, _schema: &str) -> Result<Elicited<String>, CallError> {
    host(|host| host.elicit(message))
}

pub(crate) fn sample(_params: &str) -> Result<String, CallError> {
    host(|host| host.sample())
}

pub(crate) fn now_ns() -> u64 {
    host(|host| host.now_ns())
}
