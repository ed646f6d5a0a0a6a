"""Compares toolcell with pyeryx and with native CPython, in one run, and prints a table of ratios.

`cargo xtask bench` builds what this needs and runs it. The sides take turns, so that a machine that
becomes slower in between slows all of them; each figure is the median over the rounds.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
GOALS = [
    # figure, rival's figure, the most that the ratio may be, words
    ("run/ready", "run/fresh", 0.25, "sum(range(1000)) in a never-used sandbox, made ready ahead"),
    ("run/made", "run/fresh", 1 / 1.5, "the same, made on the spot: 1 / fresh sandboxes a second"),
    ("loop/for", "loop/for", 1.0, "a million turns of a for loop"),
    ("loop/sum", "loop/sum", 1.0, "a million turns of a generator"),
    ("call", "call", None, "one tool call, guest to host and back"),
]


def criterion_side(binary, target, names):
    """Runs the in-process benchmark and reads the medians that criterion wrote, in seconds."""
    pattern = "^(" + "|".join(names) + ")$"
    command = [binary, "--bench", pattern, "--measurement-time", "2", "--noplot"]
    environment = dict(os.environ, CRITERION_HOME=str(target))
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    figures = {}
    for name in names:
        folder = name.replace("/", "_")
        estimates = json.loads((target / folder / "new" / "estimates.json").read_text())
        figures[name] = estimates["median"]["point_estimate"] / 1e9
    return figures


def json_side(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def process_time(command, runs=15):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def shown(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--metered", required=True, help="the benchmark binary")
    arguments.add_argument("--unmetered", required=True, help="the same, built without fuel")
    arguments.add_argument("--memory", required=True, help="the memory benchmark")
    arguments.add_argument("--toolcell", required=True, help="the program")
    arguments.add_argument("--pyeryx", help="an interpreter that has pyeryx")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()

    names = ["run/ready", "run/made", "call", "call-concurrent", "loop/for", "loop/sum"]
    loops = ["call", "loop/for", "loop/sum"]
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds} ...", file=sys.stderr)
            one = {"toolcell": criterion_side(given.metered, scratch / "metered", names)}
            if given.pyeryx:
                one["pyeryx"] = json_side([given.pyeryx, str(HERE / "pyeryx_side.py")])
            one["unmetered"] = criterion_side(given.unmetered, scratch / "unmetered", loops)
            one["native"] = json_side([sys.executable, str(HERE / "native_side.py")])
            rounds.append(one)
    memory = json_side([given.memory])
    command = process_time([given.toolcell, "run", "--quiet", "-c", "1+1"])

    def median(side, figure):
        return statistics.median(one[side][figure] for one in rounds)

    def ratio(side, figure, other, others):
        return statistics.median(one[side][figure] / one[other][others] for one in rounds)

    print(f"{'toolcell against pyeryx':66} {'ours':>9} {'theirs':>9} {'ratio':>6}  goal")
    for figure, theirs, goal, words in GOALS:
        ours = shown(median("toolcell", figure))
        if not given.pyeryx or theirs not in rounds[0]["pyeryx"]:
            print(f"{words:66} {ours:>9} {'-':>9} {'-':>6}")
            continue
        value = ratio("toolcell", figure, "pyeryx", theirs)
        wanted = "" if goal is None else f"<= {goal:.2f}" + ("" if value <= goal else "  MISSED")
        their_time = shown(median("pyeryx", theirs))
        print(f"{words:66} {ours:>9} {their_time:>9} {value:6.2f}  {wanted}")
    print()
    print(f"{'toolcell against native CPython':66} {'ours':>9} {'theirs':>9} {'ratio':>6}")
    for figure in ("loop/for", "loop/sum"):
        value = ratio("toolcell", figure, "native", figure)
        times = [shown(median(side, figure)) for side in ("toolcell", "native")]
        print(f"{figure:66} {times[0]:>9} {times[1]:>9} {value:6.2f}")
    print()
    print(f"{'what metering costs: with fuel against without':66} {'with':>9} {'without':>9} {'ratio':>6}  goal")
    for figure in loops:
        value = ratio("toolcell", figure, "unmetered", figure)
        times = [shown(median(side, figure)) for side in ("toolcell", "unmetered")]
        wanted = "<= 1.15" + ("" if value <= 1.15 else "  MISSED")
        print(f"{figure:66} {times[0]:>9} {times[1]:>9} {value:6.2f}  {wanted}")
    print()

    def absolute(words, value, limit, text):
        print(f"{words:66} {text:>9}  goal <= {limit}" + ("" if value else "  MISSED"))

    call = median("toolcell", "call")
    absolute("one tool call, guest to host and back", call <= 10e-6, "10 µs", shown(call))
    concurrent = median("toolcell", "call-concurrent")
    print(f"{'one of a thousand concurrent calls (asyncio.gather)':66} {shown(concurrent):>9}")
    absolute("toolcell run -c '1+1' as a process, warm cache", command <= 25e-3, "25 ms", shown(command))
    ready = memory["ready_instance_bytes"]
    absolute("private memory of a ready instance", ready <= 2 << 20, "2 MiB", f"{ready / 2**20:.2f} MiB")
    print(f"{'private memory of a run that waits in an await':66} {memory['waiting_run_bytes'] / 2**20:.2f} MiB")
    print(f"{'a thousand waiting runs: to start them, to cancel them':66} "
          f"{memory['start_1000_waiting_ms']} ms, {memory['cancel_1000_waiting_ms']} ms")


if __name__ == "__main__":
    main()
