"""`toolcell:guest/events`, without a host."""

from enum import Enum


class Level(Enum):
    DEBUG = 0
    INFO = 1
    NOTICE = 2
    WARNING = 3
    ERROR = 4
    CRITICAL = 5
    ALERT = 6
    EMERGENCY = 7


def progress(progress: float, total: float | None, message: str | None) -> None:
    raise NotImplementedError


def log(level: Level, message: str) -> None:
    raise NotImplementedError
