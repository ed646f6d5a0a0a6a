// The real front end of AutoGen Studio's MCP panel: its class McpWebSocketClient, taken out of the source
// maps of the user interface in the PyPI package, and driven as the panel's tabs and dialog drive it.
//
// The argument is JSON: `ui`, the package's folder with the source maps; `typescript`, the folder of that
// package; `page`, the origin that the user interface was loaded from; `token`, what a login has left in
// the browser's storage; `params`, the server to open; `operations`, each as the panel sends it, with
// `answer` beside it if the server is going to ask the user.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const asked = JSON.parse(process.argv[2]);
const PATIENCE = 30_000;

// What a browser has and Node.js has not. With an origin of its own, fetch and WebSocket know what "/api"
// is relative to, and send the header Origin.
globalThis.window = { location: new URL(asked.page) };
globalThis[Symbol.for("undici.globalOrigin.1")] = new URL(asked.page);
globalThis.localStorage = { getItem: (name) => (name === "auth_token" ? (asked.token ?? null) : null) };

// The class tells the console of each frame.
const frames = [];
console.log = (text, frame) => text === "Received MCP WebSocket message:" && frames.push(frame);
const errors = [];
console.error = (...words) => errors.push(words.join(" "));

let waiters = [];

const { McpWebSocketClient } = await import(extract("views/mcp/api"));
let state = { activityMessages: [], pendingElicitations: [] };
const client = new McpWebSocketClient(asked.params, (change) => {
  state = { ...state, ...change };
  wake();
});

await client.connect();
await until("the capabilities", () => state.capabilities || state.error);
const { connected, capabilities, error, sessionId } = state;
const answers = [];
if (!error) {
  for (const operation of asked.operations) answers.push(await perform(operation));
  client.ping();
  await until("the answer to a ping", () => frames.some((frame) => frame.type === "pong"));
}
const activities = state.activityMessages.map(({ activity_type: type, message }) => [type, message]);
const waiting = state.pendingElicitations.length;
client.disconnect();
const after = { connected: state.connected, error: state.error };
const types = frames.map((frame) => frame.type);
process.stdout.write(JSON.stringify({
  connected, error, capabilities, session: Boolean(sessionId), answers, activities, waiting, types, after, errors,
}));

/** One click in the panel, and what the user says if the server asks. */
async function perform({ answer, ...operation }) {
  const ended = client.executeOperation(operation).then(
    (data) => ({ data }),
    (error) => ({ error: error.message }),
  );
  if (answer) {
    await until("the dialog", () => state.pendingElicitations.length > 0);
    const [{ request_id, session_id, message, requestedSchema }] = state.pendingElicitations;
    client.sendElicitationResponse({ type: "elicitation_response", request_id, session_id, ...answer });
    return { asked: message, fields: Object.keys(requestedSchema?.properties ?? {}), ...(await ended) };
  }
  return ended;
}

/** Waits until the state is as it should be; it changes with what comes. */
async function until(what, holds) {
  const late = setTimeout(() => {
    process.stderr.write(`${what} did not come: ${JSON.stringify({ state, frames }, null, 1)}\n`);
    process.exit(1);
  }, PATIENCE);
  while (!holds()) await new Promise((resolve) => waiters.push(resolve));
  clearTimeout(late);
}

function wake() {
  const woken = waiters;
  waiters = [];
  for (const resolve of woken) resolve();
}

/** Writes a module of the user interface and all that it imports, without the types, below the working
 * directory. Gives the module's address. */
function extract(module) {
  const ts = createRequire(path.join(asked.typescript, "package.json"))("typescript");
  const sources = new Map();
  for (const file of readdirSync(asked.ui).filter((file) => file.endsWith(".js.map"))) {
    const map = JSON.parse(readFileSync(path.join(asked.ui, file), "utf8"));
    for (const [i, source] of map.sources.entries()) {
      const name = source.split("/src/components/")[1];
      if (name) sources.set(name, map.sourcesContent[i]);
    }
  }
  const folder = path.resolve("studio-ui");
  const write = (name) => {
    const source = sources.get(`${name}.ts`);
    if (source === undefined) throw new Error(`the user interface has no module ${name}.ts`);
    const options = { target: "ES2022", module: "ESNext" };
    // Imports of types only go with the types.
    let { outputText: text } = ts.transpileModule(source, { compilerOptions: options });
    const file = path.join(folder, `${name}.mjs`);
    mkdirSync(path.dirname(file), { recursive: true });
    text = text.replace(/ from "(\.[^"]*)"/g, (_, relative) => {
      write(path.join(path.dirname(name), relative));
      return ` from "${relative}.mjs"`;
    });
    writeFileSync(file, text);
  };
  write(module);
  return pathToFileURL(path.join(folder, `${module}.mjs`)).href;
}
