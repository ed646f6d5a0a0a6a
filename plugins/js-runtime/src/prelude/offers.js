// The modules `resources`, `prompts` and `events`, and which module an import means.

const listed = (label, answer) => {
  if (!Array.isArray(answer)) throw runtime.callError(label, answer);
  return answer;
};

const bodyOf = (part) => (part.text !== undefined && part.text !== null ? part.text : host.fromBase64(part.blob));

const resources = {
  servers: () => host.resourceServers(),
  list: async (server) => listed(server, host.resources(server)),
  templates: async (server) => listed(server, host.templates(server)),
  // What is in a resource: a string, or a Uint8Array; if it has several parts, a list of them.
  read(server, uri, options) {
    return runtime.begin(`${server}:${uri}`, () => host.startRead(server, uri), options, ({ structured }) => {
      const parts = structured.contents.map((part) => ({ uri: part.uri, mimeType: part.mimeType, value: bodyOf(part) }));
      return parts.length === 1 ? parts[0].value : parts;
    });
  },
};

const blockOf = (block) => {
  if (block?.type === "text" && typeof block.text === "string") return block.text;
  if ((block?.type === "image" || block?.type === "audio") && typeof block.data === "string") {
    return runtime.media(block.type, host.fromBase64(block.data), block.mimeType);
  }
  return block;
};

const prompts = {
  servers: () => host.promptServers(),
  list: async (server) => listed(server, host.prompts(server)),
  // A prompt with its arguments filled in: its messages.
  get(server, name, args = {}, options = undefined) {
    // A prompt takes texts only, so everything else is written as JSON writes it.
    const texts = Object.fromEntries(
      Object.entries(args).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    );
    const label = `${server}.${name}`;
    return runtime.begin(label, () => host.startPrompt(label, texts), options, ({ structured }) =>
      structured.messages.map((said) => ({ role: said.role, content: blockOf(said.content) })));
  },
};

const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

const events = {
  // Tells how far the program is: `progress(0.5, "half")`, or `progress(3, 10, "the third of ten")`.
  progress(progress, total, message) {
    if (typeof total === "string" && message === undefined) [total, message] = [undefined, total];
    host.progress(Number(progress), total === undefined ? undefined : Number(total), message === undefined ? undefined : String(message));
  },
  // Writes an entry for a log: `log("warning", "the index is old")`. The levels are those of syslog.
  log(level, message) {
    const known = LEVELS.indexOf(level);
    if (known < 0) throw new RangeError(`${JSON.stringify(level)} is no level; there are: ${LEVELS.join(", ")}`);
    host.log(known, String(message));
  },
};

const modules = { resources, prompts, events, state: runtime.state, asks: runtime.asks };

// What `import … from "NAME"` gives.
runtime.module = (name) => {
  if (name === "tools") return runtime.tools;
  if (name.startsWith("tools/")) return runtime.tools[name.slice(6)];
  if (Object.hasOwn(modules, name)) return modules[name];
  throw new TypeError(host.cannotImport(name));
};
runtime.hide(globalThis, "__toolcell", {
  module: runtime.module,
  load: async (name) => {
    const module = runtime.module(String(name));
    return Object.assign(Object.create(null), { default: module }, name === "tools" ? { tools: module } : module);
  },
  value: undefined,
});
