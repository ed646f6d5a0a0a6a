"""Semantic Kernel: an MCP plugin of a kernel, invoked as the kernel does it for a model."""

import asyncio

from semantic_kernel import Kernel
from semantic_kernel.connectors.mcp import MCPSsePlugin, MCPStdioPlugin, MCPStreamableHttpPlugin
from story import CALLS, LONG_CALL, TOKEN, TRANSPORT, URL, arrival, tell


async def call(kernel, name, arguments):
    result = await kernel.invoke(plugin_name="toolcell", function_name=name, **arguments)
    # What a model sees. Whether the call failed is not in it.
    return {"text": result.value[0].text, "failed": False}


async def main():
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if TRANSPORT == "stdio":
        plugin = MCPStdioPlugin(name="toolcell", command="toolcell", args=["mcp", "--config", "toolcell.toml"])
    elif TRANSPORT == "sse":
        plugin = MCPSsePlugin(name="toolcell", url=URL, headers=headers)
    else:
        plugin = MCPStreamableHttpPlugin(name="toolcell", url=URL, headers=headers)

    async with plugin:
        kernel = Kernel()
        kernel.add_plugin(plugin)
        tools = list(kernel.plugins["toolcell"].functions)
        answers = [await call(kernel, *asked) for asked in CALLS]

        # The SDK (mcp 1.x) does not tell a server that it no longer waits: the run ends with the session.
        running = asyncio.create_task(call(kernel, *LONG_CALL))
        await arrival()
        running.cancel()
        try:
            await running
            cancelled = "it ended"
        except asyncio.CancelledError:
            cancelled = "cancelled"
        answers.append(await call(kernel, "run_python", {"code": "'still here'"}))
    tell(tools, answers, cancelled)


asyncio.run(main())
