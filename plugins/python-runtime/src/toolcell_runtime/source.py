"""Compiles a program so that the value of its last expression can be had.

The plain way is CPython's: parse, take the last statement off the tree, compile both. But turning syntax
trees into Python objects and back costs as much again as compiling, and a run's compile time is what
its caller waits for. So the source is first cut as text, before the last line that starts in column 0: if
what precedes it compiles by itself, no statement spans the cut; and if what follows is one expression,
its value is the program's. In every other case the plain way decides.
"""

import ast
import re
from types import CodeType

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
# A line that starts with one of these starts no statement of the module.
_NOT_A_START = frozenset(" \t\r\n#)]}")
_CONTINUES = re.compile(r"(?:else|elif|except|finally)\b")
# Statements that are no expression, whatever they hold.
_COMPOUND = ("for ", "if ", "while ", "with ", "try:", "def ", "class ", "async ")


def compile_program(source: str, name: str) -> list[CodeType]:
    """The code to run, in order. The value of the last piece is the program's.

    # Errors
    What `compile` raises: `SyntaxError`, and for absurd sources `ValueError`, `MemoryError`, `RecursionError`.
    """
    return _cut_as_text(source, name) or _cut_as_tree(source, name)


def _cut_as_text(source: str, name: str) -> list[CodeType] | None:
    # A future statement changes how all that follows is compiled; a form feed starts a line without a newline.
    if "__future__" in source or "\f" in source:
        return None
    start = _last_start(source)
    if start is None:
        return None
    last = source[start:]
    is_compound = last.startswith(_COMPOUND)
    if not is_compound and ";" in last:
        return None  # Perhaps several statements.
    # Blank lines keep the line numbers true.
    placed = "\n" * source.count("\n", 0, start) + last
    try:
        tail = compile(placed, name, "exec" if is_compound else "eval", _FLAGS, dont_inherit=True)
        if not start:
            return [tail]
        return [compile(source[:start], name, "exec", _FLAGS, dont_inherit=True), tail]
    except (SyntaxError, ValueError):
        return None


def _last_start(source: str) -> int | None:
    """Where the last statement may start."""
    end = len(source)
    while end >= 0:
        start = source.rfind("\n", 0, end) + 1
        if start < end and source[start] not in _NOT_A_START and not _CONTINUES.match(source, start):
            return start
        end = start - 1
    return None


def _cut_as_tree(source: str, name: str) -> list[CodeType]:
    tree = compile(source, name, "exec", _FLAGS | ast.PyCF_ONLY_AST, dont_inherit=True)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        return [compile(tree, name, "exec", _FLAGS, dont_inherit=True)]
    del tree.body[-1]
    body = compile(tree, name, "exec", _FLAGS, dont_inherit=True)
    # A future statement of the body holds for the last expression too.
    future = body.co_flags & _FUTURE
    tail = compile(ast.Expression(last.value), name, "eval", _FLAGS | future, dont_inherit=True)
    return [body, tail]


def _future_flags() -> int:
    import __future__

    return sum(getattr(__future__, feature).compiler_flag for feature in ("annotations", "barry_as_FLUFL"))


_FUTURE = _future_flags()
