"""Calls that were started and are not complete, and the one place that waits for them.

`tools.wait` hands out every completion there is, so whoever waits - an event loop, `time.sleep` - must
pass on what belongs to others. All of them wait here. Plain blocking calls do not: they go through
`tools.call`, which leaves other completions alone.
"""

import asyncio
import math
import operator
import time
from collections.abc import Callable

from componentize_py_types import Result

from . import console, host

_UINT64_MAX = 2**64 - 1
_NANOSECONDS = 1_000_000_000

#: The future of each call under way, by its id.
under_way: dict[int, asyncio.Future[Result]] = {}


def start(name: str, arguments: str) -> tuple[int, asyncio.Future[Result]]:
    """Starts a call of the running event loop. The future is given the `result` as it came."""
    return watch(host.start, name, arguments)


def watch(begin: Callable[[str, str], int], first: str, second: str) -> tuple[int, asyncio.Future[Result]]:
    """The same for whatever starts a call: reads and prompts complete where calls of tools do."""
    future = asyncio.get_running_loop().create_future()
    console.flush()
    call_id = begin(first, second)
    under_way[call_id] = future
    return call_id, future


def abandon(call_id: int, future: asyncio.Future[Result]) -> None:
    """Cancels a call whose waiter has gone. Nothing happens if it is complete, or of an earlier run: ids of
    calls begin anew with each."""
    if under_way.get(call_id) is future:
        del under_way[call_id]
        host.cancel(call_id)


def abandon_all() -> None:
    """Cancels what the program left under way."""
    for call_id, future in list(under_way.items()):
        abandon(call_id, future)


def wait(seconds: float | None) -> bool:
    """Waits for completions and gives each to its future. False if the time is over without any."""
    console.flush()
    nanoseconds = None if seconds is None else _nanoseconds(seconds)
    completions = host.wait(nanoseconds)
    for completion in completions:
        future = under_way.pop(completion.id, None)
        if future is not None and not future.done():
            try:
                future.set_result(completion.answer)
            except RuntimeError:
                pass  # Its event loop is closed: nobody waits for it any more.
    return bool(completions)


def sleep(seconds: float) -> None:
    """`time.sleep` of the sandbox: the host does the sleeping, and completions are kept meanwhile."""
    if not isinstance(seconds, (int, float)):
        seconds = operator.index(seconds)
    if seconds != seconds:
        raise ValueError("Invalid value NaN (not a number)")
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    if not under_way:
        wait(seconds)
        return
    end = time.monotonic() + seconds
    while wait(seconds):
        seconds = end - time.monotonic()
        if seconds <= 0:
            return


def _nanoseconds(seconds: float) -> int:
    if seconds <= 0:
        return 0
    # Rounded up: waking a little early would only make an event loop turn once more.
    exact = seconds * _NANOSECONDS
    return _UINT64_MAX if exact >= _UINT64_MAX else math.ceil(exact)


def install() -> None:
    """Puts `sleep` in place. A copy that some module took before keeps sleeping on WASI's clock."""
    sleep.__module__ = "time"
    time.sleep = sleep
