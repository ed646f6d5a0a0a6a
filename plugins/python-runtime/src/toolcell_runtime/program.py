"""One run: from source text to a value as JSON, or to a failure that says what went wrong.

The program is a real `__main__`: a module in `sys.modules`, made at build time, which keeps its variables
if the host runs a second program in the same instance. Limits are not known here; a run that exceeds one
is stopped from outside, or meets it as the exception that CPython raises.
"""

import atexit
import builtins
import sys
from asyncio import Future
from types import CodeType, CoroutineType, ModuleType

from componentize_py_types import Err
from wit_world.exports.script import (
    Failure_Call,
    Failure_Exception,
    Failure_Exit,
    Failure_Memory,
    Failure_Recursion,
    Failure_Syntax,
    Failure_Value,
    Failure_ValueTooLarge,
    Program,
    Uncaught,
    UncaughtCall,
)

from . import console, imports, loop, source, tools, tracebacks, values
from .errors import LimitExceeded, ToolError

_IS_COROUTINE = 0x80  # inspect.CO_COROUTINE
_MISSING = object()
_RESERVE_BYTES = 256 * 1024
_EXIT_STATUS = range(-(2**31), 2**31)

# Given back to the allocator when memory ends, so that the failure can still be told.
_reserve: bytearray | None = bytearray(_RESERVE_BYTES)
_out_of_memory = Err(Failure_Memory(Uncaught("MemoryError", "", "Traceback (most recent call last):\nMemoryError\n")))


def _main_module() -> ModuleType:
    module = ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins, __file__="", tools=None, aio=None, inputs=None)
    return module


main = _main_module()


def run(program: Program) -> str | None:
    """Runs a program to its end.

    # Errors
    `Err` with one of the WIT's failures; nothing else leaves this function, because the component's glue
    takes any other exception for a bug and stops the guest.
    """
    try:
        return _run(program)
    except Err:
        raise
    except MemoryError:
        raise _out_of_memory from None
    except RecursionError as error:
        raise Err(Failure_Recursion((tracebacks.uncaught(error), sys.getrecursionlimit()))) from None
    except BaseException as error:
        # Not the program's doing, or its doing on purpose; in any case not a trap.
        raise Err(Failure_Exception(tracebacks.uncaught(error))) from None


def _run(program: Program) -> str | None:
    text = program.source.removeprefix("\ufeff")
    tracebacks.remember(program.name, text)
    namespace = main.__dict__
    namespace["__file__"] = program.name
    namespace["inputs"] = console.attach(program.input)
    # componentize-py empties the old list when it takes over the host's arguments.
    sys.argv = [program.name]
    imports.restrict(program.allowed_imports)
    before = namespace.get("result", _MISSING)

    failure = value = None
    try:
        value = _execute(_compiled(text, program.name), namespace)
    except SystemExit as request:
        failure = _exit(request)
    except Err as error:
        failure = error if isinstance(error.value, Failure_Syntax) else _failure(error)
    except BaseException as error:
        failure = _failure(error)

    if loop.in_use():
        loop.finish()
    if atexit._ncallbacks():
        atexit._run_exitfuncs()
    try:
        if failure is not None:
            raise failure
        if value is None:
            value = namespace.get("result")
            if value is None or value is before:
                return None
        text = values.encode(value)
        size = len(text) if text.isascii() else len(text.encode())
        if size > program.max_value_bytes:
            raise Err(Failure_ValueTooLarge(size))
        return text
    except values.NotJson as refusal:
        raise Err(Failure_Value(tracebacks.clean(str(refusal)))) from None
    finally:
        console.finish()


def _compiled(text: str, name: str) -> list[CodeType]:
    try:
        return source.compile_program(text, name)
    except SyntaxError as error:
        raise Err(Failure_Syntax(tracebacks.syntax(error))) from None
    except (ValueError, MemoryError, OverflowError) as error:
        # Null bytes, or a source too large or too deep for the parser.
        shown = tracebacks.uncaught(error)
        raise Err(Failure_Syntax(Uncaught("SyntaxError", shown.message, f"SyntaxError: {shown.message}\n"))) from None


def _execute(pieces: list[CodeType], namespace: dict[str, object]) -> object:
    if any(piece.co_flags & _IS_COROUTINE for piece in pieces):
        return loop.run(_awaited(pieces, namespace))
    # No loop runs here, so that the program's own `asyncio.run` can start one.
    for piece in pieces:
        value = eval(piece, namespace)
    if type(value) is CoroutineType or isinstance(value, Future):
        return loop.run(_one(value))
    return value


async def _awaited(pieces: list[CodeType], namespace: dict[str, object]) -> object:
    value = None
    for piece in pieces:
        value = eval(piece, namespace)
        if piece.co_flags & _IS_COROUTINE:
            value = await value
    if type(value) is CoroutineType or isinstance(value, Future):
        value = await value
    return value


async def _one(awaitable) -> object:
    return await awaitable


def _failure(error: BaseException) -> Err:
    global _reserve
    if isinstance(error, MemoryError):
        _reserve = None
        try:
            return Err(Failure_Memory(tracebacks.uncaught(error)))
        except MemoryError:
            return _out_of_memory
    if isinstance(error, RecursionError):
        return Err(Failure_Recursion((tracebacks.uncaught(error), sys.getrecursionlimit())))
    if isinstance(error, ToolError) and error.tool:
        return Err(Failure_Call(_call_failure(error)))
    return Err(Failure_Exception(tracebacks.uncaught(error)))


def _call_failure(error: ToolError) -> UncaughtCall:
    exception = tracebacks.uncaught(error)
    tool = tracebacks.clean(str(error.tool))
    if isinstance(error, LimitExceeded):
        return UncaughtCall(tool, error.kind, error.limit_name, error.limit, error.used, exception)
    return UncaughtCall(tool, error.kind, None, 0, 0, exception)


def _exit(request: SystemExit) -> Err | None:
    """What `sys.exit(x)` means to a process: none and 0 are success, a number the status, else a last word."""
    code = request.code
    if code is None:
        return None
    if isinstance(code, int):
        status = int(code)
        return Err(Failure_Exit(status if status in _EXIT_STATUS else -1)) if status else None
    try:
        print(code, file=sys.stderr)
    except Exception:
        pass  # Its `__str__` may raise, or stderr may be something else.
    return Err(Failure_Exit(1))


def reset() -> None:
    """Makes `__main__` as if no program had run yet. Called before the snapshot."""
    namespace = main.__dict__
    namespace.clear()
    namespace.update(_main_module().__dict__)
    namespace.update(tools=tools.tools, aio=tools.aio)
    sys.modules["__main__"] = main
