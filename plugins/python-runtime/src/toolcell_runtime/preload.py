"""What is done once, at build time, so that no run has to: imports, patches, warm-up.

In the component there is no file system, so a module can be imported at run time only if it was imported
here. Nothing in this file runs after the snapshot, and nothing it runs may call one of the component's
imports: that would be a trap in the build.
"""

import builtins
import gc
import importlib
import json
import linecache
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from . import calls, console, loop, offers, randomness, tools

# Packages that are no use in a sandbox, and modules that do something when they are imported.
_LEFT_OUT = {
    "__main__",
    "__phello__",
    "_pyrepl",
    "_sysconfigdata",
    "antigravity",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pip",
    "site-packages",
    "test",
    "this",
    "tkinter",
    "turtle",
    "turtledemo",
    "venv",
}

#: The stdlib's modules that this CPython cannot import, with the reason. Kept for the curious.
missing: dict[str, str] = {}

_zones: dict[str, bytes] = {}


def prepare() -> None:
    """Imports the standard library and puts the sandbox's own parts in place."""
    calls.install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _stdlib():
            try:
                importlib.import_module(name)
            except BaseException as error:
                # Some raise SystemExit, some worse; none of it is a reason not to build.
                missing[name] = f"{type(error).__name__}: {error}"
    _keep_time_zones()
    loop.install()
    tools.install()
    offers.install()
    # CPython refuses to print long integers because printing is quadratic; here compute is limited anyway.
    sys.set_int_max_str_digits(0)
    if not hasattr(builtins, "exit"):
        builtins.exit = builtins.quit = sys.exit


def _stdlib() -> Iterator[str]:
    """Every module of the standard library by its full name, packages before their parts."""
    # Not `os.__file__`: frozen modules give a place where nothing is.
    root = Path(json.__file__).parent.parent
    found = set(sys.builtin_module_names)
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and not any(part in _LEFT_OUT or "test" in part.split("_") or "-" in part for part in parts):
            found.add(".".join(parts))
    return iter(sorted(found))


def _keep_time_zones() -> None:
    """Reads tzdata into memory and lets `zoneinfo` look there."""
    import zoneinfo
    from zoneinfo import _common

    try:
        import tzdata
    except ImportError:
        # componentize-py takes site-packages from the active venv, or from whatever `python3` is first.
        raise RuntimeError("`tzdata` is not there: build with VIRTUAL_ENV set to a venv with requirements.txt") from None
    root = Path(tzdata.__file__).parent / "zoneinfo"
    for path in root.rglob("*"):
        if path.is_file() and path.read_bytes()[:4] == b"TZif":
            _zones[path.relative_to(root).as_posix()] = path.read_bytes()

    from io import BytesIO

    def load_tzdata(key: str) -> BytesIO:
        try:
            return BytesIO(_zones[key])
        except KeyError:
            raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}") from None

    _common.load_tzdata = load_tzdata
    zoneinfo.available_timezones = lambda: set(_zones)
    zoneinfo.reset_tzpath([])


def seal(reset: Callable[[], None]) -> None:
    """Wipes every trace of the build and makes the heap as a run should find it. `reset` does the same for
    what the guest itself holds."""
    loop.forget()
    randomness.forget()
    console.attach(None)
    linecache.clearcache()
    reset()
    warnings.resetwarnings()
    warnings.filters[:] = _default_filters
    for module in list(sys.modules.values()):
        getattr(module, "__dict__", {}).pop("__warningregistry__", None)
    # There are no files: a search for a module that is not loaded should end at once.
    sys.path.clear()
    sys.path_importer_cache.clear()
    _clear_atexit()
    gc.collect()
    gc.collect()
    _fill_holes()
    gc.freeze()


_PROBE_BYTES = 1 << 20
_HOLE_BYTES = (65536, 16384, 4096, 1024, 512, 256, 128, 96, 64, 48, 40, 32, 24, 16, 8)
_MOST_HOLES = 1_000_000
_filling: list[bytes | None] = []


def _fill_holes() -> None:
    """Fills what the build left free between objects, so that a run's own objects lie side by side.

    The allocator takes the hole that fits best, wherever it is: each small object of a run would land on
    another page of the snapshot, and each first write to a page costs a fault and a copy.
    """
    # Made beforehand, because a list that grows makes holes.
    _filling.extend([None] * _MOST_HOLES)
    end = id(bytes(_PROBE_BYTES))
    filled = 0
    for size in _HOLE_BYTES:
        while filled < _MOST_HOLES:
            filler = bytes(size)
            if id(filler) >= end:
                break
            _filling[filled] = filler
            filled += 1
    del _filling[filled:]


def _clear_atexit() -> None:
    import atexit

    atexit._clear()


_default_filters = list(warnings.filters)
