// What a plugin's module may import, for editors and for tsc. `toolcell stubs --lang typescript` writes the
// same with the types of your own servers' tools.

declare module "tools" {
  interface CallOptions {
    /** Cancels the call when it is aborted. */
    signal?: AbortSignal;
    /** Milliseconds after which the call is cancelled and rejects with a `ToolTimeout`. */
    timeout?: number;
  }
  type Tool = (args?: object, options?: CallOptions) => Promise<unknown>;
  export const tools: Record<string, Record<string, Tool>>;
  /** What a failed call rejects with. */
  export class ToolError extends Error {
    readonly kind: string;
    readonly tool: string;
  }
}

declare module "events" {
  type Level = "debug" | "info" | "notice" | "warning" | "error" | "critical" | "alert" | "emergency";
  /** Writes an entry for a log. */
  export function log(level: Level, message: unknown): void;
  /** Tells how far the tool is: `progress(0.5, "half")`, or `progress(3, 10, "the third of ten")`. */
  export function progress(progress: number, total?: number | string, message?: string): void;
}

declare module "state" {
  /** What this plugin keeps for its caller's session, by key. Nobody else sees it. */
  export function get(key: string): unknown;
  /** Keeps a value that JSON can say, in place of an earlier one. Throws a `ToolError` if there is no room. */
  export function set(key: string, value: unknown): void;
  /** Forgets a value; tells whether there was one. ("delete" is no name that could be imported by itself.) */
  function forget(key: string): boolean;
  export { forget as delete };
  export function keys(): string[];
}

declare module "asks" {
  /** Which questions somebody behind the caller would answer. The manifest has to ask for `questions`. */
  export function abilities(): { elicitation: boolean; sampling: boolean };
  /** Asks the person with a form: a message, and a flat JSON Schema of type "object". */
  export function elicit(
    message: string,
    schema: object,
  ): Promise<{ action: "accept"; content: Record<string, unknown> } | { action: "decline" | "cancel" }>;
  /** Asks the model: takes the params of MCP's `sampling/createMessage`, gives its result. */
  export function sample(params: object): Promise<{ role: string; content: unknown; model: string; stopReason?: string }>;
}

declare module "resources" {
  interface Listed {
    uri: string;
    name: string;
    title?: string;
    description?: string;
    mimeType?: string;
    size?: number;
  }
  /** The servers of which resources are granted. */
  export function servers(): string[];
  export function list(server: string): Promise<Listed[]>;
  /** What is in a resource: a string, or bytes; if it has several parts, a list of them. */
  export function read(server: string, uri: string): Promise<any>;
}

declare module "prompts" {
  /** The servers of which prompts are granted. */
  export function servers(): string[];
  /** A prompt with its arguments filled in. */
  export function get(server: string, name: string, args?: object): Promise<{ role: string; content: unknown }[]>;
}
