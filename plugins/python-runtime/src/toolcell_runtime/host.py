"""The only door outward: the component's imports under short names.

Everything else in this package calls `host.call(…)` and so on through this module, never a copy of the
function, so that warm-up at build time and the tests can put something in its place: an import that is
called while the snapshot is being taken is a trap.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from wit_world.imports import console as _console
from wit_world.imports import events as _events
from wit_world.imports import prompts as _prompts
from wit_world.imports import resources as _resources
from wit_world.imports import tools as _tools

servers = _tools.servers
names = _tools.names
describe = _tools.describe
call = _tools.call
start = _tools.start
wait = _tools.wait
cancel = _tools.cancel
write = _console.write
resource_servers = _resources.servers
resources = _resources.listed
templates = _resources.templates
read = _resources.read
start_read = _resources.start
prompt_servers = _prompts.servers
prompts = _prompts.listed
get = _prompts.get
start_get = _prompts.start
progress = _events.progress
log = _events.log

STDOUT = _console.Stream.STDOUT
STDERR = _console.Stream.STDERR

_REPLACEABLE = (
    *("servers", "names", "describe", "call", "start", "wait", "cancel", "write"),
    *("resource_servers", "resources", "templates", "read", "start_read"),
    *("prompt_servers", "prompts", "get", "start_get", "progress", "log"),
)


@contextmanager
def replaced(**functions: object) -> Iterator[None]:
    """Puts other functions in place of imports for a while."""
    before = {name: globals()[name] for name in _REPLACEABLE}
    globals().update(functions)
    try:
        yield
    finally:
        globals().update(before)
