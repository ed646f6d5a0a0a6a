"""Calls of a plugin's tools, and its own calls of others."""

import unittest

from vocabulary import Err, FakeTool, Plugin, asks, said, structured, text, wit


def refused(plugin: Plugin, name: str, **arguments: object):
    try:
        plugin.call(name, **arguments)
    except Err as error:
        return error.value.value
    raise AssertionError("it was not refused")


SEARCH = {
    "quick": {"find": FakeTool(lambda a: structured({"hits": [a["query"]]}), milliseconds=100)},
    "slow": {"find": FakeTool(lambda a: structured({"hits": ["late"]}), milliseconds=9_000)},
    "down": {"find": FakeTool(lambda a: Err(wit.CallError_Unavailable("cannot connect to down")))},
    "odd-name": {"fi.nd": FakeTool(lambda a: text("odd"))},
}


class Arguments(unittest.TestCase):
    def test_arguments_come_as_their_types(self):
        plugin = Plugin("""
            from dataclasses import dataclass
            from datetime import date
            from enum import Enum
            from toolcell import tool
            class Order(Enum):
                BEST = "best"
            @dataclass
            class Node:
                name: str
                children: list["Node"] | None = None
            @tool
            def show(tree: Node, order: Order, day: date, both: tuple[int, float], ids: set[int], n: int = 7):
                return repr([tree, order, day, both, ids, n])
        """)
        shown = plugin.value(
            "show",
            tree={"name": "a", "children": [{"name": "b"}]},
            order="best",
            day="2026-02-03",
            both=[1, 2],
            ids=[1.0, 1],
        )
        self.assertEqual(
            shown,
            "[Node(name='a', children=[Node(name='b', children=None)]), <Order.BEST: 'best'>, "
            "datetime.date(2026, 2, 3), (1, 2.0), {1}, 7]",
        )

    def test_arguments_that_do_not_fit_are_refused_with_their_path(self):
        plugin = Plugin("""
            from dataclasses import dataclass
            from typing import Literal
            from toolcell import tool
            @dataclass
            class Span:
                first: int
                last: int
                def __post_init__(self):
                    if self.last < self.first:
                        raise ValueError("ends before it begins")
            @tool
            def f(a: int, spans: list[Span] = [], kind: Literal[1, "x"] = 1, text: str | None = None): return a
        """)

        def check(path: str, words: str, **arguments: object):
            refusal = refused(plugin, "f", **arguments)
            self.assertEqual((refusal.path, refusal.message), (path, words))

        check("", "`a` is missing")
        check("/a", "has to be an integer, and is a text", a="1")
        check("/a", "has to be an integer, and is a boolean", a=True)
        check("/b", "there is no `b`; there is a, spans, kind, text", a=1, b=1)
        check("/spans/1/last", "has to be an integer, and is null", a=1, spans=[{"first": 1, "last": 2}, {"first": 1, "last": None}])
        check("/spans/0", "ends before it begins", a=1, spans=[{"first": 2, "last": 1}])
        check("/kind", "has to be one of 1, 'x', and is 'True'", a=1, kind=True)
        check("/text", "has to be a text, and is an integer, or has to be null, and is an integer", a=1, text=1)
        self.assertEqual(refused(plugin, "g"), "there is no tool `g`; there are: f")

    def test_more_arguments_are_taken_where_the_function_takes_them(self):
        plugin = Plugin("from toolcell import tool\n@tool\ndef f(a: int, **more): return more")
        self.assertEqual(plugin.value("f", a=1, b=[2]), {"b": [2]})
        self.assertNotIn("additionalProperties", plugin.schema("f"))


class Failures(unittest.TestCase):
    def test_an_exception_is_told_with_the_authors_lines(self):
        plugin = Plugin(
            """
            import rank
            from toolcell import ToolError, tool
            @tool
            def broken(n: int):
                return rank.order(n)
            @tool
            def polite():
                raise ToolError("there is no such city; ask for another")
            @tool
            def leaves():
                raise SystemExit(3)
            @tool
            def lies() -> dict[str, int]:
                return [1]
            @tool
            def odd():
                return {"x": object()}
            """,
            rank="def order(n):\n    return 1 / n\n",
        )
        shown = plugin.failure("broken", n=0)
        self.assertIn('File "plugin.py", line 6, in broken\n    return rank.order(n)', shown)
        self.assertIn('File "rank.py", line 2, in order\n    return 1 / n', shown)
        self.assertTrue(shown.endswith("ZeroDivisionError: division by zero"), shown)
        self.assertNotIn("entry.py", shown)
        self.assertEqual(plugin.failure("polite"), "there is no such city; ask for another")
        self.assertIn("sys.exit(3)", plugin.failure("leaves"))
        self.assertIn("returned a `list`", plugin.failure("lies"))
        self.assertIn("a `object` has no JSON form", plugin.failure("odd"))

    def test_a_call_that_fails_is_an_exception_of_its_kind(self):
        plugin = Plugin(
            """
            from toolcell import ToolUnavailable, tool, tools
            @tool
            async def caught():
                try:
                    await tools.down.find(query="x")
                except ToolUnavailable as error:
                    return f"{error.kind}: {error}"
            @tool
            async def uncaught():
                await tools.down.find(query="x")
            """,
            SEARCH,
        )
        self.assertEqual(plugin.value("caught"), "unavailable: cannot connect to down")
        shown = plugin.failure("uncaught")
        self.assertIn("await tools.down.find", shown)
        self.assertIn("ToolUnavailable: cannot connect to down", shown)


class Calls(unittest.TestCase):
    def test_calls_run_side_by_side(self):
        plugin = Plugin(
            """
            import asyncio
            from toolcell import tool, tools, blocking
            @tool
            async def many() -> list[str]:
                found = await asyncio.gather(*(tools.quick.find(query=q) for q in "abc"))
                return [hit for answer in found for hit in answer["hits"]]
            @tool
            def one() -> str:
                return blocking["odd-name"]["fi.nd"]()
            @tool
            async def late() -> str:
                try:
                    async with asyncio.timeout(0.05):
                        await tools.quick.find(query="a")
                except TimeoutError:
                    return "too late"
            """,
            SEARCH,
        )
        self.assertEqual(plugin.value("many"), {"result": ["a", "b", "c"]})
        self.assertAlmostEqual(plugin.host.now, 0.1)
        self.assertEqual(plugin.value("one"), "odd")
        self.assertEqual(plugin.value("late"), "too late")
        self.assertEqual(plugin.host.cancelled, [5])

    def test_one_branch_fails_and_the_others_do_not(self):
        plugin = Plugin(
            """
            from toolcell import settle, tool, tools
            async def broken():
                raise KeyError("x")
            @tool
            async def named():
                branches = {name: tools[name]["find"](query="q") for name in ("quick", "slow", "down")}
                outcomes = await settle({**branches, "own": broken()}, timeout=2)
                return {name: [it.ok, it.value, it.kind, it.reason] for name, it in outcomes.items()}
            @tool
            async def listed():
                first, second = await settle(tools.quick.find(query="q"), tools.down.find(query="q"))
                return [first.unwrap(), second.unwrap()]
            """,
            SEARCH,
        )
        self.assertEqual(
            plugin.value("named"),
            {
                "quick": [True, {"hits": ["q"]}, "", ""],
                "slow": [False, None, "timed-out", "no answer within 2 s"],
                "down": [False, None, "unavailable", "cannot connect to down"],
                "own": [False, None, "KeyError", "'x'"],
            },
        )
        self.assertAlmostEqual(plugin.host.now, 2.0)
        self.assertIn("ToolUnavailable", plugin.failure("listed"))

    def test_a_kept_instance_leaves_nothing_running(self):
        plugin = Plugin(
            """
            import asyncio
            from toolcell import tool, tools
            count = 0
            @tool
            async def leave():
                global count
                count += 1
                asyncio.create_task(tools.slow.find(query="x"))
                await asyncio.sleep(0)
                print("left", count)
                return str(count)
            """,
            SEARCH,
        )
        self.assertEqual([plugin.value("leave"), plugin.value("leave")], ["1", "2"])
        self.assertEqual(plugin.host.cancelled, [1, 2])
        self.assertEqual([text for _, text in plugin.host.printed], ["left 1\n", "left 2\n"])


class Surroundings(unittest.TestCase):
    def test_state_is_a_mapping(self):
        plugin = Plugin("""
            from toolcell import LimitExceeded, state, tool
            @tool
            def visit(key: str):
                state[key] = state.get(key, 0) + 1
                return [key in state, "no" in state, sorted(state), len(state), state[key], state.pop("gone", 5)]
            @tool
            def fill():
                try:
                    state["big"] = "x" * 2000
                except LimitExceeded as error:
                    return f"{error.limit_name} {error.limit}: {error}"
            @tool
            def missing():
                del state["nothing"]
        """)
        plugin.value("visit", key="a")
        self.assertEqual(plugin.value("visit", key="a"), '[true,false,["a"],1,2,5]')
        self.assertEqual(plugin.value("fill"), "state 1000: no room is left")
        self.assertIn("KeyError: 'nothing'", plugin.failure("missing"))

    def test_a_person_is_asked(self):
        plugin = Plugin("""
            from dataclasses import dataclass
            from typing import Literal
            from toolcell import Declined, ToolUnavailable, ask, ask_model, can_ask, can_ask_model, tool
            @dataclass
            class Trip:
                to: str
                days: int = 1
            @tool
            def confirm():
                try:
                    return str(ask("Delete it?"))
                except Declined as error:
                    return f"{error} {error.cancelled}"
            @tool
            def choose(): return ask("Which?", Literal["a", "b"])
            @tool
            def plan(): return repr(ask("Where?", Trip))
            @tool
            def able():
                try:
                    ask_model("Say hello.")
                except ToolUnavailable as error:
                    return [can_ask(), can_ask_model(), str(error)]
        """)
        self.assertEqual(plugin.value("confirm"), "the question was declined: Delete it? False")
        plugin.store.answer = asks.Elicited_Accepted('{"answer": true}')
        self.assertEqual(plugin.value("confirm"), "True")
        self.assertIn("ValueError: the answer does not fit", plugin.failure("choose"))
        plugin.store.answer = asks.Elicited_Accepted('{"to": "Rome"}')
        self.assertEqual(plugin.value("plan"), "Trip(to='Rome', days=1)")
        self.assertEqual(plugin.value("able"), '[true,false,"no model can be asked"]')
        message, schema = plugin.store.asked[-1]
        self.assertEqual((message, schema["required"]), ("Where?", ["to"]))
        self.assertNotIn("additionalProperties", schema)

    def test_log_progress_and_offers(self):
        plugin = Plugin("""
            from toolcell import log, progress, prompts, resources, tool
            @tool
            def tell():
                progress(1, 2, "half")
                log("warning", "old")
                return [resources.servers(), prompts.servers()]
        """)
        self.assertEqual(plugin.value("tell"), '[["docs"],["docs"]]')
        self.assertEqual(plugin.host.events, ["progress 1.0 2.0 half", "log WARNING old"])

    def test_media_is_given_as_blocks(self):
        plugin = Plugin("""
            from toolcell import Image, tool
            @tool
            def picture() -> Image: return Image(b"x", "image/png")
        """)
        (block,) = plugin.call("picture").content
        self.assertEqual((block.value.data, block.value.mime_type), (b"x", "image/png"))
        self.assertEqual(said(plugin.call("picture")), "")


if __name__ == "__main__":
    unittest.main()
