"""The texts of mcp-server-git, read: `git_log`, `git_show` and `git_diff`. Pure."""

import re
from dataclasses import dataclass, field

_COMMIT = re.compile(r"^Commit: ([0-9a-f]{40})\nAuthor: (.*)\nDate: (.*)\nMessage: ", re.MULTILINE)
_SHOWN = re.compile(r"^commit ([0-9a-f]{40})$", re.MULTILINE)
#: `feat(parser)!: subject`, after conventionalcommits.org
_CONVENTIONAL = re.compile(r"^([a-z]+)(?:\(([^()]+)\))?(!)?: +(.+)$")
#: `[scope] subject`
_BRACKETED = re.compile(r"^\[([^\[\]]+)\] +(.+)$")


@dataclass
class Commit:
    sha: str
    author: str
    date: str
    subject: str
    #: `feat`, `fix`, …; empty if the subject names no type
    kind: str = ""
    scope: str = ""
    breaking: bool = False
    #: The files that it touches, where somebody asked.
    files: list[str] = field(default_factory=list)


@dataclass
class Area:
    """A folder at the top, or a file there."""

    folder: str
    files: int = 0
    added: int = 0
    removed: int = 0


def commits(log: str) -> list[Commit]:
    """The commits of a `git_log`, in its order: the newest first."""
    begins = list(_COMMIT.finditer(log))
    ends = [match.start() for match in begins[1:]] + [len(log)]
    return [_commit(match, log[match.end() : end].strip()) for match, end in zip(begins, ends)]


def _commit(match: re.Match[str], message: str) -> Commit:
    subject, _, body = message.partition("\n")
    made = Commit(sha=match[1], author=match[2].strip(), date=match[3].strip()[:10], subject=subject.strip())
    if typed := _CONVENTIONAL.match(made.subject):
        made.kind, made.scope, made.subject = typed[1], typed[2] or "", typed[4]
        made.breaking = bool(typed[3])
    elif scoped := _BRACKETED.match(made.subject):
        made.scope, made.subject = scoped[1], scoped[2]
    made.breaking = made.breaking or re.search(r"^BREAKING[ -]CHANGE: ", body, re.MULTILINE) is not None
    return made


def revision(shown: str) -> str | None:
    """The full name of the commit that a `git_show` shows."""
    found = _SHOWN.search(shown)
    return found[1] if found else None


def touched(diff: str) -> list[str]:
    """The files of a diff, each once. Only headers count: a line of a file may look like one."""
    return list(dict.fromkeys(path for path, _, _ in _changes(diff)))


def areas(diff: str) -> list[Area]:
    """Where a diff changes how much, the largest change first."""
    found: dict[str, Area] = {}
    for path, added, removed in _changes(diff):
        folder, slash, _ = path.partition("/")
        area = found.setdefault(folder + slash, Area(folder + slash))
        area.files += 1
        area.added += added
        area.removed += removed
    return sorted(found.values(), key=lambda area: (-(area.added + area.removed), area.folder))


def _changes(diff: str):
    """Path, added and removed lines of each file. A hunk says how long it is, and so where headers are."""
    lines = iter(diff.splitlines())
    path, old, added, removed = None, None, 0, 0
    for line in lines:
        if line.startswith("--- "):
            if path is not None:
                yield path, added, removed
            path, old, added, removed = None, _path(line, "a/"), 0, 0
        elif line.startswith("+++ "):
            path = _path(line, "b/") or old
        elif (hunk := re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line)) and path is not None:
            left, right = int(hunk[1] or 1), int(hunk[2] or 1)
            while left > 0 or right > 0:
                line = next(lines, None)
                if line is None:
                    break
                if line.startswith("-"):
                    left, removed = left - 1, removed + 1
                elif line.startswith("+"):
                    right, added = right - 1, added + 1
                elif not line.startswith("\\"):
                    left, right = left - 1, right - 1
    if path is not None:
        yield path, added, removed


def _path(line: str, prefix: str) -> str | None:
    """The path in `--- a/path` or `+++ b/path`; nothing for `/dev/null`."""
    path = line[4:].split("\t")[0].strip().strip('"')
    return path.removeprefix(prefix) if path.startswith(prefix) else None
