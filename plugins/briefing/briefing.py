"""The aggregator as a Python script: see README.md."""

import asyncio

from tools import ToolError, aio


async def ask(tool):
    """What a tool found, or why it found nothing."""
    server, _, name = tool.partition(".")
    try:
        async with asyncio.timeout(inputs["timeout_ms"] / 1000):
            answer = await aio[server][name](query=inputs["question"], limit=5)
        return tool, answer["hits"], []
    except ToolError as error:
        failure = {"source": tool, "kind": error.kind, "message": error.message}
    except TimeoutError:
        message = f"no answer within {inputs['timeout_ms']} ms"
        failure = {"source": tool, "kind": "timed-out", "message": message}
    return tool, [], [failure]


async def branch(source):
    """The first choice, and the second one if that fails."""
    asked, hits, failures = await ask(source)
    second = inputs["fallbacks"].get(source)
    if failures and second:
        asked, hits, more = await ask(second)
        failures += more
    return asked, hits, failures


merged, failures = {}, []
for asked, hits, failed in await asyncio.gather(*map(branch, inputs["sources"])):
    failures += failed
    for rank, hit in enumerate(hits, 1):
        known = merged.setdefault(hit["url"], {"title": hit["title"], "url": hit["url"], "score": 0, "found_by": []})
        known["score"] += 1_000_000 // (60 + rank)
        known["found_by"].append(asked)

{"hits": sorted(merged.values(), key=lambda hit: (-hit["score"], hit["url"])), "failures": failures}
