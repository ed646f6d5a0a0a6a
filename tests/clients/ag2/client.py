"""AG2 0.x: `create_toolkit` over an MCP session, on stdio and SSE from its `MCPClientSessionManager`."""

import asyncio

from autogen.mcp import create_toolkit
from autogen.mcp.mcp_client import MCPClientSessionManager, SseConfig, StdioConfig
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from story import CALLS, LONG_CALL, TOKEN, TRANSPORT, URL, arrival, tell


async def call(toolkit, name, arguments):
    tools = {tool.name: tool for tool in toolkit.tools}
    try:
        text, _ = await tools[name](**arguments)
        return {"text": text, "failed": False}
    except ValueError as error:
        return {"text": str(error), "failed": True}


async def talk(session):
    toolkit = await create_toolkit(session, use_mcp_resources=False)
    tools = [tool.name for tool in toolkit.tools]
    answers = [await call(toolkit, *asked) for asked in CALLS]

    # The SDK (mcp 1.x) does not tell a server that it no longer waits: the run ends with the session.
    running = asyncio.create_task(call(toolkit, *LONG_CALL))
    await arrival()
    running.cancel()
    try:
        await running
        cancelled = "it ended"
    except asyncio.CancelledError:
        cancelled = "cancelled"
    answers.append(await call(toolkit, "run_python", {"code": "'still here'"}))
    tell(tools, answers, cancelled)


async def main():
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if TRANSPORT == "http":
        # AG2 0.x has no configuration for streamable HTTP, but takes any session of the SDK.
        async with (
            streamablehttp_client(URL, headers=headers) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            await talk(session)
        return

    if TRANSPORT == "stdio":
        config = StdioConfig(server_name="toolcell", command="toolcell", args=["mcp", "--config", "toolcell.toml"])
    else:
        config = SseConfig(server_name="toolcell", url=URL, headers=headers)
    manager = MCPClientSessionManager()
    async with manager.exit_stack, manager.open_session(config) as session:
        await talk(session)


asyncio.run(main())
