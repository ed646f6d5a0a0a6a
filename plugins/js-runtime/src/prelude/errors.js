// What a failed call rejects with: `ToolError`, and one class for each case of `tools.call-error`.
//
// Messages are the host's own and complete; nothing is added to them here.

class ToolError extends Error {
  constructor(message = "", { tool = "", content, structured } = {}) {
    super(message);
    this.tool = tool;
    if (content !== undefined) this.content = content;
    if (structured !== undefined) this.structured = structured;
  }
}

class CallError extends ToolError {}

function define(name, kind, parent) {
  const made = { [name]: class extends parent {} }[name];
  describe(made, name, kind);
  return made;
}

function describe(made, name, kind) {
  for (const [key, value] of [["name", name], ["kind", kind]]) {
    Object.defineProperty(made.prototype, key, { value, writable: true, configurable: true });
  }
}

describe(ToolError, "ToolError", "tool");
describe(CallError, "CallError", "call");

const byKind = {
  "denied": define("ToolDenied", "denied", CallError),
  "unknown-tool": define("UnknownTool", "unknown-tool", CallError),
  "invalid-arguments": define("InvalidArguments", "invalid-arguments", CallError),
  "unavailable": define("ToolUnavailable", "unavailable", CallError),
  "timed-out": define("ToolTimeout", "timed-out", CallError),
  "rejected": define("ToolRejected", "rejected", CallError),
  "exhausted": define("LimitExceeded", "exhausted", CallError),
  "cancelled": define("ToolCancelled", "cancelled", CallError),
  "interrupted": define("ToolInterrupted", "interrupted", CallError),
};

runtime.errors = { ToolError, CallError };
for (const kind of Object.keys(byKind)) runtime.errors[byKind[kind].name || byKind[kind].prototype.name] = byKind[kind];
runtime.byKind = byKind;

// `raw` is what the host said, `stack` the frames of whoever made the call.
runtime.callError = (tool, raw, stack) => {
  const { kind, message, ...details } = raw;
  const error = new byKind[kind](message, { tool });
  for (const key of Object.keys(details)) error[key] = details[key];
  if (stack !== undefined) hide(error, "stack", stack);
  return error;
};

const hide = (object, key, value) =>
  Object.defineProperty(object, key, { value, writable: true, configurable: true, enumerable: false });
runtime.hide = hide;
