"""`toolcell:guest/resources`, without a host."""

from dataclasses import dataclass


@dataclass
class Resource:
    uri: object
    name: object
    title: object
    description: object
    mime_type: object
    size: object


@dataclass
class Template:
    uri_template: object
    name: object
    title: object
    description: object
    mime_type: object


def servers():
    raise NotImplementedError


def listed(server: str):
    raise NotImplementedError


def templates(server: str):
    raise NotImplementedError


def read(server: str, uri: str):
    raise NotImplementedError


def start(server: str, uri: str):
    raise NotImplementedError
