"""`state`: values that are kept from one call of a session to the next."""

from collections.abc import Iterator, MutableMapping

from componentize_py_types import Err
from toolcell_runtime import errors, results, values

from . import door


class _State(MutableMapping):
    """A mapping of JSON values, each read and written when it is asked for: `state["seen"] = [1, 2]`.

    What is changed inside a value is kept only when it is assigned again.
    """

    def __getitem__(self, key: str) -> object:
        kept = door.state_get(_text(key))
        if kept is None:
            raise KeyError(key)
        return results.loads(kept)

    def __setitem__(self, key: str, value: object) -> None:
        try:
            text = values.encode(value, strict=True)
        except values.NotJson as refusal:
            raise TypeError(f"`state[{key!r}]`: {refusal}") from None
        try:
            door.state_set(_text(key), text)
        except Err as full:
            detail = full.value
            raised = errors.LimitExceeded(detail.message, tool="state")
            raised.limit_name, raised.limit, raised.used = detail.limit_name, detail.limit, detail.used
            raise raised from None

    def __delitem__(self, key: str) -> None:
        if not door.state_delete(_text(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and door.state_get(_text(key)) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(door.state_keys())

    def __len__(self) -> int:
        return len(door.state_keys())

    def __repr__(self) -> str:
        return "<the state of this session>"


def _text(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of `state` must be a str, not {type(key).__name__}")
    return key.encode(errors="replace").decode()


state = _State()
