"""Runs a Python program inside toolcell's sandbox: CPython 3.14 on WASI, with tools as functions.

The package reaches outward through `host` alone. It enforces nothing: grants, limits and time are the
host's, and a program that rewrites this package's state hurts its own run and no other.
"""
