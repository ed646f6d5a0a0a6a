"""What a tool's function returns, as an answer of MCP.

A text is a text block. What the return type says is an object is structured content, and the same as
text for clients that look there only. Other values travel as `{"result": …}`, which is what FastMCP does
and what toolcell's language runtimes undo.
"""

import inspect
import json
import types
import typing

from toolcell_runtime import results, values
from wit_world.imports import tools as wit

from .shapes import Schemas, Shape, Shapes

_WRAPPED = "result"


class Answers:
    """How the answers of one tool are written."""

    def __init__(self, annotation: object, shapes: Shapes) -> None:
        self._shape: Shape | None = None
        if not _is_free(annotation):
            self._shape = shapes.of(annotation)
        self._is_wrapped = self._shape is not None and not self._shape.is_object

    def schema(self) -> dict | None:
        """The output schema, if the return type says anything of use."""
        if self._shape is None:
            return None
        schemas = Schemas()
        made = self._shape.schema(schemas)
        if self._is_wrapped:
            made = {
                "type": "object",
                "properties": {_WRAPPED: made},
                "required": [_WRAPPED],
                "x-fastmcp-wrap-result": True,
            }
        elif made.get("type") != "object":
            made = {"type": "object", **made}
        return schemas.whole(made)

    def write(self, name: str, value: object) -> wit.Output:
        """The answer.

        # Errors
        `TypeError` if the value has no form in JSON, or is not what the return type says.
        """
        if self._shape is None:
            blocks = _blocks(value)
            if blocks is not None:
                return wit.Output(blocks, None, False)
        text = _encoded(name, value)
        if self._is_wrapped:
            return wit.Output([wit.ContentBlock_Text(_shown(value, text))], f'{{"{_WRAPPED}":{text}}}', False)
        is_object = text.startswith("{")
        if self._shape is not None and not is_object:
            raise TypeError(f"`{name}` says that it returns an object, and returned a `{type(value).__name__}`")
        return wit.Output([wit.ContentBlock_Text(text)], text if is_object else None, False)


def _is_free(annotation: object) -> bool:
    """Whether the return type leaves the answer to the value: nothing is said, or a text, or media."""
    if annotation in (inspect.Signature.empty, None, types.NoneType, str, typing.Any):
        return True
    if isinstance(annotation, type) and issubclass(annotation, results.Media):
        return True
    if typing.get_origin(annotation) in (list, tuple, typing.Union, types.UnionType):
        members = typing.get_args(annotation)
        has_media = any(isinstance(member, type) and issubclass(member, results.Media) for member in members)
        return has_media or any(_is_free(member) and typing.get_origin(member) for member in members)
    return False


def _blocks(value: object) -> list[object] | None:
    """The content blocks of texts and media; nothing if the value is something else."""
    if value is None:
        return []
    if isinstance(value, str):
        return [wit.ContentBlock_Text(_clean(value))]
    if isinstance(value, results.Media):
        return [_media(value)]
    if isinstance(value, (list, tuple)) and any(isinstance(item, results.Media) for item in value):
        return [block for item in value for block in (_blocks(item) or [_as_text(item)])]
    return None


def _media(value: results.Media) -> object:
    case = wit.ContentBlock_Image if isinstance(value, results.Image) else wit.ContentBlock_Audio
    return case(wit.Media(bytes(value.data), _clean(value.mime_type)))


def _as_text(value: object) -> object:
    return wit.ContentBlock_Text(values.encode(value))


def _encoded(name: str, value: object) -> str:
    try:
        return values.encode(value, strict=True)
    except values.NotJson as refusal:
        raise TypeError(f"what `{name}` returned: {refusal}") from None


def _shown(value: object, text: str) -> str:
    return _clean(value) if isinstance(value, str) else text


def _clean(text: str) -> str:
    """A lone surrogate cannot cross the boundary."""
    return text.encode(errors="replace").decode()


def failed(words: str) -> wit.Output:
    """The answer of a tool that failed."""
    return wit.Output([wit.ContentBlock_Text(_clean(words))], None, True)


def dumps(schema: dict) -> str:
    """A schema as the WIT wants it."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
