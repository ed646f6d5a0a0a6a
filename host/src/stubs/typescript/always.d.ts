  export const tools: Tools;
  export default tools;
  /** Calls a tool by its full name, `server.tool`. */
  export function call(name: string, args?: object, options?: CallOptions): Promise<unknown>;

  export interface CallOptions {
    /** Cancels the call when it is aborted. */
    signal?: AbortSignal;
    /** Milliseconds after which the call is cancelled and rejects with a `ToolTimeout`. */
    timeout?: number;
  }

  /** What a failed call rejects with; of this very class: the tool itself says that it failed. */
  export class ToolError extends Error {
    readonly kind: string;
    readonly tool: string;
    readonly content?: unknown[];
    readonly structured?: unknown;
    constructor(message?: string);
  }
  /** A call that gave no answer. */
  export class CallError extends ToolError {}
  /** A rule of the operator refuses this call with these arguments. */
  export class ToolDenied extends CallError {}
  /** No such tool is granted to this run. */
  export class UnknownTool extends CallError {}
  /** The arguments do not fit the tool's schema; `path` is a JSON Pointer. Nothing was sent. */
  export class InvalidArguments extends CallError {
    readonly path: string;
  }
  /** The server cannot be reached, or its connection was lost. */
  export class ToolUnavailable extends CallError {}
  /** No answer came in time. */
  export class ToolTimeout extends CallError {
    readonly afterMs: number;
    readonly phase: string;
  }
  /** The server answered with a JSON-RPC error. */
  export class ToolRejected extends CallError {
    readonly code: number;
    readonly data?: unknown;
  }
  /** A limit of the run forbids this call. */
  export class LimitExceeded extends CallError {
    readonly limitName: string;
    readonly limit: number;
    readonly used: number;
  }
  /** The call was cancelled. */
  export class ToolCancelled extends CallError {}
  /** The host died while the call was out; whether it took effect is unknown. */
  export class ToolInterrupted extends CallError {}

  /** An image that a tool gave. */
  export class Image {
    constructor(data: Uint8Array, mimeType: string);
    readonly data: Uint8Array;
    readonly mimeType: string;
  }
  /** Audio that a tool gave. */
  export class Audio {
    constructor(data: Uint8Array, mimeType: string);
    readonly data: Uint8Array;
    readonly mimeType: string;
  }
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
  export function templates(server: string): Promise<(Omit<Listed, "uri" | "size"> & { uriTemplate: string })[]>;
  /** What is in a resource: a string, or bytes; if it has several parts, a list of them. */
  export function read(server: string, uri: string): Promise<any>;
}

declare module "prompts" {
  interface Prompt {
    name: string;
    title?: string;
    description?: string;
    arguments: { name: string; description?: string; required: boolean }[];
  }
  /** The servers of which prompts are granted. */
  export function servers(): string[];
  export function list(server: string): Promise<Prompt[]>;
  /** A prompt with its arguments filled in. */
  export function get(server: string, name: string, args?: object): Promise<{ role: string; content: unknown }[]>;
}

declare module "events" {
  type Level = "debug" | "info" | "notice" | "warning" | "error" | "critical" | "alert" | "emergency";
  /** Tells how far the script is: `progress(0.5, "half")`, or `progress(3, 10, "the third of ten")`. */
  export function progress(progress: number, message?: string): void;
  export function progress(progress: number, total?: number, message?: string): void;
  /** Writes an entry for a log. */
  export function log(level: Level, message: unknown): void;
}

// What is there without an import.
declare const tools: import("tools").Tools;
declare const ToolError: typeof import("tools").ToolError;
declare const CallError: typeof import("tools").CallError;
/** The run's input. */
declare const inputs: any;
