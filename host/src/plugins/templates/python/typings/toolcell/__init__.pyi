"""What `from toolcell import …` gives inside a plugin, for editors and type checkers."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

type Level = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

@overload
def tool[F: Callable[..., Any]](function: F, /) -> F: ...
@overload
def tool[F: Callable[..., Any]](
    *,
    name: str | None = None,
    title: str | None = None,
    read_only: bool = False,
    idempotent: bool = False,
    destructive: bool = False,
) -> Callable[[F], F]: ...

class _AsyncTool:
    async def __call__(self, *positional: Any, **named: Any) -> Any: ...

class _AsyncServer:
    def __getattr__(self, name: str) -> _AsyncTool: ...
    def __getitem__(self, name: str) -> _AsyncTool: ...

class _AsyncTools:
    def __getattr__(self, name: str) -> _AsyncServer: ...
    def __getitem__(self, name: str) -> _AsyncServer: ...
    def __contains__(self, name: object) -> bool: ...

class _Server:
    def __getattr__(self, name: str) -> Callable[..., Any]: ...
    def __getitem__(self, name: str) -> Callable[..., Any]: ...

class _Tools:
    def __getattr__(self, name: str) -> _Server: ...
    def __getitem__(self, name: str) -> _Server: ...
    def __contains__(self, name: object) -> bool: ...

tools: _AsyncTools
blocking: _Tools
state: MutableMapping[str, Any]
resources: Any
prompts: Any

class Outcome[T]:
    value: T | None
    error: Exception | None
    @property
    def ok(self) -> bool: ...
    @property
    def kind(self) -> str: ...
    @property
    def reason(self) -> str: ...
    def unwrap(self) -> T: ...

@overload
async def settle[K](branches: Mapping[K, Awaitable[Any]], /, *, timeout: float | None = None) -> dict[K, Outcome[Any]]: ...
@overload
async def settle(*branches: Awaitable[Any], timeout: float | None = None) -> list[Outcome[Any]]: ...
def log(level: Level, message: object) -> None: ...
def progress(progress: float, total: float | str | None = None, message: str | None = None) -> None: ...
def ask(message: str, answer: Any = bool) -> Any: ...
def ask_model(
    prompt: str | Sequence[dict[str, Any]],
    *,
    system: str | None = None,
    max_tokens: int = 1000,
    temperature: float | None = None,
) -> str: ...
def can_ask() -> bool: ...
def can_ask_model() -> bool: ...
def folder() -> Path: ...

class Declined(Exception):
    cancelled: bool

class Image:
    def __init__(self, data: bytes, mime_type: str) -> None: ...
    data: bytes
    mime_type: str

class Audio:
    def __init__(self, data: bytes, mime_type: str) -> None: ...
    data: bytes
    mime_type: str

class ToolError(Exception):
    kind: str
    message: str
    tool: str
    content: Any
    structured: Any
    def __init__(self, message: str = "") -> None: ...

class ToolDenied(ToolError): ...
class UnknownTool(ToolError, LookupError): ...

class InvalidArguments(ToolError, ValueError):
    path: str

class ToolUnavailable(ToolError, ConnectionError): ...

class ToolTimeout(ToolError, TimeoutError):
    after_ms: int
    phase: str

class ToolRejected(ToolError):
    code: int
    data: Any

class LimitExceeded(ToolError):
    limit_name: str
    limit: int
    used: int

class ToolCancelled(ToolError): ...
class ToolInterrupted(ToolError): ...
