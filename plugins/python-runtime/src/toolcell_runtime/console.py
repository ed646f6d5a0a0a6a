"""`sys.stdout`, `sys.stderr` and `sys.stdin` of a run.

The streams are made at build time and live in the snapshot. They keep the order across both streams
and bound nothing: how much a run may print is the host's to say.
"""

import io
import json
import sys

from . import host


class _Writer(io.RawIOBase):
    """The bottom of a stream: bytes go to the host as they come."""

    def __init__(self, to: object, name: str) -> None:
        self._to = to
        self.name = name
        self.mode = "wb"

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(data)
        if chunk:
            host.write(self._to, chunk)
        return len(chunk)


class _StdoutWriter(_Writer):
    """What stderr still holds when stdout is sent was written before it: see `_Stderr`."""

    def write(self, data: object) -> int:
        _flush(STDERR)
        return super().write(data)


class _Stderr(io.TextIOWrapper):
    """Sends what stdout holds before it takes anything, so that stdout holds only what came later.

    Only this stream pays for the order: a `print` to stdout stays in C.
    """

    def write(self, text: str, /) -> int:
        _flush(STDOUT)
        return super().write(text)


class _NoInput(io.TextIOBase):
    """Standard input of a run that was given no input."""

    name = "<stdin>"
    encoding = "utf-8"
    errors = "strict"

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        return ""

    def readline(self, size: int = -1, /) -> str:
        raise EOFError("this run has no input: pass one with --input")

    def readlines(self, hint: int = -1, /) -> list[str]:
        return []

    def __next__(self) -> str:
        raise StopIteration

    def close(self) -> None:
        pass  # `exit()` closes standard input, and this object serves every run of the instance.


_STYLE = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n", "line_buffering": True}


def _streams() -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
    stdout = io.TextIOWrapper(io.BufferedWriter(_StdoutWriter(host.STDOUT, "<stdout>")), **_STYLE)
    stderr = _Stderr(io.BufferedWriter(_Writer(host.STDERR, "<stderr>")), **_STYLE)
    stdout.mode = stderr.mode = "w"
    return stdout, stderr


STDOUT, STDERR = _streams()
_NO_INPUT = _NoInput()


def renew() -> None:
    """Makes new streams if an earlier program of this instance closed or detached one."""
    global STDOUT, STDERR
    if not (_is_open(STDOUT) and _is_open(STDERR)):
        STDOUT, STDERR = _streams()


def _is_open(stream: io.TextIOWrapper) -> bool:
    try:
        return not stream.closed
    except ValueError:
        return False  # Detached.


def flush() -> None:
    """Sends unfinished lines. Called before everything that lets time pass."""
    try:
        STDOUT.flush()
        STDERR.flush()
    except ValueError:
        pass  # The program closed or detached one; what was in it is gone by its own wish.


def _flush(stream: io.TextIOWrapper) -> None:
    try:
        stream.flush()
    except ValueError:
        pass  # As above.


def attach(input_json: str | None) -> object:
    """Gives the run its three streams and returns the run's input as a value."""
    sys.stdout = sys.__stdout__ = STDOUT
    sys.stderr = sys.__stderr__ = STDERR
    if input_json is None:
        sys.stdin = sys.__stdin__ = _NO_INPUT
        return None
    value = json.loads(input_json)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # A buffer underneath, because programs that read numbers quickly use `sys.stdin.buffer`.
    encoded = io.BytesIO(text.encode("utf-8", "replace"))
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(encoded, encoding="utf-8", newline="\n")
    return value


def finish() -> None:
    """Sends what is left, also from streams that the program put in place of ours."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not STDOUT and stream is not STDERR:
            try:
                stream.flush()
            except BaseException:
                pass  # It may be anything, and raise `SystemExit`; its failure to flush is not the run's failure.
    _flush(STDOUT)
    _flush(STDERR)
