"""Native CPython's side of the comparison: medians in seconds as one JSON object on stdout."""

import json
import statistics
import time

LOOPS = {
    "loop/for": "for n in range(1_000_000):\n    pass",
    "loop/sum": "sum(n * n for n in range(10**6))",
}


def median_of(runs, code):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        exec(code, {})
        times.append(time.perf_counter() - start)
    return statistics.median(times)


print(json.dumps({name: median_of(7, compile(source, name, "exec")) for name, source in LOOPS.items()}))
