"""`toolcell:guest/plugin`, as far as the SDK uses it."""

from dataclasses import dataclass


@dataclass
class Definition:
    name: object
    title: object
    description: object
    input_schema: object
    output_schema: object
    read_only: object
    idempotent: object
    destructive: object


@dataclass
class Refusal_UnknownTool:
    value: object


@dataclass
class Refusal_InvalidArguments:
    value: object
