"""The tests' vocabulary: a host of straw with fake tools and a clock of its own, and `run`.

The runtime is the real one, run by the CPython that runs the tests; only the component's bindings are
replaced. What depends on WASI (memory, missing modules, start-up) is tested through the real component.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE / "bindings"), str(_HERE.parent / "src")]

from componentize_py_types import Err, Ok  # noqa: E402
from toolcell_runtime import calls, console, host, imports, loop, offers, program, tools  # noqa: E402
from wit_world.exports.script import Program  # noqa: E402
from wit_world.imports import prompts as wit_prompts  # noqa: E402
from wit_world.imports import resources as wit_resources  # noqa: E402
from wit_world.imports import tools as wit  # noqa: E402

calls.install()
loop.install()


def text(*blocks: str) -> wit.Output:
    return wit.Output([wit.ContentBlock_Text(block) for block in blocks], None, False)


def structured(value: object) -> wit.Output:
    return wit.Output([wit.ContentBlock_Text("as text")], json.dumps(value), False)


@dataclass
class FakeTool:
    """A tool: what it answers, after how many milliseconds of the fake clock."""

    answer: Callable[[dict], object]
    milliseconds: int = 0
    schema: dict = field(default_factory=lambda: {"type": "object"})
    output_schema: dict | None = None
    description: str | None = None


class FakeHost:
    """The component's imports. Time passes only in `wait`."""

    def __init__(self, servers: dict[str, dict[str, FakeTool]]) -> None:
        self.granted = servers
        self.printed: list[tuple[str, str]] = []
        self.called: list[tuple[str, dict]] = []
        #: Output and calls, in one order.
        self.events: list[str] = []
        self.asked: list[str] = []
        self.cancelled: list[int] = []
        self.now = 0.0
        self._out: dict[int, tuple[float, str, str]] = {}
        self._count = 0

    def write(self, to, data: bytes) -> None:
        assert data, "nothing is not worth a call"
        self.printed.append((to.name.lower(), data.decode()))
        self.events.append(data.decode())

    def servers(self) -> list[str]:
        self.asked.append("servers")
        return list(self.granted)

    def names(self, server: str) -> list[str]:
        self.asked.append(f"names {server}")
        return list(self.granted[server])

    def describe(self, name: str) -> wit.Tool:
        self.asked.append(f"describe {name}")
        tool = self._find(name)
        output_schema = None if tool.output_schema is None else json.dumps(tool.output_schema)
        return wit.Tool(name, None, tool.description, json.dumps(tool.schema), output_schema, True, True, False)

    def call(self, name: str, arguments: str) -> wit.Output:
        self._count += 1
        self.events.append(f"call {name}")
        answer = self._answer(name, arguments)
        if isinstance(answer, Err):
            raise answer
        return answer.value

    def start(self, name: str, arguments: str) -> int:
        self._count += 1
        self._out[self._count] = (self.now + self._find(name).milliseconds / 1000, name, arguments)
        return self._count

    def wait(self, nanoseconds: int | None) -> list[wit.Completion]:
        until = None if nanoseconds is None else self.now + nanoseconds / 1e9
        first = min((due for due, _, _ in self._out.values()), default=None)
        if first is not None and (until is None or first <= until):
            self.now = max(self.now, first)
        elif until is not None:
            self.now = until
        done = sorted((due, call_id) for call_id, (due, _, _) in self._out.items() if due <= self.now)
        completions = []
        for _, call_id in done:
            _, name, arguments = self._out.pop(call_id)
            completions.append(wit.Completion(call_id, self._answer(name, arguments)))
        return completions

    def read(self, server: str, uri: str) -> wit.Output:
        return self.call("resources.read", json.dumps({"server": server, "uri": uri}))

    def start_read(self, server: str, uri: str) -> int:
        return self.start("resources.read", json.dumps({"server": server, "uri": uri}))

    def get(self, name: str, arguments: str) -> wit.Output:
        return self.call("prompts.get", json.dumps({"name": name, "arguments": json.loads(arguments)}))

    def start_get(self, name: str, arguments: str) -> int:
        return self.start("prompts.get", json.dumps({"name": name, "arguments": json.loads(arguments)}))

    def resource_servers(self) -> list[str]:
        return ["docs"]

    def prompt_servers(self) -> list[str]:
        return ["docs"]

    def resources(self, server: str) -> list[wit_resources.Resource]:
        self._granted(server)
        return [wit_resources.Resource("a://b", "b", None, "The letter.", "text/plain", 3)]

    def templates(self, server: str) -> list[wit_resources.Template]:
        self._granted(server)
        return [wit_resources.Template("a://{x}", "x", None, None, None)]

    def prompts(self, server: str) -> list[wit_prompts.Prompt]:
        self._granted(server)
        return [wit_prompts.Prompt("ask", None, None, [wit_prompts.Argument("who", None, True)])]

    def _granted(self, server: str) -> None:
        if server != "docs":
            raise Err(wit.CallError_UnknownTool(f"nothing of a server `{server}` is granted to this run"))

    def progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.events.append(f"progress {progress} {total} {message}")

    def log(self, level, message: str) -> None:
        self.events.append(f"log {level.name} {message}")

    def cancel(self, call_id: int) -> None:
        self.cancelled.append(call_id)
        self._out.pop(call_id, None)

    def _find(self, name: str) -> FakeTool:
        server, _, tool = name.partition(".")
        try:
            return self.granted[server][tool]
        except KeyError:
            raise Err(wit.CallError_UnknownTool(f"no tool `{name}` is granted to this run")) from None

    def _answer(self, name: str, arguments: str):
        try:
            answer = self._find(name).answer(json.loads(arguments))
        except Err as error:
            return error
        self.called.append((name, json.loads(arguments)))
        return answer if isinstance(answer, Err) else Ok(answer)


@dataclass
class Ran:
    """What came of a run: a value, or a failure."""

    value: object = None
    failure: object = None
    host: FakeHost | None = None

    @property
    def stdout(self) -> str:
        return "".join(text for stream, text in self.host.printed if stream == "stdout")

    @property
    def stderr(self) -> str:
        return "".join(text for stream, text in self.host.printed if stream == "stderr")

    @property
    def traceback(self) -> str:
        return self.exception.traceback

    @property
    def exception(self):
        payload = self.failure.value
        payload = payload[0] if isinstance(payload, tuple) else payload
        return getattr(payload, "exception", payload)


def run(
    source: str,
    servers: dict[str, dict[str, FakeTool]] | None = None,
    *,
    inputs: object = None,
    allowed: list[str] | None = None,
    max_value_bytes: int = 1 << 20,
    name: str = "main.py",
) -> Ran:
    """Runs a program as the component would, and leaves this process as it was."""
    given = None if inputs is None else json.dumps(inputs)
    with _instance():
        return _run(program.run, FakeHost(servers or {}), Program(name, source, given, allowed, max_value_bytes, False))


class Session:
    """Programs one after another in one namespace. Use it in a `with`."""

    def __init__(self, servers: dict[str, dict[str, FakeTool]] | None = None) -> None:
        #: What is granted to the next program; it may be replaced.
        self.servers = servers or {}
        self._instance = _instance()

    def __enter__(self) -> "Session":
        self._instance.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self._instance.__exit__(*failure)

    def run(self, source: str, *, inputs: object = None, name: str = "main.py") -> Ran:
        given = None if inputs is None else json.dumps(inputs)
        return _run(program.run_kept, FakeHost(self.servers), Program(name, source, given, None, 1 << 20))


@contextmanager
def _instance() -> Iterator[None]:
    """An instance as it comes from the snapshot; this process is left as it was."""
    kept = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr", "argv")}
    kept_main, kept_clock = sys.modules["__main__"], time.monotonic
    try:
        tools.install()
        offers.install()
        program.reset()
        console.renew()
        yield
    finally:
        imports.restrict(None)
        time.monotonic = kept_clock
        sys.modules["__main__"] = kept_main
        for name, stream in kept.items():
            setattr(sys, name, stream)


def _run(way: Callable[[Program], str | None], fake: FakeHost, given: Program) -> Ran:
    time.monotonic = lambda: fake.now
    with host.replaced(**{function: getattr(fake, function) for function in host._REPLACEABLE}):
        # Caught inside: `Err` is frozen, and a context manager would assign to its traceback.
        try:
            value = way(given)
        except Err as error:
            return Ran(None, error.value, fake)
    return Ran(None if value is None else json.loads(value), None, fake)


__all__ = ["Err", "FakeHost", "FakeTool", "Ran", "Session", "run", "structured", "text", "wit"]
