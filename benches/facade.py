"""What an agent waits for: toolcell's façade beside `eryx serve`, over pipes, in one run.

`cargo xtask bench` builds what this needs and runs it. The sides take turns, so that a machine that
becomes slower in between slows all of them; each figure is the median. The client writes and reads
lines itself, and its own share is in the figure of the raw client, which calls the same server.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
CALLS = 100
AT_ONCE = 200
SESSIONS = 1000
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


class Server:
    """An MCP server on pipes."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.number = 0
        self.request("initialize", INITIALIZE)
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def write(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def send(self, method, params):
        self.number += 1
        self.write({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        return self.number

    def receive(self):
        while True:
            line = self.process.stdout.readline()
            if not line:
                sys.exit(f"{self.process.args[0]} ended")
            message = json.loads(line)
            if "id" in message and "method" not in message:
                return message

    def request(self, method, params):
        number = self.send(method, params)
        message = self.receive()
        assert message["id"] == number, message
        return message

    def call(self, tool, arguments):
        answer = self.request("tools/call", {"name": tool, "arguments": arguments})
        result = answer.get("result", {})
        if not result or result.get("isError"):
            sys.exit(f"{tool} failed: {answer}")
        return result

    def run(self, code, **more):
        return self.call("run_python", {"code": code, **more})

    def memory(self):
        """What the process has for itself, in bytes."""
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        line = next(line for line in rollup.splitlines() if line.startswith("Pss_Anon:"))
        return int(line.split()[1]) * 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


def timed(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def by_turns(actions, rounds):
    """The median of each, in seconds."""
    for action in actions.values():
        action()
    times = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(timed(action))
    return {name: statistics.median(taken) for name, taken in times.items()}


def at_once(server):
    """Latencies of runs that are all asked for at the same moment, each with one call."""
    code = "from tools import echo\necho.echo(text='x')"
    start = time.perf_counter()
    for _ in range(AT_ONCE):
        server.send("tools/call", {"name": "run_python", "arguments": {"code": code}})
    latencies = []
    for _ in range(AT_ONCE):
        answer = server.receive()
        assert not answer["result"]["isError"], answer
        latencies.append(time.perf_counter() - start)
    latencies.sort()
    return latencies[AT_ONCE // 2], latencies[AT_ONCE * 99 // 100]


def idle_sessions(server):
    """What each of many idle sessions holds, in bytes, and all together."""
    before = server.memory()
    for number in range(SESSIONS):
        server.run("import json\nkept = json.dumps([1, 2, 3])", session=f"s{number}")
    return server.memory() - before


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--toolcell", required=True, help="the program")
    arguments.add_argument("--eryx", help="the rival's program")
    arguments.add_argument("--rounds", type=int, default=200)
    arguments.add_argument("--json", action="store_true", help="print JSON")
    given = arguments.parse_args()

    echo = [sys.executable, str(HERE / "echo_server.py")]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        servers = {"mcpServers": {"echo": {"command": echo[0], "args": echo[1:]}}}
        (scratch / "mcp.json").write_text(json.dumps(servers))
        (scratch / "toolcell.toml").write_text(
            'mcp_config = "mcp.json"\n'
            f"[server.sessions]\nper_caller = {SESSIONS + 1}\ntotal = {SESSIONS + 1}\n"
        )
        toolcell = Server([given.toolcell, "mcp", "--config", str(scratch / "toolcell.toml")])
        raw = Server(echo)
        eryx = given.eryx and Server(
            [given.eryx, "serve", "--mcp-config", str(scratch / "mcp.json")]
        )

        line = {
            "toolcell": lambda: toolcell.run("sum(range(1000))"),
            "toolcell session": lambda: toolcell.run("sum(range(1000))", session="bench"),
        }
        many = f"from tools import echo\nfor n in range({CALLS}):\n    echo.echo(text='x')"
        calls = {
            "raw client": lambda: [raw.call("echo", {"text": "x"}) for _ in range(CALLS)],
            "toolcell": lambda: toolcell.run(many),
        }
        if eryx:
            line["eryx serve"] = lambda: eryx.run("print(sum(range(1000)))")
            theirs = f"for n in range({CALLS}):\n    await mcp['echo'].echo(text='x')"
            calls["eryx serve"] = lambda: eryx.run(theirs)
        lines = by_turns(line, given.rounds)
        sequential = by_turns(calls, max(given.rounds // 5, 5))
        p50, p99 = at_once(toolcell)
        kept = idle_sessions(toolcell)
        for server in filter(None, (toolcell, raw, eryx)):
            server.close()

    figures = {
        "one line": lines,
        f"{CALLS} calls": sequential,
        f"{AT_ONCE} runs at once": {"p50": p50, "p99": p99},
        f"{SESSIONS} idle sessions, bytes": kept,
    }
    if given.json:
        print(json.dumps(figures))
        return
    show(figures, lines, sequential, p50, p99, kept)


def show(figures, lines, sequential, p50, p99, kept):
    def milliseconds(seconds):
        return f"{seconds * 1e3:.3g} ms"

    print("| what | toolcell | beside | ratio | goal |")
    print("|---|---|---|---|---|")
    ours = lines["toolcell"]
    rows = [("`run_python` of one line, a fresh sandbox", ours, lines.get("eryx serve"), "0.4 ms, 0.5")]
    session = lines["toolcell session"]
    rows.append(("the same in a session", session, lines.get("eryx serve"), ""))
    ours = sequential["toolcell"]
    rows.append((f"{CALLS} calls in a row in one script", ours, sequential.get("eryx serve"), ""))
    rows.append(("the same beside a raw client", ours, sequential["raw client"], "4 ms, 3"))
    for words, mine, other, goal in rows:
        beside = milliseconds(other) if other else "-"
        ratio = f"{mine / other:.2f}" if other else "-"
        print(f"| {words} | {milliseconds(mine)} | {beside} | {ratio} | {goal} |")
    print(
        f"| {AT_ONCE} runs at once, p99 beside p50 | {milliseconds(p99)} | {milliseconds(p50)} "
        f"| {p99 / p50:.2f} | 5 |"
    )
    print(f"| {SESSIONS} idle sessions | {kept / 2**20:.0f} MiB | | | 4 GB |")


if __name__ == "__main__":
    main()
