"""Resources, prompts and events."""

import base64
import unittest

from support import Err, FakeTool, run, structured, wit


def contents(*parts):
    return FakeTool(lambda _: structured({"contents": list(parts)}), milliseconds=10)


def reading(*parts):
    return {"resources": {"read": contents(*parts)}}


TEXT = {"uri": "a://b", "mimeType": "text/plain", "text": "abc"}
BLOB = {"uri": "a://c", "blob": base64.b64encode(b"\x00\xff").decode()}


class Resources(unittest.TestCase):
    def test_lists(self):
        ran = run(
            "import resources\n"
            "(resources.servers(), resources.list('docs')[0].uri, resources.list('docs')[0].size,"
            " resources.templates('docs')[0].uri_template)"
        )
        self.assertEqual(ran.value, [["docs"], "a://b", 3, "a://{x}"])

    def test_what_is_read(self):
        self.assertEqual(run("import resources\nresources.read('docs', 'a://b')", reading(TEXT)).value, "abc")
        ran = run("import resources\nresources.read('docs', 'a://c') == bytes([0, 255])", reading(BLOB))
        self.assertIs(ran.value, True)
        self.assertEqual(run("import resources\nresources.read('docs', 'a://b')", reading()).value, [])
        source = "import resources\n[(p.uri, type(p.value).__name__) for p in resources.read('docs', 'a://b')]"
        self.assertEqual(run(source, reading(TEXT, BLOB)).value, [["a://b", "str"], ["a://c", "bytes"]])
        ran = run("import resources\nresources.read('docs', 'a://b')", reading(TEXT))
        self.assertEqual(ran.host.called, [("resources.read", {"server": "docs", "uri": "a://b"})])

    def test_beside_others(self):
        source = (
            "import asyncio\nfrom resources import aio\n"
            "await asyncio.gather(*(aio.read('docs', f'a://{n}') for n in range(3)))"
        )
        ran = run(source, reading(TEXT))
        self.assertEqual(ran.value, ["abc"] * 3)
        self.assertAlmostEqual(ran.host.now, 0.01)

    def test_failures_are_those_of_tools(self):
        refused = {"resources": {"read": FakeTool(lambda _: Err(wit.CallError_UnknownTool("no resource")))}}
        source = (
            "import resources\ntry:\n    resources.read('docs', 'a://b')\n"
            "except tools.UnknownTool as error:\n    result = [str(error), error.tool]"
        )
        self.assertEqual(run(source, refused).value, ["no resource", "docs:a://b"])
        ran = run("import resources\nresources.list('other')")
        self.assertEqual(ran.exception.message, "nothing of a server `other` is granted to this run")
        self.assertEqual(run("import resources\nresources.read('docs', 7)").exception.class_, "TypeError")

    def test_a_server_may_have_any_name(self):
        servers = {"resources": {"list": FakeTool(lambda _: structured({"a": 1}))}}
        self.assertEqual(run("tools.resources.list()", servers).value, {"a": 1})

    def test_they_may_always_be_imported(self):
        self.assertEqual(run("import resources, prompts, events\n1", allowed=["json"]).value, 1)


class Prompts(unittest.TestCase):
    SAID = {
        "messages": [
            {"role": "user", "content": {"type": "text", "text": "hello"}},
            {"role": "user", "content": {"type": "image", "data": "aGk=", "mimeType": "image/png"}},
            {"role": "assistant", "content": {"type": "hologram"}},
        ]
    }

    def test_lists(self):
        ran = run("import prompts\n[prompts.servers(), prompts.list('docs')]")
        self.assertEqual(ran.value[1][0]["arguments"], [{"name": "who", "description": None, "required": True}])

    def test_messages(self):
        servers = {"prompts": {"get": FakeTool(lambda _: structured(self.SAID))}}
        ran = run("import prompts\n[[m.role, m.content] for m in prompts.get('docs', 'ask', who='ada', n=3)]", servers)
        self.assertEqual(ran.value[0], ["user", "hello"])
        self.assertEqual(ran.value[1][1]["mimeType"], "image/png")
        self.assertEqual(ran.value[2], ["assistant", {"type": "hologram"}])
        sent = {"name": "docs.ask", "arguments": {"who": "ada", "n": "3"}}
        self.assertEqual(ran.host.called, [("prompts.get", sent)])
        awaited = run("from prompts import aio\nlen(await aio.get('docs', 'ask', who='ada'))", servers)
        self.assertEqual(awaited.value, 3)


class Events(unittest.TestCase):
    def test_in_order_with_what_is_printed(self):
        ran = run(
            "from events import progress, log\nprogress(0.5, 'half')\nprogress(3, 10, 'third')\n"
            "log('warning', 'old \\ud800')\nlog('info', 7)"
        )
        self.assertEqual(
            ran.host.events,
            ["progress 0.5 None half", "progress 3.0 10.0 third", "log WARNING old ?", "log INFO 7"],
        )

    def test_levels_are_known(self):
        ran = run("import events\nevents.log('loud', 'x')")
        self.assertIn("there are: debug, info", ran.exception.message)


if __name__ == "__main__":
    unittest.main()
