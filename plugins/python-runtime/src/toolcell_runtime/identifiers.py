"""Which Python names reach which tools. Pure: knows neither the host nor modules.

The rule, which the host's generated stubs follow too: the exact name always works; otherwise the name
with every character outside `A-Za-z0-9_` made `_`, a `_` before a leading digit and after a keyword; and
besides, the same in snake_case. A derived name that two names would share reaches neither.
"""

import difflib
import keyword
import re
from collections.abc import Iterable

_FOREIGN = re.compile(r"[^A-Za-z0-9_]")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def identifier(name: str) -> str:
    """`get-sum` → `get_sum`, `2d` → `_2d`, `import` → `import_`."""
    made = _FOREIGN.sub("_", name)
    if not made or made[0].isdigit():
        made = "_" + made
    return made + "_" if keyword.iskeyword(made) else made


def snake_case(name: str) -> str:
    """`searchPapers` → `search_papers`."""
    return identifier(_HUMP.sub("_", _FOREIGN.sub("_", name)).lower())


def nearest(wanted: str, names: Iterable[str]) -> list[str]:
    """Up to three names that `wanted` may be a slip of."""
    return difflib.get_close_matches(wanted, list(names), n=3, cutoff=0.6)


class Names:
    """A list of names and the identifiers that stand for them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.exact = list(names)
        self.by_identifier: dict[str, str] = {name: name for name in self.exact}
        self.collisions: dict[str, list[str]] = {}
        for derive in (identifier, snake_case):
            self._add(derive)

    def _add(self, derive) -> None:
        wanting: dict[str, list[str]] = {}
        for name in self.exact:
            wanting.setdefault(derive(name), []).append(name)
        for made, names in wanting.items():
            if made in self.by_identifier:
                continue
            if len(names) > 1:
                self.collisions.setdefault(made, names)
            elif made not in self.collisions:
                self.by_identifier[made] = names[0]

    def find(self, attribute: str) -> str | None:
        """The name that an attribute stands for."""
        return self.by_identifier.get(attribute)

    def listed(self) -> list[str]:
        """One identifier for each name that has one, in order: what `dir()` shows."""
        return [made for name in self.exact if self.by_identifier.get(made := identifier(name)) == name]
