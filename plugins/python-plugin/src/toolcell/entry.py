"""One call of a tool: from the arguments' JSON to an answer, and an end to what it leaves behind.

A plugin may be kept between calls (`stateful`). Its module's variables are then as the last call left
them; tasks, timers and calls of that call have ended with it.
"""

import inspect
import json

from componentize_py_types import Err
from toolcell_runtime import console, loop, tools, tracebacks
from toolcell_runtime.errors import ToolError
from wit_world.exports.plugin import Refusal_InvalidArguments, Refusal_UnknownTool
from wit_world.imports import tools as wit

from . import answers, registry
from .shapes import Misfit

#: How many calls this instance has had.
_count = 0

_RESERVE_BYTES = 256 * 1024
# Given back to the allocator when memory ends, so that the failure can still be told.
_reserve: bytearray | None = bytearray(_RESERVE_BYTES)


def call_tool(name: str, arguments: str) -> wit.Output:
    """Calls a tool.

    # Errors
    `Err` with a refusal of the WIT. Nothing else leaves this function: the component's glue takes any other
    exception for a bug and stops the guest.
    """
    found = registry.find(name)
    if found is None:
        raise Err(Refusal_UnknownTool(registry.unknown(name)))
    try:
        _begin()
        try:
            named = found.read(json.loads(arguments))
        except Misfit as misfit:
            raise Err(Refusal_InvalidArguments(wit.InvalidArguments(misfit.path, misfit.message))) from None
        return _called(found, named)
    except Err:
        raise
    except BaseException as error:
        return _failed(name, error)
    finally:
        console.finish()


def _begin() -> None:
    global _count, _reserve
    if _count:
        # Ids of calls are each call's own: what the last one left must not take this one's answers.
        loop.forget()
        console.renew()
        tools.look_again()
        if _reserve is None:
            _reserve = bytearray(_RESERVE_BYTES)
    _count += 1
    console.attach(None)


def _called(found: registry.Tool, named: dict[str, object]) -> wit.Output:
    try:
        value = found.function(**named)
        if inspect.isawaitable(value):
            value = loop.run(_awaited(value))
    finally:
        if loop.in_use():
            loop.finish()
    return found.write(value)


async def _awaited(value) -> object:
    return await value


def _failed(name: str, error: BaseException) -> wit.Output:
    global _reserve
    if isinstance(error, MemoryError):
        _reserve = None
    if type(error) is ToolError and not error.tool:
        # Raised by the author, for whoever called: words, and no traceback.
        return answers.failed(str(error) or f"`{name}` failed")
    if isinstance(error, SystemExit):
        return answers.failed(f"`{name}` ended itself with sys.exit({error.code!r})")
    return answers.failed(tracebacks.text(error).rstrip())


def forget() -> None:
    """Makes the next call the first."""
    global _count
    _count = 0
