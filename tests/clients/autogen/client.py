"""AutoGen: an `McpWorkbench`, as an `AssistantAgent(workbench=…)` has it."""

import asyncio

from autogen_ext.tools.mcp import McpWorkbench, SseServerParams, StdioServerParams, StreamableHttpServerParams
from story import CALLS, LONG_CALL, TOKEN, TRANSPORT, URL, arrival, tell


async def call(workbench, name, arguments):
    result = await workbench.call_tool(name, arguments)
    return {"text": result.to_text(), "failed": result.is_error}


async def main():
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if TRANSPORT == "stdio":
        server = StdioServerParams(
            command="toolcell", args=["mcp", "--config", "toolcell.toml"], read_timeout_seconds=300
        )
    elif TRANSPORT == "sse":
        server = SseServerParams(url=URL, headers=headers)
    else:
        server = StreamableHttpServerParams(url=URL, headers=headers, timeout=300)

    async with McpWorkbench(server) as workbench:
        tools = [tool["name"] for tool in await workbench.list_tools()]
        answers = [await call(workbench, *asked) for asked in CALLS]

        # The SDK (mcp 1.x) does not tell a server that it no longer waits: the run ends with the session.
        running = asyncio.create_task(workbench.call_tool(*LONG_CALL))
        await arrival()
        running.cancel()
        try:
            await running
            cancelled = "it ended"
        except asyncio.CancelledError:
            cancelled = "cancelled"
        answers.append(await call(workbench, "run_python", {"code": "'still here'"}))
    tell(tools, answers, cancelled)


asyncio.run(main())
