// Asks several servers the same question at once and merges what they find. Every exported function is a tool.

import { log } from "events";
import { tools } from "tools";

const SERVERS = ["papers", "wiki"];
const MILLISECONDS = 10_000;

/** What is asked. */
export interface Question {
  /** What to look for */
  question: string;
  /** How many hits at most; 10 */
  limit?: number;
}

/** Something that a server found. */
export interface Hit {
  title: string;
  url?: string;
  server: string;
}

/** What all of them found, and which of them did not answer. */
export interface Found {
  hits: Hit[];
  failed: Record<string, string>;
}

/** Asks all servers at once and merges what they find. A server that is down is named, and harms no other. */
export async function askAll(given: Question): Promise<Found> {
  const ask = async (server: string) => {
    const found = (await tools[server].search({ query: given.question }, { timeout: MILLISECONDS })) as Found;
    return found.hits.map((hit) => ({ ...hit, server }));
  };
  const outcomes = await Promise.allSettled(SERVERS.map(ask));

  const failed: Record<string, string> = {};
  const lists: Hit[][] = [];
  outcomes.forEach((outcome, nth) => {
    if (outcome.status === "fulfilled") {
      lists.push(outcome.value);
    } else {
      const reason = outcome.reason instanceof Error ? outcome.reason.message : String(outcome.reason);
      failed[SERVERS[nth]] = reason;
      log("warning", `${SERVERS[nth]}: ${reason}`);
    }
  });
  if (lists.length === 0) {
    throw new Error(`no server answered: ${Object.entries(failed).map(([name, why]) => `${name}: ${why}`).join("; ")}`);
  }

  const merged = new Map<string, Hit>();
  for (let place = 0; lists.some((hits) => place < hits.length); place += 1) {
    // One of each server in turn, so that none comes last only because it was asked last.
    for (const hits of lists) {
      const hit = hits[place];
      if (hit !== undefined && !merged.has(hit.title.toLowerCase())) merged.set(hit.title.toLowerCase(), hit);
    }
  }
  return { hits: [...merged.values()].slice(0, given.limit ?? 10), failed };
}
