// Answers of a bounded size. Pure.

/** An answer that was cut, and how much of it there was. */
export interface Capped {
  value: unknown;
  characters: number;
  cut: boolean;
}

/** The value, if its JSON has at most so many characters; a part of it otherwise. Lists lose their end,
 * texts too, and what is something else becomes the beginning of its JSON. */
export function cap(value: unknown, max: number): Capped {
  const text = JSON.stringify(value) ?? "null";
  if (text.length <= max) return { value, characters: text.length, cut: false };
  return { value: shorter(value, text, max), characters: text.length, cut: true };
}

function shorter(value: unknown, text: string, max: number): unknown {
  if (typeof value === "string") return begin(value, max - 2);
  if (Array.isArray(value)) {
    const kept: unknown[] = [];
    let left = max - 2;
    for (const item of value) {
      left -= (JSON.stringify(item) ?? "null").length + 1;
      if (left < 0) break;
      kept.push(item);
    }
    if (kept.length > 0) return kept;
  }
  // An object whose bulk is one long member keeps its form.
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    const sizes = Object.entries(value).map(([name, member]) => [name, JSON.stringify(member)?.length ?? 4] as const);
    const [largest, size] = sizes.reduce((one, other) => (other[1] > one[1] ? other : one), ["", 0] as const);
    const room = max - (text.length - size);
    const member = (value as Record<string, unknown>)[largest];
    if (room > 16 && (typeof member === "string" || Array.isArray(member))) {
      const made = shorter(member, JSON.stringify(member), room);
      return Object.fromEntries(Object.entries(value).map(([name, kept]) => [name, name === largest ? made : kept]));
    }
  }
  return begin(text, max - 2);
}

/** So much of a text as takes that many characters in JSON, and never half a character. */
function begin(text: string, max: number): string {
  let [low, high] = [0, Math.min(text.length, Math.max(max, 0))];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (JSON.stringify(text.slice(0, middle)).length - 2 <= max - 1) low = middle;
    else high = middle - 1;
  }
  const last = text.charCodeAt(low - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? low - 1 : low) + "…";
}
