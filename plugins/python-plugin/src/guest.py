"""The component's export `plugin`, and what happens while it is built: see `toolcell.authored`.

componentize-py imports this module once and takes its snapshot afterwards. The author's module is found
in the folder `author` beside this file.
"""

import sys
from pathlib import Path

from toolcell_runtime import preload
from toolcell_runtime import tools as _tools

preload.prepare()

from toolcell import authored, entry, registry, warmup  # noqa: E402 - only after the stdlib is in place
from wit_world import exports  # noqa: E402


class Plugin(exports.Plugin):
    """`toolcell:guest/plugin`, as componentize-py wants it: a class of this name with these methods."""

    def list_tools(self):
        return registry.definitions()

    def call_tool(self, name: str, arguments: str):
        return entry.call_tool(name, arguments)


def _forget() -> None:
    _tools.look_again()
    entry.forget()
    authored.remember()


_streams = sys.stdout, sys.stderr
warmup.warm_up()
# A call takes the streams over, and there is no host yet behind those that it makes.
sys.stdout, sys.stderr = _streams
registry.forget()
try:
    authored.load(Path(__file__).parent / "author")
except authored.Faulty as fault:
    # Between marks, by which the build finds the words among componentize-py's own.
    print(f"\x02{fault}\x03", file=sys.stderr, flush=True)
    raise SystemExit(1) from None
preload.seal(_forget)
