// `console`, and values as text for people: bounded in depth, length and size, whatever they hold.

const MAX_DEPTH = 4;
const MAX_ITEMS = 100;
const MAX_STRING = 10_000;
const MAX_TEXT = 200_000;
const LINE = 76;

const tagOf = (value) => {
  const tag = value[Symbol.toStringTag];
  return typeof tag === "string" && tag !== "" ? tag : undefined;
};

function nameOf(value) {
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null) return "[Object: null prototype]";
  const name = Object.hasOwn(prototype, "constructor") ? prototype.constructor?.name : value.constructor?.name;
  return typeof name === "string" && name !== "" ? name : "Object";
}

function quote(text) {
  const quotes = !text.includes("'") ? "'" : !text.includes('"') ? '"' : !text.includes("`") ? "`" : "'";
  let shown = text.length > MAX_STRING ? text.slice(0, MAX_STRING) : text;
  shown = shown
    .replace(/[\\\u0000-\u001f\u007f-\u009f]/g, (c) => ESCAPES[c] ?? `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replaceAll(quotes, `\\${quotes}`);
  const left = text.length - MAX_STRING;
  return `${quotes}${shown}${quotes}${left > 0 ? `... ${left} more characters` : ""}`;
}
const ESCAPES = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "\v": "\\v" };

class Inspector {
  constructor(maxDepth) {
    this.maxDepth = maxDepth;
    this.path = [];
    this.left = MAX_TEXT;
  }

  show(value, depth) {
    const text = this.plain(value, depth);
    this.left -= text.length;
    return text;
  }

  plain(value, depth) {
    switch (typeof value) {
      case "string": return quote(value);
      case "bigint": return `${value}n`;
      case "symbol": return value.toString();
      case "number": return Object.is(value, -0) ? "-0" : String(value);
      case "undefined": return "undefined";
      case "boolean": return String(value);
    }
    if (value === null) return "null";
    if (this.path.includes(value)) return "[Circular]";
    if (this.left <= 0) return "...";
    this.path.push(value);
    try {
      return this.object(value, depth);
    } catch (error) {
      if (error instanceof RangeError || error instanceof InternalError) throw error;
      return `[object that cannot be shown: ${String(error?.message)}]`;
    } finally {
      this.path.pop();
    }
  }

  object(value, depth) {
    if (host.isProxy(value)) return `[object ${tagOf(value) ?? "Proxy"}]`;
    if (typeof value === "function") return this.withProperties(this.functionName(value), value, depth);
    if (value instanceof Error) return this.error(value, depth);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return String(value);
    if (value instanceof Promise) return "Promise {}";
    const name = nameOf(value);
    if (value instanceof Number || value instanceof String || value instanceof Boolean) {
      return `[${name}: ${this.plain(value.valueOf(), depth)}]`;
    }
    if (value instanceof URL) return `URL { ${quote(value.href)} }`;
    if (depth >= this.maxDepth) return Array.isArray(value) ? "[Array]" : `[${name}]`;
    if (Array.isArray(value)) {
      return this.block(name === "Array" ? "[" : `${name}(${value.length}) [`, this.items(value, depth), "]");
    }
    if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
      return this.block(`${name}(${value.length}) [`, this.items(value, depth), "]");
    }
    if (value instanceof ArrayBuffer) return `ArrayBuffer { byteLength: ${value.byteLength} }`;
    if (value instanceof Map) {
      const pairs = ([key, item]) => `${this.show(key, depth + 1)} => ${this.show(item, depth + 1)}`;
      return this.block(`${name}(${value.size}) {`, this.some(value, value.size, pairs), "}");
    }
    if (value instanceof Set) {
      return this.block(`${name}(${value.size}) {`, this.some(value, value.size, (item) => this.show(item, depth + 1)), "}");
    }
    if (value instanceof URLSearchParams) {
      return this.block("URLSearchParams {", this.some(value, value.size, ([key, item]) => `${quote(key)} => ${quote(item)}`), "}");
    }
    const tag = tagOf(value);
    const prefix = (name === "Object" ? "" : `${name} `) + (tag !== undefined && tag !== name ? `[${tag}] ` : "");
    return this.block(`${prefix}{`, this.properties(value, depth), "}");
  }

  functionName(value) {
    if (tagOf(value) === "tool") return `[tool ${value.toolName}]`;
    const isClass = /^class\b/.test(Function.prototype.toString.call(value));
    const name = typeof value.name === "string" && value.name !== "" ? ` ${value.name}` : " (anonymous)";
    return isClass ? `[class${name}]` : `[${nameOf(value)}${name === " (anonymous)" ? name : `:${name}`}]`;
  }

  withProperties(head, value, depth) {
    const keys = Object.keys(value);
    if (keys.length === 0 || depth >= this.maxDepth) return head;
    return this.block(`${head} {`, this.properties(value, depth), "}");
  }

  error(value, depth) {
    const head = runtime.headOf(value);
    const frames = depth === 0 ? runtime.framesOf(value) : "";
    const keys = Object.keys(value).filter((key) => key !== "tool" && key !== "content" && key !== "structured");
    let text = depth === 0 ? head + (frames === "" ? "" : `\n${frames}`) : `[${head}]`;
    const shown = keys.map((key) => `${key}: ${this.show(value[key], depth + 1)}`);
    if (Object.hasOwn(value, "cause")) shown.push(`[cause]: ${this.show(value.cause, depth + 1)}`);
    if (value instanceof AggregateError) shown.push(`[errors]: ${this.show(value.errors, depth)}`);
    if (shown.length > 0) text = this.block(`${text} {`, shown, "}");
    return text;
  }

  some(values, count, show) {
    const shown = [];
    for (const value of values) {
      if (shown.length >= MAX_ITEMS || this.left <= 0) break;
      shown.push(show(value));
    }
    if (count > shown.length) shown.push(`... ${count - shown.length} more`);
    return shown;
  }

  items(value, depth) {
    const shown = [];
    let holes = 0;
    const hole = () => {
      if (holes > 0) shown.push(`<${holes} empty item${holes === 1 ? "" : "s"}>`);
      holes = 0;
    };
    let nth = 0;
    for (; nth < value.length && shown.length < MAX_ITEMS && this.left > 0; nth += 1) {
      if (!(nth in value)) {
        holes += 1;
        if (holes > 100_000) break;
        continue;
      }
      hole();
      shown.push(this.show(value[nth], depth + 1));
    }
    hole();
    if (nth < value.length) shown.push(`... ${value.length - nth} more item${value.length - nth === 1 ? "" : "s"}`);
    if (Array.isArray(value)) {
      for (const key of Object.keys(value).slice(0, shown.length === value.length ? 0 : 0)) shown.push(key);
    }
    return shown;
  }

  properties(value, depth) {
    const keys = Object.keys(value);
    const shown = [];
    for (const key of keys) {
      if (shown.length >= MAX_ITEMS || this.left <= 0) {
        shown.push(`... ${keys.length - shown.length} more`);
        break;
      }
      const { get, set, value: held } = Object.getOwnPropertyDescriptor(value, key) ?? {};
      const label = /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(key) ? key : quote(key);
      const accessor = get !== undefined ? (set !== undefined ? "[Getter/Setter]" : "[Getter]") : "[Setter]";
      shown.push(`${label}: ${get !== undefined || set !== undefined ? accessor : this.show(held, depth + 1)}`);
    }
    for (const key of Object.getOwnPropertySymbols(value)) {
      const { enumerable, value: held } = Object.getOwnPropertyDescriptor(value, key) ?? {};
      if (enumerable && shown.length < MAX_ITEMS) shown.push(`[${key.toString()}]: ${this.show(held, depth + 1)}`);
    }
    return shown;
  }

  // On one line if it fits, else each part on a line; short items of long lists share lines.
  block(open, parts, close) {
    if (parts.length === 0) return open + close;
    let length = open.length + close.length + 2 * parts.length;
    let lines = false;
    let widest = 0;
    for (const text of parts) {
      length += text.length;
      widest = Math.max(widest, text.length);
      lines ||= text.includes("\n");
    }
    if (!lines && length <= LINE) return `${open} ${parts.join(", ")} ${close}`;
    const rows = [];
    if (!lines && open.endsWith("[") && parts.length > 6 && widest <= 16) {
      let row = "";
      for (const text of parts) {
        if (row !== "" && row.length + text.length + 2 > LINE) {
          rows.push(row);
          row = "";
        }
        row += (row === "" ? "" : ", ") + text;
      }
      rows.push(row);
    } else {
      rows.push(...parts);
    }
    return `${open}\n${rows.map((row) => `  ${row.replaceAll("\n", "\n  ")}`).join(",\n")}\n${close}`;
  }
}

runtime.inspect = (value, depth = MAX_DEPTH) => new Inspector(depth).show(value, 0);

function format(args) {
  if (args.length === 1) return typeof args[0] === "string" ? args[0] : runtime.inspect(args[0]);
  let next = 0;
  let text = "";
  if (typeof args[0] === "string") {
    next = 1;
    text = args[0];
    if (text.includes("%")) {
      text = text.replace(/%[sdifjoOc%]/g, (spec) => {
        if (spec === "%%") return "%";
        if (next >= args.length) return spec;
        const value = args[next++];
        switch (spec) {
          case "%s": return typeof value === "string" ? value : typeof value === "object" && value !== null ? runtime.inspect(value, 1) : String(value);
          case "%d": return typeof value === "object" ? "NaN" : String(Number(value));
          case "%i": return typeof value === "object" ? "NaN" : String(parseInt(value, 10));
          case "%f": return String(parseFloat(value));
          case "%j": return JSON.stringify(value) ?? "undefined";
          case "%c": return "";
          default: return runtime.inspect(value);
        }
      });
    }
  }
  for (; next < args.length; next += 1) {
    const value = args[next];
    text += (next === 0 ? "" : " ") + (typeof value === "string" ? value : runtime.inspect(value));
  }
  return text;
}

let indent = "";
const counts = new Map();
const watches = new Map();

function print(to, text) {
  host.write(to, indent === "" ? `${text}\n` : `${indent}${text.replaceAll("\n", `\n${indent}`)}\n`);
}

const printer = (name, to) => ({ [name](...args) { print(to, format(args)); } })[name];

function table(data, columns) {
  if (typeof data !== "object" || data === null) return print(0, format([data]));
  const rows = [];
  const names = [];
  const values = "Values";
  const entries = data instanceof Map ? [...data] : data instanceof Set ? [...data].map((v, n) => [n, v]) : Object.entries(data);
  let plain = false;
  for (const [index, row] of entries.slice(0, MAX_ITEMS)) {
    const cells = new Map();
    if (typeof row === "object" && row !== null) {
      for (const name of columns ?? Object.keys(row)) {
        if (!names.includes(name) && names.length < MAX_ITEMS) names.push(name);
        if (Object.hasOwn(row, name)) cells.set(name, runtime.inspect(row[name], 1));
      }
    } else {
      plain = true;
      cells.set(values, runtime.inspect(row, 1));
    }
    rows.push([String(index), cells]);
  }
  const head = ["(index)", ...names, ...(plain ? [values] : [])];
  const grid = rows.map(([index, cells]) => [index, ...head.slice(1).map((name) => cells.get(name) ?? "")]);
  const widths = head.map((name, nth) => Math.max(name.length, ...grid.map((row) => row[nth].length)) + 2);
  const line = (left, middle, right) => left + widths.map((width) => "─".repeat(width)).join(middle) + right;
  const show = (cells) => `│${cells.map((text, nth) => ` ${text.padEnd(widths[nth] - 1)}`).join("│")}│`;
  const text = [line("┌", "┬", "┐"), show(head), line("├", "┼", "┤"), ...grid.map(show), line("└", "┴", "┘")];
  if (entries.length > MAX_ITEMS) text.push(`... ${entries.length - MAX_ITEMS} more rows`);
  print(0, text.join("\n"));
}

const elapsed = (label) => `${label}: ${(host.monotonic() - watches.get(label)).toFixed(3)}ms`;

const console = {
  log: printer("log", 0),
  info: printer("info", 0),
  debug: printer("debug", 0),
  warn: printer("warn", 1),
  error: printer("error", 1),
  dir: { dir(value, options) { print(0, runtime.inspect(value, options?.depth === null ? 50 : options?.depth ?? MAX_DEPTH)); } }.dir,
  dirxml: printer("dirxml", 0),
  table,
  assert(condition, ...args) {
    if (!condition) print(1, `Assertion failed${args.length > 0 ? `: ${format(args)}` : ""}`);
  },
  trace(...args) {
    print(1, `Trace${args.length > 0 ? `: ${format(args)}` : ""}\n${runtime.framesOf(new Error())}`);
  },
  group(...args) {
    if (args.length > 0) print(0, format(args));
    if (indent.length < 40) indent += "  ";
  },
  groupEnd() {
    indent = indent.slice(2);
  },
  count(label = "default") {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    print(0, `${label}: ${counts.get(label)}`);
  },
  countReset(label = "default") {
    counts.delete(label);
  },
  time(label = "default") {
    watches.set(label, host.monotonic());
  },
  timeLog(label = "default", ...args) {
    if (watches.has(label)) print(0, [elapsed(label), ...(args.length > 0 ? [format(args)] : [])].join(" "));
  },
  timeEnd(label = "default") {
    if (watches.has(label)) print(0, elapsed(label));
    watches.delete(label);
  },
  clear() {},
};
console.groupCollapsed = console.group;
runtime.define({ console });
runtime.resetConsole = () => {
  if (indent !== "") indent = "";
  if (counts.size > 0) counts.clear();
  if (watches.size > 0) watches.clear();
};
