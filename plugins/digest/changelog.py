"""What a changelog says of the newest version. Pure."""

import re
from dataclasses import dataclass

NAMES = ("changelog.md", "changelog", "changes.md", "changes", "history.md", "news.md", "releases.md")
_HEADING = re.compile(r"^(#{1,3})\s+(.+?)\s*#*$")
#: A heading that names a version, or what is not released yet.
_VERSION = re.compile(r"\d+\.\d+|unreleased|next", re.IGNORECASE)
_MAX_LINES = 60


@dataclass
class Excerpt:
    path: str
    heading: str
    text: str


def pick(names: list[str]) -> str | None:
    """The changelog among a folder's files."""
    by_name = {name.lower(): name for name in names}
    return next((by_name[name] for name in NAMES if name in by_name), None)


def newest(path: str, text: str) -> Excerpt | None:
    """The first section about a version."""
    lines = text.splitlines()
    is_code = False
    begin, depth, heading = None, 0, ""
    for number, line in enumerate(lines):
        if line.startswith("```"):
            is_code = not is_code
        found = None if is_code else _HEADING.match(line)
        if found is None:
            continue
        if begin is None and _VERSION.search(found[2]):
            begin, depth, heading = number + 1, len(found[1]), found[2]
        elif begin is not None and len(found[1]) <= depth:
            return Excerpt(path, heading, _cut(lines[begin:number]))
    return None if begin is None else Excerpt(path, heading, _cut(lines[begin:]))


def _cut(lines: list[str]) -> str:
    text = "\n".join(lines[:_MAX_LINES]).strip()
    left = len(lines) - _MAX_LINES
    return f"{text}\n… and {left} more lines" if left > 0 else text
