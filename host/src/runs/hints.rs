//! What to do next, for the failures where that can be said.

use crate::limits::LimitKind;

pub(super) fn for_limit(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Fuel => {
            "the script computes more than it may; look for an endless loop, do less, or have the \
             operator raise `fuel`"
        }
        LimitKind::ComputeTime => {
            "the script computes longer than it may (waiting for tools does not count); look for an \
             endless loop, do less, or have the operator raise `compute_time`"
        }
        LimitKind::Deadline => {
            "the run as a whole took too long, waiting included; make fewer or concurrent calls, or \
             have the operator raise `deadline`"
        }
        LimitKind::Memory => {
            "the script needs more memory than it may have; work on smaller pieces, or have the \
             operator raise `memory`"
        }
        LimitKind::Stack | LimitKind::Recursion => {
            "the script calls itself too deeply; use a loop, or flatter data"
        }
        LimitKind::Output => {
            "print or return less: a summary, the first items, a count; the operator can raise \
             `output`"
        }
        LimitKind::ToolCalls => {
            "make fewer calls, catch `tools.LimitExceeded` and return what there is, or have the \
             operator raise `tool_calls`"
        }
        LimitKind::Argument => "send less in one call; the operator can raise `argument`",
        LimitKind::Answer => {
            "ask the tool for less at once, with a filter or a page size; the operator can raise \
             `answer`"
        }
        LimitKind::State | LimitKind::StateKeys => {
            "keep less, delete what is no longer needed, or have the operator raise it"
        }
        LimitKind::Depth => {
            "plugins call one another in a circle, or too deeply; call fewer in a row"
        }
    }
}

/// The server of a call, of which the script wrote `server.tool`, `server.prompt` or `server:URI`.
pub(super) fn server_of(tool: &str) -> &str {
    tool.split(['.', ':']).next().unwrap_or(tool)
}

pub(super) fn for_call(kind: &str, tool: &str) -> Option<String> {
    let server = server_of(tool);
    let hint = match kind {
        "unavailable" => format!(
            "the server `{server}` cannot be used, whatever the arguments; `toolcell check {server}` \
             shows why. A script can catch `tools.ToolUnavailable` and go on without it"
        ),
        "timed-out" => format!(
            "ask for less in one call, catch `tools.ToolTimeout`, or have the operator raise \
             `call_timeout` (for a connection: the server's `connect_timeout`); \
             `toolcell check {server}` shows whether the server is well"
        ),
        "unknown-tool" => "`toolcell tools` lists what is granted".to_owned(),
        "invalid-arguments" => format!("`toolcell stubs` shows the signature of `{tool}`"),
        "denied" => "the operator's rules decide this; other arguments may be allowed".to_owned(),
        _ => return None,
    };
    Some(hint)
}
