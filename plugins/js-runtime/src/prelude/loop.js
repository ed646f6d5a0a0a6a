// Calls under way, timers, and the one place that waits for them.

const MAX_DELAY_MS = 2 ** 31 - 1;
// With a timer due at each turn, completions are asked for only so often: asking costs, and each answer
// is journalled.
const TURNS_BETWEEN_POLLS = 32;

let calls = new Map();
let timers = new Map();
let heap = [];
let lastTimer = 0;
let turns = 0;

const earlier = (one, other) => one.due < other.due || (one.due === other.due && one.id < other.id);

function push(timer) {
  let at = heap.length;
  heap.push(timer);
  while (at > 0) {
    const above = (at - 1) >> 1;
    if (!earlier(timer, heap[above])) break;
    heap[at] = heap[above];
    at = above;
  }
  heap[at] = timer;
}

function pop() {
  const first = heap[0];
  const last = heap.pop();
  if (heap.length > 0) {
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && earlier(heap[below + 1], heap[below])) below += 1;
      if (!earlier(heap[below], last)) break;
      heap[at] = heap[below];
      at = below;
    }
    heap[at] = last;
  }
  return first;
}

// The next timer that was not cleared.
function next() {
  while (heap.length > 0 && !timers.has(heap[0].id)) pop();
  return heap[0];
}

function delayOf(delay) {
  const ms = Math.trunc(Number(delay));
  return ms >= 1 && ms <= MAX_DELAY_MS ? ms : 1;
}

// `keeps` says whether a program goes on until the timer has fired.
runtime.setTimer = (callback, delay, interval, keeps) => {
  const timer = { id: ++lastTimer, due: host.monotonic() + delay, callback, interval, keeps };
  timers.set(timer.id, timer);
  push(timer);
  return timer.id;
};
runtime.clearTimer = (id) => timers.delete(id);

function timerFunction(name, repeats) {
  return {
    [name](callback, delay, ...args) {
      if (typeof callback !== "function") {
        throw new TypeError(`${name} wants a function, not ${callback === null ? "null" : typeof callback}`);
      }
      const ms = delayOf(delay);
      const call = args.length > 0 ? () => callback(...args) : callback;
      return runtime.setTimer(call, ms, repeats ? ms : undefined, !repeats);
    },
  }[name];
}

const clear = (name) => ({ [name](id) { timers.delete(Number(id)); } })[name];
runtime.define({
  setTimeout: timerFunction("setTimeout", false),
  setInterval: timerFunction("setInterval", true),
  clearTimeout: clear("clearTimeout"),
  clearInterval: clear("clearInterval"),
  setImmediate: (callback, ...args) => setTimeout(callback, 0, ...args),
  clearImmediate: clear("clearImmediate"),
});
const { setTimeout } = globalThis;

// Settles `done(answer)` when the call is complete.
runtime.watch = (id, done) => {
  calls.set(id, done);
  return id;
};
// Cancels a call whose waiter has gone.
runtime.abandon = (id) => {
  if (calls.delete(id)) host.cancel(id);
};

function wait(ms) {
  const completions = host.wait(ms === undefined ? -1 : Math.max(0, ms));
  for (let nth = 0; nth < completions.length; nth += 2) {
    const id = completions[nth];
    const done = calls.get(id);
    if (calls.delete(id)) done(completions[nth + 1]);
  }
}

// One turn, when no job is at hand. False: there is nothing that could be waited for.
runtime.turn = () => {
  const timer = next();
  if (timer === undefined) {
    if (calls.size === 0) return false;
    wait(undefined);
    return true;
  }
  const left = timer.due - host.monotonic();
  if (left > 0) {
    wait(left);
    return true;
  }
  turns += 1;
  if (calls.size > 0 && turns % TURNS_BETWEEN_POLLS === 0) wait(0);
  pop();
  if (timers.get(timer.id) === timer) {
    if (timer.interval === undefined) {
      timers.delete(timer.id);
    } else {
      timer.due = Math.max(timer.due + timer.interval, host.monotonic());
      push(timer);
    }
    timer.callback();
  }
  return true;
};

// Whether something is under way for which a program whose own code has ended is kept.
runtime.busy = () => {
  if (calls.size > 0) return true;
  if (heap.length === 0) return false;
  for (const timer of timers.values()) if (timer.keeps) return true;
  return false;
};

// Ends what an earlier program, or this one, left behind.
runtime.endAll = () => {
  if (calls.size > 0) for (const id of [...calls.keys()]) runtime.abandon(id);
  if (timers.size > 0) timers.clear();
  if (heap.length > 0) heap = [];
};
