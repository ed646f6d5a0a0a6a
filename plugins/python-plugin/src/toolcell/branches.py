"""`settle`: several calls side by side, of which one may fail without harm to the others."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from toolcell_runtime.errors import ToolError, ToolTimeout


@dataclass(frozen=True, slots=True)
class Outcome[T]:
    """How a branch ended: with a value, or with an error."""

    value: T | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def reason(self) -> str:
        """Why it failed, in words; empty if it did not."""
        if self.error is None:
            return ""
        return str(self.error) or type(self.error).__name__

    @property
    def kind(self) -> str:
        """The kind of a failed call, such as `unavailable` or `timed-out`; the class of another error."""
        if self.error is None:
            return ""
        return self.error.kind if isinstance(self.error, ToolError) else type(self.error).__name__

    def unwrap(self) -> T:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value


async def settle(*branches, timeout: float | None = None):
    """Awaits all branches side by side and gives an `Outcome` for each: a list in their order, or for one
    mapping of branches a dict with its keys. A branch that takes longer than `timeout` seconds is cancelled.
    """
    if len(branches) == 1 and isinstance(branches[0], Mapping):
        named = branches[0]
        outcomes = await asyncio.gather(*(_outcome(branch, timeout) for branch in named.values()))
        return dict(zip(named, outcomes))
    return await asyncio.gather(*(_outcome(branch, timeout) for branch in branches))


async def _outcome(branch: Awaitable, timeout: float | None) -> Outcome:
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return Outcome(await branch)
    except TimeoutError as error:
        if not limit.expired() or isinstance(error, ToolError):
            return Outcome(error=error)
        late = ToolTimeout(f"no answer within {timeout:g} s")
        late.after_ms, late.phase = round(timeout * 1000), "branch"
        return Outcome(error=late)
    except Exception as error:
        return Outcome(error=error)
