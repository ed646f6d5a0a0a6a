"""Many sessions of the bridge for web clients at once, each with calls in flight all the time: memory that stays
flat, and nothing that is left when they have closed.

    target/fixtures/clients/studio/bin/python benches/bridge_soak.py --toolcell target/release/toolcell \
        --misbehaving target/release/misbehaving-mcp

It starts toolcell and the MCP servers behind it on free ports of the loopback interface and speaks to nobody else.
Most sessions share a server on stdio (one of the configuration), as many reach one over streamable HTTP, and a few
have a process of their own. It ends by itself after `--minutes` and the time to open and to close.
"""

import argparse
import asyncio
import base64
import json
import os
import pathlib
import random
import re
import resource
import secrets
import signal
import statistics
import sys
import tempfile
import time

import httpx
from websockets.asyncio.client import connect

HERE = pathlib.Path(__file__).parent
#: Calls of one session at a time.
IN_FLIGHT = 2
#: Sessions that are being opened at a time.
OPENING = 16
#: How long an answer may take beyond what it was asked to take.
PATIENCE = 60
#: How long it may take until nothing is left.
CLOSING = 150


class Soak:
    def __init__(self, args):
        self.args = args
        self.token = secrets.token_urlsafe(24)
        self.sessions = []
        self.answers = 0
        self.failures = []
        self.latencies = []

    def fails(self, why):
        self.failures.append(why)
        if len(self.failures) <= 10:
            print(f"FAILED: {why}", flush=True)

    async def run(self):
        with tempfile.TemporaryDirectory(prefix="bridge-soak-") as folder:
            self.folder = pathlib.Path(folder)
            processes = []
            try:
                await self.start(processes)
                await self.measure()
            finally:
                for process in reversed(processes):
                    if process.returncode is None:
                        process.send_signal(signal.SIGTERM)
                        try:
                            await asyncio.wait_for(process.wait(), 15)
                        except TimeoutError:
                            process.kill()
                            self.fails("a process does not end when it is asked to")
        for why in self.failures[10:11]:
            print(f"FAILED: … and {len(self.failures) - 10} more")
        return bool(self.failures)

    async def start(self, processes):
        probe = HERE.parent / "tests/clients/studio/probe.py"
        # Connections are closed after five idle seconds, as uvicorn does it by itself.
        env = {"PORT": "0", "KEEP_ALIVE": "5"}
        server = await started(processes, [sys.executable, probe, "http"], "listening at ", env)
        url = f"http://{server}/mcp"
        stdio = [self.args.misbehaving, "ok"]
        self.kinds = {
            "shared": params(stdio),
            "http": {"type": "StreamableHttpServerParams", "url": url},
            "own": params([*stdio, "of-its-own"]),
        }
        config = self.folder / "toolcell.toml"
        config.write_text(
            CONFIG.format(token=self.token, command=json.dumps(stdio[0]), url=json.dumps(url), n=self.args.sessions)
        )
        command = [self.args.toolcell, "serve", "--config", config, "--listen", "127.0.0.1:0"]
        self.address = (await started(processes, command, "listening on http://", {})).removesuffix("/mcp")
        self.host = processes[-1].pid
        await self.until_ready()

    async def until_ready(self):
        """What it compiles at its first start takes memory too."""
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client, asyncio.timeout(600):
            while (await client.get(f"http://{self.address}/readyz")).status_code != 200:
                await asyncio.sleep(0.5)

    async def measure(self):
        args = self.args
        before = Sample(self.host, self.address)
        print(HEADINGS, flush=True)
        print(before.line("before", self), flush=True)
        # Few have a process of their own; the rest are shared out.
        own = min(args.own, args.sessions // 4)
        kinds = ["own"] * own + args.kinds.split(",") * args.sessions
        kinds = kinds[: args.sessions]
        random.Random(1).shuffle(kinds)
        opening = asyncio.Semaphore(OPENING)
        self.client = httpx.AsyncClient(trust_env=False, timeout=PATIENCE)
        self.closing = asyncio.Event()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, kind in enumerate(kinds):
                session = Session(self, number, kind)
                self.sessions.append(session)
                group.create_task(session.live(opening))
            group.create_task(self.watch(began))
        after = await self.settle(before)
        await self.client.aclose()
        self.judge(before, after)

    async def watch(self, began):
        """Takes samples until the time is over, and then asks the sessions to close."""
        self.samples = []
        while not all(session.open or session.over for session in self.sessions):
            await asyncio.sleep(1)
            if time.monotonic() - began > 300:
                self.fails("not all sessions opened within five minutes")
                break
        print(f"{len(self.sessions)} sessions opened in {time.monotonic() - began:.0f} s", flush=True)
        start = time.monotonic()
        while (now := time.monotonic() - start) < self.args.minutes * 60 and len(self.failures) < 50:
            sample = Sample(self.host, self.address)
            self.samples.append((now, sample))
            living = [session for session in self.sessions if session.open]
            if len(living) < len(self.sessions):
                self.fails(f"{len(self.sessions) - len(living)} sessions are not open")
                break
            idle = sum(session.in_flight == 0 for session in living)
            if idle:
                self.fails(f"{idle} sessions have no call in flight")
            print(sample.line(f"{now:.0f} s", self), flush=True)
            await asyncio.sleep(self.args.every)
        self.closing.set()

    async def settle(self, before):
        """Waits until the process has as few children and sockets as before."""
        start = time.monotonic()
        while True:
            after = Sample(self.host, self.address)
            is_clean = after.children <= before.children and after.sockets <= before.sockets
            if is_clean or time.monotonic() - start > CLOSING:
                print(after.line(f"closed {time.monotonic() - start:.0f} s", self), flush=True)
                return after
            await asyncio.sleep(0.5)

    def judge(self, before, after):
        if after.children > before.children:
            self.fails(f"{after.children - before.children} children are left")
        if after.sockets > before.sockets:
            self.fails(f"{after.sockets - before.sockets} sockets are left")
        left = sum(session.left for session in self.sessions)
        if left:
            self.fails(f"{left} sessions are still in the table")
        if not self.answers:
            self.fails("nothing was answered")
        # The first fifth is for caches and pools to fill.
        end = self.samples[-1][0] if self.samples else 0
        steady = [sample.rss for at, sample in self.samples if at >= min(60, end / 5)]
        if len(steady) >= 8:
            first, last = steady[: len(steady) // 4], steady[-(len(steady) // 4) :]
            growth = statistics.median(last) / statistics.median(first) - 1
            print(f"memory: {growth:+.1%} from the first quarter after warming up to the last (at most {self.args.growth:.0%})")
            if growth > self.args.growth:
                self.fails(f"memory grew by {growth:.1%}")
        else:
            self.fails("too few samples to tell whether memory grows")
        if self.latencies:
            cuts = statistics.quantiles(self.latencies, n=100)
            print(f"answers: {self.answers}, late by {cuts[49] * 1000:.0f} ms (median), {cuts[98] * 1000:.0f} ms (99 %)")


def params(command):
    return {"type": "StdioServerParams", "command": str(command[0]), "args": [str(arg) for arg in command[1:]]}


CONFIG = """
[server.tokens.soak]
token = "{token}"

[server.bridge]
max_sessions = {n}
connects_per_minute = 100000
allow = [
    {{ command = {command}, args = ["ok", "of-its-own"] }},
    {{ url = {url} }},
]

[servers.shared]
command = {command}
args = ["ok"]
idle_timeout = "5s"
"""


async def started(processes, command, says, env):
    """Starts a program that says on stderr where it listens."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), env=os.environ | env, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    processes.append(process)
    said = ""
    while line := (await asyncio.wait_for(process.stderr.readline(), 30)).decode():
        said += line
        if found := re.search(re.escape(says) + r"(\S+)", line):
            asyncio.get_running_loop().create_task(drain(process.stderr))
            return found[1]
    raise SystemExit(f"{command[0]} did not start:\n{said}")


async def drain(stream):
    while await stream.read(1 << 16):
        pass


class Session:
    """A client that has `IN_FLIGHT` calls waiting for an answer at any time."""

    def __init__(self, soak, number, kind):
        self.soak = soak
        self.number = number
        self.kind = kind
        self.random = random.Random(number)
        self.open = self.over = False
        self.left = 0
        self.waiting = {}

    @property
    def in_flight(self):
        return len(self.waiting)

    async def live(self, opening):
        try:
            async with opening:
                await self.begin()
            async with self.socket:
                await self.work()
            await self.leave()
        except Exception as error:
            self.soak.fails(f"session {self.number} ({self.kind}): {type(error).__name__}: {error}")
        finally:
            self.open, self.over = False, True

    async def begin(self):
        soak = self.soak
        base = f"http://{soak.address}"
        headers = {"Origin": base, "Authorization": f"Bearer {soak.token}"}
        body = {"server_params": soak.kinds[self.kind]}
        answer = await soak.client.post(f"{base}/api/mcp/ws/connect", json=body, headers=headers)
        if answer.status_code != 200 or not answer.json()["status"]:
            raise RuntimeError(f"POST: {answer.status_code} {answer.text}")
        self.id = answer.json()["session_id"]
        address = f"ws://{soak.address}{answer.json()['websocket_url']}"
        self.socket = await connect(address, origin=base, proxy=None, open_timeout=PATIENCE, compression=None)
        async with asyncio.timeout(PATIENCE):
            while (await self.frame())["type"] != "initialized":
                pass
        self.open = True

    async def frame(self):
        frame = json.loads(await self.socket.recv())
        if frame["type"] in ("error", "operation_error"):
            raise RuntimeError(f"{frame}")
        return frame

    async def work(self):
        number = 0
        for _ in range(IN_FLIGHT):
            number += 1
            await self.call(number)
        while self.waiting:
            async with asyncio.timeout(PATIENCE):
                frame = await self.frame()
            if frame["type"] != "operation_result":
                continue
            due, text = self.waiting.pop(frame["request_id"])
            result = frame["data"]["result"]
            if result["isError"] or text not in result["content"][0]["text"]:
                raise RuntimeError(f"not the answer of {frame['request_id']}: {result}")
            self.soak.answers += 1
            self.soak.latencies.append(max(0.0, time.monotonic() - due))
            if not self.soak.closing.is_set():
                number += 1
                await self.call(number)

    async def call(self, number):
        ms = self.random.randrange(2000, 8000)
        tool, arguments, text = "slow", {"ms": ms}, f"after {ms} ms"
        if self.kind == "http":
            tool, arguments = "wait", {"seconds": ms / 1000, "payload": payload(self.random)}
            text = arguments["payload"]
        frame = {"type": "operation", "operation": "call_tool", "tool_name": tool, "arguments": arguments}
        request_id = f"{self.number}-{number}"
        self.waiting[request_id] = (time.monotonic() + ms / 1000, text)
        await self.socket.send(json.dumps(frame | {"request_id": request_id}))

    async def leave(self):
        """Waits until the bridge has forgotten the session."""
        self.open = False
        url = f"http://{self.soak.address}/api/mcp/ws/status/{self.id}"
        headers = {"Origin": f"http://{self.soak.address}", "Authorization": f"Bearer {self.soak.token}"}
        for _ in range(20):
            answer = await self.soak.client.get(url, headers=headers)
            self.left = int(answer.json()["status"] is not False)
            if not self.left:
                return
            await asyncio.sleep(0.5)


def payload(source):
    return base64.b64encode(source.randbytes(source.choice((9, 90, 3000)))).decode()


HEADINGS = f"{'time':>12} {'memory':>10} {'sockets':>8} {'clients':>8} {'children':>8} {'threads':>8} {'sessions':>8} {'in flight':>9} {'answers':>8}"


class Sample:
    """What the process has now."""

    def __init__(self, pid, address):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        field = {name: rest.split() for name, rest in (line.split(":", 1) for line in status.splitlines())}
        self.rss = int(field["VmRSS"][0]) * 1024
        self.threads = int(field["Threads"][0])
        self.sockets = sum(is_socket(file) for file in pathlib.Path(f"/proc/{pid}/fd").iterdir())
        self.children = len(descendants(pid))
        self.clients = connections(int(address.rsplit(":", 1)[1]))

    def line(self, when, soak):
        living = [session for session in soak.sessions if session.open]
        flight = sum(session.in_flight for session in living)
        return (
            f"{when:>12} {self.rss / 2**20:7.1f} MB {self.sockets:8} {self.clients:8} {self.children:8} {self.threads:8} "
            f"{len(living):8} {flight:9} {soak.answers:8}"
        )


def is_socket(file):
    try:
        return os.readlink(file).startswith("socket:")
    except OSError:
        return False


def descendants(pid):
    found, queue = [], [pid]
    while queue:
        for task in pathlib.Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            try:
                children = [int(child) for child in task.read_text().split()]
            except OSError:
                continue
            found += children
            queue += children
    return found


def connections(port):
    """Established connections to this port, whose other end is somebody else's."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--toolcell", type=os.path.abspath, required=True)
    args.add_argument(
        "--misbehaving", type=os.path.abspath, required=True, help="misbehaving-mcp, whose mode `ok` behaves"
    )
    args.add_argument("--minutes", type=float, default=10)
    args.add_argument("--sessions", type=int, default=500)
    args.add_argument("--kinds", default="shared,http", help="the servers of the others, in turn")
    args.add_argument("--own", type=int, default=20, help="sessions with a process of their own")
    args.add_argument("--every", type=float, default=5, help="seconds between samples")
    args.add_argument("--growth", type=float, default=0.1, help="share by which memory may grow")
    args = args.parse_args()
    if not (0 < args.minutes <= 120 and 1 <= args.sessions <= 5000):
        raise SystemExit("at most two hours and 5000 sessions")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    sys.exit(asyncio.run(Soak(args).run()))


main()
