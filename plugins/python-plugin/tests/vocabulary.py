"""The tests' vocabulary: plugins written as text, and calls of them over the runtime's host of straw.

The SDK is the real one, run by the CPython that runs the tests; only the component's bindings are replaced.
"""

import json
import sys
import tempfile
import textwrap
import time
from pathlib import Path

_HERE = Path(__file__).parent
_PLUGINS = _HERE.parent.parent
sys.path[:0] = [str(_HERE.parent / "src"), str(_PLUGINS / "python-runtime/tests")]

from support import Err, FakeHost, FakeTool, structured, text, wit  # noqa: E402

import wit_world.exports  # noqa: E402
import wit_world.imports  # noqa: E402

wit_world.imports.__path__.append(str(_HERE / "bindings/imports"))
wit_world.exports.__path__.append(str(_HERE / "bindings/exports"))

from toolcell_runtime import host, offers, tools  # noqa: E402

tools.install()
offers.install()

from toolcell import authored, door, entry, registry  # noqa: E402
from wit_world.imports import asks  # noqa: E402


class Store:
    """The imports that only plugins have."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.asked: list[tuple[str, dict]] = []
        self.answer: object = asks.Elicited_Declined()

    def state_get(self, key: str) -> str | None:
        return self.kept.get(key)

    def state_set(self, key: str, value: str) -> None:
        if len(value) > 1000:
            raise Err(wit.Exhausted("state", 1000, len(value), "no room is left"))
        self.kept[key] = value

    def state_delete(self, key: str) -> bool:
        return self.kept.pop(key, None) is not None

    def state_keys(self) -> list[str]:
        return sorted(self.kept)

    def abilities(self):
        return asks.Ability.ELICITATION

    def elicit(self, message: str, schema: str):
        self.asked.append((message, json.loads(schema)))
        return self.answer

    def sample(self, params: str) -> str:
        raise Err(wit.CallError_Unavailable("no model can be asked"))


class Plugin:
    """A plugin of these files, with these servers behind it."""

    def __init__(self, source: str, servers: dict | None = None, **others: str) -> None:
        self.host = FakeHost(servers or {})
        self.store = Store()
        registry.forget()
        authored.sources.clear()
        for name in [name for name in sys.modules if name.partition(".")[0] in {"plugin", *others}]:
            del sys.modules[name]
        with tempfile.TemporaryDirectory() as folder:
            for name, content in {"plugin": source, **others}.items():
                Path(folder, f"{name}.py").write_text(textwrap.dedent(content))
            authored.load(Path(folder))
        entry.forget()

    @property
    def tools(self) -> dict[str, object]:
        return {tool.name: tool for tool in registry.definitions()}

    def schema(self, name: str) -> dict:
        return json.loads(self.tools[name].input_schema)

    def output_schema(self, name: str) -> dict | None:
        given = self.tools[name].output_schema
        return None if given is None else json.loads(given)

    def call(self, name: str, **arguments: object) -> wit.Output:
        """A call. Raises `Err` if it is refused."""
        clock, streams = time.monotonic, (sys.stdin, sys.stdout, sys.stderr)
        time.monotonic = lambda: self.host.now
        before = door.replace(**{name: getattr(self.store, name) for name in door.NAMES})
        replaced = {name: getattr(self.host, name) for name in host._REPLACEABLE}
        refusal = answer = None
        try:
            with host.replaced(**replaced):
                # Caught inside: `Err` is frozen, and a context manager would assign to its traceback.
                try:
                    answer = entry.call_tool(name, json.dumps(arguments))
                except Err as error:
                    refusal = error
        finally:
            door.replace(**before)
            time.monotonic = clock
            sys.stdin, sys.stdout, sys.stderr = streams
        if refusal is not None:
            raise refusal
        return answer

    def value(self, name: str, **arguments: object) -> object:
        """The value of a call that succeeds."""
        answer = self.call(name, **arguments)
        assert not answer.is_error, said(answer)
        return json.loads(answer.structured) if answer.structured is not None else said(answer)

    def failure(self, name: str, **arguments: object) -> str:
        """The words of a call that fails."""
        answer = self.call(name, **arguments)
        assert answer.is_error, answer
        return said(answer)


def said(answer: wit.Output) -> str:
    return "".join(block.value for block in answer.content if isinstance(block, wit.ContentBlock_Text))


__all__ = ["Err", "FakeTool", "Plugin", "asks", "authored", "said", "structured", "text", "wit"]
