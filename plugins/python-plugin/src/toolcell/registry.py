"""`@tool`: functions that are offered as tools."""

import inspect
import re
import typing
from collections.abc import Callable

from toolcell_runtime.identifiers import nearest
from wit_world.exports import plugin as wit

from . import answers, documentation
from .shapes import Member, Members, Misfit, NoShape, Schemas, Shapes

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class Unusable(TypeError):
    """A function that cannot be a tool: which, and why."""


class Tool:
    """A function with its schemas."""

    def __init__(self, function: Callable, name: str, title: str | None, hints: dict[str, bool]) -> None:
        self.function = function
        self.name = name
        self._title = title
        self._hints = hints
        self._arguments = Members([])
        self._answers: answers.Answers | None = None
        self._description: str | None = None

    def place(self) -> str:
        """The function as its author finds it."""
        code = inspect.unwrap(self.function).__code__
        return f"{code.co_filename}, line {code.co_firstlineno}, `{self.name}`"

    def prepare(self, shapes: Shapes) -> None:
        """Reads the signature. Not done by `@tool`, because types may be defined further down."""
        function = self.function
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise Unusable(f"{self.place()}: a type hint cannot be read: {error}") from None
        self._description, about = documentation.parts(function.__doc__)
        members, is_open = [], False
        for parameter in inspect.signature(function).parameters.values():
            hint = hints.get(parameter.name, parameter.empty)
            if parameter.kind is parameter.VAR_KEYWORD:
                is_open = True
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                raise Unusable(
                    f"{self.place()}: arguments of a tool have names, and `{parameter}` is given by place; "
                    f"write a plain parameter, or a list"
                )
            members.append(self._member(parameter, hint, shapes, about.get(parameter.name)))
        self._arguments = Members(members, is_open)
        try:
            self._answers = answers.Answers(hints.get("return", inspect.Signature.empty), shapes)
        except NoShape as error:
            raise Unusable(f"{self.place()}: what it returns: {error}") from None

    def _member(self, parameter: inspect.Parameter, hint: object, shapes: Shapes, about: str | None) -> Member:
        try:
            shape = shapes.of(hint)
        except NoShape as error:
            raise Unusable(f"{self.place()}: parameter `{parameter.name}`: {error}") from None
        is_required = parameter.default is parameter.empty
        return Member(parameter.name, shape, is_required, parameter.default, about)

    def definition(self) -> wit.Definition:
        """The tool as the WIT wants it."""
        schemas = Schemas()
        arguments = answers.dumps(schemas.whole(self._arguments.schema(schemas)))
        output = self._answers.schema()
        return wit.Definition(
            name=self.name,
            title=self._title,
            description=self._description,
            input_schema=arguments,
            output_schema=None if output is None else answers.dumps(output),
            **self._hints,
        )

    def read(self, given: object) -> dict[str, object]:
        """The arguments as the function wants them.

        # Errors
        `Misfit`.
        """
        if not isinstance(given, dict):
            raise Misfit("", "the arguments have to be an object")
        return self._arguments.read(given, "")

    def write(self, value: object):
        """The answer made of what the function returned."""
        return self._answers.write(self.name, value)


_tools: dict[str, Tool] = {}
_definitions: list[wit.Definition] = []


def tool(
    function: Callable | None = None,
    /,
    *,
    name: str | None = None,
    title: str | None = None,
    read_only: bool = False,
    idempotent: bool = False,
    destructive: bool = False,
):
    """Makes a tool of a function, plain or `async`.

    Its name, description and schemas come from the function's name, docstring and type hints. The function
    itself stays what it is, and can be called as before.
    """

    def make(function: Callable) -> Callable:
        if not inspect.isroutine(function):
            raise Unusable(f"@tool makes a tool of a function, and this is a `{type(function).__name__}`")
        hints = {"read_only": read_only, "idempotent": idempotent, "destructive": destructive}
        made = Tool(function, function.__name__ if name is None else name, title, hints)
        if not _NAME.match(made.name):
            raise Unusable(f"{made.place()}: a tool's name has 1 to 64 of A-Z a-z 0-9 _ - .")
        if (other := _tools.get(made.name)) is not None:
            raise Unusable(f"{made.place()}: the name is taken by {other.place()}")
        _tools[made.name] = made
        return function

    return make if function is None else make(function)


def prepare() -> None:
    """Reads the signatures of all tools, once, before the snapshot."""
    shapes = Shapes()
    for made in _tools.values():
        made.prepare(shapes)
    _definitions[:] = [made.definition() for made in _tools.values()]


def definitions() -> list[wit.Definition]:
    """All tools, in the order in which they are defined."""
    return _definitions


def find(name: str) -> Tool | None:
    """The tool of this name."""
    return _tools.get(name)


def unknown(name: str) -> str:
    """Why there is none, in words."""
    close = nearest(name, _tools)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(_tools) or 'none'}"
    return f"there is no tool `{name}`; {hint}"


def forget() -> None:
    """Forgets all tools."""
    _tools.clear()
    _definitions.clear()
