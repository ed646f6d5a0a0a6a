"""The digest: commits in groups, and all of it as Markdown. Pure."""

from collections import Counter
from dataclasses import dataclass, field

from changelog import Excerpt
from history import Area, Commit

_TITLES = {
    "feat": "Features",
    "fix": "Fixes",
    "perf": "Performance",
    "docs": "Documentation",
    "refactor": "Refactoring",
    "test": "Tests",
    "build": "Build",
    "ci": "Continuous integration",
    "chore": "Chores",
    "revert": "Reverts",
    "style": "Style",
}
_OTHER = "Other"


@dataclass
class Group:
    title: str
    commits: list[Commit]


@dataclass
class Contributor:
    name: str
    commits: int


@dataclass
class Digest:
    """What happened in a repository since a tag."""

    since: str
    #: Whether all commits since then are here, or only the newest of them.
    complete: bool
    #: By `type`, `scope` or `folder`.
    grouped_by: str
    groups: list[Group]
    breaking: list[str]
    contributors: list[Contributor]
    areas: list[Area]
    changelog: Excerpt | None
    #: What could not be had, and why.
    missing: list[str] = field(default_factory=list)
    markdown: str = ""


def best_grouping(commits: list[Commit]) -> str:
    """What most subjects tell: their type, their scope, or nothing, and then the folders have to."""
    typed = sum(bool(commit.kind) for commit in commits)
    scoped = sum(bool(commit.scope) for commit in commits)
    if 2 * typed >= len(commits) > 0:
        return "type"
    return "scope" if 2 * scoped >= len(commits) > 0 else "folder"


def groups(commits: list[Commit], by: str) -> list[Group]:
    """The commits in groups; known types in their customary order, others by size."""
    found: dict[str, list[Commit]] = {}
    for commit in commits:
        for name in _names(commit, by):
            found.setdefault(name, []).append(commit)
    order = {title: number for number, title in enumerate(_TITLES.values())}
    made = [Group(name, members) for name, members in found.items()]
    return sorted(
        made,
        key=lambda group: (group.title == _OTHER, order.get(group.title, len(order)), -len(group.commits), group.title),
    )


def _names(commit: Commit, by: str) -> list[str]:
    if by == "type":
        return [_TITLES.get(commit.kind, commit.kind or _OTHER)]
    if by == "scope":
        return [commit.scope or _OTHER]
    folders = (path.partition("/") for path in commit.files)
    return list(dict.fromkeys(folder + slash for folder, slash, _ in folders)) or [_OTHER]


def contributors(commits: list[Commit]) -> list[Contributor]:
    counts = Counter(commit.author for commit in commits)
    return [Contributor(name, count) for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def breaking(commits: list[Commit]) -> list[str]:
    return [commit.subject for commit in commits if commit.breaking]


def markdown(digest: Digest, count: int) -> str:
    """The digest for people."""
    many = f"{count} commit{'' if count == 1 else 's'}"
    lines = [f"# Since {digest.since}", "", many if digest.complete else f"The newest {many}; there are more."]
    if digest.breaking:
        lines += ["", "## Breaking", "", *(f"- {_line(subject)}" for subject in digest.breaking)]
    for group in digest.groups:
        lines += ["", f"## {_line(group.title)}", ""]
        for commit in group.commits:
            scope = f"**{_line(commit.scope)}**: " if commit.scope and digest.grouped_by != "scope" else ""
            lines.append(f"- {scope}{_line(commit.subject)} ({commit.sha[:7]})")
    if digest.areas:
        lines += ["", "## Changed areas", "", "| area | files | + | - |", "|---|---:|---:|---:|"]
        lines += [f"| {_line(area.folder)} | {area.files} | {area.added} | {area.removed} |" for area in digest.areas]
    if digest.contributors:
        names = (f"{_line(person.name)} ({person.commits})" for person in digest.contributors)
        lines += ["", "## Contributors", "", ", ".join(names)]
    if digest.changelog:
        heading = f"## {digest.changelog.path}: {_line(digest.changelog.heading)}"
        lines += ["", heading, "", digest.changelog.text]
    if digest.missing:
        lines += ["", "## Could not be had", "", *(f"- {_line(words)}" for words in digest.missing)]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    """Somebody else's words, on one line of ours."""
    return " ".join(text.replace("|", "\\|").split())
