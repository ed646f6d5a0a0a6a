"""Seeds the `random` module when a program first uses it.

A snapshot freezes the generator's state, so it must be seeded in each run; but seeding writes pages that
most runs have no use for. The module's functions are therefore taken out of it before the snapshot and put
back by the first access, which seeds. `os.urandom` is WASI's, which the host serves from the run's seed.
"""

import os
import random

_SEED_BYTES = 32
_functions: dict[str, object] = {}


def _first_use(name: str) -> object:
    """PEP 562: called for an attribute that the module has not."""
    if name not in _functions:
        raise AttributeError(f"module 'random' has no attribute {name!r}")
    _put_back()
    random._inst.seed(os.urandom(_SEED_BYTES))
    return _functions[name]


def _put_back() -> None:
    vars(random).update(_functions)
    vars(random).pop("__getattr__", None)


def forget() -> None:
    """Makes the next use of `random` the first."""
    if not _functions:
        generator = random._inst
        bound = {name: value for name, value in vars(random).items() if getattr(value, "__self__", None) is generator}
        _functions.update(bound, _inst=generator)
    for name in _functions:
        vars(random).pop(name, None)
    random.__getattr__ = _first_use
