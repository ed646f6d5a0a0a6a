"""The tool `digest`: what happened in a repository since a tag, from a `git` and a `files` server."""

import asyncio
from typing import Annotated, Literal

import changelog
import history
import release
from toolcell import Outcome, ToolError, progress, settle, tool, tools

#: Commits that are shown one by one, at once: enough to be fast, and few for one git process.
_AT_ONCE = 8


@tool(read_only=True, idempotent=True)
async def digest(
    since: Annotated[str, "The tag, branch or commit of the last release"],
    repository: Annotated[str, "The repository's path, as the git server knows it"] = ".",
    folder: Annotated[str, "The same folder, as the files server knows it"] = ".",
    group_by: Annotated[
        Literal["auto", "type", "scope", "folder"],
        "By conventional type (feat, fix), by scope, or by the folders that are touched; auto: what most subjects tell",
    ] = "auto",
    limit: Annotated[int, "The most commits to look at", {"minimum": 1, "maximum": 5000}] = 500,
) -> release.Digest:
    """Makes a release digest: commits since a tag in groups, breaking changes, contributors, changed areas and
    the changelog's newest section, as data and as Markdown. What cannot be had is named in `missing`."""
    git = tools["git"]
    had = await settle(
        {
            "tag": git["git_show"](repo_path=repository, revision=since),
            # One more than is wanted tells whether there are more.
            "log": git["git_log"](repo_path=repository, max_count=limit + 1),
            "diff": git["git_diff"](repo_path=repository, target=since, context_lines=0),
            "changelog": _changelog(folder),
        }
    )
    # Without these there is nothing to tell.
    tag, log = had["tag"].unwrap(), had["log"].unwrap()
    commits, is_complete = _since(history.revision(tag), history.commits(log), limit)
    if group_by == "auto":
        group_by = release.best_grouping(commits)
    missing = [f"{name}: {had[name].reason}" for name in ("diff", "changelog") if not had[name].ok]
    if group_by == "folder":
        missing += await _look_at_each(commits, repository)
    made = release.Digest(
        since=since,
        complete=is_complete,
        grouped_by=group_by,
        groups=release.groups(commits, group_by),
        breaking=release.breaking(commits),
        contributors=release.contributors(commits),
        areas=history.areas(had["diff"].value) if had["diff"].ok else [],
        changelog=had["changelog"].value,
        missing=missing,
    )
    made.markdown = release.markdown(made, len(commits))
    return made


def _since(tag: str | None, commits: list[history.Commit], limit: int) -> tuple[list[history.Commit], bool]:
    """The commits that are newer than the tag's, and whether these are all of them."""
    if tag is None:
        raise ToolError("`since` names no commit")
    for number, commit in enumerate(commits[: limit + 1]):
        if commit.sha == tag:
            return commits[:number], True
    return commits[:limit], False


async def _look_at_each(commits: list[history.Commit], repository: str) -> list[str]:
    """Asks for the files of each commit. Returns what could not be had."""
    free, seen = asyncio.Semaphore(_AT_ONCE), 0

    async def show(commit: history.Commit) -> None:
        nonlocal seen
        async with free:
            shown = await tools["git"]["git_show"](repo_path=repository, revision=commit.sha)
        commit.files = history.touched(shown)
        seen += 1
        progress(seen, len(commits), commit.subject)

    outcomes: list[Outcome] = await settle(*(show(commit) for commit in commits))
    failed = [
        f"files of {commit.sha[:7]}: {outcome.reason}"
        for commit, outcome in zip(commits, outcomes)
        if not outcome.ok
    ]
    return failed if len(failed) <= 3 else [failed[0], f"and of {len(failed) - 1} more commits"]


async def _changelog(folder: str) -> changelog.Excerpt | None:
    """The newest section of the changelog, if there is one."""
    files = tools["files"]
    name = changelog.pick(_names(await files["list_directory"](path=folder)))
    if name is None:
        return None
    text = _text(await files["read_file"](path=name if folder in ("", ".") else f"{folder.rstrip('/')}/{name}"))
    return changelog.newest(name, text)


def _names(listing: object) -> list[str]:
    """The files of a listing: toolcell's entries, or server-filesystem's lines."""
    if isinstance(listing, dict) and isinstance(listing.get("entries"), list):
        return [entry["name"] for entry in listing["entries"]]
    return [line.removeprefix("[FILE] ") for line in _text(listing).splitlines() if line.startswith("[FILE] ")]


def _text(answer: object) -> str:
    if isinstance(answer, dict):
        answer = answer.get("text", answer.get("content", ""))
    if not isinstance(answer, str):
        raise ToolError(f"the files server answered with a {type(answer).__name__}, and not with a text")
    return answer
