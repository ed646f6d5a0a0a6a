"""`toolcell:guest/script`: the shapes of what a run takes and gives."""

from dataclasses import dataclass



@dataclass
class Program:
    name: object
    source: object
    input: object
    allowed_imports: object
    max_value_bytes: object
    check: object


@dataclass
class Uncaught:
    class_: object
    message: object
    traceback: object


@dataclass
class UncaughtCall:
    tool: object
    kind: object
    limit_name: object
    limit: object
    used: object
    exception: object


@dataclass
class Failure_Syntax:
    value: object


@dataclass
class Failure_Exception:
    value: object


@dataclass
class Failure_Call:
    value: object


@dataclass
class Failure_Memory:
    value: object


@dataclass
class Failure_Recursion:
    value: object


@dataclass
class Failure_Exit:
    value: object


@dataclass
class Failure_Value:
    value: object


@dataclass
class Failure_ValueTooLarge:
    value: object
