"""Finding tools, calling them, and what comes back."""

import unittest

from support import Err, FakeTool, run, structured, text, wit
from wit_world.exports import script

from toolcell_runtime.identifiers import Names, identifier, snake_case

SCHEMA = {
    "type": "object",
    "properties": {"limit": {"type": "integer"}, "query": {"type": "string", "description": "what to look for"}},
    "required": ["query"],
}


def echo(arguments):
    return structured(arguments)


def servers():
    def failing(error):
        return FakeTool(lambda _: Err(error))

    return {
        "search": {
            "search_papers": FakeTool(echo, schema=SCHEMA, description="Searches papers."),
            "searchAuthors": FakeTool(lambda _: text("authors")),
            "get-sum": FakeTool(lambda a: text(str(sum(a.values())))),
            "import": FakeTool(lambda _: text("keyword")),
            "a-b": FakeTool(echo),
            "a.b": FakeTool(echo),
        },
        "my-server": {"odd.name": FakeTool(echo)},
        "kinds": {
            "text": FakeTool(lambda _: text("one")),
            "empty": FakeTool(lambda _: text()),
            "many": FakeTool(lambda _: wit.Output(
                [wit.ContentBlock_Text("t"), wit.ContentBlock_Image(wit.Media(b"\x89P", "image/png")),
                 wit.ContentBlock_Resource('{"type":"resource_link","uri":"x:y"}')], None, False)),
            "failed": FakeTool(lambda _: wit.Output([wit.ContentBlock_Text("it broke")], None, True)),
            "wrapped": FakeTool(lambda _: structured({"result": [1]}), output_schema={"x-fastmcp-wrap-result": True}),
            "result": FakeTool(lambda _: structured({"result": [1]})),
        },
        "errors": {
            "denied": failing(wit.CallError_Denied("rule 3")),
            "invalid": failing(wit.CallError_InvalidArguments(wit.InvalidArguments("/sql", "bad sql"))),
            "unavailable": failing(wit.CallError_Unavailable("cannot connect")),
            "timeout": failing(wit.CallError_TimedOut(wit.TimedOut(500, "call", "too slow"))),
            "rejected": failing(wit.CallError_Rejected(wit.Rejected(-32602, "no", '{"x":1}'))),
            "limit": failing(wit.CallError_Exhausted(wit.Exhausted("tool_calls", 10, 11, "10 calls at most"))),
            "cancelled": failing(wit.CallError_Cancelled()),
            "interrupted": failing(wit.CallError_Interrupted("host died")),
        },
    }  # fmt: skip


class Identifiers(unittest.TestCase):
    def test_rules(self):
        for name, made, snake in [
            ("search_papers", "search_papers", "search_papers"),
            ("get-sum", "get_sum", "get_sum"),
            ("searchPapers", "searchPapers", "search_papers"),
            ("HTTPServer", "HTTPServer", "http_server"),
            ("2d", "_2d", "_2d"),
            ("import", "import_", "import_"),
            ("naïve", "na_ve", "na_ve"),
            ("", "_", "_"),
        ]:
            self.assertEqual((identifier(name), snake_case(name)), (made, snake))

    def test_the_exact_name_wins_and_collisions_reach_nothing(self):
        names = Names(["a_b", "a-b", "c-d", "c.d", "fooBar", "foo_bar"])
        self.assertEqual(names.find("a_b"), "a_b")
        self.assertIsNone(names.find("c_d"))
        self.assertEqual(names.collisions["c_d"], ["c-d", "c.d"])
        self.assertEqual(names.find("foo_bar"), "foo_bar")
        self.assertEqual(names.listed(), ["a_b", "fooBar", "foo_bar"])


class FindingTools(unittest.TestCase):
    def value(self, program: str) -> object:
        ran = run(program, servers())
        self.assertIsNone(ran.failure, ran.failure)
        return ran.value

    def message(self, program: str) -> str:
        return run(program, servers()).exception.message

    def test_ways_to_a_tool(self):
        for way in (
            "from tools import search\nsearch.search_papers(query='q')",
            "import tools.search\ntools.search.search_papers(query='q')",
            "import tools.search as s\ns.search_papers(query='q')",
            "from tools import *\nsearch.search_papers(query='q')",
            "from tools.search import search_papers\nsearch_papers(query='q')",
            "tools['search']['search_papers'](query='q')",
            "tools.call('search.search_papers', {'query': 'q'})",
            "tools.search.search_papers({'query': 'q'})",
            "tools.search.search_papers('q')",
            "await aio.search.search_papers(query='q')",
            "from tools.aio import search\nawait search.search_papers('q')",
            "await aio['search']['search_papers'](query='q')",
        ):
            self.assertEqual(self.value(way), {"query": "q"}, way)

    def test_names_become_identifiers(self):
        self.assertEqual(self.value("tools.search.get_sum(a=1, b=2)"), "3")
        self.assertEqual(self.value("tools.search.search_authors()"), "authors")
        self.assertEqual(self.value("tools.search.import_()"), "keyword")
        self.assertEqual(self.value("from tools import my_server\nmy_server.odd_name(x=None)"), {"x": None})

    def test_what_is_not_there_is_explained(self):
        no_server = "no server `nope` is granted to this run; granted: search, my_server, kinds, errors"
        self.assertEqual(self.message("from tools import nope"), no_server)
        self.assertEqual(self.message("import tools.nope"), no_server)
        self.assertIn("did you mean `search_papers`?", self.message("tools.search.serch_papers()"))
        self.assertIn('tools["search"]["a-b"], tools["search"]["a.b"]', self.message("tools.search.a_b()"))
        self.assertEqual(self.message("tools['x']['y']()"), "no tool `x.y` is granted to this run")

    def test_the_host_is_asked_for_no_more_than_needed(self):
        for program, asked in [
            ("tools['search']['search_papers'](query='q')", []),
            ("from tools import search\nfor _ in 'ab': search.search_papers(query='q')", ["servers", "names search"]),
            ("tools['search']['search_papers']('q')", ["describe search.search_papers"]),
        ]:
            self.assertEqual(run(program, servers()).host.asked, asked)

    def test_tools_can_be_listed(self):
        self.assertEqual(self.value("list(tools)"), ["search", "my-server", "kinds", "errors"])
        self.assertEqual(self.value("['search' in tools, 'x' in tools, 'a-b' in tools.search]"), [True, False, True])
        self.assertEqual(self.value("dir(tools.my_server)"), ["odd_name"])

    def test_help_comes_from_the_schema(self):
        signature = self.value("import inspect\nstr(inspect.signature(tools.search.search_papers))")
        self.assertEqual(signature, "(query: str, limit: int = None)")
        self.assertIn("query (string): what to look for", self.value("tools.search.search_papers.__doc__"))


class Arguments(unittest.TestCase):
    def test_they_are_made_json_like_values(self):
        ran = run("import datetime\ntools.search.a_b if 0 else tools['search']['a-b'](d=datetime.date(2020, 1, 1), s={1})", servers())
        self.assertEqual(ran.host.called, [("search.a-b", {"d": "2020-01-01", "s": [1]})])

    def test_what_cannot_be_sent_is_named_and_nothing_is_sent(self):
        for call, why in [
            ("(q=1, f=print)", "argument `f` of `search.search_papers`: a `builtin_function_or_method` has no JSON form"),
            ("(f=float('nan'))", "argument `f` of `search.search_papers`: JSON has no number `nan`"),
            ("(1, 2, 3)", "`search.search_papers` takes 2 arguments but 3 were given"),
            ("('q', query='p')", "`search.search_papers` got multiple values for argument `query`"),
        ]:
            ran = run(f"tools.search.search_papers{call}", servers())
            self.assertEqual((ran.exception.class_, ran.exception.message, ran.host.called), ("TypeError", why, []))


class Results(unittest.TestCase):
    def test_each_kind(self):
        for tool, value in [
            ("text", "one"),
            ("empty", None),
            ("wrapped", [1]),
            ("result", {"result": [1]}),
            ("many", ["t", {"type": "image", "data": "iVA=", "mimeType": "image/png"}, {"type": "resource_link", "uri": "x:y"}]),
        ]:
            self.assertEqual(run(f"tools.kinds.{tool}()", servers()).value, value)

    def test_an_image_has_bytes(self):
        self.assertEqual(run("i = tools.kinds.many()[1]\n[i.mime_type, len(i.data)]", servers()).value, ["image/png", 2])


class CallErrors(unittest.TestCase):
    def test_each_has_a_class_with_its_details(self):
        for name, caught, details, value in [
            ("denied", "ToolDenied", "e.message", "rule 3"),
            ("invalid", "ValueError", "e.path", "/sql"),
            ("unavailable", "ConnectionError", "str(e)", "cannot connect"),
            ("timeout", "TimeoutError", "[e.after_ms, e.phase]", [500, "call"]),
            ("rejected", "ToolRejected", "[e.code, e.data]", [-32602, {"x": 1}]),
            ("limit", "LimitExceeded", "[e.limit_name, e.limit, e.used]", ["tool_calls", 10, 11]),
            ("cancelled", "ToolCancelled", "e.tool", "errors.cancelled"),
            ("interrupted", "ToolInterrupted", "e.kind", "interrupted"),
        ]:
            for call in (f"tools.errors.{name}()", f"await aio.errors.{name}()"):
                program = f"from tools import *\ntry: {call}\nexcept {caught} as e:\n  result = [isinstance(e, ToolError), {details}]"
                self.assertEqual(run(program, servers()).value, [True, value], call)

    def test_an_unknown_tool_is_a_lookup_error(self):
        self.assertEqual(run("try: tools['x']['y']()\nexcept LookupError as e: result = e.kind", servers()).value, "unknown-tool")

    def test_uncaught_ones_are_a_failure_of_the_call(self):
        ran = run("x = 1\ntools.errors.limit()", servers())
        self.assertIsInstance(ran.failure, script.Failure_Call)
        told = ran.failure.value
        self.assertEqual((told.tool, told.kind, told.limit_name, told.limit, told.used), ("errors.limit", "exhausted", "tool_calls", 10, 11))
        self.assertTrue(told.exception.traceback.endswith("tools.LimitExceeded: 10 calls at most\n"))
        self.assertIn('File "main.py", line 2', told.exception.traceback)

    def test_the_tools_own_failure_is_a_tool_error(self):
        told = run("tools.kinds.failed()", servers()).failure.value
        self.assertEqual((told.tool, told.kind, told.exception.message), ("kinds.failed", "tool", "it broke"))

    def test_raising_one_oneself_is_an_exception(self):
        self.assertIsInstance(run("from tools import ToolError\nraise ToolError('x')").failure, script.Failure_Exception)
