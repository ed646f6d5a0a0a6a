"""What is done once, at build time, so that no run has to: imports, patches, warm-up.

In the component there is no file system, so a module can be imported at run time only if it was imported
here. Nothing in this file runs after the snapshot, and nothing it runs may call one of the component's
imports: that would be a trap in the build.
"""

import builtins
import gc
import importlib
import itertools
import json
import linecache
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from componentize_py_types import Err, Ok
from wit_world.exports.script import Program
from wit_world.imports import tools as wit

from . import calls, console, host, loop, offers, program, randomness, tools

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


_SNIPPETS = (
    "1+1",
    "sum(range(1000))",
    "x = 1\nresult = {'a': [1, 2.5, None, True, 'é'], 'x': x}",
    "print('a', 1)\nimport sys\nprint('b', file=sys.stderr, end='')\nprint('c', end='')",
    "import asyncio\nasync def f(n):\n    await asyncio.sleep(0)\n    return n\nawait asyncio.gather(f(1), f(2))",
    "import asyncio\nasync def main():\n    async with asyncio.timeout(5):\n        return 3\nasyncio.run(main())",
    "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\n    b: str = 'x'\n[P(1), {2}, (3,)]",
    "import re, json, math, datetime, collections\n"
    "words = re.findall(r'\\w+', 'the cat and the hat')\n"
    "json.loads(json.dumps(collections.Counter(words)))",
    "def f(x):\n    return 1 / x\ntry:\n    f(0)\nexcept ZeroDivisionError as e:\n    raise ValueError('no') from e",
    "x = = 1",
    "import sys\nsys.exit(3)",
    "from tools import demo\nfor i in range(3):\n    r = demo.search(query='a', n=i)\nr",
    "tools['demo']['search'](query='a')",
    "import asyncio\nawait asyncio.gather(*(aio.demo.search(query=q) for q in 'ab'))",
    "tools.demo.fail()",
    "import resources, prompts, events\nevents.progress(1, 2, 'half')\nevents.log('info', 'x')\n"
    "resources.read('demo', 'a://b'), prompts.get('demo', 'p', a='b')",
    "tools.demo.broken(1)",
)
_ROUNDS = 12  # Enough for the interpreter to specialise the bytecode that every run passes.


def warm_up(*ways: Callable[[Program], str | None]) -> None:
    """Runs small programs against a host of straw, so that code and tables are as in the middle of a run."""
    started: list[str] = []

    def answer(name: str):
        if name == "demo.broken":
            return Err(wit.CallError_Denied("no"))
        is_error = name == "demo.fail"
        structured = None if is_error else '{"hits":[{"title":"x","score":0.5}]}'
        return Ok(wit.Output([wit.ContentBlock_Text("text")], structured, is_error))

    def call(name: str, arguments: str):
        answered = answer(name)
        if isinstance(answered, Err):
            raise answered
        return answered.value

    def start(name: str, arguments: str) -> int:
        started.append(name)
        return len(started)

    def wait(nanoseconds: int | None):
        return [wit.Completion(call_id, answer(started[call_id - 1])) for call_id in list(calls.under_way)]

    with host.replaced(
        servers=lambda: ["demo"],
        names=lambda server: ["search", "fail", "broken"],
        describe=lambda name: wit.Tool(
            name, None, "Demo.", '{"type":"object","properties":{"query":{}}}', None, True, True, False
        ),
        call=call,
        start=start,
        wait=wait,
        cancel=lambda call_id: None,
        write=lambda to, data: None,
        read=lambda server, uri: wit.Output([], '{"contents":[{"uri":"a://b","text":"x"}]}', False),
        get=lambda name, text: wit.Output(
            [], '{"messages":[{"role":"user","content":{"type":"text","text":"x"}}]}', False
        ),
        progress=lambda progress, total, message: None,
        log=lambda level, message: None,
    ):
        for _ in range(_ROUNDS):
            for run, snippet in itertools.product(ways, _SNIPPETS):
                program.reset()
                tools.install()
                try:
                    text = run(Program("main.py", snippet, '{"a": 1}', None, 2**20))
                    if text is not None:
                        json.loads(text)
                except Err:
                    pass


def seal() -> None:
    """Wipes every trace of the build and makes the heap as a run should find it."""
    loop.forget()
    randomness.forget()
    console.attach(None)
    tools.install()
    offers.install()
    program.reset()
    linecache.clearcache()
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
