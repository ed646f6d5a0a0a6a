"""From what a program writes in a call's parentheses to the JSON object that is sent.

Validates nothing against the schema: the host does, and says so with the path. The schema is asked for
only where positions have to become names.
"""

from . import values


def encode(tool, positional: tuple, named: dict[str, object]) -> str:
    """The arguments' JSON text. `tool` has a `name`, and `parameters()` if they are needed."""
    if positional:
        named = _by_name(tool, positional, named)
    try:
        return values.encode(named, strict=True)
    except values.NotJson as refusal:
        raise TypeError(_blame(tool.name, named, refusal)) from None


def _by_name(tool, positional: tuple, named: dict[str, object]) -> dict[str, object]:
    if len(positional) == 1 and isinstance(positional[0], dict):
        return {**positional[0], **named}
    parameters = tool.parameters()
    if len(positional) > len(parameters):
        takes = f"takes {len(parameters)} argument{'' if len(parameters) == 1 else 's'}"
        raise TypeError(f"`{tool.name}` {takes} but {len(positional)} were given")
    placed = dict(zip(parameters, positional))
    if twice := [name for name in placed if name in named]:
        raise TypeError(f"`{tool.name}` got multiple values for argument `{twice[0]}`")
    return {**placed, **named}


def _blame(tool: str, named: dict[str, object], refusal: Exception) -> str:
    """Finds the argument at fault. Only on failure, so encoding each once more does not matter."""
    for name, value in named.items():
        try:
            values.encode(value, strict=True)
        except values.NotJson as why:
            return f"argument `{name}` of `{tool}`: {why}"
    return f"arguments of `{tool}`: {refusal}"
