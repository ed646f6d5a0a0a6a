"""One run: from source text to a value as JSON, or to a failure that says what went wrong.

The program is a real `__main__`: a module in `sys.modules`, made at build time. With `run` it begins
empty; with `run_kept` it has what the programs before it defined, and nothing else of theirs: their tasks,
calls, streams and exit functions have ended with them. Limits are not known here; a run that exceeds one is
stopped from outside, or meets it as the exception that CPython raises.
"""

import atexit
import builtins
import dis
import sys
from asyncio import Future
from collections.abc import Callable
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

from . import console, failures, imports, loop, source, tools, tracebacks, values
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

#: How many programs this namespace has had.
_count = 0


def run(program: Program) -> str | None:
    """Runs a program to its end, in a namespace of its own.

    # Errors
    `Err` with one of the WIT's failures; nothing else leaves this function, because the component's glue
    takes any other exception for a bug and stops the guest.
    """
    if _count:
        reset()
    return _bounded(_first, program)


def run_kept(program: Program) -> str | None:
    """Runs a program to its end, in the namespace that the ones before it left.

    # Errors
    As `run`. The namespace is as the program left it then.
    """
    return _bounded(_next if _count else _first, program)


def _bounded(way: Callable[[Program], str | None], program: Program) -> str | None:
    try:
        return way(program)
    except Err:
        raise
    except MemoryError:
        raise _out_of_memory from None
    except RecursionError as error:
        raise Err(Failure_Recursion((failures.uncaught(error), sys.getrecursionlimit()))) from None
    except BaseException as error:
        # Not the program's doing, or its doing on purpose; in any case not a trap.
        raise Err(Failure_Exception(failures.uncaught(error))) from None


def _first(program: Program) -> str | None:
    return _run(program, program.name)


def _next(program: Program) -> str | None:
    """A program that is not the first of its instance."""
    global _reserve
    _out_of_memory.with_traceback(None)
    BaseException.__context__.__set__(_out_of_memory, None)
    if _reserve is None:
        _reserve = bytearray(_RESERVE_BYTES)
    # Ids of calls are the run's own: what the last one left must not take this one's answers.
    loop.forget()
    console.renew()
    tools.look_again()
    sys.modules["__main__"] = main
    # Functions of an earlier program of the same name keep their lines.
    return _run(program, tracebacks.unused_name(program.name))


def _run(program: Program, name: str) -> str | None:
    global _count
    _count += 1
    text = program.source.removeprefix("\ufeff")
    tracebacks.remember(name, text)
    namespace = main.__dict__
    namespace["__file__"] = name
    namespace["inputs"] = console.attach(program.input)
    # componentize-py empties the old list when it takes over the host's arguments.
    sys.argv = [name]
    imports.restrict(program.allowed_imports)
    earlier = _EarlierResult(namespace)

    failure = value = None
    try:
        pieces = _compiled(text, name)
        earlier.set_aside(pieces)
        value = _execute(pieces, namespace)
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
    earlier.put_back()
    try:
        if failure is not None:
            raise failure
        if value is None:
            value = namespace.get("result")
            if value is None or value is earlier.value:
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


class _EarlierResult:
    """The variable `result` as an earlier program left it: to be read like any other, but not this program's
    value. Most programs have none, and pay nothing for it."""

    def __init__(self, namespace: dict[str, object]) -> None:
        self.value = namespace.get("result", _MISSING)
        self._namespace = namespace
        self._is_aside = False

    def set_aside(self, pieces: list[CodeType]) -> None:
        """Moves it to where names are looked up next, if the program assigns the name: whether it has done
        so is seen then, even if it assigns the same object."""
        if self.value is _MISSING:
            return
        uses = _uses("result", pieces)
        if uses & _ASSIGNS and not uses & _DELETES:
            self._is_aside = True
            builtins.result = self._namespace.pop("result")

    def put_back(self) -> None:
        """Ends what `set_aside` did."""
        if not self._is_aside:
            return
        vars(builtins).pop("result", None)
        if "result" in self._namespace:
            self.value = _MISSING
        else:
            self._namespace["result"] = self.value


_ASSIGNS = frozenset({"STORE_NAME", "STORE_GLOBAL"})
_DELETES = frozenset({"DELETE_NAME", "DELETE_GLOBAL"})


def _uses(name: str, pieces: list[CodeType]) -> set[str]:
    """The instructions that have to do with a name, in the pieces and the functions in them."""
    found, waiting = set(), list(pieces)
    while waiting:
        piece = waiting.pop()
        waiting.extend(constant for constant in piece.co_consts if type(constant) is CodeType)
        if name in piece.co_names:
            found.update(step.opname for step in dis.get_instructions(piece) if step.argval == name)
    return found


def _compiled(text: str, name: str) -> list[CodeType]:
    try:
        return source.compile_program(text, name)
    except SyntaxError as error:
        raise Err(Failure_Syntax(failures.syntax(error))) from None
    except (ValueError, MemoryError, OverflowError) as error:
        # Null bytes, or a source too large or too deep for the parser.
        shown = failures.uncaught(error)
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
            return Err(Failure_Memory(failures.uncaught(error)))
        except MemoryError:
            return _out_of_memory
    if isinstance(error, RecursionError):
        return Err(Failure_Recursion((failures.uncaught(error), sys.getrecursionlimit())))
    if isinstance(error, ToolError) and error.tool:
        return Err(Failure_Call(_call_failure(error)))
    return Err(Failure_Exception(failures.uncaught(error)))


def _call_failure(error: ToolError) -> UncaughtCall:
    exception = failures.uncaught(error)
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
    except BaseException:
        pass  # Its `__str__` may raise, or stderr may be something else.
    return Err(Failure_Exit(1))


def reset() -> None:
    """Makes `__main__` as if no program had run yet. Called before the snapshot."""
    global _count
    _count = 0
    tracebacks.forget()
    namespace = main.__dict__
    namespace.clear()
    namespace.update(_main_module().__dict__)
    namespace.update(tools=tools.tools, aio=tools.aio)
    sys.modules["__main__"] = main
