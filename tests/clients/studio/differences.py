"""The differences between AutoGen Studio's bridge and toolcell's that are as they should be: `differences.toml`.

As a program it prints them as the table of docs/bridge.md.
"""

import json
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path


class Absent:
    def __repr__(self):
        return "(nothing)"


#: What one of the two did not say.
ABSENT = Absent()


class Listed:
    """A difference, its places, and why it is one."""

    def __init__(self, written):
        self.what = written["what"]
        self.studio = written["studio"]
        self.toolcell = written["toolcell"]
        self.why = written["why"]
        #: One that is `sometimes` there need not be.
        self.may_be_absent = [place.pop("sometimes", False) for place in written["places"]]
        self.places = written["places"]
        self.seen = [0] * len(self.places)

    def is_it(self, difference):
        """Each place has globs for some of `case`, `sent`, `path`, `studio` and `toolcell`, and all of them fit."""
        hit = False
        for i, place in enumerate(self.places):
            if all(fnmatchcase(as_text(difference[name]), literal_brackets(glob)) for name, glob in place.items()):
                self.seen[i] += 1
                hit = True
        return hit

    def unseen(self):
        """The places that no difference was at, and one should have been."""
        places = zip(self.places, self.seen, self.may_be_absent)
        return [place for place, seen, may_be_absent in places if not seen and not may_be_absent]


def literal_brackets(glob):
    """Paths and JSON are full of them."""
    return glob.replace("[", "[[]")


def as_text(value):
    if isinstance(value, str):
        return value
    return repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)


def listed_ones():
    text = Path(__file__).with_suffix(".toml").read_text()
    return [Listed(written) for written in tomllib.loads(text)["difference"]]


if __name__ == "__main__":
    print("| what | AutoGen Studio 0.4.3.dev2 | here | why |")
    print("|---|---|---|---|")
    for one in listed_ones():
        print(f"| {one.what} | {one.studio} | {one.toolcell} | {one.why} |")
