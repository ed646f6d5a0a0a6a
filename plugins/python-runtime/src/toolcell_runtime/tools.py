"""The modules `tools` and `aio`: granted servers as attributes, their tools as functions.

Everything is made when it is first asked for: a run that calls one tool by its exact name has asked the
host for that server's names and for nothing else, and `tools["server"]["name"]` asks for nothing at all.
What may be called is the host's decision; this module only finds names.
"""

import importlib.abc
import importlib.machinery
import inspect
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

from componentize_py_types import Err

from . import arguments, calls, console, errors, host, results
from .identifiers import Names, identifier, nearest

_ANNOTATIONS = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": None,
}


class _Tool:
    # No docstring: `__doc__` is the tool's own, asked for when it is read.

    def __init__(self, name: str) -> None:
        _require_text(name)
        self.name = name
        self.__name__ = self.__qualname__ = name.partition(".")[2]
        self._description = None

    def forget(self) -> None:
        """Asks for the description anew."""
        self._description = None

    @property
    def description(self):
        """The granted tool as its server describes it: `title`, `description`, `input_schema` and so on."""
        if self._description is None:
            try:
                self._description = host.describe(self.name)
            except Err as error:
                raise errors.from_call_error(self.name, error.value) from None
        return self._description

    @property
    def input_schema(self) -> dict[str, object]:
        return results.loads(self.description.input_schema)

    @property
    def output_schema(self) -> dict[str, object] | None:
        schema = self.description.output_schema
        return None if schema is None else results.loads(schema)

    def parameters(self) -> list[str]:
        """The arguments' names in the order of positions: the schema's, those required first."""
        required, optional = _parameters(self.input_schema)
        return required + optional

    def wraps_results(self) -> bool:
        try:
            return bool((self.output_schema or {}).get("x-fastmcp-wrap-result"))
        except (errors.ToolError, AttributeError):
            return False

    def documentation(self) -> str:
        about = self.description
        lines = [about.description or about.title or f"The tool `{self.name}`."]
        schema = self.input_schema
        required, optional = _parameters(schema)
        if required or optional:
            lines += ["", "Arguments:"]
        for name in required + optional:
            property_ = schema["properties"][name]
            if not isinstance(property_, dict):
                property_ = {}
            kind = property_.get("type", "any")
            needed = "" if name in required else ", optional"
            text = " ".join(str(property_.get("description", "")).split())
            lines.append(f"    {name} ({kind if isinstance(kind, str) else 'any'}{needed}){': ' + text if text else ''}")
        return "\n".join(lines)

    @property
    def __signature__(self) -> inspect.Signature:
        schema = self.input_schema
        required, optional = _parameters(schema)
        made = []
        for name in required + optional:
            property_ = schema["properties"][name]
            kind = property_.get("type") if isinstance(property_, dict) else None
            made.append(
                inspect.Parameter(
                    identifier(name),
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=inspect.Parameter.empty if name in required else None,
                    annotation=_ANNOTATIONS.get(kind, inspect.Parameter.empty)
                    if isinstance(kind, str)
                    else inspect.Parameter.empty,
                )
            )
        try:
            return inspect.Signature(made)
        except ValueError:
            return inspect.Signature([inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD)])


class Tool(_Tool):
    # A granted tool as a function: a call waits for the answer.

    __doc__ = property(_Tool.documentation)

    def __call__(self, /, *positional: object, **named: object) -> object:
        text = arguments.encode(self, positional, named)
        console.flush()
        try:
            output = host.call(self.name, text)
        except Err as error:
            raise errors.from_call_error(self.name, error.value) from None
        return results.value(self, output)

    def __repr__(self) -> str:
        return f"<tool {self.name}>"


class AsyncTool(_Tool):
    # A granted tool as a coroutine function: the call starts when the coroutine does.

    __doc__ = property(_Tool.documentation)

    async def __call__(self, /, *positional: object, **named: object) -> object:
        text = arguments.encode(self, positional, named)
        call_id, answered = calls.start(self.name, text)
        try:
            answer = await answered
        except BaseException:
            calls.abandon(call_id, answered)
            raise
        if type(answer) is Err:
            raise errors.from_call_error(self.name, answer.value)
        return results.value(self, answer.value)

    def __repr__(self) -> str:
        return f"<async tool {self.name}>"


class _Resolver:
    """Finds what a module's attributes stand for, and keeps what it made."""

    def __init__(self, module: ModuleType, listing: Callable[[], list[str]], make: Callable[[str], object]) -> None:
        self.module = module
        self.made: dict[str, object] = {}
        self._listing = listing
        self._make = make
        self._names: Names | None = None
        self._placed: dict[str, object] = {}

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = Names(self._listing())
        return self._names

    def get(self, name: str) -> object:
        made = self.made.get(name)
        if made is None:
            made = self.made[name] = self._make(name)
        return made

    def attribute(self, attribute: str) -> object:
        """PEP 562: called once for each attribute that the module does not have yet."""
        if attribute.startswith("__"):
            if attribute == "__all__":
                return [name for name in self.directory() if not name.startswith("_")]
            raise AttributeError(f"module `{self.module.__name__}` has no attribute `{attribute}`")
        name = self.names.find(attribute)
        if name is None:
            raise self._missing(attribute)
        found = self.get(name)
        # From now on the attribute is found without asking anybody.
        self.module.__dict__[attribute] = self._placed[attribute] = found
        return found

    def forget(self) -> None:
        """Asks anew for everything. Objects that a program holds stay the same ones."""
        self._names = None
        for attribute, found in self._placed.items():
            if self.module.__dict__.get(attribute) is found:
                del self.module.__dict__[attribute]
        self._placed.clear()
        for made in self.made.values():
            kept = made.__resolver__ if isinstance(made, _Namespace) else made
            kept.forget()

    def directory(self) -> list[str]:
        own = [name for name in self.module.__dict__ if not name.startswith("__")]
        return list(dict.fromkeys(self.names.listed() + own))

    def _missing(self, attribute: str) -> AttributeError:
        where = self.module.__name__
        if (colliding := self.names.collisions.get(attribute)) is not None:
            ways = ", ".join(f'{_subscript(where)}["{name}"]' for name in colliding)
            message = f"`{where}.{attribute}` could be any of these: {ways}"
        else:
            message = f"no `{attribute}` in `{where}` is granted to this run"
            if close := nearest(attribute, self.names.listed()):
                message += f"; did you mean {' or '.join(f'`{name}`' for name in close)}?"
            else:
                message += f"; granted: {', '.join(self.names.listed()) or 'nothing'}"
        # With an object of no attributes, CPython adds no suggestions of its own to ours.
        return AttributeError(message, name=attribute, obj=_NOTHING)


class _Nothing:
    def __dir__(self) -> list[str]:
        return []


_NOTHING = _Nothing()


class _Namespace(ModuleType):
    """A module whose attributes the host lists. It has no attributes of its own that could hide a name."""

    def __init__(self, name: str, doc: str, listing: Callable[[], list[str]], make: Callable[[str], object]) -> None:
        super().__init__(name, doc)
        resolver = _Resolver(self, listing, make)
        self.__dict__.update(
            __path__=[],  # Makes it a package to the import system, so that our finder is asked.
            __getattr__=resolver.attribute,
            __dir__=resolver.directory,
            __resolver__=resolver,
        )

    def __getitem__(self, name: str) -> object:
        return self.__resolver__.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.__resolver__.names.exact))

    def __len__(self) -> int:
        return len(self.__resolver__.names.exact)

    def __contains__(self, name: object) -> bool:
        return name in self.__resolver__.names.by_identifier

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}>"


def _server(package: str, server: str, tool_class: type[_Tool]) -> _Namespace:
    _require_text(server)

    def listing() -> list[str]:
        try:
            return host.names(server)
        except Err as error:
            raise errors.from_call_error(server, error.value) from None

    # It is in `sys.modules` under its exact name only if something imports it.
    return _Namespace(
        f"{package}.{identifier(server)}",
        f"The tools of the server `{server}` that are granted to this run.",
        listing,
        lambda tool: tool_class(f"{server}.{tool}"),
    )


def _package(name: str, doc: str, tool_class: type[_Tool]) -> _Namespace:
    return _Namespace(name, doc, lambda: host.servers(), lambda server: _server(name, server, tool_class))


def call(name: str, arguments: dict[str, object] | None = None, /, **named: object) -> object:
    """Calls a tool by its full name, `server.tool`."""
    server, dot, tool = name.partition(".")
    if not dot:
        raise errors.UnknownTool(f"`{name}` is no tool's full name, which is `server.tool`", tool=name)
    return tools[server][tool](arguments or {}, **named)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers `import tools.search` and says in words what else there is."""

    def find_spec(self, fullname, path, target=None):
        parent, _, child = fullname.rpartition(".")
        if parent != "tools" and parent != "tools.aio":
            return None
        resolver = sys.modules[parent].__resolver__
        if resolver.names.find(child) is None:
            granted = ", ".join(resolver.names.listed()) or "none"
            raise ImportError(f"no server `{child}` is granted to this run; granted: {granted}", name=fullname)
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec):
        parent, _, child = spec.name.rpartition(".")
        return getattr(sys.modules[parent], child)

    def exec_module(self, module) -> None:
        pass


def look_again() -> None:
    """Forgets which tools there are: they may be others for the next program of this instance."""
    for package in (tools, aio):
        package.__resolver__.forget()
    for name in [name for name in sys.modules if name.startswith("tools.") and name != "tools.aio"]:
        del sys.modules[name]


def _parameters(schema: dict[str, object]) -> tuple[list[str], list[str]]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return [], []
    required = schema.get("required")
    if not isinstance(required, list):
        required = []
    return [name for name in properties if name in required], [name for name in properties if name not in required]


def _subscript(module: str) -> str:
    """`tools.search` → `tools["search"]`."""
    package, _, server = module.rpartition(".")
    return f'{package}["{server}"]' if package else module


def _require_text(name: object) -> None:
    """A name that is no text, or that UTF-8 cannot write, would stop the guest at the boundary."""
    if not isinstance(name, str):
        raise TypeError(f"a name must be a str, not {type(name).__name__}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise errors.UnknownTool(f"no tool {name!r} is granted to this run") from None


tools: _Namespace
aio: _Namespace


def install() -> None:
    """Makes `tools` and `tools.aio` anew and importable: for the snapshot, and after warm-up used them."""
    global tools, aio
    tools = _package("tools", __doc__, Tool)
    aio = _package("tools.aio", "The same as `tools`, but calls are awaited and run side by side.", AsyncTool)
    for public in (*errors.PUBLIC, results.Image, results.Audio):
        tools.__dict__[public.__name__] = public
    tools.__dict__.update(aio=aio, call=call)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tools"]:
        del sys.modules[name]
    sys.modules["tools"] = tools
    sys.modules["tools.aio"] = aio
    sys.meta_path[:] = [_Finder(), *(finder for finder in sys.meta_path if not isinstance(finder, _Finder))]


call.__module__ = Tool.__module__ = AsyncTool.__module__ = "tools"
