"""The author's own modules: imported while the component is built, with names and lines that he knows.

His files are `plugin.py` or the package `plugin`, and what lies beside them. Tracebacks show these files'
frames and no others, by their paths in his folder.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import sys
from contextlib import contextmanager
from pathlib import Path

from toolcell_runtime import host, tracebacks

from . import door, registry

_MODULE = "plugin"
_SHOWN_CHARACTERS = 2_000

#: The author's folder while his module is imported: there, data can be read. Empty afterwards.
folder: Path | None = None

#: The source of each of his files, by its shown name.
sources: dict[str, str] = {}


class Faulty(Exception):
    """The plugin cannot be built, in words for its author."""


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a file under its short name, and always from its source."""

    def __init__(self, name: str, path: str, shown: str) -> None:
        super().__init__(name, path)
        self._shown = shown

    def get_code(self, fullname):
        data = self.get_data(self.path)
        sources[self._shown] = text = importlib.util.decode_source(data)
        tracebacks.remember(self._shown, text)
        return compile(data, self._shown, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the author's modules before all others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, fullname, path, target=None):
        if path is not None and not all(self._owns(Path(part)) for part in path):
            return None
        place = self._folder.joinpath(*fullname.split("."))
        for file, search in ((place / "__init__.py", [str(place)]), (place.with_suffix(".py"), None)):
            if file.is_file():
                shown = file.relative_to(self._folder).as_posix()
                loader = _Loader(fullname, str(file), shown)
                spec = importlib.util.spec_from_file_location(
                    fullname, file, loader=loader, submodule_search_locations=search
                )
                # What a module is told of its place: there are no files when it runs.
                spec.origin = shown
                return spec
        return None

    def _owns(self, part: Path) -> bool:
        return part == self._folder or self._folder in part.parents


def load(place: Path) -> None:
    """Imports the plugin in this folder and reads its tools.

    # Errors
    `Faulty`, with the author's traceback where there is one.
    """
    global folder
    if not (place / f"{_MODULE}.py").is_file() and not (place / _MODULE / "__init__.py").is_file():
        raise Faulty("there is no plugin.py, and no package `plugin`")
    finder = _Finder(place)
    sys.meta_path.insert(0, finder)
    printed = io.StringIO()
    streams, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), printed, printed
    folder = place
    try:
        with _nothing_granted():
            importlib.import_module(_MODULE)
        registry.prepare()
    except registry.Unusable as error:
        raise Faulty(str(error)) from None
    except SyntaxError as error:
        raise Faulty(tracebacks.syntax(error).rstrip()) from None
    except BaseException as error:
        said = printed.getvalue()[-_SHOWN_CHARACTERS:]
        raise Faulty(tracebacks.text(error).rstrip() + (f"\nIt had printed:\n{said}" if said else "")) from None
    finally:
        sys.stdout, sys.stderr = streams
        sys.meta_path.remove(finder)
        folder = None
    if not registry.definitions():
        raise Faulty("plugin.py has no tool: write @tool in the line before a function")


@contextmanager
def _nothing_granted():
    """While the module is imported there is no host: a call would stop the build without a word."""

    def refuse(*arguments: object) -> None:
        raise RuntimeError(
            "this is known only while a tool is called: do it inside the function, or write "
            'tools["server"]["tool"], which asks for nothing'
        )

    before = door.replace(**dict.fromkeys(door.NAMES, refuse))
    try:
        with host.replaced(**dict.fromkeys(host._REPLACEABLE, refuse)):
            yield
    finally:
        door.replace(**before)


def remember() -> None:
    """Lets tracebacks find the lines again."""
    tracebacks.forget()
    for shown, text in sources.items():
        tracebacks.remember(shown, text)
