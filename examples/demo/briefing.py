"""A briefing about this repository, from four MCP servers in one run.

`git` and `clock` are processes from PyPI (stdio), `everything` comes from npm (streamable HTTP), `files`
is built in. Calls that do not depend on each other are made at the same time. The script has no file
system, no network and no environment of its own: what it knows, it was told by a granted tool.
"""

import asyncio
import re
from collections import Counter

from tools import aio

ZONES = ["America/Los_Angeles", "Europe/Berlin", "Asia/Tokyo"]


def commits_of(log):
    """The subject lines in git_log's text."""
    return re.findall(r"^Message: (.+)$", log, flags=re.MULTILINE)


def outline_of(markdown):
    """The headings of a document, outside code blocks."""
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return [(len(level), title.strip()) for level, title in re.findall(r"^(#+) (.+)$", text, flags=re.MULTILINE)]


# A folder that is no git repository (an unpacked archive) is no reason to go without the rest.
log, status, entries, *times = await asyncio.gather(
    aio.git.git_log(repo_path=".", max_count=200),
    aio.git.git_status(repo_path="."),
    aio.files.list_directory(path="repo"),
    *(aio.clock.get_current_time(timezone=zone) for zone in ZONES),
    return_exceptions=True,
)
for outcome in (entries, *times):
    if isinstance(outcome, Exception):
        raise outcome

names = [entry["name"] for entry in entries["entries"] if entry["name"].endswith(".md")]
answers = await asyncio.gather(*(aio.files.read_file(path=f"repo/{name}") for name in names))
documents = {name: answer["text"] for name, answer in zip(names, answers)}
lines = {name: len(text.splitlines()) for name, text in documents.items()}

print("It is", ", ".join(f"{time['datetime'][11:16]} in {time['timezone']}" for time in times))

subjects = [] if isinstance(log, Exception) else commits_of(log)
areas = Counter(re.match(r"\[?([\w-]*)", subject).group(1) or "other" for subject in subjects)
if isinstance(log, Exception):
    print(f"\nNo history: {log}")
else:
    print(f"\nThe last {len(subjects)} commits touch", ", ".join(f"{area} ({n})" for area, n in areas.most_common(6)))
    for subject in subjects[:5]:
        print("  -", subject)
clean = isinstance(status, str) and "working tree clean" in status
if not isinstance(status, Exception):
    print("The working tree is", "clean" if clean else "changed")

print("\nDocuments")
for name, text in documents.items():
    sections = [title for level, title in outline_of(text) if level == 2]
    print(f"  {name}: {lines[name]} lines;", ", ".join(sections[:4]) or "no sections")

# Arithmetic is not what a server is for; this one is asked because it speaks streamable HTTP.
answer = await aio.everything.get_sum(a=sum(lines.values()), b=len(subjects))
print("\n" + answer, "(lines of documents, and commits)")

{
    "commits": len(subjects),
    "areas": dict(areas.most_common()),
    "clean": clean,
    "documents": {name: {"lines": lines[name], "headings": len(outline_of(text))} for name, text in documents.items()},
    "times": {time["timezone"]: time["datetime"] for time in times},
}
