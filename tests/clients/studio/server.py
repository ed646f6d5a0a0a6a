"""The real server of AutoGen Studio's MCP panel: its router, at the address and in the way in which its
application mounts it, without the rest of the application (teams, databases, models: 500 MB).

Listens on the port PORT of the loopback interface, a free one for 0, and says on stderr which one it got.
"""

import os
import socket
import sys
from importlib.util import find_spec
from types import ModuleType

# The package's own `__init__` imports the whole application.
package = ModuleType("autogenstudio")
package.__path__ = list(find_spec("autogenstudio").submodule_search_locations)
sys.modules["autogenstudio"] = package

import uvicorn  # noqa: E402
from autogenstudio.web.routes import mcp  # noqa: E402
from fastapi import FastAPI  # noqa: E402

api = FastAPI(root_path="/api")
api.include_router(mcp.router, prefix="/mcp", tags=["mcp"], responses={404: {"description": "Not found"}})
app = FastAPI(debug=True)
app.mount("/api", api)

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(os.environ.get("PORT", "0"))))
listener.listen(64)
print(f"listening at 127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
