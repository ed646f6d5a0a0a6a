"""From a function to a tool's name, description and schemas."""

import unittest

from vocabulary import Plugin, authored

ONE_OF_ALL = '''
    from dataclasses import dataclass, field
    from datetime import date
    from enum import Enum
    from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
    from toolcell import tool

    class Order(Enum):
        NEWEST = "newest"
        BEST = "best"

    class Range(TypedDict):
        first: int
        last: NotRequired[int]

    @dataclass
    class Node:
        """A node of a tree."""
        name: Annotated[str, "What it is called"]
        children: list["Node"] = field(default_factory=list)

    class Point(NamedTuple):
        x: float
        y: float = 0.0

    @tool
    def all_of_them(
        text: Annotated[str, "A text", {"maxLength": 10}],
        count: int,
        share: float,
        flag: bool,
        anything,
        nothing: None = None,
        items: list[int] = [1],
        pairs: dict[str, float] = {},
        both: tuple[int, str] = (1, "a"),
        many: tuple[int, ...] = (),
        names: set[str] = frozenset(),
        choice: Literal["a", "b"] = "a",
        maybe: int | None = None,
        order: Order = Order.BEST,
        range: Range | None = None,
        tree: Node | None = None,
        point: Point = Point(1.0),
        day: date | None = None,
    ) -> str:
        """Takes one of each.

        And says so.

        Args:
            count: How many there are,
                at most.
            text (str): not this one

        Returns:
            A text.
        """
        return repr((text, count, share, items, both, names, order, range, tree, point, day))
'''


class Definitions(unittest.TestCase):
    def test_every_kind_of_parameter_has_a_schema(self):
        plugin = Plugin(ONE_OF_ALL)
        schema = plugin.schema("all_of_them")
        self.assertEqual(schema["required"], ["text", "count", "share", "flag", "anything"])
        self.assertIs(schema["additionalProperties"], False)
        for name, expected in {
            "text": {"type": "string", "description": "A text", "maxLength": 10},
            "count": {"type": "integer", "description": "How many there are, at most."},
            "share": {"type": "number"},
            "flag": {"type": "boolean"},
            "anything": {},
            "nothing": {"type": "null", "default": None},
            "items": {"type": "array", "items": {"type": "integer"}, "default": [1]},
            "pairs": {"type": "object", "additionalProperties": {"type": "number"}, "default": {}},
            "both": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "items": False,
                "minItems": 2,
                "maxItems": 2,
                "default": [1, "a"],
            },
            "many": {"type": "array", "items": {"type": "integer"}, "default": []},
            "names": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "choice": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            "order": {"type": "string", "enum": ["newest", "best"], "default": "best"},
            "day": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
        }.items():
            self.assertEqual(schema["properties"][name], expected, name)
        self.assertEqual(schema["properties"]["range"]["anyOf"][0]["required"], ["first"])
        self.assertEqual(schema["properties"]["tree"]["anyOf"][0], {"$ref": "#/$defs/Node"})
        node = schema["$defs"]["Node"]
        self.assertEqual(node["description"], "A node of a tree.")
        self.assertEqual(node["properties"]["children"]["items"], {"$ref": "#/$defs/Node"})
        self.assertEqual(schema["properties"]["point"]["required"], ["x"])

    def test_docstrings_describe_without_their_arguments(self):
        described = Plugin(ONE_OF_ALL).tools["all_of_them"].description
        self.assertEqual(described, "Takes one of each.\n\nAnd says so.\n\nReturns:\n    A text.")
        plugin = Plugin('''
            from toolcell import tool
            @tool(name="x.y", title="X", read_only=True)
            def function(a, b):
                """Does it.

                :param int a: the first,
                    and more of it
                :param b: the second
                :returns: nothing
                """
        ''')
        self.assertEqual(plugin.tools["x.y"].description, "Does it.\n\n:returns: nothing")
        self.assertEqual(plugin.tools["x.y"].title, "X")
        self.assertEqual((plugin.tools["x.y"].read_only, plugin.tools["x.y"].destructive), (True, False))
        properties = plugin.schema("x.y")["properties"]
        self.assertEqual(properties["a"], {"description": "the first, and more of it"})
        self.assertEqual(properties["b"], {"description": "the second"})

    def test_return_types_are_output_schemas(self):
        plugin = Plugin('''
            from dataclasses import dataclass
            from typing import TypedDict
            from toolcell import Image, tool
            @dataclass
            class Hit:
                title: str
            class Page(TypedDict):
                hits: list[Hit]
            @tool
            def record() -> Hit: return Hit("a")
            @tool
            def page() -> Page: return {"hits": [Hit("a")]}
            @tool
            def hits() -> list[Hit]: return [Hit("a"), Hit("b")]
            @tool
            def words() -> str: return "a"
            @tool
            def nothing() -> None: pass
            @tool
            def picture() -> list[str | Image]: return ["a", Image(b"x", "image/png")]
            @tool
            def anything(n: int): return {1: "x", 2: [1], 3: "y"}[n] if n != 4 else {"a": 1}
        ''')
        hit = {
            "type": "object",
            "properties": {"title": {"type": "string"}},
            "required": ["title"],
            "additionalProperties": False,
        }
        self.assertEqual(plugin.output_schema("record"), hit)
        self.assertEqual(plugin.output_schema("page")["properties"]["hits"]["items"], hit)
        wrapped = plugin.output_schema("hits")
        self.assertEqual(wrapped["properties"]["result"], {"type": "array", "items": hit})
        self.assertIs(wrapped["x-fastmcp-wrap-result"], True)
        for free in ("words", "nothing", "picture", "anything"):
            self.assertIsNone(plugin.output_schema(free))
        self.assertEqual(plugin.value("record"), {"title": "a"})
        self.assertEqual(plugin.value("hits"), {"result": [{"title": "a"}, {"title": "b"}]})
        self.assertEqual(plugin.call("nothing").content, [])
        self.assertEqual(len(plugin.call("picture").content), 2)
        self.assertEqual([plugin.value("anything", n=n) for n in (1, 2, 4)], ["x", "[1]", {"a": 1}])

    def test_what_cannot_be_a_tool_is_refused_with_its_place(self):
        def check(source: str, *parts: str):
            with self.assertRaises(authored.Faulty) as caught:
                Plugin("from toolcell import tool, tools, state\n" + source)
            for part in parts:
                self.assertIn(part, str(caught.exception))

        check("x = 1", "has no tool")
        check("@tool\ndef f(x: complex): pass", "plugin.py, line 2", "parameter `x`", "`complex` has no form in JSON")
        check("class A: pass\n@tool\ndef f(x: list[A]): pass", "`x`", "`A` has no form", "dataclass")
        check("@tool\ndef f(x: dict[int, str]): pass", "dict[str, …]")
        check("@tool\ndef f() -> complex: pass", "what it returns", "`complex`")
        check("@tool\ndef f(*x): pass", "arguments of a tool have names")
        check("@tool\ndef f(x, /): pass", "arguments of a tool have names")
        check("@tool\ndef f(): pass\n@tool(name='f')\ndef g(): pass", "line 4", "taken by plugin.py, line 2")
        check("@tool(name='a b')\ndef f(): pass", "1 to 64 of")
        check("@tool\nclass C: pass", "a tool of a function")
        check("@tool\ndef f(x: 'Nowhere'): pass", "line 2", "type hint", "Nowhere")

    def test_a_module_that_fails_is_shown_with_its_own_lines(self):
        def check(expected: str, source: str, **others: str):
            with self.assertRaises(authored.Faulty) as caught:
                Plugin(source, **others)
            self.assertIn(expected, str(caught.exception))
            self.assertNotIn("toolcell/", str(caught.exception))

        check('  File "plugin.py", line 2, in <module>\n    1 / 0', "print('hello')\n1 / 0")
        check("It had printed:\nhello", "print('hello')\n1 / 0")
        check('File "plugin.py", line 1\n    def f(:', "def f(:")
        check('File "rank.py", line 1, in <module>', "import rank", rank="undefined")
        check("known only while a tool is called", "from toolcell import tools\ntools.search")
        check("known only while a tool is called", "from toolcell import state\nstate['a'] = 1")
        check("ModuleNotFoundError: No module named 'numpy'", "import numpy")

    def test_data_is_read_while_the_module_is_imported(self):
        plugin = Plugin("""
            from toolcell import folder, tool
            DATA = (folder() / "plugin.py").read_text()
            @tool
            def early() -> str: return DATA.split()[0]
            @tool
            def late() -> str: return folder()
        """)
        self.assertEqual(plugin.value("early"), "from")
        self.assertIn("only while the module is imported", plugin.failure("late"))


if __name__ == "__main__":
    unittest.main()
