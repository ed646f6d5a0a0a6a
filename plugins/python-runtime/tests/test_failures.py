"""What a program's author is told when the program fails."""

import sys
import unittest

from support import run
from wit_world.exports import script


class Failures(unittest.TestCase):
    def test_a_traceback_shows_the_programs_lines_and_nothing_else(self):
        ran = run("import json\ndef f():\n    return json.loads('{')\n\nf()")
        self.assertIsInstance(ran.failure, script.Failure_Exception)
        self.assertEqual(ran.exception.class_, "json.decoder.JSONDecodeError")
        self.assertTrue(ran.traceback.startswith("Traceback (most recent call last):\n"))
        self.assertIn("    return json.loads('{')\n", ran.traceback)
        self.assertEqual(ran.traceback.count("  File "), 2)
        self.assertNotIn("toolcell_runtime", ran.traceback)

    def test_causes_and_groups_are_shown(self):
        ran = run("try:\n    1/0\nexcept Exception as e:\n    raise ValueError('x') from e")
        self.assertIn("ZeroDivisionError: division by zero\n\nThe above exception was the direct cause", ran.traceback)
        ran = run("raise ExceptionGroup('g', [ValueError(1), TypeError('b')])")
        self.assertIn("| TypeError: b", ran.traceback)

    def test_syntax_errors_have_line_and_caret(self):
        for program, message, caret in [
            ("x = = 1", "invalid syntax", "    x = = 1\n        ^\n"),
            ("x = 1\nreturn 5", "'return' outside function", "    return 5\n    ^^^^^^^^\n"),
            ("print(1\nx", "'(' was never closed", "    print(1\n         ^\n"),
        ]:
            ran = run(program)
            self.assertIsInstance(ran.failure, script.Failure_Syntax)
            self.assertEqual(ran.exception.message, message)
            self.assertIn(caret, ran.traceback)
        self.assertIsInstance(run("a\0b").failure, script.Failure_Syntax)

    def test_an_exception_that_cannot_be_shown_is_still_reported(self):
        ran = run("class E(Exception):\n  def __str__(self): raise 1\nraise E")
        self.assertEqual((ran.exception.class_, ran.exception.message), ("E", "<exception str() failed>"))
        ran = run("raise ValueError('\\ud800')")
        self.assertEqual(ran.exception.message, "\\ud800")
        ran = run("from dataclasses import dataclass\n@dataclass(frozen=True)\nclass E(Exception):\n  a: int\nraise E(1)")
        self.assertEqual(ran.exception.class_, "E")

    def test_endless_recursion_names_the_limit(self):
        ran = run("def f(n): return f(n + 1)\nf(0)")
        self.assertIsInstance(ran.failure, script.Failure_Recursion)
        self.assertEqual(ran.failure.value[1], sys.getrecursionlimit())

    def test_no_memory_is_a_failure_of_its_own(self):
        self.assertIsInstance(run("raise MemoryError").failure, script.Failure_Memory)

    def test_exits(self):
        for program, failure in [
            ("import sys; sys.exit()", None),
            ("raise SystemExit(0)", None),
            ("raise SystemExit(3)", script.Failure_Exit(3)),
            ("raise SystemExit(10 ** 12)", script.Failure_Exit(-1)),
            ("import asyncio\nasync def f(): raise SystemExit(4)\nasyncio.run(f())", script.Failure_Exit(4)),
        ]:
            self.assertEqual(run(program).failure, failure, program)
        ran = run("raise SystemExit('bye')")
        self.assertEqual((ran.failure, ran.stderr), (script.Failure_Exit(1), "bye\n"))

    def test_other_base_exceptions_are_exceptions(self):
        for name in ("KeyboardInterrupt", "GeneratorExit"):
            ran = run(f"raise {name}")
            self.assertIsInstance(ran.failure, script.Failure_Exception)
            self.assertEqual(ran.exception.class_, name)

    def test_a_missing_package_says_what_there_is(self):
        self.assertIn("packages cannot be installed", run("import no_such_package").traceback)

    def test_shadowed_names_do_not_spoil_the_report(self):
        program = "tools = 5\njson = None\nlist = []\nstr = int\nValueError = 3\ndef run(): 1\n{'a': {1}}"
        self.assertEqual(run(program).value, {"a": [1]})
        self.assertEqual(run("print = open = None\n1/0").exception.class_, "ZeroDivisionError")

    def test_the_program_is_a_real_main_module(self):
        ran = run(
            "import inspect, pickle, typing\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass P:\n    a: int\n"
            "[pickle.loads(pickle.dumps(P(3))).a, inspect.getsource(P), typing.get_type_hints(P), __name__]"
        )
        source = "@dataclass\nclass P:\n    a: int\n"
        self.assertEqual(ran.value, [3, source, {"a": "<class 'int'>"}, "__main__"])


class AllowedImports(unittest.TestCase):
    def check(self, program: str, allowed: list[str] | None, refused: str | None) -> None:
        ran = run(program, allowed=allowed)
        message = None if ran.failure is None else ran.exception.message
        self.assertEqual(message, refused, program)

    def test_only_listed_modules_and_what_is_below_them(self):
        self.check("import json, os.path", ["json", "os.path"], None)
        self.check("import xml.etree.ElementTree", ["xml"], None)
        self.check("from os import path", ["os.path"], None)
        self.check("from __future__ import annotations\nimport tools", [], None)
        self.check("import os", ["json", "math"], "import of `os` is not allowed in this run; allowed: json, math")
        self.check("def f():\n  import os\nf()", [], "import of `os` is not allowed in this run; allowed: nothing")

    def test_the_stdlib_imports_what_it_needs(self):
        self.check("import decimal\ndecimal.Decimal(1)", ["decimal"], None)

    def test_no_list_means_all(self):
        self.check("import os, sys", None, None)
