"""Asks several servers the same question at once and merges what they find."""

from typing import Annotated, NotRequired, TypedDict

from toolcell import ToolError, log, settle, tool, tools

SERVERS = ("papers", "wiki")
SECONDS = 10


class Hit(TypedDict):
    """Something that a server found."""

    title: str
    url: NotRequired[str]
    server: str


class Found(TypedDict):
    """What all of them found, and which of them did not answer."""

    hits: list[Hit]
    failed: dict[str, str]


@tool(read_only=True)
async def ask_all(
    question: Annotated[str, "What to look for"],
    limit: Annotated[int, "How many hits at most", {"minimum": 1, "maximum": 100}] = 10,
) -> Found:
    """Asks all servers at once and merges what they find. A server that is down is named, and harms no other."""
    branches = {name: tools[name]["search"](query=question) for name in SERVERS}
    outcomes = await settle(branches, timeout=SECONDS)
    failed = {name: outcome.reason for name, outcome in outcomes.items() if not outcome.ok}
    for name, reason in failed.items():
        log("warning", f"{name}: {reason}")
    if len(failed) == len(SERVERS):
        raise ToolError("no server answered: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))

    lists = [
        [{**hit, "server": name} for hit in outcome.value["hits"]]
        for name, outcome in outcomes.items()
        if outcome.ok
    ]
    merged: dict[str, Hit] = {}
    for place in range(max(len(hits) for hits in lists)):
        # One of each server in turn, so that none comes last only because it was asked last.
        for hits in lists:
            if place < len(hits):
                merged.setdefault(hits[place]["title"].casefold(), hits[place])
    return {"hits": list(merged.values())[:limit], "failed": failed}
