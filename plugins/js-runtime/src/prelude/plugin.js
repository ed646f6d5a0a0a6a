// What a plugin's exports are as tools: `export const tools = { name: { description, input, handler } }`,
// and every other exported function, described by its types and its comment.

const OBJECT_SCHEMA = { type: "object" };
const NAME = /^[A-Za-z0-9_.-]{1,64}$/;

function schemaText(name, what, schema) {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) {
    throw new TypeError(`the ${what} schema of the tool \`${name}\` is no object`);
  }
  if (schema.type !== "object") {
    throw new TypeError(`the ${what} schema of the tool \`${name}\` must be of \`type: "object"\`, as MCP wants it`);
  }
  return JSON.stringify(schema);
}

function describe(name, tool) {
  if (!NAME.test(name)) throw new TypeError(`\`${name}\` is no name for a tool: 1 to 64 of A-Z a-z 0-9 _ - .`);
  if (typeof tool.handler !== "function") {
    throw new TypeError(`the tool \`${name}\` has no \`handler\`, a function that takes one object of arguments`);
  }
  const about = {
    handler: tool.handler,
    description: tool.description,
    title: tool.title,
    input: schemaText(name, "input", tool.input ?? tool.inputSchema ?? OBJECT_SCHEMA),
    readOnly: tool.readOnly === true,
    idempotent: tool.idempotent === true,
    destructive: tool.destructive === true,
  };
  const output = tool.output ?? tool.outputSchema;
  if (output !== undefined) about.output = schemaText(name, "output", output);
  return about;
}

// `described`: by the function's name, what its source tells: `description` and `input`.
runtime.readPlugin = (exports, described) => {
  const made = Object.create(null);
  for (const [name, value] of Object.entries(exports)) {
    if (name === "tools" && typeof value === "object" && value !== null) {
      for (const [tool, about] of Object.entries(value)) made[tool] = describe(tool, about ?? {});
    } else if (typeof value === "function" && !/^class\b/.test(Function.prototype.toString.call(value))) {
      made[name] = describe(name, { handler: value, ...described[name] });
    }
  }
  if (Object.keys(made).length === 0) {
    throw new TypeError("the plugin exports no tool: write `export async function name({ argument }: { argument: string }) { … }`, " +
      "or `export const tools = { name: { description, input, handler } }`");
  }
  return made;
};

runtime.state = {
  get(key) {
    const text = host.stateGet(String(key));
    return text === undefined ? undefined : JSON.parse(text);
  },
  set(key, value) {
    const refused = host.stateSet(String(key), value);
    if (refused !== undefined) throw runtime.callError("state", refused);
  },
  delete: (key) => host.stateDelete(String(key)),
  keys: () => host.stateKeys(),
};
runtime.asks = {
  abilities: () => host.abilities(),
  async elicit(message, schema) {
    const answer = host.elicit(String(message), schema);
    if (answer.kind !== undefined) throw runtime.callError("elicitation", answer);
    return answer;
  },
  async sample(params) {
    const answer = host.sample(params);
    if (answer.kind !== undefined) throw runtime.callError("sampling", answer);
    return answer.result;
  },
};
