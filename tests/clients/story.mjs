// What a client of this folder is asked to do, and how it tells what it saw: see story.py.

import { existsSync, readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

const asked = JSON.parse(process.argv[2]);

export const { transport, url, token, calls, long_call: longCall, era = "auto" } = asked;

/** Waits until the long call has reached the server behind toolcell. */
export const arrival = () => waitFor("tools/call slow");

/** Waits until that server has been told that nobody waits for the long call any more. */
export const cancellation = () => waitFor("notifications/cancelled");

async function waitFor(message) {
  const deadline = Date.now() + 30_000;
  while (!(existsSync(asked.log) && readFileSync(asked.log, "utf8").includes(message))) {
    if (Date.now() > deadline) throw new Error(`the server never got ${message}`);
    await setTimeout(10);
  }
}

export function tell(tools, answers, cancelled) {
  console.log(JSON.stringify({ tools, answers, cancelled }));
}
