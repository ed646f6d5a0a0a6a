"""Compares calls of plugins with Extism's, and fresh JavaScript sandboxes with quickjs-emscripten's, in
one run, and prints ratios. `cargo xtask bench` builds and installs what this needs and runs it.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile

from compare import HERE, criterion_side, json_side, shown

FIGURES = [
    # ours, theirs, the most it may take in seconds, words
    ("plugin/typed", "extism/fresh", 50e-6, "a plugin's call: fresh instance, typed arguments"),
    ("plugin/kept", "extism/kept", None, "the same in an instance that is kept"),
    ("javascript/fresh", "quickjs-emscripten/runtime", 80e-6, "a fresh JavaScript sandbox and one line"),
    ("javascript/fresh", "quickjs-emscripten/context", 50e-6, "the same, of which 20,000 a second are wanted"),
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--plugins", required=True, help="the benchmark binary")
    arguments.add_argument("--extism", help="an interpreter that has extism")
    arguments.add_argument("--quickjs", help="a folder with quickjs-emscripten in node_modules")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()

    names = sorted({ours for ours, *_ in FIGURES})
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds} ...", file=sys.stderr)
            one = criterion_side(given.plugins, pathlib.Path(scratch), names)
            if given.extism:
                one |= json_side([given.extism, str(HERE / "plugins_side.py")])
            if given.quickjs:
                # Node finds packages beside the script, so it has to lie there.
                script = pathlib.Path(given.quickjs) / "plugins_side.mjs"
                script.write_text((HERE / "plugins_side.mjs").read_text())
                one |= json_side(["node", str(script)])
            rounds.append(one)

    print(f"{'plugins':58} {'ours':>9} {'theirs':>9} {'ratio':>6}  goal")
    for ours, theirs, goal, words in FIGURES:
        time = statistics.median(one[ours] for one in rounds)
        wanted = "" if goal is None else f"<= {shown(goal)}" + ("" if time <= goal else "  MISSED")
        if theirs not in rounds[0]:
            print(f"{words:58} {shown(time):>9} {'-':>9} {'-':>6}  {wanted}")
            continue
        their_time = statistics.median(one[theirs] for one in rounds)
        ratio = statistics.median(one[ours] / one[theirs] for one in rounds)
        print(f"{words:58} {shown(time):>9} {shown(their_time):>9} {ratio:6.2f}  {wanted}")


if __name__ == "__main__":
    main()
