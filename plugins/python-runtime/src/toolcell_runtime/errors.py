"""What a failed call raises: `ToolError` and one class for each case of `tools.call-error`.

Classes say what went wrong so that programs branch on types; `kind` is the case's name in the WIT.
Messages are the host's own and complete; nothing is added to them here.
"""

import json

from wit_world.imports import tools as wit


class ToolError(Exception):
    """A call that gave no result. Of this very class: the tool itself says that it failed."""

    kind = "tool"

    def __init__(self, message: str = "", *, tool: str = "", content: object = None, structured: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.tool = tool
        self.content = content
        self.structured = structured


class ToolDenied(ToolError):
    """A rule of the operator refuses this call with these arguments."""

    kind = "denied"


class UnknownTool(ToolError, LookupError):
    """No such tool is granted to this run."""

    kind = "unknown-tool"


class InvalidArguments(ToolError, ValueError):
    """The arguments do not fit the tool's schema; `path` points at the value. Nothing was sent."""

    kind = "invalid-arguments"
    path = ""


class ToolUnavailable(ToolError, ConnectionError):
    """The server cannot be reached, or its connection was lost."""

    kind = "unavailable"


class ToolTimeout(ToolError, TimeoutError):
    """No answer came within `after_ms` milliseconds of the phase `phase`."""

    kind = "timed-out"
    after_ms = 0
    phase = ""


class ToolRejected(ToolError):
    """The server answered with a JSON-RPC error: `code`, and `data` if it gave any."""

    kind = "rejected"
    code = 0
    data: object = None


class LimitExceeded(ToolError):
    """A limit of the run forbids this call: `limit_name`, its value `limit`, and what was `used`."""

    kind = "exhausted"
    limit_name = ""
    limit = 0
    used = 0


class ToolCancelled(ToolError):
    """The call was cancelled."""

    kind = "cancelled"


class ToolInterrupted(ToolError):
    """The host died while the call was out; whether it took effect is unknown."""

    kind = "interrupted"


PUBLIC = (
    ToolError,
    ToolDenied,
    UnknownTool,
    InvalidArguments,
    ToolUnavailable,
    ToolTimeout,
    ToolRejected,
    LimitExceeded,
    ToolCancelled,
    ToolInterrupted,
)
# Programs import them from `tools`; tracebacks name them so.
for _class in PUBLIC:
    _class.__module__ = "tools"

_OF_MESSAGE = {
    wit.CallError_Denied: ToolDenied,
    wit.CallError_UnknownTool: UnknownTool,
    wit.CallError_Unavailable: ToolUnavailable,
    wit.CallError_Interrupted: ToolInterrupted,
}


def from_call_error(tool: str, error: object) -> ToolError:
    """The exception for a `call-error`."""
    case = type(error)
    if (simple := _OF_MESSAGE.get(case)) is not None:
        return simple(error.value, tool=tool)
    if case is wit.CallError_Cancelled:
        return ToolCancelled(f"the call of `{tool}` was cancelled", tool=tool)
    detail = error.value
    if case is wit.CallError_InvalidArguments:
        raised = InvalidArguments(detail.message, tool=tool)
        raised.path = detail.path
    elif case is wit.CallError_TimedOut:
        raised = ToolTimeout(detail.message, tool=tool)
        raised.after_ms, raised.phase = detail.after_ms, detail.phase
    elif case is wit.CallError_Rejected:
        raised = ToolRejected(detail.message, tool=tool)
        raised.code = detail.code
        raised.data = None if detail.data is None else json.loads(detail.data)
    else:
        raised = LimitExceeded(detail.message, tool=tool)
        raised.limit_name, raised.limit, raised.used = detail.limit_name, detail.limit, detail.used
    return raised
