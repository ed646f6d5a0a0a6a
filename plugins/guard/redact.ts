// What is taken out of answers: secrets always, personal data unless it is asked for. Pure.

/** A kind of thing that is taken out. */
export interface Rule {
  kind: string;
  secret: boolean;
  pattern: RegExp;
  /** A text without this has no match: most texts are done with that. */
  needs?: string;
  /** The pattern alone says too little. */
  check?: (text: string) => boolean;
  /** The part of a match that goes, where not all of it does. */
  group?: number;
}

/** What was taken out how often. */
export type Counts = Record<string, number>;

// Order matters: what is found first is gone for those that follow.
export const RULES: Rule[] = [
  {
    kind: "private-key",
    secret: true,
    needs: "-----BEGIN",
    // Up to the next dashes, so that many beginnings without an end cost no more than one.
    pattern: /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:(?!-----)[\s\S]){0,20000}(?:-----END [A-Z ]{0,30}-----)?/g,
  },
  { kind: "jwt", secret: true, needs: "eyJ", pattern: /\beyJ[\w-]{8,2000}\.eyJ[\w-]{8,4000}\.[\w-]{0,2000}/g },
  { kind: "aws-key", secret: true, pattern: /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g },
  { kind: "github-token", secret: true, pattern: /\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255})/g },
  { kind: "gitlab-token", secret: true, pattern: /\bglpat-[\w-]{20,100}/g },
  { kind: "slack-token", secret: true, pattern: /\bxox[abeoprs]-[\w-]{10,250}/g },
  { kind: "google-key", secret: true, pattern: /\bAIza[\w-]{35}/g },
  { kind: "api-key", secret: true, pattern: /\b(?:sk|pk|rk)[-_](?:[a-z]{2,12}[-_]){0,3}[A-Za-z0-9]{20,200}/g },
  { kind: "bearer", secret: true, pattern: /\b(?:bearer|basic)\s{1,4}([\w.~+/=-]{12,4000})/gi, group: 1 },
  {
    kind: "url-password",
    secret: true,
    needs: "://",
    pattern: /\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:@\/]{0,200}:([^\s@\/]{1,200})@/gi,
    group: 1,
  },
  {
    kind: "password",
    secret: true,
    // `password = "…"`, `API_KEY: …`, `"clientSecret": "…"`
    pattern:
      /(?:passwor[dt]|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|token)["']?\s{0,4}[:=]\s{0,4}["']?([^\s"',;&]{6,500})/gi,
    group: 1,
    check: (text) => !/^\[/.test(text),
  },
  { kind: "email", secret: false, needs: "@", pattern: /[\w.%+-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,62})\.){1,6}[a-z]{2,24}\b/gi },
  { kind: "iban", secret: false, pattern: /\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b/g, check: isIban },
  { kind: "card", secret: false, pattern: /\b\d(?:[ -]?\d){12,18}\b/g, check: isCard },
  { kind: "phone", secret: false, needs: "+", pattern: /\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}\b/g },
];

/** Names of members whose values are secret, whatever they look like. */
const SECRET_NAME = /^(?:.*[_-])?(?:passwor[dt]|passwd|secret|client_?secret|api_?key|access_?key|private_?key|authorization|token|cookie)$/i;

/** How deep a value may be nested; what lies deeper is left out. */
const MAX_DEPTH = 64;

/** Takes things out, and remembers which: one thing has one number wherever it stands, so that an answer
 * still tells that two of them are the same. */
export class Redactor {
  counts: Counts = {};
  #rules: Rule[];
  #numbers = new Map<string, Map<string, number>>();

  constructor(keep: readonly string[] = []) {
    this.#rules = RULES.filter((rule) => rule.secret || !keep.includes(rule.kind));
  }

  /** A value with nothing in it that should not be there. */
  value(value: unknown, depth = 0): unknown {
    if (typeof value === "string") return this.text(value);
    if (typeof value === "number" && value >= 1e12) {
      const text = this.text(String(value));
      return text === String(value) ? value : text;
    }
    if (value === null || typeof value !== "object") return value;
    if (depth >= MAX_DEPTH) return "[too deep]";
    if (Array.isArray(value)) return value.map((item) => this.value(item, depth + 1));
    const made: Record<string, unknown> = {};
    for (const [name, member] of Object.entries(value)) {
      // By definition, for `__proto__` is a name like any other.
      Object.defineProperty(made, this.text(name), {
        value: this.#member(name, member, depth),
        enumerable: true,
        writable: true,
        configurable: true,
      });
    }
    return made;
  }

  #member(name: string, member: unknown, depth: number): unknown {
    const bare = name.replace(/([a-z0-9])([A-Z])/g, "$1_$2");
    if (typeof member === "string" && member !== "" && SECRET_NAME.test(bare)) return this.#gone("password", member);
    return this.value(member, depth + 1);
  }

  /** A text, likewise. */
  text(text: string): string {
    for (const rule of this.#rules) {
      if (rule.needs && !text.includes(rule.needs)) continue;
      text = text.replace(rule.pattern, (match: string, ...rest: unknown[]) => {
        const part = rule.group === undefined ? match : String(rest[rule.group - 1]);
        if (rule.check && !rule.check(part)) return match;
        const gone = this.#gone(rule.kind, part);
        if (rule.group === undefined) return gone;
        const at = match.lastIndexOf(part);
        return match.slice(0, at) + gone + match.slice(at + part.length);
      });
    }
    return text;
  }

  #gone(kind: string, what: string): string {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    let numbers = this.#numbers.get(kind);
    if (!numbers) this.#numbers.set(kind, (numbers = new Map()));
    const number = numbers.get(what) ?? numbers.size + 1;
    numbers.set(what, number);
    return `[${kind} ${number}]`;
  }
}

/** The check digit of payment cards (Luhn). */
function isCard(text: string): boolean {
  const digits = [...text].filter((letter) => letter >= "0" && letter <= "9").map(Number);
  const sum = digits.reverse().reduce((sum, digit, nth) => {
    const doubled = nth % 2 === 1 ? digit * 2 : digit;
    return sum + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0 && new Set(digits).size > 1;
}

/** The check digits of accounts (ISO 13616). */
function isIban(text: string): boolean {
  const bare = text.replaceAll(" ", "");
  if (bare.length < 15 || bare.length > 34) return false;
  let rest = 0;
  for (const letter of bare.slice(4) + bare.slice(0, 4)) {
    const value = parseInt(letter, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1;
}
