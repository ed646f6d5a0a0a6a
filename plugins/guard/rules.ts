// What arguments may be: patterns that they must match, and patterns that they must not. Pure.

/** A pattern for the arguments at a place. */
export interface Pattern {
  /** A JSON Pointer into the arguments, such as `/path`; `*` stands for every member. Without it: every text. */
  at?: string;
  /** A regular expression. */
  pattern: string;
}

/** Why arguments are refused. */
export class Refused extends Error {}

const MAX_ARGUMENT_DEPTH = 64;
const MAX_PATTERNS = 64;
const MAX_PATTERN_LENGTH = 1_000;

/** Refuses arguments in which a text matches a pattern of `deny`, or none of `allow` for its place. */
export function check(args: unknown, allow: readonly Pattern[], deny: readonly Pattern[]): number {
  const texts = [...leaves(args, "", 0)];
  for (const rule of deny) {
    const pattern = compiled(rule);
    const found = texts.find(([at, text]) => concerns(rule, at) && pattern.test(text));
    if (found) throw new Refused(`${named(found)} is denied by /${rule.pattern}/`);
  }
  // Patterns for one place are alternatives.
  const places = new Set(allow.map((rule) => rule.at));
  for (const place of places) {
    const patterns = allow.filter((rule) => rule.at === place);
    const concerned = texts.filter(([at]) => concerns({ at: place }, at));
    if (concerned.length === 0 && place !== undefined) {
      throw new Refused(`there is nothing at \`${place}\`, and only /${patterns[0].pattern}/ is allowed there`);
    }
    for (const leaf of concerned) {
      if (!patterns.some((rule) => compiled(rule).test(leaf[1]))) {
        const all = patterns.map((rule) => `/${rule.pattern}/`).join(" or ");
        throw new Refused(`${named(leaf)} is not allowed: it does not match ${all}`);
      }
    }
  }
  return texts.length;
}

function named([at, text]: [string, string]): string {
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return `${JSON.stringify(shown)} at \`${at}\``;
}

function concerns(rule: { at?: string }, at: string): boolean {
  if (rule.at === undefined) return true;
  const [wanted, parts] = [rule.at.split("/"), at.split("/")];
  // A pattern for an object or a list is one for all that is in it.
  return wanted.length <= parts.length && wanted.every((part, nth) => part === "*" || part === parts[nth]);
}

function compiled(rule: Pattern): RegExp {
  if (rule.pattern.length > MAX_PATTERN_LENGTH) throw new Refused(`a pattern has more than ${MAX_PATTERN_LENGTH} characters`);
  try {
    return new RegExp(rule.pattern, "u");
  } catch (error) {
    throw new Refused(`/${rule.pattern}/ is no regular expression: ${(error as Error).message}`);
  }
}

/** Every text, number and truth value with its place. */
function* leaves(value: unknown, at: string, depth: number): Generator<[string, string]> {
  if (depth > MAX_ARGUMENT_DEPTH) throw new Refused(`the arguments are nested deeper than ${MAX_ARGUMENT_DEPTH}`);
  if (value !== null && typeof value === "object") {
    for (const [name, member] of Object.entries(value)) {
      yield* leaves(member, `${at}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, depth + 1);
    }
  } else if (value !== undefined) {
    yield [at, String(value)];
  }
}

/** At most so many patterns, so that checking them ends. */
export function bounded(patterns: readonly Pattern[] = []): readonly Pattern[] {
  if (patterns.length > MAX_PATTERNS) throw new Refused(`there are more than ${MAX_PATTERNS} patterns`);
  return patterns;
}
