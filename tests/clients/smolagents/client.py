"""smolagents: the tools of an `MCPClient`, as a `CodeAgent(tools=…)` has them."""

import threading

from mcp import StdioServerParameters
from smolagents import MCPClient
from story import CALLS, LONG_CALL, TOKEN, TRANSPORT, URL, tell, wait_for


def call(tools, name, arguments):
    text = tools[name](**arguments)
    # What a model sees. Whether the call failed is not in it.
    return {"text": text, "failed": False}


def long_call(tools, ended):
    try:
        ended.append(call(tools, *LONG_CALL))
    except BaseException as error:
        ended.append(error)


headers = {"Authorization": f"Bearer {TOKEN}"}
if TRANSPORT == "stdio":
    server = StdioServerParameters(command="toolcell", args=["mcp", "--config", "toolcell.toml"])
elif TRANSPORT == "sse":
    server = {"url": URL, "transport": "sse", "headers": headers}
else:
    server = {"url": URL, "transport": "streamable-http", "headers": headers}

with MCPClient(server, structured_output=False) as tools:
    tools = {tool.name: tool for tool in tools}
    answers = [call(tools, *asked) for asked in CALLS]
    answers.append(call(tools, "run_python", {"code": "'still here'"}))

    # There is no way to cancel a call but to close the client.
    ended = []
    threading.Thread(target=long_call, args=(tools, ended), daemon=True).start()
    wait_for("tools/call slow")
tell(list(tools), answers, "closed" if not ended or isinstance(ended[0], BaseException) else "it ended")
