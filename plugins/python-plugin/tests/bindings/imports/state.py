"""`toolcell:guest/state`, without a host."""


def get(key: str):
    raise NotImplementedError


def set(key: str, value: str) -> None:
    raise NotImplementedError


def delete(key: str) -> bool:
    raise NotImplementedError


def keys() -> list[str]:
    raise NotImplementedError
