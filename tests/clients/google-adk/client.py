"""Google ADK: an `McpToolset`, as an `LlmAgent(tools=[toolset])` has it."""

import asyncio

from google.adk.agents import LlmAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.sessions import InMemorySessionService
from google.adk.tools.mcp_tool import McpToolset, SseConnectionParams, StdioConnectionParams
from google.adk.tools.mcp_tool import StreamableHTTPConnectionParams
from google.adk.tools.tool_context import ToolContext
from mcp import StdioServerParameters
from story import CALLS, LONG_CALL, TOKEN, TRANSPORT, URL, arrival, cancellation, tell


async def call(tools, context, name, arguments):
    result = await tools[name].run_async(args=arguments, tool_context=context)
    if "error" in result:
        return {"text": result["error"], "failed": True}
    return {"text": result["content"][0]["text"], "failed": result.get("isError", False)}


async def a_context():
    sessions = InMemorySessionService()
    session = await sessions.create_session(app_name="an-app", user_id="a-user")
    agent = LlmAgent(name="an_agent", model="none")
    return ToolContext(
        InvocationContext(session_service=sessions, session=session, agent=agent, invocation_id="one")
    )


async def main():
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if TRANSPORT == "stdio":
        server = StdioServerParameters(command="toolcell", args=["mcp", "--config", "toolcell.toml"])
        connection = StdioConnectionParams(server_params=server, timeout=300)
    elif TRANSPORT == "sse":
        connection = SseConnectionParams(url=URL, headers=headers, timeout=300)
    else:
        connection = StreamableHTTPConnectionParams(url=URL, headers=headers, timeout=300)

    toolset = McpToolset(connection_params=connection)
    context = await a_context()
    tools = {tool.name: tool for tool in await toolset.get_tools()}
    answers = [await call(tools, context, *asked) for asked in CALLS]

    running = asyncio.create_task(call(tools, context, *LONG_CALL))
    await arrival()
    running.cancel()
    try:
        await running
        cancelled = "it ended"
    except asyncio.CancelledError:
        cancelled = "cancelled"
    await cancellation()
    answers.append(await call(tools, context, "run_python", {"code": "'still here'"}))
    await toolset.close()
    tell(list(tools), answers, cancelled)


asyncio.run(main())
