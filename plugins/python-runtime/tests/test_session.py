"""Programs that follow each other in one namespace: what the next one has, and what it never has."""

import unittest

from support import FakeTool, Session, run, text


def _add(arguments: dict) -> object:
    return text(str(arguments["a"] + 1))


SERVERS = {"demo": {"add": FakeTool(_add), "slow": FakeTool(_add, milliseconds=600_000)}}


class SessionTest(unittest.TestCase):
    def setUp(self) -> None:
        self.session = Session(SERVERS)
        self.session.__enter__()
        self.addCleanup(self.session.__exit__, None, None, None)

    def value(self, source: str, **more: object) -> object:
        ran = self.session.run(source, **more)
        self.assertIsNone(ran.failure, ran.failure)
        return ran.value

    def test_what_a_program_defines_is_there_for_the_next(self):
        self.value("import json as j\nx = [1]\ndef f(): return x\nclass C: y = 2")
        self.assertEqual(self.value("x.append(C.y)\nj.dumps(f())"), "[1, 2]")
        self.assertEqual(self.value("inputs", inputs=3), 3)
        self.assertIsNone(self.value("inputs"))

    def test_what_was_defined_before_an_error_is_there_too(self):
        self.assertIsNotNone(self.session.run("x = 1\n1 / 0").failure)
        self.assertIsNotNone(self.session.run("1 +").failure)
        self.assertEqual(self.value("x"), 1)

    def test_run_is_never_in_the_namespace_of_a_session(self):
        self.value("x = 1")
        self.assertEqual(run("x").exception.class_, "NameError")

    def test_an_earlier_result_is_a_variable_and_no_value(self):
        for source, value in (
            ("result = 5", 5),
            ("x = 1", None),
            ("result + 1", 6),
            ("result = 5", 5),
            ("if not result: result = 7", None),
            ("result += 1", 6),
            ("def f():\n    global result\n    result = 6\nf()", 6),
            ("print(result)", None),
            ("for result in (6,): pass", 6),
            ("del result\nresult = None", None),
        ):
            with self.subTest(source):
                self.assertEqual(self.value(source), value)
        self.assertEqual(self.value("import builtins\nhasattr(builtins, 'result')"), False)

    def test_calls_and_tasks_end_with_their_program(self):
        first = (
            "import asyncio\nticks = []\n"
            "async def tick():\n    while True:\n        ticks.append(1)\n        await asyncio.sleep(1)\n"
            "left = asyncio.create_task(tick())\n"
            "slow = asyncio.create_task(aio.demo.slow(a=1))\nawait asyncio.sleep(2.5)\nlen(ticks)"
        )
        ran = self.session.run(first)
        self.assertEqual(ran.host.cancelled, [1])
        later = "await asyncio.sleep(9)\n[len(ticks), left.cancelled(), slow.cancelled(), await aio.demo.add(a=1)]"
        self.assertEqual(self.value(later), [ran.value, True, True, "2"])

    def test_an_answer_never_reaches_the_waiter_of_an_earlier_program(self):
        # A coroutine that is driven by hand waits for call 1 of its run; this run has a call 1 as well.
        first = (
            "import asyncio\nfrom asyncio import events\nkept = []\n"
            "async def main():\n    by_hand = aio.demo.slow(a=1)\n    by_hand.send(None)\n    kept.append(by_hand)\n"
            "await main()"
        )
        self.value(first)
        later = (
            "task = asyncio.ensure_future(aio.demo.add(a=1))\nawait asyncio.sleep(0)\n"
            "kept[0].close()\nawait task"
        )
        self.assertEqual(self.value(later), "2")

    def test_a_traceback_shows_the_lines_of_each_program(self):
        self.value("def broken(n):\n    return 1 / n  # here")
        self.value("def other():\n    pass")
        traceback = self.session.run("broken(0)").traceback
        self.assertIn("return 1 / n  # here", traceback)
        self.assertIn("broken(0)", traceback)
        self.assertEqual(traceback.count("File \"main.py"), 2)

    def test_streams_are_each_programs_own(self):
        for spoil in ("sys.stdout.close()", "sys.stdout.detach()", "sys.stdout = None", "print('x', end='')"):
            with self.subTest(spoil):
                self.session.run(f"import sys\n{spoil}")
                ran = self.session.run("import sys\nprint('a')\nprint('b', file=sys.stderr)")
                self.assertEqual((ran.stdout, ran.stderr), ("a\n", "b\n"))

    def test_exit_functions_run_once_at_the_end_of_their_program(self):
        ran = self.session.run("import atexit\natexit.register(print, 'bye')\nprint('hi')")
        self.assertEqual(ran.stdout, "hi\nbye\n")
        self.assertEqual(self.session.run("1").stdout, "")

    def test_the_tools_are_those_of_the_current_program(self):
        self.assertEqual(self.value("from tools import demo\nadd = demo.add\nadd(a=1)"), "2")
        self.session.servers = {"other": {"add": FakeTool(_add)}}
        refused = self.session.run("add(a=1)")
        self.assertIn("no tool `demo.add` is granted", refused.exception.message)
        self.assertIn("no server `demo`", self.session.run("from tools import demo").exception.message)
        self.assertEqual(self.value("[list(tools), tools.other.add(a=1)]"), [["other"], "2"])
        self.session.servers = SERVERS
        self.assertEqual(self.value("add(a=1)"), "2")

    def test_a_task_that_fights_its_end_never_has_another_turn(self):
        first = (
            "import asyncio\nturns = []\nasync def stay():\n    while True:\n        try:\n"
            "            await asyncio.sleep(3600)\n        except asyncio.CancelledError:\n"
            "            turns.append(1)\n            raise SystemExit('no')\n"
            "stays = asyncio.create_task(stay())\nawait asyncio.sleep(0)"
        )
        self.assertIsNone(self.session.run(first).failure)
        self.assertEqual(self.value("await asyncio.sleep(9)\nlen(turns)"), 1)


if __name__ == "__main__":
    unittest.main()
