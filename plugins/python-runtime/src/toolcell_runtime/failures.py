"""Exceptions that a program did not catch, as the WIT wants them."""

from wit_world.exports.script import Uncaught

from . import tracebacks


def uncaught(error: BaseException) -> Uncaught:
    """The exception with its traceback."""
    return Uncaught(_class(error), tracebacks.clean(tracebacks.message(error)), tracebacks.clean(tracebacks.text(error)))


def syntax(error: SyntaxError) -> Uncaught:
    """A program that does not compile."""
    return Uncaught(_class(error), tracebacks.clean(error.msg or ""), tracebacks.syntax(error))


def _class(error: BaseException) -> str:
    return tracebacks.class_name(type(error))
