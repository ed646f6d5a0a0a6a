"""What the value of a run is, and how it looks as JSON."""

import json
import unittest

from support import run
from wit_world.exports import script

from toolcell_runtime import source, values


class TheValueOfARun(unittest.TestCase):
    def check(self, program: str, value: object) -> None:
        ran = run(program)
        self.assertIsNone(ran.failure, program)
        self.assertEqual(ran.value, value, program)

    def test_it_is_the_last_expression(self):
        for program, value in [
            ("1+1", 2),
            ("x = 3\nx", 3),
            ("x = 3; x", 3),
            ("\ufeff1", 1),
            ("1\r\n2\r\n", 2),
            ('"doc"', "doc"),
            ("f = int\nf(\n  4\n)", 4),
            ('s = """\nif you\n"""\ns', "\nif you\n"),
            ('print("""\nfor x in y""")\n3', 3),
            ("for i in range(2): pass\n'done'", "done"),
            ("if 1:\n  5\nexceptions = 3\nexceptions", 3),
            ("try: 1/0\nexcept ArithmeticError: x = 1\nfinally: y = 2\nx, y", [1, 2]),
            ("from __future__ import annotations\ndef f(a: Q): pass\nf.__annotations__", {"a": "Q"}),
        ]:
            self.check(program, value)

    def test_else_it_is_result(self):
        self.check("result = 5", 5)
        self.check("result = 5\nNone", 5)
        self.check("result = 5\nprint()", 5)
        self.check("result = 7\nexit()", 7)
        self.check("result = 5\n6", 6)

    def test_else_there_is_none(self):
        for program in ("", "# nothing", "x = 1", "if 1:\n  5", "def f(): pass"):
            self.check(program, None)

    def test_a_coroutine_at_the_end_is_awaited(self):
        self.check("async def f(): return 4\nf()", 4)
        self.check("import asyncio\nawait asyncio.sleep(0)\nasyncio.sleep(1, 'x')", "x")

    def test_one_that_is_too_large_is_measured_and_not_given(self):
        ran = run("'é' * 300", max_value_bytes=500)
        self.assertEqual(ran.failure, script.Failure_ValueTooLarge(602))
        self.assertEqual(run("'é' * 300", max_value_bytes=602).value, "é" * 300)

    def test_line_numbers_are_true_wherever_the_source_is_cut(self):
        for before in ("", "x = 1\n\n", "if 1:\n  pass\n", 's = """\n\n"""\n'):
            line = before.count("\n") + 1
            self.assertIn(f'File "main.py", line {line}, in <module>', run(before + "1/0").traceback)


class ValuesAsJson(unittest.TestCase):
    CASES = [
        ("None, True, 1.5, 'é'", [None, True, 1.5, "é"]),
        ("2 ** 100", 2**100),
        ("(1, [2]), {3}, frozenset({4})", [[1, [2]], [3], [4]]),
        ("range(3)", [0, 1, 2]),
        ("range(10 ** 9)", "range(0, 1000000000)"),
        ("{'a': 1}.keys()", ["a"]),
        ("__import__('collections').deque([1])", [1]),
        ("__import__('collections').Counter('aab')", {"a": 2, "b": 1}),
        ("__import__('collections').namedtuple('N', 'x y')(1, 2), 0", [[1, 2], 0]),
        ("float('nan'), [float('inf')]", [None, [None]]),
        ("{1: 1, None: 2, (1, 2): 3, True and 2.5: 4}", {"1": 1, "null": 2, "(1, 2)": 3, "2.5": 4}),
        ("b'ok', b'\\xff'", ["ok", "/w=="]),
        ("1 + 2j", "(1+2j)"),
        ("__import__('decimal').Decimal('1.10')", "1.10"),
        ("__import__('fractions').Fraction(1, 3)", "1/3"),
        ("__import__('uuid').UUID(int=5)", "00000000-0000-0000-0000-000000000005"),
        ("__import__('pathlib').PurePosixPath('/a')", "/a"),
        ("import datetime as d\n[d.datetime(2020, 1, 1), d.date(2020, 1, 2), d.time(3)]",
         ["2020-01-01T00:00:00", "2020-01-02", "03:00:00"]),
        ("import enum\nclass C(enum.Enum): R = {1}\nclass I(enum.IntEnum): S = 2\n[C.R, I.S, {C.R: I.S}]",
         [[1], 2, {"{1}": 2}]),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n  a: int\n  b: object\nP(1, {2})", {"a": 1, "b": [2]}),
        ("'\\ud800x'", "?x"),
        ("int", "<class 'int'>"),
    ]  # fmt: skip

    def test_each_kind(self):
        for program, value in self.CASES:
            with self.subTest(program):
                self.assertEqual(run(program).value, value)

    def test_what_cannot_be_json_says_why(self):
        for program, why in [
            ("a = []\na.append(a)\na", "the value is circular: a `list` contains itself"),
            ("d = {}\nd['x'] = [d]\nd", "the value is circular: a `dict` contains itself"),
            ("x = 1\nfor _ in range(5000): x = [x]\nx", "the value is nested more than 1000 levels deep"),
            ("class A(dict):\n  def items(self): raise KeyError(3)\nA(a={1})", "the value cannot be read: KeyError: 3"),
        ]:
            self.assertEqual(run(program).failure, script.Failure_Value(why))

    def test_a_repr_that_raises_is_no_failure(self):
        ran = run("class A:\n  def __repr__(self): raise 1\nA()")
        self.assertEqual(ran.value, "<A whose repr() raised TypeError>")

    def test_plain_data_reads_back_as_it_was(self):
        plain = {"a": [1, -0.0, 1e300, "\u2028", {"b": [None, True]}], "": {}}
        self.assertEqual(json.loads(values.encode(plain)), plain)

    def test_strict_refuses_what_has_no_json_form(self):
        for value in (print, float("nan"), [object()]):
            with self.assertRaises(values.NotJson):
                values.encode(value, strict=True)


class CuttingTheSource(unittest.TestCase):
    def test_text_and_tree_agree(self):
        for text in ("1", "x=1\nx", "if 1:\n  2\n", "for a in '':\n  pass\nelse:\n  a=1\n", "x = 1", "f = 1;f", "(\n1\n)"):
            with self.subTest(text):
                expected, found = {}, {}
                for piece in source._cut_as_tree(text, "t"):
                    value = eval(piece, expected)
                for piece in source.compile_program(text, "t"):
                    same = eval(piece, found)
                self.assertEqual(same, value)
                self.assertEqual(found.keys(), expected.keys())
