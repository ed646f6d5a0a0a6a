"""The modules `resources`, `prompts` and `events`: what servers offer besides tools, and what a program
tells whoever watches its run.

They are modules of their own because each name in `tools` belongs to a server. What may be read is the
host's decision; this module only asks, and turns answers into values.
"""

import base64
import sys
from dataclasses import dataclass
from types import ModuleType

from componentize_py_types import Err
from wit_world.imports import events as wit_events

from . import calls, console, errors, host, results, values

_LEVELS = {level.name.lower(): level for level in wit_events.Level}


@dataclass(slots=True)
class Resource:
    """A resource, as its server lists it. `size` is in bytes, if the server tells."""

    uri: str
    name: str
    title: str | None
    description: str | None
    mime_type: str | None
    size: int | None


@dataclass(slots=True)
class Template:
    """A family of resources: an RFC 6570 template of their URIs."""

    uri_template: str
    name: str
    title: str | None
    description: str | None
    mime_type: str | None


@dataclass(slots=True)
class Content:
    """One of several parts of a resource; `value` is a str or bytes."""

    uri: str
    mime_type: str | None
    value: object


@dataclass(slots=True)
class Argument:
    """What can be filled into a prompt."""

    name: str
    description: str | None
    required: bool


@dataclass(slots=True)
class Prompt:
    """A prompt, as its server lists it."""

    name: str
    title: str | None
    description: str | None
    arguments: list[Argument]


@dataclass(slots=True)
class Message:
    """One message of a prompt. `content` is a str, an Image, an Audio, or another block as MCP writes it."""

    role: str
    content: object


def _of_server(listing, server: str):
    _require_text(server)
    try:
        return listing(server)
    except Err as error:
        raise errors.from_call_error(server, error.value) from None


def _answer(listing, label: str, first: str, second: str) -> dict[str, object]:
    console.flush()
    try:
        output = listing(first, second)
    except Err as error:
        raise errors.from_call_error(label, error.value) from None
    return results.loads(output.structured)


async def _answer_later(start, label: str, first: str, second: str) -> dict[str, object]:
    call_id, answered = calls.watch(start, first, second)
    try:
        answer = await answered
    except BaseException:
        calls.abandon(call_id, answered)
        raise
    if type(answer) is Err:
        raise errors.from_call_error(label, answer.value)
    return results.loads(answer.value.structured)


def resource_servers() -> list[str]:
    """The servers of which resources are granted."""
    return host.resource_servers()


def list_resources(server: str) -> list[Resource]:
    """The granted resources that a server lists."""
    listed = _of_server(lambda name: host.resources(name), server)
    return [Resource(it.uri, it.name, it.title, it.description, it.mime_type, it.size) for it in listed]


def templates(server: str) -> list[Template]:
    """The templates of a server's resources."""
    listed = _of_server(lambda name: host.templates(name), server)
    return [Template(it.uri_template, it.name, it.title, it.description, it.mime_type) for it in listed]


def read(server: str, uri: str) -> object:
    """What is in a resource: a str, or bytes; if it has several parts, a list of Content."""
    _require_text(server, uri)
    return _contents(_answer(lambda *names: host.read(*names), f"{server}:{uri}", server, uri))


async def read_later(server: str, uri: str) -> object:
    """As `resources.read`, beside other calls."""
    _require_text(server, uri)
    return _contents(await _answer_later(lambda *names: host.start_read(*names), f"{server}:{uri}", server, uri))


def _contents(result: dict[str, object]) -> object:
    parts = [Content(part.get("uri", ""), part.get("mimeType"), _body(part)) for part in result["contents"]]
    return parts[0].value if len(parts) == 1 else parts


def _body(part: dict[str, object]) -> object:
    text = part.get("text")
    return text if text is not None else base64.b64decode(part["blob"])


def prompt_servers() -> list[str]:
    """The servers of which prompts are granted."""
    return host.prompt_servers()


def list_prompts(server: str) -> list[Prompt]:
    """The prompts granted on a server."""
    listed = _of_server(lambda name: host.prompts(name), server)
    return [
        Prompt(
            it.name, it.title, it.description, [Argument(of.name, of.description, of.required) for of in it.arguments]
        )
        for it in listed
    ]


def get(server: str, name: str, /, **arguments: object) -> list[Message]:
    """A prompt with its arguments filled in: its messages."""
    full = _full_name(server, name)
    return _messages(_answer(lambda *texts: host.get(*texts), full, full, _texts(full, arguments)))


async def get_later(server: str, name: str, /, **arguments: object) -> list[Message]:
    """As `prompts.get`, beside other calls."""
    full = _full_name(server, name)
    text = _texts(full, arguments)
    return _messages(await _answer_later(lambda *texts: host.start_get(*texts), full, full, text))


def _full_name(server: str, name: str) -> str:
    _require_text(server, name)
    return f"{server}.{name}"


def _texts(full: str, arguments: dict[str, object]) -> str:
    """The arguments as JSON. A prompt takes texts only, so everything else is written as JSON writes it."""
    try:
        texts = {
            name: value if isinstance(value, str) else values.encode(value, strict=True)
            for name, value in arguments.items()
        }
        return values.encode(texts, strict=True)
    except values.NotJson as refusal:
        raise TypeError(f"arguments of the prompt `{full}`: {refusal}") from None


def _messages(result: dict[str, object]) -> list[Message]:
    return [Message(said.get("role", ""), _block(said.get("content"))) for said in result["messages"]]


def _block(block: object) -> object:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text" and isinstance(block.get("text"), str):
        return block["text"]
    media = {"image": results.Image, "audio": results.Audio}.get(kind)
    if media is not None:
        try:
            return media(base64.b64decode(block["data"]), block["mimeType"])
        except (KeyError, ValueError, TypeError):
            pass
    return block


def progress(progress: float, total: float | str | None = None, message: str | None = None) -> None:
    """Tells how far the program is: `progress(0.5, "half")`, or `progress(3, 10, "the third of ten")`."""
    if isinstance(total, str) and message is None:
        total, message = None, total
    message = None if message is None else _clean(message)
    host.progress(float(progress), None if total is None else float(total), message)


def log(level: str, message: object) -> None:
    """Writes an entry for a log: `log("warning", "the index is old")`. The levels are those of syslog."""
    known = _LEVELS.get(level)
    if known is None:
        raise ValueError(f"{level!r} is no level; there are: {', '.join(_LEVELS)}")
    host.log(known, _clean(message))


def _clean(text: object) -> str:
    """A lone surrogate cannot cross the boundary."""
    return str(text).encode(errors="replace").decode()


def _require_text(*names: object) -> None:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a name must be a str, not {type(name).__name__}")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise errors.UnknownTool(f"nothing called {name!r} is granted to this run") from None


def _module(name: str, doc: str, **members: object) -> ModuleType:
    module = ModuleType(name, doc)
    module.__dict__.update(members, __all__=[member for member in members if member != "aio"])
    sys.modules[name] = module
    return module


def install() -> None:
    """Makes the modules importable: for the snapshot, and after warm-up used them."""
    resources = _module(
        "resources",
        "What servers offer to be read: `resources.read(server, uri)`, and `await resources.aio.read(…)`.",
        servers=resource_servers,
        list=list_resources,
        templates=templates,
        read=read,
        Resource=Resource,
        Template=Template,
        Content=Content,
    )
    resources.aio = _module("resources.aio", "The same, to be awaited.", read=read_later)
    prompts = _module(
        "prompts",
        "Texts that servers have ready: `prompts.get(server, name, argument=…)`, and `await prompts.aio.get(…)`.",
        servers=prompt_servers,
        list=list_prompts,
        get=get,
        Prompt=Prompt,
        Argument=Argument,
        Message=Message,
    )
    prompts.aio = _module("prompts.aio", "The same, to be awaited.", get=get_later)
    _module("events", "What a program tells whoever watches its run.", progress=progress, log=log)


for _public in (Resource, Template, Content):
    _public.__module__ = "resources"
for _public in (Prompt, Argument, Message):
    _public.__module__ = "prompts"
