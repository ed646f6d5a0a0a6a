"""What a run prints and reads."""

import unittest

from support import FakeTool, run, text


class Printing(unittest.TestCase):
    def test_the_order_across_streams_is_kept(self):
        ran = run(
            "import sys\nsys.stderr.write('e1')\nprint('o1', end='')\nsys.stderr.write('e2\\n')\n"
            "print('o2')\nsys.stderr.write('e3')\nprint('o3')\nprint('x', file=sys.stderr)"
        )
        self.assertEqual("".join(text for _, text in ran.host.printed), "e1o1e2\no2\ne3o3\nx\n")

    def test_an_unfinished_line_is_out_before_a_call(self):
        ran = run("print('part', end='')\ntools.s.t()\nprint('rest')", {"s": {"t": FakeTool(lambda _: text("x"))}})
        self.assertEqual(ran.host.events, ["part", "call s.t", "rest\n"])

    def test_output_is_sent_however_the_run_ends(self):
        for end in ("1/0", "exit(3)", "raise KeyboardInterrupt", "import os"):
            self.assertEqual(run(f"print('last words', end='')\n{end}").stdout, "last words")

    def test_bytes_and_broken_text(self):
        ran = run("import sys\nsys.stdout.buffer.write(b'raw ')\nprint('\\ud800 é')")
        self.assertEqual(ran.stdout, "raw \\ud800 é\n")

    def test_replacing_or_closing_stdout_is_the_programs_own_affair(self):
        self.assertEqual(run("import sys, io\nsys.stdout = io.StringIO()\nprint(1)\nsys.stdout.getvalue()").value, "1\n")
        program = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as f: print(1)\nf.getvalue()"
        self.assertEqual(run(program).value, "1\n")

    def test_atexit_functions_run(self):
        self.assertEqual(run("import atexit\natexit.register(print, 'bye')\n1").stdout, "bye\n")


class Reading(unittest.TestCase):
    def test_input_is_a_value_and_a_text(self):
        ran = run("import sys\n[inputs, sys.stdin.read()]", inputs={"a": [1, 2]})
        self.assertEqual(ran.value, [{"a": [1, 2]}, '{"a":[1,2]}'])
        self.assertEqual(run("[input('? '), input()]", inputs="bob\nal").value, ["bob", "al"])
        self.assertEqual(run("import sys\nsys.stdin.buffer.read()", inputs="é").value, "é")

    def test_a_prompt_is_printed(self):
        self.assertEqual(run("input('name? ')", inputs="x").stdout, "name? ")

    def test_without_input_it_says_how_to_pass_one(self):
        self.assertEqual(run("input()").exception.message, "this run has no input: pass one with --input")
        self.assertEqual(run("import sys\n[inputs, list(sys.stdin), sys.stdin.read()]").value, [None, [], ""])
