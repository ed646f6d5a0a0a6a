"""`toolcell:guest/prompts`, without a host."""

from dataclasses import dataclass


@dataclass
class Argument:
    name: object
    description: object
    required: object


@dataclass
class Prompt:
    name: object
    title: object
    description: object
    arguments: object


def servers():
    raise NotImplementedError


def listed(server: str):
    raise NotImplementedError


def get(name: str, arguments: str):
    raise NotImplementedError


def start(name: str, arguments: str):
    raise NotImplementedError
