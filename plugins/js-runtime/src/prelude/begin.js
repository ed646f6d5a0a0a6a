// The first of these files: what the others need. Each is the body of a function of `host`, the
// functions that are made in Rust, and `runtime`, what these files share.

// Puts names into the global scope as an engine does: there, but not listed.
runtime.define = (names) => {
  for (const name of Object.keys(names)) {
    Object.defineProperty(globalThis, name, { value: names[name], writable: true, configurable: true, enumerable: false });
  }
};
runtime.began = 0;

// Before each program.
runtime.reset = (inputs) => {
  runtime.endAll();
  runtime.lookAgain();
  runtime.resetConsole();
  runtime.forgetUnhandled();
  runtime.began = host.monotonic();
  __toolcell.value = undefined;
  globalThis.inputs = inputs;
  // So that `result = …` needs no declaration.
  if (!("result" in globalThis)) globalThis.result = undefined;
};
