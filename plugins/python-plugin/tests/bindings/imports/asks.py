"""`toolcell:guest/asks`, without a host."""

from dataclasses import dataclass
from enum import Flag, auto


class Ability(Flag):
    ELICITATION = auto()
    SAMPLING = auto()


@dataclass
class Elicited_Accepted:
    value: object


@dataclass
class Elicited_Declined:
    pass


@dataclass
class Elicited_Cancelled:
    pass


def abilities() -> Ability:
    raise NotImplementedError


def elicit(message: str, schema: str):
    raise NotImplementedError


def sample(params: str) -> str:
    raise NotImplementedError
