"""A tool's answer as a Python value.

Structured content if there is any; else the text of a single text block; else the list of blocks. A tool
that says it failed raises. Bounds nothing: the host has already bounded the answer.
"""

import base64
import json
from json.decoder import JSONDecoder

from wit_world.imports import tools as wit

from .errors import ToolError

_Text = wit.ContentBlock_Text
# The scanner in C, without the checks and regular expressions that `json.loads` wraps around it.
_scan = json.scanner.c_make_scanner(JSONDecoder()) if json.scanner.c_make_scanner else JSONDecoder().scan_once
_WRAPPED = "result"


class Media:
    """Bytes with a media type."""

    kind = "media"

    def __init__(self, data: bytes, mime_type: str) -> None:
        self.data = data
        self.mime_type = mime_type

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.data)} bytes, {self.mime_type!r})"

    def as_block(self) -> dict[str, str]:
        """The block as MCP writes it."""
        return {"type": self.kind, "data": base64.b64encode(self.data).decode(), "mimeType": self.mime_type}


class Image(Media):
    """An image that a tool gave."""

    kind = "image"


class Audio(Media):
    """Audio that a tool gave."""

    kind = "audio"


Media.__module__ = Image.__module__ = Audio.__module__ = "tools"


def loads(text: str) -> object:
    """`json.loads`, quicker for the usual text without white space around it."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    return json.loads(text)


def value(tool, output: wit.Output) -> object:
    """What the call returns. `tool` is asked for its schema only where FastMCP may have wrapped the value."""
    if output.is_error:
        raise _failed(tool.name, output)
    if output.structured is not None:
        structured = loads(output.structured)
        # FastMCP wraps what is not an object as {"result": …} and marks the schema.
        if type(structured) is dict and len(structured) == 1 and _WRAPPED in structured and tool.wraps_results():
            return structured[_WRAPPED]
        return structured
    content = output.content
    if len(content) == 1 and type(content[0]) is _Text:
        return content[0].value
    return [_block(block) for block in content] or None


def _block(block: object) -> object:
    case = type(block)
    if case is _Text:
        return block.value
    if case is wit.ContentBlock_Image:
        return Image(block.value.data, block.value.mime_type)
    if case is wit.ContentBlock_Audio:
        return Audio(block.value.data, block.value.mime_type)
    return json.loads(block.value)


def _failed(name: str, output: wit.Output) -> ToolError:
    content = [_block(block) for block in output.content]
    structured = None if output.structured is None else json.loads(output.structured)
    message = "\n".join(text for text in content if isinstance(text, str))
    if not message:
        message = f"`{name}` failed without a message" if structured is None else json.dumps(structured)
    return ToolError(message, tool=name, content=content, structured=structured)
