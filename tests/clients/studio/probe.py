"""An MCP server of the official SDK (1.x) for what the bridge has to carry and other servers never do on demand:
lists in pages, notifications of every kind, questions of any form, a death in the middle of a call.

`probe.py` speaks on stdio, `probe.py http` on a free port of the loopback interface.
"""

import json
import os
import sys
from pathlib import Path

import anyio
import mcp.types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import McpError

server = Server("probe", version="1.0", instructions="Ask for anything.")


def tool(name, **members):
    return types.Tool(name=name, inputSchema={"type": "object"}, **members)


TOOLS = [
    [
        tool("say", description="Gives back what it gets.", title="Say", _meta={"probe/cost": 1}),
        tool("rich", annotations=types.ToolAnnotations(readOnlyHint=True)),
        tool("fail"),
        tool("notify"),
        tool("junk"),
        tool("ask"),
        tool("sample"),
    ],
    [tool("roots"), tool("die"), tool("wait"), tool("surroundings"), tool("headers")],
]
RESOURCES = [
    [types.Resource(uri="probe://one", name="one", mimeType="text/plain", size=3)],
    [types.Resource(uri="probe://two", name="two", annotations=types.Annotations(priority=0.5))],
]
PROMPTS = [
    [types.Prompt(name="greet", arguments=[types.PromptArgument(name="who", required=True)])],
    [types.Prompt(name="bare", description="Takes nothing.")],
]


def page(pages, request):
    # The SDK asks itself too, and then without a request.
    cursor = request and request.params and request.params.cursor
    at = int(cursor or 0)
    return pages[at], str(at + 1) if at + 1 < len(pages) else None


@server.list_tools()
async def list_tools(request: types.ListToolsRequest) -> types.ListToolsResult:
    tools, cursor = page(TOOLS, request)
    return types.ListToolsResult(tools=tools, nextCursor=cursor)


@server.list_resources()
async def list_resources(request: types.ListResourcesRequest) -> types.ListResourcesResult:
    resources, cursor = page(RESOURCES, request)
    return types.ListResourcesResult(resources=resources, nextCursor=cursor)


@server.list_prompts()
async def list_prompts(request: types.ListPromptsRequest) -> types.ListPromptsResult:
    prompts, cursor = page(PROMPTS, request)
    return types.ListPromptsResult(prompts=prompts, nextCursor=cursor)


async def read_resource(request: types.ReadResourceRequest) -> types.ServerResult:
    uri = request.params.uri
    if str(uri) == "probe://one":
        contents = [
            types.TextResourceContents(uri=uri, mimeType="text/plain", text="one"),
            types.BlobResourceContents(uri=uri, blob="b25l", _meta={"probe/n": 1}),
        ]
        return types.ServerResult(types.ReadResourceResult(contents=contents))
    data = {"uri": str(uri)}
    raise McpError(types.ErrorData(code=-32002, message="Resource not found", data=data))


server.request_handlers[types.ReadResourceRequest] = read_resource


@server.get_prompt()
async def get_prompt(name: str, arguments: dict | None) -> types.GetPromptResult:
    if name not in ("greet", "bare"):
        raise McpError(types.ErrorData(code=-32602, message=f"Unknown prompt: {name}"))
    text = f"{name}: {json.dumps(arguments)}"
    content = types.TextContent(type="text", text=text)
    message = types.PromptMessage(role="user", content=content)
    return types.GetPromptResult(description="A prompt.", messages=[message])


def said(answer):
    text = answer if isinstance(answer, str) else json.dumps(answer, sort_keys=True)
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


@server.call_tool(validate_input=False)
async def call_tool(name: str, arguments: dict) -> types.CallToolResult:
    session = server.request_context.session
    related = server.request_context.request_id
    match name:
        case "say":
            return said(arguments)
        case "rich":
            return rich()
        case "fail":
            raise ValueError("no such table: cats")
        case "notify":
            await session.send_log_message("warning", {"disk": "full"}, "probe", related)
            await session.send_tool_list_changed()
            await session.send_resource_list_changed()
            await session.send_prompt_list_changed()
            await session.send_resource_updated("probe://one")
            token = server.request_context.meta and server.request_context.meta.progressToken
            if token is not None:
                await session.send_progress_notification(token, 1, 2, "half", str(related))
            return said("with progress" if token is not None else "without progress")
        case "junk":
            for line in arguments["lines"]:
                os.write(1, line.encode() + b"\n")
            return said("written")
        case "ask":
            return await ask(session, arguments["questions"], related)
        case "sample":
            return await sample(session, arguments["messages"], related)
        case "roots":
            try:
                return said((await session.list_roots()).model_dump(mode="json"))
            except McpError as refused:
                return said(refused.error.model_dump())
        case "die":
            os._exit(3)
        case "wait":
            await anyio.sleep(arguments.get("seconds", 600))
            return said(arguments)
        case "surroundings":
            names = sorted(set(os.environ) - {"LC_CTYPE"})
            return said({"folder": Path.cwd().name, "variables": names})
        case "headers":
            headers = server.request_context.request.headers
            return said({name: headers.get(name) for name in arguments["names"]})
    raise ValueError(f"Unknown tool: {name}")


def rich():
    marks = types.Annotations(audience=["user"], priority=1)
    text = types.TextResourceContents(uri="probe://one", mimeType="text/plain", text="one")
    link = types.ResourceLink(type="resource_link", uri="probe://two", name="two", title="Two")
    return types.CallToolResult(
        content=[
            types.TextContent(type="text", text="ünï 🦀", annotations=marks, _meta={"probe/n": 1}),
            types.ImageContent(type="image", data="aGk=", mimeType="image/png"),
            types.AudioContent(type="audio", data="aGk=", mimeType="audio/wav"),
            types.EmbeddedResource(type="resource", resource=text),
            link,
        ],
        structuredContent={"n": None, "list": [1, 2.5, "x"]},
        _meta={"probe/took": 3},
    )


async def ask(session, questions, related):
    """Asks one after the other, and tells what came back."""
    answers = []
    for question in questions:
        try:
            answer = await session.elicit(question["message"], question["schema"], related)
            answers.append([answer.action, answer.content])
        except McpError as refused:
            answers.append([refused.error.code, refused.error.message])
    return said(answers)


async def sample(session, messages, related):
    content = [types.TextContent(type="text", text=text) for text in messages]
    asked = [types.SamplingMessage(role="user", content=each) for each in content]
    try:
        answer = await session.create_message(asked, max_tokens=9, related_request_id=related)
        return said(answer.model_dump(mode="json"))
    except McpError as refused:
        return said([refused.error.code, refused.error.message])


async def on_stdio():
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options(OFFERS))


def over_http():
    import contextlib
    import socket

    import uvicorn
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.applications import Starlette
    from starlette.routing import Route

    sessions = StreamableHTTPSessionManager(app=server)

    class Endpoint:
        """An instance, so that it is an application and not a function of a request."""

        async def __call__(self, scope, receive, send):
            await sessions.handle_request(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(_):
        async with sessions.run():
            yield

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ.get("PORT", "0"))))
    listener.listen(1024)
    print(f"listening at 127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    app = Starlette(routes=[Route("/mcp", Endpoint())], lifespan=lifespan)
    # A client that reuses a connection just when it is closed for having been idle sees a call fail, and the
    # real Studio's does.
    config = uvicorn.Config(app, log_level="error", timeout_keep_alive=int(os.environ.get("KEEP_ALIVE", "300")))
    uvicorn.Server(config).run(sockets=[listener])


from mcp.server.lowlevel import NotificationOptions  # noqa: E402

OFFERS = NotificationOptions(tools_changed=True, resources_changed=True, prompts_changed=True)

if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        over_http()
    else:
        anyio.run(on_stdio)
