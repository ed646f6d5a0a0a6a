"""A host of straw: answers every import, so that programs can run while the component is built."""

from collections.abc import Iterator
from contextlib import contextmanager

from componentize_py_types import Err, Ok
from wit_world.imports import tools as wit

from . import calls, host

#: Enough for the interpreter to specialise the bytecode that every run passes.
ROUNDS = 12


@contextmanager
def host_of_straw() -> Iterator[None]:
    """Has one server, `demo`: its `search` answers, `fail` fails, and `broken` is denied."""
    started: list[str] = []

    def answer(name: str):
        if name == "demo.broken":
            return Err(wit.CallError_Denied("no"))
        is_error = name == "demo.fail"
        structured = None if is_error else '{"hits":[{"title":"x","score":0.5}]}'
        return Ok(wit.Output([wit.ContentBlock_Text("text")], structured, is_error))

    def call(name: str, arguments: str):
        answered = answer(name)
        if isinstance(answered, Err):
            raise answered
        return answered.value

    def start(name: str, arguments: str) -> int:
        started.append(name)
        return len(started)

    def wait(nanoseconds: int | None):
        return [wit.Completion(call_id, answer(started[call_id - 1])) for call_id in list(calls.under_way)]

    with host.replaced(
        servers=lambda: ["demo"],
        names=lambda server: ["search", "fail", "broken"],
        describe=lambda name: wit.Tool(
            name, None, "Demo.", '{"type":"object","properties":{"query":{}}}', None, True, True, False
        ),
        call=call,
        start=start,
        wait=wait,
        cancel=lambda call_id: None,
        write=lambda to, data: None,
        read=lambda server, uri: wit.Output([], '{"contents":[{"uri":"a://b","text":"x"}]}', False),
        get=lambda name, text: wit.Output(
            [], '{"messages":[{"role":"user","content":{"type":"text","text":"x"}}]}', False
        ),
        progress=lambda progress, total, message: None,
        log=lambda level, message: None,
    ):
        yield
