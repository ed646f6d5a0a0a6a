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
