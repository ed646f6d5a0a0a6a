"""What is said to both bridges: the requests of `POST /api/mcp/ws/connect`, the frames of a session, and what a
server of MCP can do to one. Each case is a function of a `Talk` and the servers' parameters by name."""

import asyncio

from wire import ANY_ID

CASES = {}
#: Those that wait for the minute that a question may take.
SLOW = set()


def case(function):
    CASES[function.__name__.replace("_", " ")] = function
    return function


def slow(function):
    SLOW.add(function.__name__.replace("_", " "))
    return function


CONNECT = "/api/mcp/ws/connect"


# POST


@case
async def connect(talk, servers):
    await talk.post("a command with defaults", servers["bare"])
    await talk.post(
        "a command with everything",
        servers["probe"]
        | {
            "env": {"A": "1"},
            "cwd": "/usr",
            "encoding": "latin-1",
            "encoding_error_handler": "replace",
            "read_timeout_seconds": 2.5,
        },
    )
    url = servers["probe http"]["url"]
    await talk.post("a URL with defaults", {"type": "StreamableHttpServerParams", "url": url})
    await talk.post(
        "a URL with everything",
        {
            "type": "StreamableHttpServerParams",
            "url": url,
            "headers": {"X-A": "1"},
            "timeout": 3,
            "sse_read_timeout": 4.5,
            "terminate_on_close": False,
        },
    )
    await talk.post("an SSE URL with defaults", {"type": "SseServerParams", "url": url})
    await talk.post("members that nobody knows", servers["probe"] | {"shell": True, "x": {"y": 1}})
    await talk.http("a member beside them", "POST", CONNECT, json={"server_params": servers["probe"], "user_id": 7})


@case
async def connect_with_a_command_that_nobody_admitted(talk, servers):
    await talk.post("another command", {"type": "StdioServerParams", "command": "sh", "args": ["-c", "id"]})
    await talk.post("another argument", servers["probe"] | {"args": [*servers["probe"]["args"], "-x"]})
    await talk.post("another variable", servers["probe"] | {"env": {"LD_PRELOAD": "/tmp/x.so"}})
    await talk.post("another folder", servers["probe"] | {"cwd": "/etc"})
    url = servers["probe http"] | {"url": "http://169.254.169.254/latest"}
    await talk.post("another URL", url)
    await talk.post("another URL for SSE", url | {"type": "SseServerParams"})


@case
async def connect_with_bad_input(talk, servers):
    async def post(sent, **request):
        await talk.http(sent, "POST", CONNECT, **request)

    await post("no body")
    as_json = {"headers": {"Content-Type": "application/json"}}
    await post("no body, called JSON", **as_json)
    await post("no JSON", content=b"{", **as_json)
    await post("no UTF-8", content=b'{"a": "\xff"}', **as_json)
    await post("JSON with another name", content=b'{"server_params": {}}', headers={"Content-Type": "text/plain"})
    await post("JSON without a name", content=b'{"server_params": {}}')
    for body in (None, [], "x", 3, {}, {"server_params": None}, {"server_params": []}, {"server_params": "x"}):
        await post(f"{body!r}", json=body)
    command = {"type": "StdioServerParams", "command": servers["bare"]["command"]}
    url = {"type": "StreamableHttpServerParams", "url": "http://127.0.0.1:9/mcp"}
    sse = url | {"type": "SseServerParams"}
    for params in (
        {},
        {"command": "node"},
        {"type": None},
        {"type": 3},
        {"type": "stdio"},
        {"type": "StdioServerParams"},
        {"type": "SseServerParams"},
        {"type": "StreamableHttpServerParams"},
        command | {"command": 3},
        command | {"command": None},
        command | {"args": "x"},
        command | {"args": [1, None]},
        command | {"args": None},
        command | {"env": []},
        command | {"env": {"A": 1}},
        command | {"cwd": 3},
        command | {"encoding": None},
        command | {"encoding_error_handler": "shrug"},
        command | {"read_timeout_seconds": "soon"},
        command | {"read_timeout_seconds": "2.5"},
        command | {"read_timeout_seconds": None},
        command | {"read_timeout_seconds": True},
        command | {"command": 3, "args": "x"},
        url | {"url": 3},
        url | {"headers": {"A": 1}},
        url | {"headers": "x"},
        url | {"timeout": "x"},
        url | {"terminate_on_close": "perhaps"},
        url | {"terminate_on_close": "yes"},
        sse | {"url": None},
        sse | {"timeout": []},
        sse | {"sse_read_timeout": "x"},
    ):
        await talk.post(f"{params!r}".replace(command["command"], "node"), params)
    await talk.http("GET", "GET", CONNECT)
    await talk.http("PUT", "PUT", CONNECT, json={})
    await talk.http("a POST elsewhere", "POST", "/api/mcp/ws/nowhere", json={})


@case
async def connect_without_credentials(talk, servers):
    body = {"server_params": servers["probe"]}
    await talk.http("POST", "POST", CONNECT, json=body, headers={"Authorization": None})
    wrong = {"Authorization": "Bearer wrong"}
    await talk.http("POST, with wrong ones", "POST", CONNECT, json=body, headers=wrong)
    path = f"/api/mcp/ws/status/{ANY_ID}"
    await talk.http("status", "GET", path, headers={"Authorization": None})


@case
async def connect_from_elsewhere(talk, servers):
    body = {"server_params": servers["probe"]}
    await talk.http("another origin", "POST", CONNECT, json=body, headers={"Origin": "https://evil.example"})
    await talk.http("another host", "POST", CONNECT, json=body, headers={"Host": "evil.example"})


# The upgrade


async def ticket(talk, params):
    """The address of a session that nobody has opened yet."""
    answer = await talk.bridge.request("POST", CONNECT, json={"server_params": params})
    body = answer.json()
    talk.is_of(body["session_id"])
    return body["websocket_url"]


async def whether_it_opened(talk, sent):
    got = talk.step(sent)
    if talk.socket:
        await talk.until(got, lambda frame: frame["type"] == "initialized")
        await talk.close()


@case
async def upgrade_of_an_unknown_session(talk, _):
    await talk.upgrade(f"/api/mcp/ws/{ANY_ID}", "a session that was never made")
    await whether_it_opened(talk, "what comes")
    await talk.upgrade("/api/mcp/ws/x", "no session's id")
    await whether_it_opened(talk, "what comes")


@case
async def upgrade_with_parameters_in_the_query(talk, servers):
    import base64
    import json

    def query(params):
        return base64.b64encode(json.dumps(params).encode()).decode()

    path = f"/api/mcp/ws/{ANY_ID}?server_params="
    await talk.upgrade(path + query(servers["probe"]), "a server of the allow-list")
    await whether_it_opened(talk, "what comes")
    await talk.upgrade(path + query({"type": "stdio"}), "an unknown type")
    await whether_it_opened(talk, "what comes")
    await talk.upgrade(path + "%%%", "no base64")
    await whether_it_opened(talk, "what comes")


@case
async def parameters_that_a_query_does_not_carry(talk, servers):
    """In base64 they have a plus sign, and a query's plus sign is a space."""
    talk.encodes = False
    await talk.open(servers["sdk"])
    await talk.close()


@case
async def upgrade_twice(talk, servers):
    path = await ticket(talk, servers["probe"])
    await talk.upgrade(path, "the first")
    await talk.until(talk.step("what comes"), lambda frame: frame["type"] == "initialized")
    first, talk.socket = talk.socket, None
    await talk.upgrade(path, "the second, while the first is open")
    await whether_it_opened(talk, "what comes to it")
    talk.socket = first
    await talk.say({"type": "ping"}, "pong", sent="a ping of the first")
    await talk.close()
    await talk.gone("status after the first was closed")
    await talk.upgrade(path, "a third, when the first is over")
    await whether_it_opened(talk, "what comes to it")


@case
async def upgrade_from_elsewhere(talk, servers):
    for origin in ("https://evil.example", "null", None):
        path = await ticket(talk, servers["probe"])
        await talk.upgrade(path, f"Origin: {origin}", Origin=origin)
        await whether_it_opened(talk, "what comes")


# A session


@case
async def frames(talk, servers):
    await talk.open(servers["probe"])
    await talk.say({"type": "ping"}, "pong")
    for frame in ({"type": "dance"}, {}, {"type": None}, {"type": 3}, {"type": "ping "}, {"operation": "list_tools"}):
        await talk.say(frame)
    for text in ("", " ", "no JSON", "{", '{"type": "ping"', '{"type": "ping"} x', "NaN,", "[", '"', "nul", "1x", "\ufeff{}"):
        await talk.say(text, sent=repr(text))
    await talk.say({"type": "ping", "extra": [1]}, "pong")
    await talk.close()
    await talk.gone("status")


@case
async def frames_that_are_no_objects(talk, servers):
    for text in ("[]", '"ping"', "3", "null", '[{"type": "ping"}]', b"\x00\x01", b'{"type": "ping"}'):
        await talk.open(servers["probe"])
        await talk.say(text, sent=repr(text))
        await talk.close()
        await talk.gone("status")


@case
async def frames_at_the_edge_of_json(talk, servers):
    deep = "[" * 100_000 + "]" * 100_000
    twice = '{"type": "dance", "type": "ping"}'
    for text in ("NaN", '{"type": NaN}', f'{{"type": "ping", "deep": {deep}}}', twice, '{"type": "\\ud800"}'):
        await talk.open(servers["probe"])
        # What Python reads and cannot write, its server swallows.
        await talk.say(text, "pong|error", sent=repr(text[:40]), silence="ud800" in text)
        await talk.close()
        await talk.gone("status")


@case
async def operations(talk, servers):
    await talk.open(servers["probe"])
    await talk.operation("list_tools")
    await talk.operation("list_resources")
    await talk.operation("list_prompts")
    await talk.call("say", {"text": "ünï 🦀", "n": 1.0, "nested": {"a": [None, True]}})
    await talk.operation("call_tool", tool_name="say")
    await talk.call("rich")
    await talk.call("fail")
    await talk.call("nowhere")
    await talk.operation("read_resource", uri="probe://one")
    await talk.operation("read_resource", uri="probe://nowhere")
    await talk.operation("get_prompt", name="greet", arguments={"who": "you"})
    await talk.operation("get_prompt", name="bare")
    await talk.operation("get_prompt", name="nowhere")
    await talk.close()
    await talk.gone("status")


@case
async def operations_with_bad_input(talk, servers):
    await talk.open(servers["probe"])
    for operation in ("call_tool", "read_resource", "get_prompt"):
        await talk.operation(operation)
    await talk.operation("call_tool", tool_name="")
    await talk.operation("call_tool", tool_name=None)
    await talk.operation("call_tool", tool_name=3)
    for arguments in (None, [], "x", 3):
        await talk.operation("call_tool", tool_name="say", arguments=arguments)
    for uri in ("", None, 3, "no scheme", "probe://two words"):
        await talk.operation("read_resource", uri=uri)
    await talk.operation("get_prompt", name=3)
    await talk.operation("get_prompt", name="greet", arguments={"who": 3})
    await talk.operation("get_prompt", name="greet", arguments=[])
    await talk.operation("dance")
    await talk.operation(None)
    await talk.operation("")
    await talk.operation(3)
    await talk.say({"type": "operation"}, "operation_error", sent="no operation")
    await talk.close()


@case
async def operations_at_a_time(talk, servers):
    await talk.open(servers["probe"])
    frames = [
        {"type": "operation", "operation": "call_tool", "tool_name": "wait"},
        {"type": "operation", "operation": "call_tool", "tool_name": "say", "arguments": {"n": 1}},
    ]
    await talk.send(frames[0])
    await talk.say(frames[1], "operation_result")
    await talk.status("status with a call in flight")
    await talk.close()
    await talk.gone("status after closing with a call in flight")


@case
async def real_servers(talk, servers):
    """Everything that the real servers offer, dumped."""
    talk.ignores = lambda frame: frame["type"] == "mcp_activity" and frame["activity_type"] == "protocol"
    for name in ("everything", "everything http", "sdk", "sdk http"):
        await talk.open(servers[name], f"open {name}")
        for operation in ("list_tools", "list_resources", "list_prompts"):
            await talk.operation(operation)
        if name.startswith("everything"):
            await talk.call("echo", {"message": "hi"})
            await talk.call("get-sum", {"a": 1, "b": 2})
            await talk.call("get-sum", {"a": "x"})
            await talk.call("get-structured-content", {"location": "New York"})
            await talk.call("get-resource-links", {"count": 2})
            await talk.call("get-annotated-message", {"messageType": "success", "includeImage": True})
            await talk.operation("read_resource", uri="demo://resource/static/document/features.md")
            await talk.operation("get_prompt", name="args-prompt", arguments={"city": "Oslo"})
        else:
            await talk.call("add", {"a": 1, "b": 2})
            await talk.call("add", {"a": "x"})
            for answer in ({"action": "accept", "data": {"size": 3}}, {"action": "decline"}, {"action": "cancel"}):
                await talk.call("order", {"what": "apples"}, answers=[answer])
        await talk.close()


# What a server says of itself


@case
async def notifications(talk, servers):
    await talk.open(servers["probe"])
    await talk.call("notify")
    await talk.call("junk", {"lines": ["no JSON", "[]", '{"jsonrpc": "2.0"}']})
    unknown = '{"jsonrpc": "2.0", "method": "notifications/nobody-knows", "params": {"a": 1}}'
    cancelled = '{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99, "reason": "x"}}'
    answer = '{"jsonrpc": "2.0", "id": 4711, "result": {}}'
    for line in (unknown, cancelled, answer):
        await talk.call("junk", {"lines": [line]})
    await talk.close()


@case
async def requests_that_are_no_questions(talk, servers):
    # The SDK's server, which has not asked, tells that it got an answer.
    talk.ignores = lambda frame: "exception_handler" in str(frame)
    await talk.open(servers["probe"])
    await talk.call("roots")
    for request in (
        '{"jsonrpc": "2.0", "id": 1, "method": "ping"}',
        '{"jsonrpc": "2.0", "id": 2, "method": "nobody/knows"}',
    ):
        await talk.call("junk", {"lines": [request]})
    await talk.close()


@case
async def sampling(talk, servers):
    await talk.open(servers["probe"])
    await talk.call("sample", {"messages": ["Say something."]})
    await talk.call("sample", {"messages": ["one", "two"]})
    await talk.close()


FORM = {
    "type": "object",
    "properties": {
        "size": {"type": "integer", "default": 3, "minimum": 1},
        "colour": {"type": "string", "enum": ["red", "blue"], "description": "Which?"},
        "when": {"type": "string", "format": "date"},
    },
    "required": ["colour"],
}


def asking(*messages, schema=FORM):
    return {"questions": [{"message": message, "schema": schema} for message in messages]}


@case
async def elicitation(talk, servers):
    await talk.open(servers["probe"])
    data = {"colour": "red", "size": 4}
    for answer in (
        {"action": "accept", "data": data},
        {"action": "accept"},
        {"action": "accept", "data": {"colour": "green", "none": None, "list": ["a"], "odd": {"a": 1}}},
        {"action": "accept", "data": None},
        {"action": "accept", "data": "x"},
        {"action": "accept", "data": [1]},
        {"action": "decline"},
        {"action": "decline", "data": data},
        {"action": "cancel"},
        {"action": "dance"},
        {"action": None},
        {},
        {"action": "accept", "data": data, "session_id": "another"},
    ):
        await talk.call("ask", asking(f"{answer}"), answers=[answer])
    await talk.call("ask", asking("one", "two"), answers=[{"action": "decline"}, {"action": "accept", "data": data}])
    await talk.call("ask", asking("no fields", schema={"type": "object", "properties": {}}), answers=[{}])
    await talk.close()


@case
async def elicitation_answers_that_fit_nothing(talk, servers):
    await talk.open(servers["probe"])
    answer = {"type": "elicitation_response", "action": "accept", "data": {}}
    await talk.say(answer, sent="no id")
    await talk.say(answer | {"request_id": None}, sent="a null id")
    await talk.say(answer | {"request_id": ""}, sent="an empty id")
    await talk.say(answer | {"request_id": ANY_ID}, "operation_error", sent="an unknown id")
    await talk.say(answer | {"request_id": 7}, "operation_error", sent="a number")
    await talk.call("ask", asking("one"), answers=[{"action": "decline"}])
    asked = next(entry["frame"] for entry in talk.steps[-1]["got"] if entry["frame"]["type"] == "elicitation_request")
    request_id = next(uuid for uuid, name in talk.clean.ids.items() if name == asked["request_id"])
    await talk.say(answer | {"request_id": request_id}, "operation_error", sent="one that is answered")
    await talk.close()


@slow
@case
async def elicitation_without_an_answer(talk, servers):
    await talk.open(servers["probe"])
    await talk.send({"type": "operation", "operation": "call_tool", "tool_name": "ask", "arguments": asking("one")})
    got = talk.step("a question that nobody answers")
    await talk.until(got, lambda frame: frame["type"] == "operation_result", 75)
    asked = next(entry["frame"] for entry in got if entry["frame"]["type"] == "elicitation_request")
    request_id = next(uuid for uuid, name in talk.clean.ids.items() if name == asked["request_id"])
    late = {"type": "elicitation_response", "request_id": request_id, "action": "decline"}
    await talk.say(late, "operation_error", sent="a late answer")
    await talk.close()


@case
async def elicitation_over_http(talk, servers):
    await talk.open(servers["probe http"])
    await talk.call("ask", asking("one"), answers=[{"action": "accept", "data": {"colour": "red"}}])
    await talk.call("sample", {"messages": ["Say something."]})
    await talk.close()


@case
async def notifications_over_http(talk, servers):
    await talk.open(servers["probe http"])
    await talk.call("notify")
    await talk.collect(5, lambda frame: frame["type"] == "mcp_activity" and "progress" not in str(frame["details"]))
    talk.in_any_order()
    await talk.close()


# Servers that fail


@case
async def a_command_that_is_missing(talk, servers):
    await talk.open(servers["missing"])
    await talk.status("status")


@case
async def a_url_where_nothing_listens(talk, servers):
    await talk.open(servers["refused"])
    await talk.status("status")
    await talk.open(servers["refused"] | {"type": "SseServerParams"}, "open as SSE")


@case
async def a_url_without_mcp(talk, servers):
    await talk.open(servers["no mcp"])
    await talk.status("status")


@case
async def a_server_that_exits_at_start(talk, servers):
    await talk.open(servers["exit-at-start"])
    await talk.status("status")


@case
async def a_server_that_dies_in_a_call(talk, servers):
    await talk.open(servers["probe"])
    await talk.call("die")
    await talk.status("status")
    await talk.say({"type": "ping"}, "pong")
    await talk.operation("list_tools")
    await talk.close()
    await talk.gone("status at the end")


@case
async def a_server_of_junk(talk, servers):
    """How much of it the real server has read when it fails is a matter of luck."""
    talk.ignores = lambda frame: frame["type"] == "mcp_activity"
    await talk.open(servers["garbage"])
    await talk.operation("list_tools")
    await talk.close()


@case
async def a_server_that_answers_with_an_error(talk, servers):
    for name in ("json-rpc-error", "rejects-arguments"):
        await talk.open(servers[name], f"open {name}")
        await talk.call("echo", {"text": "hi"})
        await talk.operation("list_prompts")
        await talk.close()


@case
async def a_server_with_odd_answers(talk, servers):
    for name, tool in (("odd-fields", None), ("unknown-content-type", "show"), ("odd-forms", None)):
        await talk.open(servers[name], f"open {name}")
        await talk.operation("list_tools")
        if tool:
            await talk.call(tool)
        await talk.close()


# Fields that the real server accepts and ignores


@case
async def a_working_directory_and_an_environment(talk, servers):
    await talk.open(servers["probe"])
    await talk.call("surroundings")
    await talk.close()
    await talk.open(servers["probe"] | {"cwd": "/usr", "env": {"A": "1"}}, "open with cwd and env")
    await talk.call("surroundings")
    await talk.close()
    await talk.open(servers["probe"] | {"cwd": "/usr-nowhere"}, "open with a folder that does not exist")
    await talk.close()


@case
async def headers_of_requests(talk, servers):
    await talk.open(servers["probe http"] | {"headers": {"X-Probe": "yes"}})
    await talk.call("headers", {"names": ["x-probe", "origin", "authorization"]})
    await talk.close()


@case
async def a_timeout_for_answers(talk, servers):
    await talk.open(servers["probe"] | {"read_timeout_seconds": 1})
    frame = {"type": "operation", "operation": "call_tool", "tool_name": "wait", "arguments": {}}
    await talk.say(frame, "operation_error", silence=True)
    await talk.close()


# Status


@case
async def status(talk, servers):
    await talk.status("a session that was never made", ANY_ID)
    await talk.status("no id", "x")
    await ticket(talk, servers["probe"])
    await talk.status("a session that nobody has opened")
    await talk.open(servers["probe"])
    await talk.there("an open session")
    await talk.http("POST", "POST", f"/api/mcp/ws/status/{ANY_ID}", json={})
    await talk.close()
    await talk.gone("a closed session")
