"""LlamaIndex: the tools of an `McpToolSpec`, as a `FunctionAgent(tools=…)` has them."""

import asyncio

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from story import CALLS, LONG_CALL, TOKEN, TRANSPORT, URL, arrival, cancellation, tell


async def call(tools, name, arguments):
    output = await tools[name].acall(**arguments)
    return {"text": output.raw_output.content[0].text, "failed": output.is_error}


async def talk(client):
    tools = await McpToolSpec(client=client).to_tool_list_async()
    tools = {tool.metadata.name: tool for tool in tools}
    answers = [await call(tools, *asked) for asked in CALLS]

    running = asyncio.create_task(call(tools, *LONG_CALL))
    await arrival()
    running.cancel()
    try:
        await running
        cancelled = "it ended"
    except asyncio.CancelledError:
        cancelled = "cancelled"
    await cancellation()
    answers.append(await call(tools, "run_python", {"code": "'still here'"}))
    tell(list(tools), answers, cancelled)


async def main():
    if TRANSPORT == "stdio":
        # A BasicMCPClient would start a toolcell for every call, and a session's variables would be gone.
        server = StdioServerParameters(command="toolcell", args=["mcp", "--config", "toolcell.toml"])
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            await talk(session)
    else:
        # It takes a URL that ends with /sse for HTTP+SSE, and every other for streamable HTTP.
        client = BasicMCPClient(URL, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=300)
        await talk(client)


asyncio.run(main())
