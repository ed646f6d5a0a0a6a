"""The official Python SDK, version 2: its `Client`, which speaks both eras."""

import asyncio

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from story import CALLS, ERA, LONG_CALL, TOKEN, TRANSPORT, URL, arrival, cancellation, tell


async def call(client, name, arguments):
    result = await client.call_tool(name, arguments)
    return {"text": result.content[0].text, "failed": result.is_error}


async def main():
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if TRANSPORT == "stdio":
        server = StdioServerParameters(command="toolcell", args=["mcp", "--config", "toolcell.toml"])
    elif TRANSPORT == "sse":
        server = sse_client(URL, headers=headers)
    else:
        server = streamable_http_client(URL, http_client=httpx2.AsyncClient(headers=headers, timeout=300))

    async with Client(server, mode=ERA) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        answers = [await call(client, *asked) for asked in CALLS]

        running = asyncio.create_task(client.call_tool(*LONG_CALL))
        await arrival()
        running.cancel()
        try:
            await running
            cancelled = "it ended"
        except asyncio.CancelledError:
            cancelled = "cancelled"
        await cancellation()
        answers.append(await call(client, "run_python", {"code": "'still here'"}))
    tell(tools, answers, cancelled)


asyncio.run(main())
