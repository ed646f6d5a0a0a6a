// quickjs-emscripten's side of the comparison: medians in seconds as one JSON object on stdout.
// Needs `npm install quickjs-emscripten`.

import { getQuickJS } from "quickjs-emscripten";

function median(work, runs = 2000) {
  for (let n = 0; n < 50; n++) work();
  const times = [];
  for (let n = 0; n < runs; n++) {
    const start = process.hrtime.bigint();
    work();
    times.push(Number(process.hrtime.bigint() - start) / 1e9);
  }
  return times.sort((a, b) => a - b)[runs >> 1];
}

const quickjs = await getQuickJS();

function evaluate(context) {
  const value = context.unwrapResult(context.evalCode("1 + 1"));
  if (context.getNumber(value) !== 2) throw new Error("1 + 1 is not 2");
  value.dispose();
}

// One heap for all contexts: what a host that trusts its scripts would do.
function context() {
  const context = quickjs.newContext();
  evaluate(context);
  context.dispose();
}

// A runtime of its own, with its heap and its limits: the nearest to a sandbox.
function runtime() {
  const runtime = quickjs.newRuntime();
  const context = runtime.newContext();
  evaluate(context);
  context.dispose();
  runtime.dispose();
}

console.log(JSON.stringify({
  "quickjs-emscripten/context": median(context),
  "quickjs-emscripten/runtime": median(runtime),
}));
