"""Small programs that are run before the snapshot, so that code and tables are as in the middle of a run."""

import itertools
import json
from collections.abc import Callable

from componentize_py_types import Err
from wit_world.exports.script import Program

from . import offers, program, straw, tools

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


def warm_up(*ways: Callable[[Program], str | None]) -> None:
    """Runs the programs against a host of straw."""
    with straw.host_of_straw():
        for _ in range(straw.ROUNDS):
            for run, snippet in itertools.product(ways, _SNIPPETS):
                program.reset()
                tools.install()
                try:
                    text = run(Program("main.py", snippet, '{"a": 1}', None, 2**20, False))
                    if text is not None:
                        json.loads(text)
                except Err:
                    pass


def forget() -> None:
    """Leaves nothing of the programs behind."""
    tools.install()
    offers.install()
    program.reset()
