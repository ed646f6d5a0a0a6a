// Mastra: the tools of an `MCPClient`, as an `Agent({ tools })` has them.

import { MCPClient } from "@mastra/mcp";
import { arrival, calls, cancellation, longCall, tell, token, transport, url } from "../story.mjs";

const servers = {
  stdio: () => ({ toolcell: { command: "toolcell", args: ["mcp", "--config", "toolcell.toml"], timeout: 300_000 } }),
  http: () => ({
    toolcell: { url: new URL(url), requestInit: { headers: { Authorization: `Bearer ${token}` } }, timeout: 300_000 },
  }),
};

const mcp = new MCPClient({ servers: servers[transport]() });
// Their names have the server's before them: toolcell_run_python.
const tools = await mcp.listTools();

async function call([name, args]) {
  try {
    const result = await tools[`toolcell_${name}`].execute(args);
    return { text: result.content?.[0].text ?? JSON.stringify(result), failed: false };
  } catch (error) {
    return { text: error.message, failed: true };
  }
}

const answers = [];
for (const asked of calls) answers.push(await call(asked));

const controller = new AbortController();
const [name, args] = longCall;
const running = tools[`toolcell_${name}`].execute(args, { abortSignal: controller.signal }).then(
  () => "it ended",
  () => "cancelled",
);
await arrival();
controller.abort();
const cancelled = await running;
await cancellation();
answers.push(await call(["run_python", { code: "'still here'" }]));
await mcp.disconnect();
tell(Object.keys(tools), answers, cancelled);
