"""asyncio on `tools.wait`. The clock is the fake host's: nothing here takes time."""

import unittest

from support import FakeTool, run, structured


def servers():
    return {"s": {"slow": FakeTool(structured, milliseconds=50), "echo": FakeTool(structured)}}


class Concurrency(unittest.TestCase):
    def check(self, program: str, value: object, *, seconds: float | None = None, cancelled: list[int] = []) -> None:
        ran = run("import asyncio, time\n" + program, servers())
        self.assertIsNone(ran.failure, f"{program}\n{ran.failure}")
        self.assertEqual(ran.value, value, program)
        self.assertEqual(ran.host.cancelled, cancelled, program)
        if seconds is not None:
            self.assertAlmostEqual(ran.host.now, seconds, places=3)

    def test_gathered_calls_run_side_by_side(self):
        self.check("len(await asyncio.gather(*(aio.s.slow(i=i) for i in range(10))))", 10, seconds=0.05)
        self.check("[await aio.s.slow(i=i) for i in range(2)]", [{"i": 0}, {"i": 1}], seconds=0.1)

    def test_timers_run_beside_calls(self):
        self.check("await asyncio.gather(aio.s.slow(), asyncio.sleep(0.02, 'a'), asyncio.sleep(0.07, 'b'))", [{}, "a", "b"], seconds=0.07)

    def test_asyncio_run_works_wherever_it_stands(self):
        main = "async def main(): return await aio.s.slow(a=1)\n"
        for program in (
            "asyncio.run(main())",
            "await asyncio.sleep(0)\nasyncio.run(main())",
            "asyncio.get_event_loop().run_until_complete(main())",
            "await asyncio.sleep(0)\nasyncio.get_event_loop().run_until_complete(main())",
            "loop = asyncio.new_event_loop()\nloop.run_until_complete(main())",
            "with asyncio.Runner() as r: result = r.run(main())",
            "await asyncio.sleep(0)\nwith asyncio.Runner() as r: result = r.run(main())",
            "async def outer(): return asyncio.run(main())\nawait outer()",
        ):
            self.check(main + program, {"a": 1}, seconds=0.05)

    def test_a_nested_run_lets_the_outer_tasks_go_on(self):
        self.check(
            "async def main():\n  t = asyncio.create_task(aio.s.slow(a=1))\n"
            "  asyncio.run(asyncio.sleep(0.06))\n  return t.done(), await t\nasyncio.run(main())",
            [True, {"a": 1}],
        )

    def test_timeouts_cancel_the_call(self):
        for wait in ("async with asyncio.timeout(0.01): await aio.s.slow()", "await asyncio.wait_for(aio.s.slow(), 0.01)"):
            self.check(f"try:\n  {wait}\nexcept TimeoutError: result = 'late'", "late", seconds=0.01, cancelled=[1])

    def test_the_usual_parts_of_asyncio(self):
        for program, value in [
            ("async with asyncio.TaskGroup() as g: t = [g.create_task(aio.s.slow(i=i)) for i in range(2)]\n[x.result() for x in t]",
             [{"i": 0}, {"i": 1}]),
            ("sorted([(await f)['i'] for f in asyncio.as_completed([aio.s.slow(i=i) for i in range(3)])])", [0, 1, 2]),
            ("q = asyncio.Queue()\nasync def put():\n  await q.put(await aio.s.slow(i=1))\nt = asyncio.create_task(put())\nawait q.get()", {"i": 1}),
            ("e = asyncio.Event()\nasyncio.get_running_loop().call_later(1, e.set)\nawait e.wait()", True),
            ("sem = asyncio.Semaphore(2)\nasync def one(i):\n  async with sem: return (await aio.s.slow(i=i))['i']\n"
             "await asyncio.gather(*map(one, range(4)))", [0, 1, 2, 3]),
            ("await asyncio.to_thread(sum, [1, 2])", 3),
            ("t = asyncio.create_task(aio.s.slow())\nwhile not t.done(): await asyncio.sleep(0)\nawait t", {}),
        ]:  # fmt: skip
            # A busy loop never lets the fake clock pass; only polling does, and it takes what is due.
            if "while not" in program:
                program = program.replace("aio.s.slow", "aio.s.echo")
            self.check(program, value)

    def test_sleeping_keeps_what_completes_meanwhile(self):
        self.check(
            "t = asyncio.create_task(aio.s.slow(a=1))\nawait asyncio.sleep(0)\ntime.sleep(0.08)\n"
            "before = time.monotonic()\n[await t, time.monotonic() == before]",
            [{"a": 1}, True],
            seconds=0.08,
        )

    def test_a_blocking_call_leaves_other_completions_alone(self):
        self.check("t = asyncio.create_task(aio.s.slow(a=1))\nawait asyncio.sleep(0)\n[tools.s.echo(b=2), await t]", [{"b": 2}, {"a": 1}])

    def test_what_is_left_running_is_ended(self):
        ran = run(
            "import asyncio\nasync def forever():\n  try: await asyncio.sleep(99)\n  finally: print('cleaned')\n"
            "async def numbers():\n  try:\n    yield 1\n    yield 2\n  finally: print('closed')\n"
            "t = asyncio.create_task(forever()), asyncio.create_task(aio.s.slow())\nn = numbers()\nawait anext(n)\nawait asyncio.sleep(0)\n7",
            servers(),
        )
        self.assertEqual((ran.value, ran.stdout, ran.host.cancelled), (7, "cleaned\nclosed\n", [1]))
        self.assertEqual(ran.host.now, 0)


class Dead(unittest.TestCase):
    MESSAGE = "deadlock: nothing can wake this await: no tool call is under way and no timer is set"

    def test_a_deadlock_is_an_exception_at_the_await(self):
        for program, line in [
            ("import asyncio\ne = asyncio.Event()\nawait e.wait()", 3),
            ("import asyncio\nasync def main():\n  await asyncio.Queue().get()\nasyncio.run(main())", 3),
            ("import asyncio\nasync def main():\n  await asyncio.gather(asyncio.Event().wait())\nasyncio.run(main())", 3),
        ]:
            ran = run(program)
            self.assertEqual(ran.exception.message, self.MESSAGE)
            self.assertIn(f'File "main.py", line {line}', ran.traceback)

    def test_threads_say_what_to_use_instead(self):
        for program in (
            "import threading\nthreading.Thread(target=print).start()",
            "import asyncio\nawait asyncio.get_running_loop().run_in_executor(None, print)",
        ):
            self.assertIn("there are no threads in the sandbox", run(program).exception.message)

    def test_a_lost_exception_is_printed_without_our_frames(self):
        ran = run("import asyncio\nasync def bad(): raise ValueError('lost')\nt = asyncio.create_task(bad())\nawait asyncio.sleep(0)\nawait asyncio.sleep(0)\ndel t\n1")
        self.assertIn("Task exception was never retrieved\nTraceback", ran.stderr)
        self.assertIn("ValueError: lost", ran.stderr)
        self.assertNotIn("toolcell_runtime", ran.stderr)
