"""Tools of straw that are called before the snapshot, so that code and tables are as in the middle of a call."""

import asyncio
import json
from dataclasses import dataclass
from typing import Literal

from componentize_py_types import Err
from toolcell_runtime import straw

from . import blocking, entry, registry, settle, tools
from .registry import tool


@dataclass
class _Hit:
    title: str
    score: float = 0.5


def _define() -> None:
    @tool
    async def search(query: str, kinds: list[Literal["a", "b"]] | None = None, limit: int = 5) -> list[_Hit]:
        """Searches.

        Args:
            query: What for.
        """
        async with asyncio.timeout(5):
            found = await asyncio.gather(*(tools.demo.search(query=query) for _ in range(limit)))
        outcomes = await settle({"a": tools.demo.search(query=query), "b": tools.demo.fail()}, timeout=5)
        return [_Hit(hit["title"]) for answer in found for hit in answer["hits"] if outcomes["a"].ok]

    @tool
    def read(hit: _Hit) -> str:
        """Reads."""
        print("reads", hit)
        return str(blocking.demo.search(query=hit.title))

    @tool
    async def fail() -> None:
        await tools.demo.broken()


_CALLS = (
    ("search", {"query": "x", "kinds": ["a"]}),
    ("read", {"hit": {"title": "x"}}),
    ("fail", {}),
    ("search", {"query": 1}),
)


def warm_up() -> None:
    """Calls them against a host of straw."""
    _define()
    registry.prepare()
    with straw.host_of_straw():
        for _ in range(straw.ROUNDS):
            for name, arguments in _CALLS:
                try:
                    entry.call_tool(name, json.dumps(arguments))
                except Err:
                    pass
