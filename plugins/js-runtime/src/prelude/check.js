// Compares a program's calls with the schemas of the tools that they call, before anything runs. Only
// what is wrong for sure is told: of a server that cannot be asked nothing is known yet, and a value that
// is not written out may be anything.

// A schema is its server's: it may point in circles.
const MAX_DEPTH = 64;
const MAX_PROBLEMS = 20;
const MAX_LISTED = 20;

const code = (name) => `\`${name}\``;
const isSchema = (schema) => typeof schema === "object" && schema !== null && !Array.isArray(schema);
const article = (kind) => (/^[aeio]/.test(kind) ? `an ${kind}` : kind === "null" ? kind : `a ${kind}`);
const listed = (names) =>
  names.slice(0, MAX_LISTED).join(", ") + (names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : "");

// Schemas that a value's kind has to be one of; none if any is right.
function kindsOf(schema) {
  const { type } = schema;
  if (typeof type === "string") return [type];
  return Array.isArray(type) ? type.filter((kind) => typeof kind === "string") : [];
}
const takes = (kinds, kind) => kinds.length === 0 || kinds.includes(kind) || (kind === "integer" && kinds.includes("number"));

function pointed(root, reference) {
  if (typeof reference !== "string" || !reference.startsWith("#")) return undefined;
  let at = root;
  for (const step of reference.slice(1).split("/").slice(1)) {
    const name = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return undefined;
    at = at[name];
  }
  return at;
}

// What is wrong with a value, as `[at, message]`. `where` is how it is called in words.
function wrong(value, schema, where, root, depth) {
  if (!isSchema(schema) || value.kind === undefined || depth > MAX_DEPTH) return [];
  if (schema.$ref !== undefined) return wrong(value, pointed(root, schema.$ref), where, root, depth + 1);
  const kinds = kindsOf(schema);
  if (!takes(kinds, value.kind)) {
    return [[value.at, `${where} is ${article(value.kind)} and has to be ${kinds.map(article).join(" or ")}`]];
  }
  const choices = Array.isArray(schema.enum) ? schema.enum : "const" in schema ? [schema.const] : undefined;
  if (choices !== undefined && value.value !== undefined && !choices.includes(value.value)) {
    const near = typeof value.value === "string" ? host.nearest(value.value, choices.filter((it) => typeof it === "string")) : [];
    const way = near.length > 0
      ? `; did you mean ${near.map((it) => JSON.stringify(it)).join(" or ")}?`
      : `: it has to be ${listed(choices.map((it) => JSON.stringify(it)))}`;
    return [[value.at, `${where} cannot be ${JSON.stringify(value.value)}${way}`]];
  }
  const found = [];
  for (const several of [schema.anyOf, schema.oneOf]) {
    if (Array.isArray(several) && several.length > 0) found.push(...noneOf(value, several, where, root, depth));
  }
  for (const one of Array.isArray(schema.allOf) ? schema.allOf : []) found.push(...wrong(value, one, where, root, depth + 1));
  if (value.kind === "object") found.push(...members(value, schema, where, root, depth));
  if (value.kind === "array" && value.items !== undefined && schema.prefixItems === undefined) {
    for (const [nth, item] of value.items.entries()) {
      found.push(...wrong(item, schema.items, `item ${nth + 1} of ${where}`, root, depth + 1));
    }
  }
  return found;
}

// A value that has to be one of several: what is wrong with it as the one that it most looks like.
function noneOf(value, several, where, root, depth) {
  const results = several.map((one) => wrong(value, one, where, root, depth + 1));
  if (results.some((found) => found.length === 0)) return [];
  const resolved = several.map((one) => (isSchema(one) && one.$ref !== undefined ? pointed(root, one.$ref) : one));
  const alike = results.filter((_, nth) => isSchema(resolved[nth]) && takes(kindsOf(resolved[nth]), value.kind));
  if (alike.length === 1) return alike[0];
  if (alike.length > 1) return [];
  const kinds = [...new Set(resolved.flatMap((one) => (isSchema(one) ? kindsOf(one) : [])))];
  return [[value.at, `${where} is ${article(value.kind)} and has to be ${kinds.map(article).join(" or ")}`]];
}

function members(value, schema, where, root, depth) {
  if (!isSchema(schema.properties)) return [];
  const { properties } = schema;
  const isOpen =
    schema.additionalProperties === true || isSchema(schema.additionalProperties) || schema.patternProperties !== undefined ||
    schema.anyOf !== undefined || schema.oneOf !== undefined || schema.allOf !== undefined;
  const names = Object.keys(properties);
  const given = new Set(value.entries.map((entry) => entry.name));
  const required = Array.isArray(schema.required) ? schema.required.filter((name) => typeof name === "string") : [];
  const takesThese = () => `it takes ${listed(names.map((name) => (required.includes(name) ? name : `${name}?`))) || "none"}`;
  const found = [];
  const isWhole = where.startsWith("`");
  const lacking = new Set(value.partial ? [] : required.filter((name) => !given.has(name)));
  for (const entry of value.entries) {
    if (Object.hasOwn(properties, entry.name)) {
      const inner = isWhole ? `argument ${code(entry.name)} of ${where}` : `${code(entry.name)} of ${where}`;
      found.push(...wrong(entry.value, properties[entry.name], inner, root, depth + 1));
    } else if (!isOpen) {
      const near = host.nearest(entry.name, names.filter((name) => !given.has(name)));
      const way = near.length > 0 ? `did you mean ${near.map(code).join(" or ")}?` : takesThese();
      // One slip is told once.
      for (const name of near) lacking.delete(name);
      found.push([entry.at, `${where} has no ${isWhole ? "argument" : "member"} ${code(entry.name)}; ${way}`]);
    }
  }
  if (lacking.size > 0) {
    found.push([value.at, `${isWhole ? `this call of ${where}` : where} lacks ${[...lacking].map(code).join(", ")}; ${takesThese()}`]);
  }
  return found;
}

function wrongCall(call, full, schema) {
  const { args, at } = call;
  const where = code(full);
  if (args === null || !isSchema(schema)) return [];
  const [first] = args;
  const object = (entries) => ({ at, kind: "object", partial: false, entries });
  if (first === undefined) return wrong(object([]), schema, where, schema, 0);
  if (first.kind === undefined) return [];
  if (first.kind === "object") return wrong({ ...first, at }, schema, where, schema, 0);
  const names = runtime.positions(schema);
  if (args.length > names.length) {
    return [[at, `${where} takes ${names.length} argument${names.length === 1 ? "" : "s"} but ${args.length} were given`]];
  }
  return wrong(object(args.map((value, nth) => ({ name: names[nth], at: value.at, value }))), schema, where, schema, 0);
}

// The calls of a program, as `prepare` found them. Gives what is wrong, in the order of the lines.
runtime.check = (text) => {
  const servers = new runtime.Names(host.servers());
  const lists = new Map();
  const schemas = new Map();
  const list = (server) => {
    if (!lists.has(server)) {
      const answer = host.names(server);
      lists.set(server, Array.isArray(answer) ? new runtime.Names(answer) : undefined);
    }
    return lists.get(server);
  };
  const about = (full) => {
    if (!schemas.has(full)) schemas.set(full, host.describe(full));
    return schemas.get(full);
  };
  const find = (call) => {
    if (call.full !== undefined) return { full: call.full };
    const server = servers.byIdentifier.get(call.server);
    if (server === undefined) return { problem: [call.serverAt, runtime.missing("tools", call.server, call.server, servers).message] };
    const names = list(server);
    if (names === undefined) return {};
    const tool = names.byIdentifier.get(call.tool);
    if (tool !== undefined) return { full: `${server}.${tool}` };
    return { problem: [call.at, runtime.missing(`tools.${call.server}`, `${server}.${call.tool}`, call.tool, names).message] };
  };
  const found = [];
  for (const call of JSON.parse(text)) {
    const { full, problem } = find(call);
    if (problem !== undefined) found.push(problem);
    if (full === undefined) continue;
    const tool = about(full);
    if (tool.kind === undefined) found.push(...wrongCall(call, full, JSON.parse(tool.inputSchema)));
    else if (tool.kind === "unknown-tool") found.push([call.at, tool.message]);
  }
  found.sort((one, other) => one[0] - other[0]);
  return found.slice(0, MAX_PROBLEMS);
};
