"""`ask` and `ask_model`: questions to the person and to the model behind whoever called.

Both wait for the answer. While a person thinks, the deadline stands still.
"""

import json
from collections.abc import Sequence

from componentize_py_types import Err
from toolcell_runtime import console, errors, values
from wit_world.imports import asks as wit

from . import answers, door
from .shapes import Misfit, Schemas, Shapes

_ANSWER = "answer"
_MAX_TOKENS = 1000


class Declined(Exception):
    """The person did not answer; `cancelled` if the question was put away and not refused."""

    def __init__(self, message: str, *, cancelled: bool) -> None:
        super().__init__(message)
        self.cancelled = cancelled


def ask[T](message: str, answer: type[T] = bool) -> T:
    """Asks the person, and gives what was answered: `ask("Delete 3 files?")`, `ask("Which?", Literal["a", "b"])`,
    or several fields at once as a dataclass or TypedDict of texts, numbers, booleans and choices.

    Raises `Declined` if the person does not answer, and `ToolUnavailable` where nobody can be asked.
    """
    shape = Shapes().of(answer)
    schemas = Schemas()
    schema = shape.schema(schemas)
    if not shape.is_object:
        schema = {"type": "object", "properties": {_ANSWER: schema}, "required": [_ANSWER]}
    # A form of MCP says nothing of what else there may be.
    schema = {key: value for key, value in schemas.whole(schema).items() if key != "additionalProperties"}
    console.flush()
    try:
        given = door.elicit(_clean(message), answers.dumps(schema))
    except Err as error:
        raise errors.from_call_error("question", error.value) from None
    if not isinstance(given, wit.Elicited_Accepted):
        cancelled = isinstance(given, wit.Elicited_Cancelled)
        raise Declined(f"the question {'was cancelled' if cancelled else 'was declined'}: {message}", cancelled=cancelled)
    content = json.loads(given.value)
    try:
        if shape.is_object:
            return shape.read(content, "")
        return shape.read(content.get(_ANSWER), f"/{_ANSWER}")
    except Misfit as misfit:
        raise ValueError(f"the answer does not fit the question: {misfit.path} {misfit.message}") from None


def ask_model(
    prompt: str | Sequence[dict[str, object]],
    *,
    system: str | None = None,
    max_tokens: int = _MAX_TOKENS,
    temperature: float | None = None,
) -> str:
    """Asks the caller's model, and gives its text. `prompt` is a text, or messages as MCP has them.

    Raises `ToolUnavailable` where no model can be asked.
    """
    messages = prompt
    if isinstance(prompt, str):
        messages = [{"role": "user", "content": {"type": "text", "text": prompt}}]
    params = {"messages": messages, "maxTokens": max_tokens}
    if system is not None:
        params["systemPrompt"] = system
    if temperature is not None:
        params["temperature"] = temperature
    console.flush()
    try:
        answered = json.loads(door.sample(values.encode(params, strict=True)))
    except Err as error:
        raise errors.from_call_error("model", error.value) from None
    content = answered.get("content")
    blocks = content if isinstance(content, list) else [content]
    return "".join(block.get("text", "") for block in blocks if isinstance(block, dict))


def can_ask() -> bool:
    """Whether there is a person to ask."""
    return wit.Ability.ELICITATION in door.abilities()


def can_ask_model() -> bool:
    """Whether there is a model to ask."""
    return wit.Ability.SAMPLING in door.abilities()


def _clean(text: object) -> str:
    return str(text).encode(errors="replace").decode()
