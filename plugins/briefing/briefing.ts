// The aggregator as a TypeScript script: see README.md.

import { tools, ToolError } from "tools";

interface Question {
  question: string;
  sources: string[];
  fallbacks: Record<string, string>;
  timeout_ms: number;
}
interface Hit {
  title: string;
  url: string;
}
interface Failure {
  source: string;
  kind: string;
  message: string;
}
interface Merged extends Hit {
  score: number;
  found_by: string[];
}
type Answer = [asked: string, hits: Hit[], failures: Failure[]];

const { question, sources, fallbacks, timeout_ms } = inputs as Question;

/** What a tool found, or why it found nothing. */
async function ask(tool: string): Promise<Answer> {
  try {
    const { hits } = await tools.call(tool, { query: question, limit: 5 }, { timeout: timeout_ms });
    return [tool, hits, []];
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    // The script's own time-out, and not the host's.
    const isOurs = error.kind === "timed-out" && error.afterMs === timeout_ms;
    const message = isOurs ? `no answer within ${timeout_ms} ms` : error.message;
    return [tool, [], [{ source: tool, kind: error.kind, message }]];
  }
}

/** The first choice, and the second one if that fails. */
async function branch(source: string): Promise<Answer> {
  const first = await ask(source);
  const second = fallbacks[source];
  if (first[2].length === 0 || !second) return first;
  const [asked, hits, failures] = await ask(second);
  return [asked, hits, [...first[2], ...failures]];
}

const merged = new Map<string, Merged>();
const failures: Failure[] = [];
for (const [asked, hits, failed] of await Promise.all(sources.map(branch))) {
  failures.push(...failed);
  hits.forEach(({ title, url }, index) => {
    const known = merged.get(url) ?? { title, url, score: 0, found_by: [] };
    known.score += Math.floor(1_000_000 / (61 + index));
    known.found_by.push(asked);
    merged.set(url, known);
  });
}

const byScore = (a: Merged, b: Merged) => b.score - a.score || (a.url < b.url ? -1 : 1);
({ hits: [...merged.values()].sort(byScore), failures });
