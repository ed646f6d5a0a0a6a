"""Exceptions as the program's author should see them: CPython's own words, and only the program's frames.

Never raises, whatever the exception's methods do, except for memory.
"""

import linecache
import sys
import traceback
from itertools import pairwise

#: The name under which the running program was compiled.
program_name = ""

#: The names of all programs of this namespace. Frames of other files are not shown.
_names: set[str] = set()

_HEADER = "Traceback (most recent call last):"
# Of more frames, as a program gets that raises the recursion limit, the middle ones are left out.
_MAX_FRAMES = 1200
_PLACELESS = {"builtins", "__main__"}


def remember(name: str, source: str) -> None:
    """Lets tracebacks and `inspect.getsource` find the program's lines."""
    global program_name
    program_name = name
    _names.add(name)
    # With no modification time, `linecache.checkcache` leaves the entry alone.
    linecache.cache[name] = (len(source), None, _lines(source), name)


def unused_name(name: str) -> str:
    """The name, or one like it that no program of this namespace has had."""
    unused, number = name, len(_names)
    while unused in _names:
        number += 1
        unused = f"{name} ({number})"
    return unused


def forget() -> None:
    """Forgets the programs so far."""
    for name in _names:
        linecache.cache.pop(name, None)
    _names.clear()


def syntax(error: SyntaxError) -> str:
    """A program that does not compile, as CPython prints it: place, line and caret, and no traceback."""
    if error.text is None and error.lineno is not None and error.filename == program_name:
        # Errors found after parsing come without their line, as the source is no file.
        error.text = linecache.getline(program_name, error.lineno) or None
    return clean("".join(traceback.TracebackException(type(error), error, None).format_exception_only()))


def text(error: BaseException) -> str:
    """The whole traceback with its chain of causes."""
    try:
        _explain(error)
        # Frames of other files are cut before they are formatted: a deep one may have thousands.
        _keep_own_frames(error, set())
        shown = "".join(traceback.TracebackException(type(error), error, error.__traceback__).format())
        # CPython leaves the first line out where there are no frames, as for an error on the way out.
        return shown if _HEADER in shown else f"{_HEADER}\n{shown}"
    except MemoryError:
        raise
    except Exception:
        return f"{_HEADER}\n{class_name(type(error))}: {message(error)}\n"


def class_name(kind: type) -> str:
    """The class as the program would name it."""
    try:
        module, name = str(kind.__module__), kind.__qualname__
    except Exception:
        return "Exception"
    return name if module in _PLACELESS else f"{module}.{name}"


def clean(shown: str) -> str:
    """Text that can cross the component's boundary: no half of a surrogate pair."""
    if shown.isascii():
        return shown
    return shown.encode("utf-8", "backslashreplace").decode()


def message(error: BaseException) -> str:
    """What `str()` gives, if it gives anything."""
    try:
        return str(error)
    except MemoryError:
        raise
    except Exception:
        return "<exception str() failed>"


def _lines(source: str) -> list[str]:
    # Not `splitlines`, which also splits at form feeds and the like, where Python's lines do not end.
    return [line + "\n" for line in source.split("\n")]


def _linked(error: BaseException) -> list[BaseException]:
    linked = [error.__cause__, error.__context__]
    if isinstance(error, BaseExceptionGroup):
        linked.extend(error.exceptions)
    return [other for other in linked if other is not None]


def _keep_own_frames(error: BaseException, seen: set[int]) -> None:
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        steps, step = [], one.__traceback__
        while step is not None:
            steps.append(step)
            step = step.tb_next
        # Unlinked first: a long chain that is dropped whole is freed recursively, on the wasm stack.
        for step in steps:
            step.tb_next = None
        kept = [step for step in steps if step.tb_frame.f_code.co_filename in _names]
        if len(kept) > _MAX_FRAMES:
            kept[_MAX_FRAMES // 2 : -_MAX_FRAMES // 2] = []
        for step, following in pairwise(kept):
            step.tb_next = following
        # Not by assignment: the class may be a frozen dataclass.
        BaseException.__traceback__.__set__(one, kept[0] if kept else None)
        waiting.extend(_linked(one))


def _explain(error: BaseException) -> None:
    """Says about a missing module what the program's author can do."""
    if not isinstance(error, ModuleNotFoundError) or not error.name or getattr(error, "__notes__", None):
        return
    top = error.name.partition(".")[0]
    if top in sys.stdlib_module_names:
        error.add_note(f"`{top}` is part of Python but not of this sandbox.")
    else:
        error.add_note("The sandbox has Python's standard library and `tools`; packages cannot be installed.")
