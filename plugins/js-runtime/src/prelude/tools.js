// `tools`: granted servers as properties, their tools as functions that return promises.
//
// Everything is made when it is first asked for. What may be called is the host's decision; this file
// only finds names.

const RESERVED = new Set(
  ("await break case catch class const continue debugger default delete do else enum export extends false " +
   "finally for function if implements import in instanceof interface let new null package private protected " +
   "public return static super switch this throw true try typeof var void while with yield").split(" "),
);

// `get-sum` → `get_sum`, `2d` → `_2d`, `delete` → `delete_`: what the generated declarations write.
function identifier(name) {
  let made = name.replace(/[^A-Za-z0-9_]/gu, "_");
  if (made === "" || /^[0-9]/.test(made)) made = "_" + made;
  return RESERVED.has(made) ? made + "_" : made;
}

const snakeCase = (name) =>
  identifier(
    name.replace(/[^A-Za-z0-9_]/gu, "_").replace(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, "_").toLowerCase(),
  );

// `search_papers` → `searchPapers`; a leading `_` stays.
const camelCase = (name) =>
  identifier(name).replace(/(?<=[A-Za-z0-9])_+([A-Za-z0-9])/g, (_, letter) => letter.toUpperCase());

// A list of names and the identifiers that stand for them. The exact name wins; of derived names, one
// that two names would share reaches neither.
class Names {
  constructor(exact) {
    this.exact = exact;
    this.byIdentifier = new Map(exact.map((name) => [name, name]));
    this.collisions = new Map();
    for (const derive of [identifier, camelCase, snakeCase]) {
      const wanting = new Map();
      for (const name of exact) {
        const made = derive(name);
        if (wanting.has(made)) wanting.get(made).push(name);
        else wanting.set(made, [name]);
      }
      for (const [made, names] of wanting) {
        if (this.byIdentifier.has(made)) continue;
        if (names.length > 1) {
          if (!this.collisions.has(made)) this.collisions.set(made, names);
        } else if (!this.collisions.has(made)) {
          this.byIdentifier.set(made, names[0]);
        }
      }
    }
  }

  listed() {
    return this.exact.map(identifier).filter((made, nth) => this.byIdentifier.get(made) === this.exact[nth]);
  }
}

runtime.Names = Names;

const quoted = (path, name) => `${path}[${JSON.stringify(name)}]`;

function missing(path, full, property, names) {
  const colliding = names.collisions.get(property);
  if (colliding !== undefined) {
    return new TypeError(`\`${path}.${property}\` could be any of these: ${colliding.map((name) => quoted(path, name)).join(", ")}`);
  }
  let message = `no \`${property}\` in \`${path}\` is granted to this run`;
  const listed = names.listed();
  const meant = new Map();
  for (const name of host.nearest(property, [...new Set([...listed, ...names.byIdentifier.keys()])])) {
    const exact = names.byIdentifier.get(name);
    // Of one tool one name is enough.
    if (!meant.has(exact)) meant.set(exact, name);
  }
  const close = [...meant.values()];
  message += close.length > 0
    ? `; did you mean ${close.map((name) => `\`${name}\``).join(" or ")}?`
    : `; granted: ${listed.join(", ") || "nothing"}`;
  return new runtime.errors.UnknownTool(message, { tool: full });
}

runtime.missing = missing;

// Properties that the language and its libraries ask of any object; a tool of such a name is reached
// through `tools.call`.
const ASKED_OF_ANY = new Set(["then", "toJSON", "constructor", "toString", "valueOf", "prototype", "inspect", "length"]);

// A server that a plugin imports while it is built: which there are is known when it is called.
const later = (property) =>
  new Proxy(Object.create(null), {
    get: (_, name) => (typeof name === "string" && host.isOpen() ? runtime.tools[property][name] : undefined),
    has: (_, name) => host.isOpen() && name in runtime.tools[property],
    ownKeys: () => (host.isOpen() ? Reflect.ownKeys(runtime.tools[property]) : []),
  });

// An object whose properties the host lists. `own` are those that come first.
function namespace(path, tag, own, listing, make, fullName) {
  let names;
  let made = new Map();
  const known = () => (names ??= new Names(listing()));
  const target = Object.create(null, { [Symbol.toStringTag]: { value: tag } });
  runtime.forgetters.push(() => {
    names = undefined;
    if (made.size > 0) made = new Map();
  });
  const find = (property) => {
    let found = made.get(property);
    if (found === undefined) {
      const name = known().byIdentifier.get(property);
      if (name === undefined) return undefined;
      found = made.get(name) ?? make(name);
      made.set(name, found);
      made.set(property, found);
    }
    return found;
  };
  return new Proxy(target, {
    get(_, property) {
      if (typeof property !== "string") return target[property];
      if (own !== undefined && Object.hasOwn(own, property)) return own[property];
      if (own !== undefined && !host.isOpen()) return later(property);
      if (ASKED_OF_ANY.has(property)) return property === "toString" ? () => `[object ${tag}]` : undefined;
      const found = find(property);
      if (found === undefined) throw missing(path, fullName(property), property, known());
      return found;
    },
    has: (_, property) =>
      typeof property === "string"
        ? (own !== undefined && Object.hasOwn(own, property)) || known().byIdentifier.has(property)
        : property in target,
    ownKeys: () => known().listed(),
    getOwnPropertyDescriptor: (_, property) =>
      typeof property === "string" && known().byIdentifier.has(property)
        ? { value: find(property), enumerable: true, configurable: true, writable: false }
        : undefined,
    set: (_, property) => {
      throw new TypeError(`\`${path}\` cannot be changed: \`${String(property)}\` is the host's to say`);
    },
    defineProperty: () => false,
    deleteProperty: () => false,
  });
}
runtime.forgetters = [];

const toolPrototype = Object.create(Function.prototype, {
  description: { get() { return describe(this).description; } },
  title: { get() { return describe(this).title; } },
  inputSchema: { get() { return JSON.parse(describe(this).inputSchema); } },
  outputSchema: {
    get() {
      const schema = describe(this).outputSchema;
      return schema === undefined ? undefined : JSON.parse(schema);
    },
  },
  [Symbol.toStringTag]: { value: "tool" },
});

const described = new WeakMap();

function describe(tool) {
  let about = described.get(tool);
  if (about === undefined) {
    const name = tool.toolName;
    const answer = host.describe(name);
    if (answer.kind !== undefined) throw runtime.callError(name, answer);
    described.set(tool, (about = answer));
  }
  return about;
}

function makeTool(server, name) {
  const full = `${server}.${name}`;
  const tool = (...args) => callWith(tool, full, args);
  Object.setPrototypeOf(tool, toolPrototype);
  Object.defineProperty(tool, "name", { value: name, configurable: true });
  Object.defineProperty(tool, "toolName", { value: full });
  return tool;
}

const isPlain = (value) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
};

function callWith(tool, full, args) {
  let [given, options] = args;
  if (given === undefined && args.length <= 2) {
    given = {};
  } else if (!isPlain(given) || args.length > 2) {
    if (isObjectLike(given) && args.length <= 2) {
      given = { ...given };
    } else {
      return call(full, byPosition(tool, full, args), undefined, tool);
    }
  }
  return call(full, given, options, tool);
}

const isObjectLike = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);

// `search("mcp", 5)`: positions follow the schema's properties, those required first.
function byPosition(tool, full, args) {
  const parameters = positions(tool.inputSchema);
  if (args.length > parameters.length) {
    const takes = `${parameters.length} argument${parameters.length === 1 ? "" : "s"}`;
    throw new TypeError(`\`${full}\` takes ${takes} but ${args.length} were given; give one object: { ${parameters.join(", ")} }`);
  }
  return Object.fromEntries(args.map((value, nth) => [parameters[nth], value]));
}

function positions(schema) {
  const properties = schema?.properties;
  if (typeof properties !== "object" || properties === null) return [];
  const required = Array.isArray(schema.required) ? schema.required : [];
  const names = Object.keys(properties);
  return [...names.filter((name) => required.includes(name)), ...names.filter((name) => !required.includes(name))];
}

runtime.positions = positions;

const abortReason = (signal) => signal.reason ?? new DOMException("This operation was aborted", "AbortError");

// Starts something whose answer comes from the host, and promises what `read` makes of it.
function begin(label, start, options, read) {
  const signal = options?.signal;
  const timeout = options?.timeout;
  if (timeout !== undefined && !(Number(timeout) >= 0)) {
    throw new TypeError(`the timeout of \`${label}\` is a number of milliseconds, not ${String(timeout)}`);
  }
  if (signal?.aborted) return Promise.reject(abortReason(signal));
  const { stack } = new Error();
  return new Promise((resolve, reject) => {
    const id = start();
    let timer;
    const over = () => {
      if (timer !== undefined) runtime.clearTimer(timer);
      signal?.removeEventListener("abort", aborted);
    };
    const aborted = () => {
      over();
      runtime.abandon(id);
      reject(abortReason(signal));
    };
    runtime.watch(id, (answer) => {
      over();
      if (answer.kind !== undefined) reject(runtime.callError(label, answer, stack));
      else {
        try {
          resolve(read(answer, stack));
        } catch (error) {
          reject(error);
        }
      }
    });
    signal?.addEventListener("abort", aborted);
    if (timeout !== undefined) {
      timer = runtime.setTimer(() => {
        over();
        runtime.abandon(id);
        const message = `\`${label}\` gave no answer within ${Number(timeout)} ms, the timeout that this call was given`;
        reject(runtime.callError(label, { kind: "timed-out", message, afterMs: Number(timeout), phase: "call" }, stack));
      }, Number(timeout), undefined, false);
    }
  });
}
runtime.begin = begin;

function call(full, given, options, tool) {
  return begin(full, () => host.start(full, given), options, (answer, stack) => valueOf(full, answer, stack, tool));
}

// What a call is worth: structured content, else the text of a single block, else the list of blocks.
function valueOf(full, answer, stack, tool) {
  const content = answer.content;
  if (answer.isError) {
    const texts = content.filter((block) => typeof block === "string");
    const { structured } = answer;
    const message = texts.join("\n") ||
      (structured === undefined ? `\`${full}\` failed without a message` : JSON.stringify(structured));
    const error = new runtime.errors.ToolError(message, { tool: full, content, structured });
    runtime.hide(error, "stack", stack);
    throw error;
  }
  if (answer.hasStructured) {
    const { structured } = answer;
    // FastMCP wraps what is not an object as {"result": …} and marks the schema.
    if (isPlain(structured) && Object.keys(structured).length === 1 && "result" in structured && wraps(full, tool)) {
      return structured.result;
    }
    return structured;
  }
  if (content.length === 1 && typeof content[0] === "string") return content[0];
  return content.length === 0 ? null : content;
}

function wraps(full, tool) {
  try {
    const schema = (tool ?? makeTool(...split(full))).outputSchema;
    return Boolean(schema?.["x-fastmcp-wrap-result"]);
  } catch {
    return false;
  }
}

function split(full) {
  const dot = full.indexOf(".");
  return [full.slice(0, dot), full.slice(dot + 1)];
}

// Bytes with a media type.
class Media {
  constructor(data, mimeType) {
    this.data = data;
    this.mimeType = mimeType;
  }

  // The block as MCP writes it.
  toJSON() {
    return { type: this.kind, data: host.base64(this.data), mimeType: this.mimeType };
  }
}
class Image extends Media {}
class Audio extends Media {}
runtime.hide(Image.prototype, "kind", "image");
runtime.hide(Audio.prototype, "kind", "audio");
runtime.media = (kind, data, mimeType) => new (kind === "image" ? Image : Audio)(data, mimeType);

const own = {
  ...runtime.errors,
  Image,
  Audio,
  // Calls a tool by its full name, `server.tool`.
  call(full, given, options) {
    if (typeof full !== "string" || !full.includes(".")) {
      throw new runtime.errors.UnknownTool(`\`${String(full)}\` is no tool's full name, which is \`server.tool\``, { tool: String(full) });
    }
    return callWith(makeTool(...split(full)), full, given === undefined ? [] : [given, options]);
  },
};

function server(name) {
  const listing = () => {
    const answer = host.names(name);
    if (!Array.isArray(answer)) throw runtime.callError(name, answer);
    return answer;
  };
  const path = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? `tools.${name}` : quoted("tools", name);
  return namespace(path, `tools of ${name}`, undefined, listing, (tool) => makeTool(name, tool), (tool) => `${name}.${tool}`);
}

const tools = namespace("tools", "tools", own, () => host.servers(), server, (name) => name);
own.tools = tools;
const permanent = runtime.forgetters.length;
runtime.define({ tools, ...runtime.errors });
runtime.tools = tools;

// Which tools there are may be others for the next program of this instance.
runtime.lookAgain = () => {
  for (const forget of runtime.forgetters) forget();
  runtime.forgetters.length = permanent;
};
