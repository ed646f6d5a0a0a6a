"""pyeryx's side of the comparison: medians in seconds as one JSON object on stdout.

Run by `benches/compare.py` with an interpreter that has pyeryx; not meant to be run by hand.
"""

import json
import statistics
import time

import eryx

SMALL = "sum(range(1000))"
RUNS = 40


def median_of(runs, action):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


sandbox = eryx.Sandbox()
sandbox.execute(SMALL)


def with_calls(count, call):
    def echo(n):
        return {"n": n}

    callbacks = [{"name": "echo", "fn": echo, "description": "answers with its argument"}]
    return eryx.Sandbox(callbacks=callbacks), f"for n in range({count}):\n    {call}"


def per_call():
    """The time of one call out of a thousand, without the time of the run itself."""
    guest, many = with_calls(1000, "await echo(n=1)")
    none = "for n in range(1000):\n    pass"
    guest.execute(many)
    return max(median_of(7, lambda: guest.execute(many)) - median_of(7, lambda: guest.execute(none)), 0) / 1000


results = {
    # A new sandbox object, and one run in it: nothing of an earlier run can be there.
    "run/fresh": median_of(RUNS, lambda: eryx.Sandbox().execute(SMALL)),
    # One sandbox object used again and again.
    "run/again": median_of(RUNS, lambda: sandbox.execute(SMALL)),
    "loop/for": median_of(5, lambda: sandbox.execute("for n in range(1_000_000):\n    pass")),
    "loop/sum": median_of(5, lambda: sandbox.execute("sum(n * n for n in range(10**6))")),
}
try:
    results["call"] = per_call()
except Exception as error:  # the callback interface is theirs to change
    results["call_error"] = repr(error)
print(json.dumps(results))
