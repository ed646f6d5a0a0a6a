// Exceptions as the program's author should see them: its own frames, and the chain of causes.

const MAX_CAUSES = 8;
const MAX_FRAMES = 60;

runtime.headOf = (error) => {
  const name = text(error.name) || "Error";
  const message = text(error.message);
  return message === "" ? name : `${name}: ${message}`;
};

function text(value) {
  try {
    return typeof value === "string" ? value : value === undefined || value === null ? "" : String(value);
  } catch {
    return "";
  }
}

// The frames of the program's own code, in the author's lines and columns.
runtime.framesOf = (error) => {
  const { stack } = error;
  return typeof stack === "string" ? host.ownFrames(stack, MAX_FRAMES) : "";
};

function told(error, depth) {
  if (!(error instanceof Error)) return `Uncaught ${runtime.inspect(error)}`;
  const frames = runtime.framesOf(error);
  let shown = runtime.headOf(error) + (frames === "" ? "" : `\n${frames}`);
  if (depth < MAX_CAUSES) {
    if (Object.hasOwn(error, "cause") && error.cause !== undefined) shown += `\nCaused by: ${told(error.cause, depth + 1)}`;
    if (error instanceof AggregateError && Array.isArray(error.errors)) {
      for (const one of error.errors.slice(0, MAX_CAUSES)) shown += `\nOne of them: ${told(one, depth + 1).replaceAll("\n", "\n  ")}`;
    }
  }
  return shown;
}

// What the host is told of an exception that nothing caught: class, message, traceback, and of a failed
// call what it was.
runtime.uncaught = (error) => {
  if (!(error instanceof Error)) {
    const shown = runtime.inspect(error);
    return { class: error === null ? "null" : typeof error, message: typeof error === "string" ? error : shown, traceback: told(error, 0) };
  }
  const made = { class: text(error.name) || "Error", message: text(error.message), traceback: told(error, 0) };
  if (error instanceof runtime.errors.ToolError && text(error.tool) !== "") {
    Object.assign(made, {
      tool: text(error.tool), kind: text(error.kind),
      limitName: error instanceof runtime.errors.LimitExceeded ? text(error.limitName) : undefined,
      limit: Number(error.limit) || 0, used: Number(error.used) || 0,
    });
  }
  return made;
};

// Rejections that nothing has handled yet.
const unhandled = new Map();
runtime.rejected = (promise, reason, handled) => {
  if (handled) unhandled.delete(promise);
  else unhandled.set(promise, reason);
};
runtime.firstUnhandled = () => {
  for (const reason of unhandled.values()) return [reason];
  return undefined;
};
runtime.forgetUnhandled = () => {
  if (unhandled.size > 0) unhandled.clear();
};

// In place of what JSON would show as empty: for results and arguments.
runtime.plain = (value) => {
  if (value instanceof Map) return Object.fromEntries(Array.from(value, ([key, item]) => [typeof key === "object" ? JSON.stringify(key) : String(key), item]));
  if (value instanceof Set) return Array.from(value);
  if (value instanceof Error) return { name: text(value.name), message: text(value.message), ...value };
  if (value instanceof RegExp) return String(value);
  const bytes = value instanceof ArrayBuffer ? new Uint8Array(value) : value;
  if (!(bytes instanceof Uint8Array || bytes instanceof Uint8ClampedArray)) return Array.from(value, (item) => item);
  const plain = new Uint8Array(bytes);
  return host.decodeText(plain, "utf-8", true) ?? host.base64(plain);
};
