"""Python values as JSON: the run's value, and the arguments of calls.

Plain data goes through CPython's own C encoder and costs what that costs. Everything else is first made
plain by `_Simplifier`. Never raises anything but `NotJson`, whatever the value's own methods do, except
for memory.
"""

import array
import base64
import dataclasses
import datetime
import decimal
import enum
import fractions
import json.encoder
import marshal
import math
import pathlib
import sys
import uuid
from collections import UserList, deque
from collections.abc import ItemsView, KeysView, Mapping, ValuesView

from . import results

# CPython's C encoder recurses on the wasm stack and does not count: some ten thousand levels trap.
MAX_DEPTH = 1000
# Longer ranges are shown, not listed: `range(10**9)` is a slip, and its list would only be an out-of-memory.
_MAX_RANGE = 1_000_000
_MARSHAL_VERSION = 2  # The last one that does not look for shared objects, which costs time.


class NotJson(Exception):
    """Why a value cannot be given as JSON, in words."""


def _refuse(value: object) -> object:
    raise TypeError


def _compact_encoder():
    make = json.encoder.c_make_encoder
    # No markers: circles are refused by `marshal` and then named by the simplifier.
    return make(None, _refuse, json.encoder.encode_basestring, None, ":", ",", False, False, False)


_encode = _compact_encoder()
_check = marshal.dumps


def encode(value: object, *, strict: bool = False) -> str:
    """JSON text of a value. `strict` refuses what would have to be given as its `repr()`."""
    try:
        # `marshal` refuses, in C and within its own depth limit, all that is not plain data.
        _check(value, _MARSHAL_VERSION)
        text = "".join(_encode(value, 0))
    except (ValueError, TypeError):
        text = _encode_any(value, strict)
    if not text.isascii():
        text = _without_surrogates(text)
    return text


def _encode_any(value: object, strict: bool) -> str:
    limit = sys.getrecursionlimit()
    try:
        # Python-to-Python calls take no wasm stack, so the walk's depth is bounded by MAX_DEPTH alone.
        sys.setrecursionlimit(limit + 2 * MAX_DEPTH)
        plain = _Simplifier(strict).plain(value, 0)
        return "".join(_encode(plain, 0))
    except (NotJson, MemoryError):
        raise
    except RecursionError:
        raise NotJson("the value is nested too deeply") from None
    except Exception as error:
        raise NotJson(f"the value cannot be read: {type(error).__name__}: {_text(error)}") from None
    finally:
        sys.setrecursionlimit(limit)


def _without_surrogates(text: str) -> str:
    """The component boundary takes UTF-8 only, and half of a surrogate pair has none."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return "<unprintable>"


_LISTS = (list, tuple, set, frozenset, deque, UserList, KeysView, ValuesView, ItemsView, array.array)
_TEXTS = (decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath, complex, datetime.timedelta)


class _Simplifier:
    """Makes plain data of anything, bounded in depth, and names circles."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._path: set[int] = set()

    def plain(self, value: object, depth: int) -> object:
        kind = type(value)
        if value is None or kind is str or kind is int or kind is bool:
            return value
        if kind is float:
            return self._number(value)
        if kind is dict or kind is list:
            return self._container(value, depth)
        return self._other(value, depth)

    def _number(self, value: float) -> float | None:
        if math.isfinite(value):
            return float(value)
        if self._strict:
            raise NotJson(f"JSON has no number `{value}`")
        return None

    def _container(self, value: object, depth: int) -> object:
        if id(value) in self._path:
            raise NotJson(f"the value is circular: a `{type(value).__name__}` contains itself")
        if depth >= MAX_DEPTH:
            raise NotJson(f"the value is nested more than {MAX_DEPTH} levels deep")
        self._path.add(id(value))
        try:
            if isinstance(value, Mapping):
                return {self._key(key): self.plain(item, depth + 1) for key, item in value.items()}
            if isinstance(value, _LISTS):
                return [self.plain(item, depth + 1) for item in value]
            names = value.__dataclass_fields__
            return {name: self.plain(getattr(value, name, None), depth + 1) for name in names}
        finally:
            self._path.discard(id(value))

    def _key(self, key: object) -> str:
        if isinstance(key, enum.Enum):
            key = key.value
        if isinstance(key, str):
            return str.__str__(key)
        if key is None or key is True or key is False:
            return "null" if key is None else "true" if key else "false"
        if isinstance(key, (int, float)):
            return repr(key)
        given = self._scalar(key)
        return given if isinstance(given, str) else str(key)

    def _other(self, value: object, depth: int) -> object:
        if isinstance(value, enum.Enum):
            return self.plain(value.value, depth + 1)
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int.__int__(value)
        if isinstance(value, float):
            return self._number(float.__float__(value))
        is_record = dataclasses.is_dataclass(value) and not isinstance(value, type)
        if is_record or isinstance(value, Mapping) or isinstance(value, _LISTS):
            return self._container(value, depth)
        if isinstance(value, range) and len(value) <= _MAX_RANGE:
            return list(value)
        if isinstance(value, results.Media):
            return value.as_block()
        given = self._scalar(value)
        if given is not None:
            return given
        if self._strict:
            raise NotJson(f"a `{type(value).__name__}` has no JSON form")
        return _shown(value)

    @staticmethod
    def _scalar(value: object) -> str | None:
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, _TEXTS):
            return str(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
            try:
                return data.decode()
            except UnicodeDecodeError:
                return base64.b64encode(data).decode()
        return None


def _shown(value: object) -> str:
    try:
        return repr(value)
    except MemoryError:
        raise
    except Exception as error:
        return f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"
