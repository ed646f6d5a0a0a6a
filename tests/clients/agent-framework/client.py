"""Microsoft Agent Framework: an MCP tool, as an `Agent(tools=…)` has it."""

import asyncio

from agent_framework import MCPStdioTool, MCPStreamableHTTPTool
from agent_framework.exceptions import ToolExecutionException
from story import CALLS, LONG_CALL, TOKEN, TRANSPORT, URL, arrival, cancellation, tell


async def call(tool, name, arguments):
    try:
        result = await tool.call_tool(name, **arguments)
    except ToolExecutionException as error:
        return {"text": str(error), "failed": True}
    return {"text": result if isinstance(result, str) else result[0].text, "failed": False}


async def main():
    if TRANSPORT == "stdio":
        tool = MCPStdioTool(
            name="toolcell",
            command="toolcell",
            args=["mcp", "--config", "toolcell.toml"],
            additional_tool_argument_names=["session"],
        )
    else:
        tool = MCPStreamableHTTPTool(
            name="toolcell",
            url=URL,
            static_headers={"Authorization": f"Bearer {TOKEN}"},
            additional_tool_argument_names=["session"],
        )

    async with tool:
        tools = [function.name for function in tool.functions]
        answers = [await call(tool, *asked) for asked in CALLS]

        running = asyncio.create_task(call(tool, *LONG_CALL))
        await arrival()
        running.cancel()
        try:
            await running
            cancelled = "it ended"
        except asyncio.CancelledError:
            cancelled = "cancelled"
        await cancellation()
        answers.append(await call(tool, "run_python", {"code": "'still here'"}))
    tell(tools, answers, cancelled)


asyncio.run(main())
