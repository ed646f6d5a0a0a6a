// The official TypeScript SDK, version 1 (`@modelcontextprotocol/sdk`).

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { arrival, calls, cancellation, longCall, tell, token, transport, url } from "../story.mjs";

const requestInit = { headers: { Authorization: `Bearer ${token}` } };
const connections = {
  stdio: () => new StdioClientTransport({ command: "toolcell", args: ["mcp", "--config", "toolcell.toml"] }),
  http: () => new StreamableHTTPClientTransport(new URL(url), { requestInit }),
  sse: () => new SSEClientTransport(new URL(url), { requestInit }),
};

const client = new Client({ name: "a-client", version: "1" });
await client.connect(connections[transport]());

async function call([name, args]) {
  const result = await client.callTool({ name, arguments: args });
  return { text: result.content[0].text, failed: result.isError ?? false };
}

const { tools } = await client.listTools();
const answers = [];
for (const asked of calls) answers.push(await call(asked));

const controller = new AbortController();
const [name, args] = longCall;
const running = client.callTool({ name, arguments: args }, undefined, { signal: controller.signal }).then(
  () => "it ended",
  () => "cancelled",
);
await arrival();
controller.abort();
const cancelled = await running;
await cancellation();
answers.push(await call(["run_python", { code: "'still here'" }]));
await client.close();
tell(tools.map((tool) => tool.name), answers, cancelled);
