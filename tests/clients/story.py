"""What a client of this folder is asked to do, and how it tells what it saw.

A test gives it one argument: {"transport", "url", "token", "calls", "long_call", "log", "era"}. `toolcell`
is in the PATH, and `toolcell.toml` in the working directory.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

_asked = json.loads(sys.argv[1])

#: "stdio", "http" (streamable HTTP) or "sse".
TRANSPORT = _asked["transport"]
URL = _asked.get("url")
TOKEN = _asked.get("token")
#: The era of the protocol, for a client that lets its user choose.
ERA = _asked.get("era", "auto")
#: Calls to make one after the other: [name, arguments].
CALLS = _asked["calls"]
#: A call that takes ten minutes, and is cancelled as soon as it has arrived.
LONG_CALL = _asked["long_call"]

_LOG = Path(_asked["log"])


async def arrival():
    """Waits until the long call has reached the server behind toolcell."""
    await asyncio.to_thread(wait_for, "tools/call slow")


async def cancellation():
    """Waits until that server has been told that nobody waits for the long call any more."""
    await asyncio.to_thread(wait_for, "notifications/cancelled")


def wait_for(message):
    """Waits until that server has got this message."""
    deadline = time.monotonic() + 30
    while not (_LOG.exists() and message in _LOG.read_text()):
        if time.monotonic() > deadline:
            sys.exit(f"the server never got {message}")
        time.sleep(0.01)


def tell(tools, answers, cancelled):
    """Prints what was seen: the tools' names; for each call its text and whether the framework says
    that it failed (by raising or in its own result); how the long call ended."""
    print(json.dumps({"tools": tools, "answers": answers, "cancelled": cancelled}))
