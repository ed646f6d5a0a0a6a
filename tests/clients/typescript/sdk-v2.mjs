// The official TypeScript SDK, version 2 (`@modelcontextprotocol/client`), which speaks both eras.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { arrival, calls, cancellation, era, longCall, tell, token, transport, url } from "../story.mjs";

const requestInit = { headers: { Authorization: `Bearer ${token}` } };
const connections = {
  stdio: () => new StdioClientTransport({ command: "toolcell", args: ["mcp", "--config", "toolcell.toml"] }),
  http: () => new StreamableHTTPClientTransport(new URL(url), { requestInit }),
  sse: () => new SSEClientTransport(new URL(url), { requestInit }),
};

const client = new Client({ name: "a-client", version: "1" }, { versionNegotiation: { mode: era } });
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
const running = client.callTool({ name, arguments: args }, { signal: controller.signal }).then(
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
