"""One bridge as a client sees it, and the record of all that it sent, with what differs from run to run replaced."""

import asyncio
import base64
import json
import re
from urllib.parse import parse_qsl, urlsplit

import httpx
import websockets
from websockets.asyncio.client import connect

#: How long something that has to come may take.
PATIENCE = 30
#: How long nothing has to come for, where nothing is what should come.
SILENCE = 2


#: An id that no bridge has given out.
ANY_ID = "6f1e0a9c-58f7-4b7e-9d44-0c6b3a1de001"


class Bridge:
    """The real server or toolcell, and what a client of it needs to know."""

    def __init__(self, name, url, token=None):
        self.name = name
        self.url = url
        self.token = token

    def headers(self):
        headers = {"Origin": self.url}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    async def request(self, method, path, **request):
        headers = self.headers() | request.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value is not None}
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            return await client.request(method, self.url + path, headers=headers, **request)


class Talk:
    """What one case says to a bridge, and what comes back: a list of steps, each `{"sent", "got"}`."""

    def __init__(self, bridge):
        self.bridge = bridge
        self.steps = []
        self.socket = None
        self.session = None
        self.clean = Cleaner(bridge)
        #: Frames that come when they like, and that another case looks at.
        self.ignores = lambda frame: False
        #: Whether the URL that the real server returns is repaired.
        self.encodes = True

    def step(self, sent):
        self.steps.append({"sent": sent, "got": []})
        self.clean.ids.clear()
        return self.steps[-1]["got"]

    async def http(self, sent, method, path, **request):
        """A request that is not an upgrade. Its answer is recorded."""
        got = self.step(sent)
        answer = await self.bridge.request(method, path, **request)
        kind = answer.headers.get("content-type", "").split(";")[0]
        body = answer.json() if kind == "application/json" and answer.content else answer.text
        got.append({"http": {"status": answer.status_code, "type": kind, "body": self.clean(body)}})
        return body

    async def post(self, sent, server_params, **request):
        return await self.http(sent, "POST", "/api/mcp/ws/connect", json={"server_params": server_params}, **request)

    async def status(self, sent, session=None):
        return await self.http(sent, "GET", f"/api/mcp/ws/status/{session or self.session}")

    async def open(self, server_params, sent="open"):
        """Opens a session and records what comes until it is ready, or over."""
        answer = await self.bridge.request("POST", "/api/mcp/ws/connect", json={"server_params": server_params})
        if answer.status_code != 200:
            self.step(sent).append({"http": {"status": answer.status_code, "body": self.clean(answer.json())}})
            return
        body = answer.json()
        self.is_of(body["session_id"])
        await self.upgrade(body["websocket_url"], sent)
        if self.socket:
            await self.until(self.steps[-1]["got"], lambda frame: frame.get("type") == "initialized")

    def is_of(self, session):
        self.session = self.clean.session = session

    async def upgrade(self, path, sent, **headers):
        """Opens the socket at this address. Whether that works is recorded."""
        got = self.step(sent)
        path = path.replace("+", "%2B") if self.encodes else path
        headers = {"Origin": self.bridge.url} | headers
        headers = {name: value for name, value in headers.items() if value is not None}
        try:
            self.socket = await connect(
                self.bridge.url.replace("http", "ws", 1) + path,
                additional_headers={name: value for name, value in headers.items() if name != "Origin"},
                origin=headers.get("Origin"),
                max_size=None,
                open_timeout=PATIENCE,
                proxy=None,
            )
        except websockets.InvalidStatus as refused:
            self.socket = None
            got.append({"upgrade": {"status": refused.response.status_code}})

    async def say(self, what, until="error", sent=None, times=1, answers=(), silence=False):
        """Sends a frame, and records what comes until so many frames of these types have come, and
        what was on its way before the answer to a ping."""
        text = what if isinstance(what, (str, bytes)) else json.dumps(what)
        got = self.step(sent or (text if isinstance(text, str) and len(text) < 200 else f"{len(text)} bytes"))
        wanted = until.split("|")
        answers = list(answers)
        if not self.socket:
            got.append({"nothing": "no socket"})
            return
        try:
            await self.socket.send(text)
        except websockets.ConnectionClosed:
            pass
        seen = 0

        def enough(frame):
            nonlocal seen
            if frame.get("type") == "elicitation_request" and answers:
                answer = {"type": "elicitation_response", "request_id": frame["request_id"]} | answers.pop(0)
                asyncio.get_running_loop().create_task(self.send(answer))
            seen += frame.get("type") in wanted
            return seen >= times

        await self.until(got, enough, SILENCE if silence else PATIENCE)
        await self.barrier(got)

    async def send(self, frame):
        try:
            await self.socket.send(json.dumps(frame))
        except websockets.ConnectionClosed:
            pass

    async def operation(self, operation, answers=(), **members):
        frame = {"type": "operation", "operation": operation} | members
        await self.say(frame, "operation_result|operation_error", answers=answers)

    async def collect(self, times, is_one):
        """Waits until so many of these have come in the last step, counting those that are there."""
        got = self.steps[-1]["got"]
        missing = times - sum(is_one(entry["frame"]) for entry in got if "frame" in entry)

        def enough(frame):
            nonlocal missing
            missing -= is_one(frame)
            return missing <= 0

        if missing > 0 and self.socket:
            await self.until(got, enough)

    def in_any_order(self):
        """What came in the last step came on two streams, so its order says nothing."""
        self.steps[-1]["got"].sort(key=json.dumps)

    async def call(self, tool, arguments=None, answers=(), **members):
        await self.operation("call_tool", tool_name=tool, arguments=arguments or {}, answers=answers, **members)

    async def barrier(self, got):
        if self.socket:
            await self.send({"type": "ping"})
            await self.until(got, lambda frame: frame.get("type") == "pong", keep_last=False)

    async def until(self, got, enough, patience=PATIENCE, keep_last=True):
        """Records frames until one is enough, the socket closes, or nothing more comes."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    frame = json.loads(await self.socket.recv())
                    last = enough(frame)
                    if (keep_last or not last) and not self.ignores(frame):
                        got.append({"frame": self.clean(frame)})
                    if last:
                        return
        except TimeoutError:
            got.append({"nothing": f"for {patience} s"})
        except websockets.ConnectionClosed as closed:
            # A socket that just ends has no frame that says why: 1006.
            frame = closed.rcvd
            got.append({"closed": {"code": frame.code if frame else 1006, "reason": frame.reason if frame else ""}})
            self.socket = None

    async def close(self, code=1000):
        if self.socket:
            await self.socket.close(code)
            self.socket = None

    async def there(self, sent):
        """Waits until the status knows the session, which at the real server is after the frame, and records it."""
        await self._until_status(True)
        await self.status(sent)

    async def gone(self, sent):
        """Waits until the status says that the session is over, and records it."""
        await self._until_status(False)
        await self.status(sent)

    async def _until_status(self, wanted):
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self.bridge.request("GET", f"/api/mcp/ws/status/{self.session}")
                if (answer.json().get("status") is True) == wanted:
                    return
                await asyncio.sleep(0.05)


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")


class Cleaner:
    """Replaces ids by their order in a step, and times by a word, each if it has the form that it should have."""

    def __init__(self, bridge):
        self.bridge = bridge
        self.session = None
        self.ids = {}

    def __call__(self, value, key=None):
        match value:
            case dict():
                return {name: self(member, name) for name, member in value.items()}
            case list():
                return [self(member) for member in value]
            case str() if key in ("timestamp", "created_at", "last_activity") and TIME.fullmatch(value):
                return "<time>"
            case str() if key == "websocket_url":
                return self.address(value)
            case str():
                return UUID.sub(self.number, value).replace(self.bridge.url, "<bridge>")
        return value

    def number(self, found):
        if found[0] in (ANY_ID, self.session):
            return "<any id>" if found[0] == ANY_ID else "<session>"
        return self.ids.setdefault(found[0], f"<id {len(self.ids) + 1}>")

    def address(self, value):
        """The path, and what each parameter is: JSON in base64, or something that says nothing."""
        parts = urlsplit(value)
        query = {}
        for name, text in parse_qsl(parts.query.replace("+", "%2B"), strict_parsing=bool(parts.query)):
            try:
                query[name] = json.loads(base64.b64decode(text, validate=True))
            except ValueError:
                query[name] = "<opaque>"
        return {"path": UUID.sub(self.number, parts.path), "query": query}
