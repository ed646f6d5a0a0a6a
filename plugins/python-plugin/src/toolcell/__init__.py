"""What the author of a plugin imports.

    from toolcell import tool, tools

    @tool
    async def find(query: str) -> list[str]:
        \"\"\"Finds pages.\"\"\"
        return await tools.search.find(query=query)

`tools` are the tools that were granted to the plugin; their calls are awaited. `blocking` has the same
tools for functions that are not `async`. Modules whose names are not in `__all__` are no part of this.
"""

import sys

from toolcell_runtime import offers as _offers
from toolcell_runtime import tools as _tools
from toolcell_runtime.errors import (
    InvalidArguments,
    LimitExceeded,
    ToolCancelled,
    ToolDenied,
    ToolError,
    ToolInterrupted,
    ToolRejected,
    ToolTimeout,
    ToolUnavailable,
    UnknownTool,
)
from toolcell_runtime.offers import log, progress
from toolcell_runtime.results import Audio, Image

from . import authored as _authored
from .branches import Outcome, settle
from .keeping import state
from .questions import Declined, ask, ask_model, can_ask, can_ask_model
from .registry import tool

if not hasattr(_tools, "tools"):
    _tools.install()
    _offers.install()

tools = _tools.aio
blocking = _tools.tools
resources = sys.modules["resources"]
prompts = sys.modules["prompts"]



def folder():
    """The plugin's own folder, to read data from while its module is imported. At run time there are no files.

    # Errors
    `RuntimeError` inside a tool.
    """
    if _authored.folder is None:
        raise RuntimeError("files can be read only while the module is imported: read the data at the top of plugin.py")
    return _authored.folder


__all__ = [
    "Audio",
    "Declined",
    "Image",
    "InvalidArguments",
    "LimitExceeded",
    "Outcome",
    "ToolCancelled",
    "ToolDenied",
    "ToolError",
    "ToolInterrupted",
    "ToolRejected",
    "ToolTimeout",
    "ToolUnavailable",
    "UnknownTool",
    "ask",
    "ask_model",
    "blocking",
    "can_ask",
    "can_ask_model",
    "folder",
    "log",
    "progress",
    "prompts",
    "resources",
    "settle",
    "state",
    "tool",
    "tools",
]
