"""What componentize-py generates under this name, as far as the runtime uses it."""

from dataclasses import dataclass


@dataclass
class Ok:
    value: object


@dataclass(frozen=True)
class Err(Exception):
    value: object


class Result:
    """Only ever an annotation."""

    def __class_getitem__(cls, item):
        return cls
