"""Types as shapes: a shape writes the JSON Schema of its type, and reads JSON values into it.

One description for both, so that what the schema promises is what the function gets. Pure.
"""

import base64
import dataclasses
import datetime
import decimal
import enum
import inspect
import types
import typing
import uuid
from collections import abc

_NONE = type(None)


class Misfit(Exception):
    """A value that does not fit: where (a JSON Pointer), and why."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


class NoShape(TypeError):
    """A type that JSON has no form for."""


class Schemas:
    """The schemas that a schema refers to, made while it is written."""

    def __init__(self) -> None:
        self.definitions: dict[str, dict] = {}
        self._names: dict[type, str] = {}

    def refer(self, record: "_Record") -> dict:
        name = self._names.get(record.kind)
        if name is None:
            name = record.kind.__name__
            while name in self.definitions:
                name += "_"
            self._names[record.kind] = name
            self.definitions[name] = {}
            self.definitions[name] = record.full(self)
        return {"$ref": f"#/$defs/{name}"}

    def whole(self, schema: dict) -> dict:
        """The schema with all that it refers to."""
        return {**schema, "$defs": self.definitions} if self.definitions else schema


class Shape:
    """Any value, as it is."""

    #: Whether its values are JSON objects.
    is_object = False

    def schema(self, schemas: Schemas) -> dict:
        return {}

    def read(self, value: object, path: str) -> object:
        return value


def _kind(value: object) -> str:
    """What JSON calls a value."""
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a text", list: "an array"}
    return "null" if value is None else names.get(type(value), "an object")


def _require(value: object, kinds: type | tuple, wanted: str, path: str) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise Misfit(path, f"has to be {wanted}, and is {_kind(value)}")


class _Text(Shape):
    def schema(self, schemas: Schemas) -> dict:
        return {"type": "string"}

    def read(self, value: object, path: str) -> object:
        _require(value, str, "a text", path)
        return value


class _Integer(Shape):
    def schema(self, schemas: Schemas) -> dict:
        return {"type": "integer"}

    def read(self, value: object, path: str) -> object:
        # JSON Schema counts 1.0 among the integers.
        if isinstance(value, float) and value.is_integer():
            return int(value)
        _require(value, int, "an integer", path)
        return value


class _Number(Shape):
    def schema(self, schemas: Schemas) -> dict:
        return {"type": "number"}

    def read(self, value: object, path: str) -> object:
        _require(value, (int, float), "a number", path)
        return float(value)


class _Boolean(Shape):
    def schema(self, schemas: Schemas) -> dict:
        return {"type": "boolean"}

    def read(self, value: object, path: str) -> object:
        _require(value, bool, "true or false", path)
        return value


class _Null(Shape):
    def schema(self, schemas: Schemas) -> dict:
        return {"type": "null"}

    def read(self, value: object, path: str) -> object:
        if value is not None:
            raise Misfit(path, f"has to be null, and is {_kind(value)}")
        return None


class _Written(Shape):
    """A text that stands for something else."""

    def __init__(self, schema: dict, parse: abc.Callable[[str], object], wanted: str) -> None:
        self._schema, self._parse, self._wanted = schema, parse, wanted

    def schema(self, schemas: Schemas) -> dict:
        return {"type": "string", **self._schema}

    def read(self, value: object, path: str) -> object:
        _require(value, str, self._wanted, path)
        try:
            return self._parse(value)
        except (ValueError, ArithmeticError):
            raise Misfit(path, f"has to be {self._wanted}, and is {value[:80]!r}") from None


class _Choice(Shape):
    """One of some values; an enum's member for each."""

    def __init__(self, members: dict[object, object]) -> None:
        # By type too: to JSON, true is not 1.
        self._members = {(type(value), value): member for value, member in members.items()}

    def schema(self, schemas: Schemas) -> dict:
        values = [value for _, value in self._members]
        kinds = {type(value) for value in values}
        names = {str: "string", int: "integer", bool: "boolean"}
        if len(kinds) == 1 and (name := names.get(*kinds)):
            return {"type": name, "enum": values}
        return {"enum": values}

    def read(self, value: object, path: str) -> object:
        found = self._members.get((type(value), value), self) if _is_plain(value) else self
        if found is self:
            known = ", ".join(repr(value) for _, value in self._members)
            raise Misfit(path, f"has to be one of {known}, and is {str(value)[:80]!r}")
        return found


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


class _Array(Shape):
    def __init__(self, item: Shape, make: type) -> None:
        self._item, self._make = item, make

    def schema(self, schemas: Schemas) -> dict:
        item = self._item.schema(schemas)
        made = {"type": "array", "items": item} if item else {"type": "array"}
        return {**made, "uniqueItems": True} if self._make in (set, frozenset) else made

    def read(self, value: object, path: str) -> object:
        _require(value, list, "an array", path)
        return self._make(self._item.read(item, f"{path}/{place}") for place, item in enumerate(value))


class _Tuple(Shape):
    def __init__(self, items: list[Shape]) -> None:
        self._items = items

    def schema(self, schemas: Schemas) -> dict:
        count = len(self._items)
        items = [item.schema(schemas) for item in self._items]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": count, "maxItems": count}

    def read(self, value: object, path: str) -> object:
        _require(value, list, "an array", path)
        if len(value) != len(self._items):
            raise Misfit(path, f"has to have {len(self._items)} items, and has {len(value)}")
        pairs = enumerate(zip(self._items, value))
        return tuple(item.read(given, f"{path}/{place}") for place, (item, given) in pairs)


class _Map(Shape):
    is_object = True

    def __init__(self, item: Shape) -> None:
        self._item = item

    def schema(self, schemas: Schemas) -> dict:
        item = self._item.schema(schemas)
        return {"type": "object", "additionalProperties": item} if item else {"type": "object"}

    def read(self, value: object, path: str) -> object:
        _require(value, dict, "an object", path)
        return {key: self._item.read(item, f"{path}/{escaped(key)}") for key, item in value.items()}


class _Union(Shape):
    def __init__(self, members: list[Shape]) -> None:
        self._members = members

    def schema(self, schemas: Schemas) -> dict:
        return {"anyOf": [member.schema(schemas) for member in self._members]}

    def read(self, value: object, path: str) -> object:
        misfits = []
        for member in self._members:
            try:
                return member.read(value, path)
            except Misfit as misfit:
                misfits.append(misfit)
        # What got furthest was meant.
        deepest = max(misfits, key=lambda misfit: misfit.path.count("/"))
        if deepest.path != path:
            raise deepest
        raise Misfit(path, ", or ".join(dict.fromkeys(misfit.message for misfit in misfits)))


class _Described(Shape):
    """A shape with more said of it in its schema."""

    def __init__(self, shape: Shape, more: dict) -> None:
        self._shape, self._more = shape, more
        self.is_object = shape.is_object

    def schema(self, schemas: Schemas) -> dict:
        return {**self._shape.schema(schemas), **self._more}

    def read(self, value: object, path: str) -> object:
        return self._shape.read(value, path)


@dataclasses.dataclass
class Member:
    """A named part of an object: a parameter, or a record's field."""

    name: str
    shape: Shape
    is_required: bool
    #: For the schema only; whoever makes the object knows it too.
    default: object = inspect.Parameter.empty
    description: str | None = None

    def schema(self, schemas: Schemas) -> dict:
        made = self.shape.schema(schemas)
        if self.description and "description" not in made:
            made = {**made, "description": self.description}
        if self.default is not inspect.Parameter.empty and (default := _as_json(self.default)) is not None:
            made = {**made, "default": default[0]}
        return made


class Members(Shape):
    """An object with named parts."""

    is_object = True

    def __init__(self, members: list[Member], is_open: bool = False) -> None:
        self.members = members
        self.is_open = is_open
        self._by_name = {member.name: member for member in members}

    def schema(self, schemas: Schemas) -> dict:
        made: dict = {"type": "object", "properties": {it.name: it.schema(schemas) for it in self.members}}
        if required := [it.name for it in self.members if it.is_required]:
            made["required"] = required
        if not self.is_open:
            made["additionalProperties"] = False
        return made

    def read(self, value: object, path: str) -> dict[str, object]:
        _require(value, dict, "an object", path)
        for member in self.members:
            if member.is_required and member.name not in value:
                raise Misfit(path, f"`{member.name}` is missing")
        made = {}
        for name, given in value.items():
            member = self._by_name.get(name)
            if member is not None:
                made[name] = member.shape.read(given, f"{path}/{escaped(name)}")
            elif self.is_open:
                made[name] = given
            else:
                known = ", ".join(self._by_name) or "nothing"
                raise Misfit(f"{path}/{escaped(name)}", f"there is no `{name}`; there is {known}")
        return made


class _Record(Shape):
    """A class whose objects are JSON objects."""

    is_object = True

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.members = Members([])
        self.is_recursive = False

    def full(self, schemas: Schemas) -> dict:
        about = inspect.cleandoc(self.kind.__doc__ or "") if "__doc__" in vars(self.kind) else ""
        # A dataclass without a docstring is given its signature for one.
        if about.startswith(f"{self.kind.__name__}("):
            about = ""
        made = self.members.schema(schemas)
        return {**made, "description": about} if about else made

    def schema(self, schemas: Schemas) -> dict:
        return schemas.refer(self) if self.is_recursive else self.full(schemas)

    def read(self, value: object, path: str) -> object:
        named = self.members.read(value, path)
        if typing.is_typeddict(self.kind):
            return named
        try:
            return self.kind(**named)
        except (ValueError, TypeError) as error:
            raise Misfit(path, str(error) or type(error).__name__) from None


def escaped(key: str) -> str:
    """A key as a part of a JSON Pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def _as_json(value: object) -> tuple[object] | None:
    """A default as plain JSON, in a tuple because it may be None; nothing if it is no JSON."""
    if isinstance(value, enum.Enum):
        value = value.value
    if _is_plain(value):
        return (value,)
    if isinstance(value, (list, tuple)):
        items = [_as_json(item) for item in value]
        return None if None in items else ([item[0] for item in items],)
    if isinstance(value, dict):
        pairs = {key: _as_json(item) for key, item in value.items()}
        fits = all(isinstance(key, str) for key in pairs) and None not in pairs.values()
        return ({key: item[0] for key, item in pairs.items()},) if fits else None
    return None


_PLAIN: dict[object, Shape] = {
    str: _Text(),
    int: _Integer(),
    float: _Number(),
    bool: _Boolean(),
    None: _Null(),
    _NONE: _Null(),
    object: Shape(),
    typing.Any: Shape(),
    inspect.Parameter.empty: Shape(),
    datetime.datetime: _Written({"format": "date-time"}, datetime.datetime.fromisoformat, "a date and time (ISO 8601)"),
    datetime.date: _Written({"format": "date"}, datetime.date.fromisoformat, "a date (ISO 8601)"),
    datetime.time: _Written({"format": "time"}, datetime.time.fromisoformat, "a time (ISO 8601)"),
    uuid.UUID: _Written({"format": "uuid"}, uuid.UUID, "a UUID"),
    decimal.Decimal: _Written({}, decimal.Decimal, "a decimal number, as text"),
    bytes: _Written({"contentEncoding": "base64"}, lambda text: base64.b64decode(text, validate=True), "bytes in base64"),
}

_ARRAYS = {
    list: list,
    set: set,
    frozenset: frozenset,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Iterable: list,
    abc.Collection: list,
    abc.Set: frozenset,
}
_MAPS = {dict, abc.Mapping, abc.MutableMapping}


class Shapes:
    """Makes shapes of types. Each class is one shape, however often it is met."""

    def __init__(self) -> None:
        self._records: dict[type, _Record] = {}
        self._open: list[type] = []

    def of(self, annotation: object) -> Shape:
        """The shape of a type.

        # Errors
        `NoShape`, with words for whoever wrote the type.
        """
        try:
            plain = _PLAIN.get(annotation)
        except TypeError:
            plain = None  # Not hashable: no type at all.
        if plain is not None:
            return plain
        if isinstance(annotation, typing.NewType):
            return self.of(annotation.__supertype__)
        if isinstance(annotation, typing.TypeAliasType):
            return self.of(annotation.__value__)
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self._annotated(arguments)
        if origin in (typing.Required, typing.NotRequired, typing.ReadOnly, typing.Final):
            return self.of(arguments[0])
        if origin is typing.Literal:
            return _Choice({_literal(value): value for value in arguments})
        if origin in (typing.Union, types.UnionType):
            return _Union([self.of(member) for member in arguments])
        if (origin or annotation) is tuple:
            return self._tuple(arguments)
        kind = origin or annotation
        if kind in _ARRAYS:
            return _Array(self.of(arguments[0]) if arguments else Shape(), _ARRAYS[kind])
        if kind in _MAPS:
            return self._map(annotation, arguments)
        if isinstance(annotation, type):
            return self._class(annotation)
        raise NoShape(f"`{_shown(annotation)}` has no form in JSON")

    def _annotated(self, arguments: tuple) -> Shape:
        shape, more = self.of(arguments[0]), {}
        for note in arguments[1:]:
            if isinstance(note, str):
                more["description"] = note
            elif isinstance(note, dict):
                more.update(note)
        return _Described(shape, more) if more else shape

    def _tuple(self, arguments: tuple) -> Shape:
        if not arguments:
            return _Array(Shape(), tuple)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _Array(self.of(arguments[0]), tuple)
        return _Tuple([self.of(item) for item in arguments])

    def _map(self, annotation: object, arguments: tuple) -> Shape:
        if arguments and arguments[0] not in (str, typing.Any):
            raise NoShape(f"`{_shown(annotation)}`: an object's keys are texts in JSON, so write dict[str, …]")
        return _Map(self.of(arguments[1]) if arguments else Shape())

    def _class(self, kind: type) -> Shape:
        if issubclass(kind, enum.Enum):
            return _Choice({_literal(member.value): member for member in kind})
        is_record = dataclasses.is_dataclass(kind) or typing.is_typeddict(kind)
        if not is_record and not (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            raise NoShape(
                f"`{kind.__qualname__}` has no form in JSON; a dataclass, a TypedDict or a NamedTuple has one"
            )
        known = self._records.get(kind)
        if known is not None:
            known.is_recursive = known.is_recursive or kind in self._open
            return known
        record = self._records[kind] = _Record(kind)
        self._open.append(kind)
        try:
            # A TypedDict says what there is at least.
            record.members = Members(list(self._fields(kind)), is_open=typing.is_typeddict(kind))
        finally:
            self._open.pop()
        return record

    def _fields(self, kind: type) -> abc.Iterator[Member]:
        hints = typing.get_type_hints(kind, include_extras=True)
        if typing.is_typeddict(kind):
            for name, hint in hints.items():
                yield Member(name, self._field(kind, name, hint), name in kind.__required_keys__)
        elif dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                if not field.init:
                    continue
                is_required = field.default is field.default_factory is dataclasses.MISSING
                default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
                about = field.metadata.get("description")
                shape = self._field(kind, field.name, hints[field.name])
                yield Member(field.name, shape, is_required, default, about)
        else:
            for name in kind._fields:
                default = kind._field_defaults.get(name, inspect.Parameter.empty)
                is_required = default is inspect.Parameter.empty
                yield Member(name, self._field(kind, name, hints.get(name, typing.Any)), is_required, default)

    def _field(self, kind: type, name: str, hint: object) -> Shape:
        try:
            return self.of(hint)
        except NoShape as error:
            raise NoShape(f"`{kind.__qualname__}.{name}`: {error}") from None


def _literal(value: object) -> object:
    if not _is_plain(value):
        raise NoShape(f"{value!r} is no value of JSON")
    return value


def _shown(annotation: object) -> str:
    return getattr(annotation, "__qualname__", None) or str(annotation)
