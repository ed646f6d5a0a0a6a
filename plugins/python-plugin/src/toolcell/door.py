"""The imports that a plugin has and a script has not, under short names; the others are in
`toolcell_runtime.host`."""

from wit_world.imports import asks as _asks
from wit_world.imports import state as _state

state_get = _state.get
state_set = _state.set
state_delete = _state.delete
state_keys = _state.keys
abilities = _asks.abilities
elicit = _asks.elicit
sample = _asks.sample

NAMES = ("state_get", "state_set", "state_delete", "state_keys", "abilities", "elicit", "sample")


def replace(**functions: object) -> dict[str, object]:
    """Puts other functions in place of imports, and gives those that were there."""
    before = {name: globals()[name] for name in NAMES}
    globals().update(functions)
    return before
