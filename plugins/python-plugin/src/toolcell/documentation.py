"""A docstring's parts: what the function does, and what is said of each argument. Pure."""

import inspect
import re

_ARGUMENTS = re.compile(r"^(?:Args|Arguments|Parameters):\s*$")
_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Returns?|Yields?|Raises|Examples?|Notes?|Attributes):\s*$")
_ENTRY = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_FIELD = re.compile(r"^:param\s+(?:[^:]*\s)?(\w+):\s*(.*)$")
_OTHER_FIELD = re.compile(r"^:\w+[^:]*:")


def parts(docstring: str | None) -> tuple[str | None, dict[str, str]]:
    """The description without its section of arguments, and that section's entries. Takes the styles
    `Args:` and `:param name:`."""
    if not docstring:
        return None, {}
    kept: list[str] = []
    arguments: dict[str, str] = {}
    is_arguments, last, indent = False, None, 0
    for line in inspect.cleandoc(docstring).splitlines():
        if _SECTION.match(line):
            is_arguments, last = bool(_ARGUMENTS.match(line)), None
            if is_arguments:
                continue
        elif field := _FIELD.match(line):
            is_arguments, last, indent = False, field[1], 0
            arguments[last] = field[2]
            continue
        elif _OTHER_FIELD.match(line):
            is_arguments, last = False, None
        elif is_arguments and line[:1].isspace():
            depth = len(line) - len(line.lstrip())
            entry = _ENTRY.match(line)
            if entry and (last is None or depth <= indent):
                last, indent = entry[1], depth
                arguments[last] = entry[2].strip()
            elif last is not None:
                arguments[last] = f"{arguments[last]} {line.strip()}".strip()
            continue
        elif last is not None and not is_arguments and line[:1].isspace():
            arguments[last] = f"{arguments[last]} {line.strip()}".strip()
            continue
        elif line.strip():
            is_arguments, last = False, None
        kept.append(line)
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return description or None, arguments
