// What programs expect of any JavaScript: aborting, texts as bytes, URLs, clones, chance.

class Event {
  constructor(type) {
    this.type = String(type);
    this.target = null;
  }
}

class EventTarget {
  #listeners = new Map();

  addEventListener(type, listener, options) {
    if (listener === null || listener === undefined) return;
    const listeners = this.#listeners.get(type) ?? new Map();
    this.#listeners.set(type, listeners);
    if (!listeners.has(listener)) listeners.set(listener, { once: Boolean(options?.once) });
  }

  removeEventListener(type, listener) {
    this.#listeners.get(type)?.delete(listener);
  }

  dispatchEvent(event) {
    event.target = this;
    this[`on${event.type}`]?.call(this, event);
    for (const [listener, { once }] of [...(this.#listeners.get(event.type) ?? [])]) {
      if (once) this.removeEventListener(event.type, listener);
      if (typeof listener === "function") listener.call(this, event);
      else listener.handleEvent(event);
    }
    return true;
  }
}

const KEY = Symbol("abort");

class AbortSignal extends EventTarget {
  #aborted = false;
  #reason = undefined;
  onabort = null;

  constructor(key) {
    if (key !== KEY) throw new TypeError("an AbortSignal comes from `new AbortController()` or `AbortSignal.timeout(ms)`");
    super();
  }

  get aborted() {
    return this.#aborted;
  }

  get reason() {
    return this.#reason;
  }

  throwIfAborted() {
    if (this.#aborted) throw this.#reason;
  }

  static [KEY](signal, reason) {
    if (signal.#aborted) return;
    signal.#aborted = true;
    signal.#reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
    signal.dispatchEvent(new Event("abort"));
  }
}
const abort = AbortSignal[KEY];
delete AbortSignal[KEY];
AbortSignal.abort = (reason) => {
  const signal = new AbortSignal(KEY);
  abort(signal, reason);
  return signal;
};
AbortSignal.timeout = (ms) => {
  const signal = new AbortSignal(KEY);
  const fire = () => abort(signal, new DOMException(`The operation timed out after ${ms} ms`, "TimeoutError"));
  runtime.setTimer(fire, Math.max(0, Number(ms)), undefined, false);
  return signal;
};
AbortSignal.any = (signals) => {
  const signal = new AbortSignal(KEY);
  for (const one of signals) {
    if (one.aborted) {
      abort(signal, one.reason);
      break;
    }
    one.addEventListener("abort", () => abort(signal, one.reason), { once: true });
  }
  return signal;
};

class AbortController {
  #signal = new AbortSignal(KEY);

  get signal() {
    return this.#signal;
  }

  abort(reason) {
    abort(this.#signal, reason);
  }
}

class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(text = "") {
    return host.encodeUtf8(String(text));
  }

  encodeInto(text, into) {
    let read = 0;
    let written = 0;
    for (const character of String(text)) {
      const bytes = host.encodeUtf8(character);
      if (written + bytes.length > into.length) break;
      into.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}

const LABELS = new Map([
  ...["utf-8", "utf8", "unicode-1-1-utf-8"].map((label) => [label, "utf-8"]),
  ...["utf-16", "utf-16le", "ucs-2", "unicode"].map((label) => [label, "utf-16le"]),
  ...["latin1", "iso-8859-1", "ascii", "us-ascii", "windows-1252"].map((label) => [label, "windows-1252"]),
]);

class TextDecoder {
  #kept = new Uint8Array(0);

  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    const encoding = LABELS.get(String(label).trim().toLowerCase());
    if (encoding === undefined) throw new RangeError(`no text encoding ${JSON.stringify(label)} is known here: utf-8, utf-16le, latin1`);
    Object.assign(this, { encoding, fatal: Boolean(fatal), ignoreBOM: Boolean(ignoreBOM) });
  }

  decode(input, { stream = false } = {}) {
    let bytes = input === undefined ? new Uint8Array(0) : bytesOf(input);
    if (this.#kept.length > 0) {
      const all = new Uint8Array(this.#kept.length + bytes.length);
      all.set(this.#kept);
      all.set(bytes, this.#kept.length);
      bytes = all;
      this.#kept = new Uint8Array(0);
    }
    if (stream) {
      const end = host.completeUntil(bytes, this.encoding);
      this.#kept = bytes.slice(end);
      bytes = bytes.subarray(0, end);
    }
    const text = host.decodeText(bytes, this.encoding, this.fatal);
    if (text === undefined) throw new TypeError("the bytes are no valid UTF-8");
    return !this.ignoreBOM && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
}

function bytesOf(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError("an ArrayBuffer or a view of one is wanted");
}

class URLSearchParams {
  #pairs = [];
  #url = undefined;

  constructor(init = "", url = undefined) {
    if (typeof init === "object" && init !== null) {
      const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
      for (const [name, value] of pairs) this.#pairs.push([String(name), String(value)]);
    } else {
      this.#parse(String(init));
    }
    this.#url = url;
  }

  #parse(text) {
    const query = text.startsWith("?") ? text.slice(1) : text;
    this.#pairs = [];
    for (const part of query.split("&")) {
      if (part === "") continue;
      const equals = part.indexOf("=");
      const name = equals < 0 ? part : part.slice(0, equals);
      this.#pairs.push([decodeForm(name), equals < 0 ? "" : decodeForm(part.slice(equals + 1))]);
    }
  }

  #changed() {
    this.#url?.(this.toString());
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    this.#pairs.push([String(name), String(value)]);
    this.#changed();
  }

  delete(name, value) {
    this.#pairs = this.#pairs.filter(([key, held]) => key !== String(name) || (value !== undefined && held !== String(value)));
    this.#changed();
  }

  get(name) {
    return this.#pairs.find(([key]) => key === String(name))?.[1] ?? null;
  }

  getAll(name) {
    return this.#pairs.filter(([key]) => key === String(name)).map(([, value]) => value);
  }

  has(name, value) {
    return this.#pairs.some(([key, held]) => key === String(name) && (value === undefined || held === String(value)));
  }

  set(name, value) {
    const at = this.#pairs.findIndex(([key]) => key === String(name));
    if (at < 0) {
      this.#pairs.push([String(name), String(value)]);
    } else {
      this.#pairs[at] = [String(name), String(value)];
      this.#pairs = this.#pairs.filter(([key], nth) => nth <= at || key !== String(name));
    }
    this.#changed();
  }

  sort() {
    this.#pairs.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
    this.#changed();
  }

  forEach(callback, self) {
    for (const [name, value] of this.#pairs) callback.call(self, value, name, this);
  }

  *entries() {
    for (const [name, value] of this.#pairs) yield [name, value];
  }

  *keys() {
    for (const [name] of this.#pairs) yield name;
  }

  *values() {
    for (const [, value] of this.#pairs) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  toString() {
    return this.#pairs.map(([name, value]) => `${encodeForm(name)}=${encodeForm(value)}`).join("&");
  }

  // For a URL whose query was set.
  static reread(params, query) {
    params.#parse(query);
  }
}
const { reread } = URLSearchParams;
delete URLSearchParams.reread;

const encodeForm = (text) =>
  encodeURIComponent(text.toWellFormed()).replace(/%20/g, "+").replace(/[!'()~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

function decodeForm(text) {
  const plain = text.replace(/\+/g, " ");
  return plain.includes("%") ? host.percentDecode(plain) : plain;
}

class URL {
  #text;
  #params = undefined;

  constructor(text, base) {
    const parsed = host.parseUrl(String(text), base === undefined ? undefined : String(base));
    if (parsed === undefined) throw new TypeError(`Invalid URL: ${JSON.stringify(String(text))}`);
    this.#text = parsed;
  }

  static canParse(text, base) {
    return host.parseUrl(String(text), base === undefined ? undefined : String(base)) !== undefined;
  }

  static parse(text, base) {
    return URL.canParse(text, base) ? new URL(text, base) : null;
  }

  get searchParams() {
    this.#params ??= new URLSearchParams(this.search, (query) => {
      this.#text = host.setUrl(this.#text, "search", query) ?? this.#text;
    });
    return this.#params;
  }

  toString() {
    return this.#text;
  }

  toJSON() {
    return this.#text;
  }

  // Reads or sets a part.
  static part(url, name, value) {
    if (value === undefined) return host.urlPart(url.#text, name);
    url.#text = host.setUrl(url.#text, name, value) ?? url.#text;
    if (url.#params !== undefined) reread(url.#params, url.search);
  }
}
const { part } = URL;
delete URL.part;
const PARTS = ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
for (const name of PARTS) {
  Object.defineProperty(URL.prototype, name, {
    get() { return part(this, name); },
    set(value) { part(this, name, String(value)); },
    enumerable: true,
    configurable: true,
  });
}
Object.defineProperty(URL.prototype, "origin", {
  get() { return part(this, "origin"); },
  enumerable: true,
  configurable: true,
});

const uncloneable = (value) => new DOMException(`${runtime.inspect(value)} could not be cloned`, "DataCloneError");

function clone(value, seen) {
  if (typeof value === "symbol" || typeof value === "function") throw uncloneable(value);
  if (typeof value !== "object" || value === null) return value;
  if (seen.has(value)) return seen.get(value);
  const keep = (made) => {
    seen.set(value, made);
    return made;
  };
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof Boolean || value instanceof Number || value instanceof String) return keep(Object(value.valueOf()));
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (ArrayBuffer.isView(value)) {
    const buffer = clone(value.buffer, seen);
    const length = value instanceof DataView ? value.byteLength : value.length;
    return keep(new value.constructor(buffer, value.byteOffset, length));
  }
  if (value instanceof Map) {
    const made = keep(new Map());
    for (const [key, item] of value) made.set(clone(key, seen), clone(item, seen));
    return made;
  }
  if (value instanceof Set) {
    const made = keep(new Set());
    for (const item of value) made.add(clone(item, seen));
    return made;
  }
  if (value instanceof Error) {
    const kinds = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
    const made = keep(new (kinds[value.name] ?? Error)(value.message));
    runtime.hide(made, "stack", value.stack);
    if ("cause" in value) runtime.hide(made, "cause", clone(value.cause, seen));
    return made;
  }
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) {
    throw uncloneable(value);
  }
  const made = keep(Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) made[key] = clone(value[key], seen);
  return made;
}

const INTEGERS = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array];
const MAX_RANDOM_BYTES = 65536;

const crypto = {
  getRandomValues(array) {
    if (!INTEGERS.some((kind) => array instanceof kind)) throw new TypeError("crypto.getRandomValues wants an array of integers, such as a Uint8Array");
    if (array.byteLength > MAX_RANDOM_BYTES) throw new DOMException(`crypto.getRandomValues gives at most ${MAX_RANDOM_BYTES} bytes at once`, "QuotaExceededError");
    bytesOf(array).set(host.randomBytes(array.byteLength));
    return array;
  },
  randomUUID() {
    const bytes = host.randomBytes(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  },
};
Object.defineProperty(crypto, Symbol.toStringTag, { value: "Crypto" });
runtime.hide(Math, "random", { random: () => host.random() }.random);

const performance = {
  now: () => host.monotonic() - runtime.began,
  get timeOrigin() { return runtime.wallBegan(); },
  toJSON() { return { timeOrigin: this.timeOrigin }; },
};
runtime.wallBegan = () => Date.now() - performance.now();

runtime.define({
  Event, EventTarget, AbortSignal, AbortController, TextEncoder, TextDecoder, URL, URLSearchParams, crypto, performance,
  structuredClone: (value) => clone(value, new Map()),
  global: globalThis,
  self: globalThis,
});
