"""Says the same to the real AutoGen Studio server and to toolcell, and compares all that comes back, frame by frame.

The argument is JSON: `studio` and `toolcell`, addresses; `token`, toolcell's; `servers`, parameters by name. It fails
on every difference that is not in `differences.toml`, and on every one there that was not seen.

`--record FILE` writes what both said; `--only WORDS` runs the cases whose names have these words; `--slow` runs those
too that take a minute.
"""

import argparse
import asyncio
import json
import sys
from difflib import SequenceMatcher
from pathlib import Path

from cases import CASES, SLOW
from differences import ABSENT, as_text, listed_ones
from wire import Bridge, Talk

AT_ONCE = 3


async def run(bridge, names, servers):
    """What the bridge said in each case."""
    few = asyncio.Semaphore(AT_ONCE)

    async def one(name):
        async with few:
            talk = Talk(bridge)
            try:
                await CASES[name](talk, servers)
            except Exception as error:
                talk.step("the rest").append({"broken": f"{type(error).__name__}: {error}"})
            finally:
                await talk.close()
            return name, talk.steps

    return dict(await asyncio.gather(*(one(name) for name in names)))


def kind(entry):
    """What makes two entries the same one, perhaps with differences inside."""
    [(what, value)] = entry.items()
    if what != "frame":
        return what
    parts = [value.get("type"), value.get("operation"), value.get("activity_type")]
    if value.get("activity_type") == "protocol":
        parts.append(value["details"]["content"]["method"])
    return " ".join(["frame", *(str(part) for part in parts if part is not None)])


def differences(case, studio, toolcell):
    """All differences of a case: `{case, sent, path, studio, toolcell}`."""
    for i in range(max(len(studio), len(toolcell))):
        ours = toolcell[i] if i < len(toolcell) else {"sent": None, "got": []}
        theirs = studio[i] if i < len(studio) else {"sent": None, "got": []}
        sent = theirs["sent"] or ours["sent"]
        for path, a, b in entries(theirs["got"], ours["got"]):
            yield {"case": case, "sent": sent, "path": path, "studio": a, "toolcell": b}


def entries(theirs, ours):
    a, b = [kind(entry) for entry in theirs], [kind(entry) for entry in ours]
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            for i, j in zip(range(i1, i2), range(j1, j2)):
                [left], [right] = theirs[i].values(), ours[j].values()
                if a[i] == "http" and left["status"] != right["status"]:
                    yield "http", left, right
                else:
                    yield from values(a[i], left, right)
            continue
        for i in range(i1, i2):
            yield f"{a[i]}", theirs[i], ABSENT
        for j in range(j1, j2):
            yield f"{b[j]}", ABSENT, ours[j]


def values(path, a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        for name in [*a, *(name for name in b if name not in a)]:
            yield from values(f"{path}.{name}", a.get(name, ABSENT), b.get(name, ABSENT))
    elif isinstance(a, list) and isinstance(b, list):
        for i in range(max(len(a), len(b))):
            left = a[i] if i < len(a) else ABSENT
            yield from values(f"{path}[{i}]", left, b[i] if i < len(b) else ABSENT)
    elif a != b or isinstance(a, bool) != isinstance(b, bool):
        yield path, a, b


async def main():
    args = argparse.ArgumentParser()
    args.add_argument("asked", type=json.loads)
    args.add_argument("--record", type=Path)
    args.add_argument("--only", default="")
    args.add_argument("--slow", action="store_true")
    args = args.parse_args()
    asked = args.asked
    names = [name for name in CASES if args.only in name and (args.slow or name not in SLOW)]
    bridges = [Bridge("studio", asked["studio"]), Bridge("toolcell", asked["toolcell"], asked["token"])]
    studio, toolcell = await asyncio.gather(*(run(bridge, names, asked["servers"]) for bridge in bridges))
    if args.record:
        args.record.write_text(json.dumps({"studio": studio, "toolcell": toolcell}, indent=1, ensure_ascii=False))

    listed = listed_ones()
    found = [each for name in names for each in differences(name, studio[name], toolcell[name])]
    new = [each for each in found if not any([one.is_it(each) for one in listed])]
    for each in new:
        print(f"not listed: {each['case']}, {each['sent']}: {each['path']}")
        print(f"    studio:   {shortened(each['studio'])}")
        print(f"    toolcell: {shortened(each['toolcell'])}")
    whole = not args.only and args.slow
    old = [(one.what, place) for one in listed for place in one.unseen()] if whole else []
    for what, place in old:
        print(f"listed, and not there: {what}: {place}")
    broken = [
        f"{bridge}: {name}: {entry['broken']}"
        for bridge, said in (("studio", studio), ("toolcell", toolcell))
        for name, steps in said.items()
        for step in steps
        for entry in step["got"]
        if "broken" in entry
    ]
    for each in broken:
        print(f"a case came to no end: {each}")
    answers = sum(len(step["got"]) for steps in studio.values() for step in steps)
    print(
        f"{len(names)} cases, {answers} answers: {len(found) - len(new)} differences are among the {len(listed)} that are "
        f"listed, {len(new)} are not; {len(old)} places of the list were not seen"
    )
    return bool(new or old or broken or not answers)


def shortened(value):
    text = as_text(value)
    return text if len(text) < 600 else f"{text[:600]}…"


sys.exit(asyncio.run(main()))
