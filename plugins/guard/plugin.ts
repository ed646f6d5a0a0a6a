// `call` another tool with checked arguments, and `redact` texts.

import { tools } from "tools";
import { cap } from "./cap.ts";
import { type Counts, Redactor } from "./redact.ts";
import { bounded, check, type Pattern, Refused } from "./rules.ts";

/** Personal data that may be left in. */
type Keep = "email" | "iban" | "card" | "phone";

/** A call of another tool, and what its answer has to be like. */
export interface GuardedCall {
  /** The tool, `server.tool` */
  tool: string;
  /** Its arguments */
  arguments?: Record<string, unknown>;
  /** Patterns of which one must match the text at `at` (a JSON Pointer, `*` for any member) */
  allow?: Pattern[];
  /** Patterns that must not match; without `at`, anywhere in the arguments */
  deny?: Pattern[];
  /** Kinds of personal data to leave in the answer */
  keep?: Keep[];
  /** The most characters of the answer as JSON */
  max?: number;
}

/** What was done to an answer. */
export interface Report {
  tool: string;
  /** Texts in the arguments that were checked */
  checked: number;
  /** What was taken out how often, by kind */
  redacted: Counts;
  /** The length of the answer's JSON, before it was cut */
  characters: number;
  cut: boolean;
}

const MAX_CHARACTERS = 20_000;

/** Calls another tool: checks the arguments against patterns, takes secrets and personal data out of the
 * answer, bounds its size, and says what it did. Refused arguments never leave the sandbox. */
export async function call(given: GuardedCall): Promise<{ answer: unknown; report: Report }> {
  const args = given.arguments ?? {};
  const checked = guarded(given.tool, () => check(args, bounded(given.allow), bounded(given.deny)));
  const answer = await tools.call(given.tool, args);
  const redactor = new Redactor(given.keep);
  const { value, characters, cut } = cap(redactor.value(answer), given.max ?? MAX_CHARACTERS);
  return { answer: value, report: { tool: given.tool, checked, redacted: redactor.counts, characters, cut } };
}

/** Takes secrets and personal data out of a text. */
export function redact(given: { text: string; keep?: Keep[] }): { text: string; redacted: Counts } {
  const redactor = new Redactor(given.keep);
  const text = redactor.text(given.text);
  return { text, redacted: redactor.counts };
}

function guarded<T>(tool: string, decide: () => T): T {
  try {
    return decide();
  } catch (error) {
    if (error instanceof Refused) throw new Error(`guard did not call ${tool}: ${error.message}`);
    throw error;
  }
}
