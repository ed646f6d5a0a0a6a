"""The list of modules that a run may import, if it has one.

It keeps an honest program to what it was allowed and says so in words. It is no wall: what a program may
do is bounded by the component's imports, not by Python's.
"""

import builtins

_ALWAYS = frozenset({"tools", "resources", "prompts", "events", "__future__"})
_import = builtins.__import__


def restrict(allowed: list[str] | None) -> None:
    """Puts the list in force for imports that the program itself writes. None lifts it."""
    if allowed is None:
        if builtins.__import__ is not _import:
            builtins.__import__ = _import
        return
    names = frozenset(allowed) | _ALWAYS

    def __import__(name, globals=None, locals=None, fromlist=(), level=0):
        # Modules of the stdlib import what they need: their globals have another name.
        if globals is not None and globals.get("__name__") == "__main__" and not level:
            if not is_allowed(name, fromlist, names):
                listed = ", ".join(sorted(allowed)) or "nothing"
                raise ImportError(f"import of `{name}` is not allowed in this run; allowed: {listed}", name=name)
        return _import(name, globals, locals, fromlist, level)

    builtins.__import__ = __import__


def is_allowed(name: str, fromlist: tuple[str, ...] | None, allowed: frozenset[str]) -> bool:
    """Whether the list has the module, a package around it, or every name that is taken from it."""
    prefix = name
    while prefix:
        if prefix in allowed:
            return True
        prefix = prefix.rpartition(".")[0]
    return bool(fromlist) and all(f"{name}.{taken}" in allowed for taken in fromlist)
