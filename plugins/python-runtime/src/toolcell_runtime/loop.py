"""asyncio's event loop on `tools.wait`: timers and tool calls, and nothing else.

There are no sockets, no threads and no signals here. Unlike CPython's, the loop may be entered again
while it runs, because agents write `asyncio.run(main())` without looking where they are; and it never
sleeps for ever: an await that nothing can wake raises `RuntimeError`.
"""

import asyncio
import heapq
import sys
import threading
from asyncio import events, runners, tasks, threads
from collections.abc import Callable, Coroutine

from . import calls, tracebacks

# With work at hand the host is asked only so often: asking costs, and each answer is journalled.
_TURNS_BETWEEN_POLLS = 32
_DEADLOCK = "deadlock: nothing can wake this await: no tool call is under way and no timer is set"
_NO_THREADS = "there are no threads in the sandbox: for concurrent tool calls use `await asyncio.gather(aio.…, aio.…)`"

#: Every loop of the run that may still hold tasks.
_made: list["Loop"] = []


class Loop(asyncio.BaseEventLoop):
    """An event loop that waits in the host."""

    def __init__(self) -> None:
        super().__init__()
        self._turns = 0
        self._awaited: asyncio.Future | None = None
        _made.append(self)

    # What `BaseEventLoop` leaves to its selector.

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass  # Wakes a selector from another thread; there is none.

    def run_forever(self) -> None:
        self._check_closed()
        self._enter(None)

    def run_until_complete(self, future):
        self._check_closed()
        is_new = not asyncio.isfuture(future)
        future = tasks.ensure_future(future, loop=self)
        if is_new:
            future._log_destroy_pending = False
        try:
            self._enter(future)
        except BaseException:
            if is_new and future.done() and not future.cancelled():
                future.exception()  # Marks it as seen: what came out says the same.
            raise
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def _enter(self, awaited: asyncio.Future | None) -> None:
        """Turns until `awaited` is done or `stop()` is called; inside another loop's turn if need be."""
        outer = events._get_running_loop()
        paused = None if outer is None else tasks.current_task(outer)
        before = self._thread_id, self._awaited
        # A stop asked for before the loop runs gives it one turn; one that is meant for an outer turn waits.
        stopping, self._stopping = self._stopping, self._stopping and not self.is_running()
        hooks = sys.get_asyncgen_hooks()
        if paused is not None:
            tasks._leave_task(outer, paused)
        self._thread_id, self._awaited = threading.get_ident(), awaited
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
        events._set_running_loop(self)
        try:
            while awaited is None or not awaited.done():
                self._run_once()
                if self._stopping:
                    break
        finally:
            self._thread_id, self._awaited = before
            self._stopping = stopping and self.is_running()
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(outer)
            if paused is not None:
                tasks._enter_task(outer, paused)

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False

        if not ready and not self._stopping:
            self._turns = 0
            if scheduled:
                seconds = scheduled[0]._when - self.time()
                if seconds > 0 or calls.under_way:
                    calls.wait(seconds)
            elif calls.under_way:
                calls.wait(None)
            else:
                self._break_deadlock()
        elif calls.under_way:
            self._turns += 1
            if self._turns >= _TURNS_BETWEEN_POLLS:
                self._turns = 0
                calls.wait(0)

        if scheduled:
            due = self.time() + self._clock_resolution
            while scheduled and scheduled[0]._when < due:
                timer = heapq.heappop(scheduled)
                timer._scheduled = False
                ready.append(timer)

        for _ in range(len(ready)):
            if not ready:
                break  # A nested turn has run the rest.
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _break_deadlock(self) -> None:
        """Fails the innermost await, so that the traceback shows the program's line and not ours."""
        error = RuntimeError(_DEADLOCK)
        waiter = self._awaited
        while isinstance(waiter, asyncio.Task) and waiter._fut_waiter is not None:
            waiter = waiter._fut_waiter
        if waiter is None or isinstance(waiter, asyncio.Task) or waiter.done():
            raise error
        waiter.set_exception(error)

    # What the sandbox has not.

    def run_in_executor(self, executor, func, *args):
        raise RuntimeError(_NO_THREADS)

    def default_exception_handler(self, context: dict[str, object]) -> None:
        message = context.get("message") or "Unhandled exception in event loop"
        error = context.get("exception")
        shown = "" if error is None else tracebacks.text(error)
        try:
            print(message, shown, sep="\n", end="", file=sys.stderr)
        except Exception:
            pass  # The program put something else in place of stderr.

    def finish(self) -> None:
        """Ends what the program left running, as `asyncio.run` does."""
        if self.is_closed():
            return
        left = tasks.all_tasks(self)
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(tasks.gather(*left, return_exceptions=True))
        if len(self._asyncgens):
            self.run_until_complete(self.shutdown_asyncgens())
        self.close()


def run(main: Coroutine) -> object:
    """Runs a coroutine to its end in a loop of its own. What it leaves is ended by `finish`."""
    return Loop().run_until_complete(main)


def in_use() -> bool:
    """Whether the run made a loop or left a call under way."""
    return bool(_made or calls.under_way)


def finish() -> None:
    """Ends every loop of the run and cancels the calls under way."""
    while _made:
        ended = _made.pop()
        try:
            ended.finish()
        except BaseException:
            # A task of the program that fights its end has had its say: it never has its turn again.
            ended._ready.clear()
            ended._scheduled.clear()
    if calls.under_way:
        calls.abandon_all()


_Policy = getattr(events, "_BaseDefaultEventLoopPolicy", None) or events.BaseDefaultEventLoopPolicy


class _LoopPolicy(_Policy):
    """Gives our loop wherever asyncio makes one, also for the old idiom `asyncio.get_event_loop()`."""

    _loop_factory = Loop

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        if self._local._loop is None or self._local._loop.is_closed():
            self.set_event_loop(self.new_event_loop())
        return self._local._loop


_policy = _LoopPolicy()


def _nested(original: Callable) -> Callable:
    """`asyncio.run` that works inside a running loop: on that loop, while the caller waits."""

    def run(main, *, debug=None, loop_factory=None):
        running = events._get_running_loop()
        if running is None:
            return original(main, debug=debug, loop_factory=loop_factory)
        return running.run_until_complete(_checked(main))

    run.__doc__ = original.__doc__
    run.__module__ = "asyncio"
    return run


def _nested_method(original: Callable) -> Callable:
    def run(self, coro, *, context=None):
        running = events._get_running_loop()
        if running is None:
            return original(self, coro, context=context)
        return running.run_until_complete(running.create_task(_checked(coro), context=context))

    run.__doc__ = original.__doc__
    return run


def _checked(main: object) -> Coroutine:
    if not asyncio.iscoroutine(main):
        raise ValueError(f"a coroutine was expected, got {main!r}")
    return main


async def _to_thread(func, /, *args, **kwargs):
    """Runs the function at once, in place: there are no threads."""
    return func(*args, **kwargs)


def _no_thread(*args, **kwargs):
    raise RuntimeError(_NO_THREADS)


def install() -> None:
    """Makes asyncio use this loop everywhere. Called once, before the snapshot."""
    set_policy = getattr(events, "_set_event_loop_policy", None) or events.set_event_loop_policy
    set_policy(_policy)
    for name in ("SelectorEventLoop", "EventLoop"):
        setattr(asyncio, name, Loop)
    asyncio.run = runners.run = _nested(runners.run)
    runners.Runner.run = _nested_method(runners.Runner.run)
    _to_thread.__name__ = _to_thread.__qualname__ = "to_thread"
    asyncio.to_thread = threads.to_thread = _to_thread
    for name in ("_start_joinable_thread", "_start_new_thread"):
        if hasattr(threading, name):
            setattr(threading, name, _no_thread)


def forget() -> None:
    """Drops what is left of loops and calls: by warm-up, and by an earlier program of this instance."""
    _made.clear()
    calls.under_way.clear()
    _policy.set_event_loop(None)
