"""Extism's side of the comparison: medians in seconds as one JSON object on stdout.

Needs `pip install extism`. The plugin does what `host/benches/plugins.rs` has its own do in kind: it is
given some bytes, looks at all of them and answers with eight.
"""

import base64
import json
import statistics
import time

from extism.extism import CompiledPlugin, Plugin

# What `WASM` is, in text: the sum of all bytes of the input.
# (module
#   (import "extism:host/env" "input_length" (func $length (result i64)))
#   (import "extism:host/env" "input_load_u8" (func $load (param i64) (result i32)))
#   (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
#   (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
#   (import "extism:host/env" "output_set" (func $output (param i64 i64)))
#   (func (export "sum") (result i32)
#     (local $n i64) (local $sum i64) (local $at i64)
#     (block $done (loop $next
#       (br_if $done (i64.ge_u (local.get $n) (call $length)))
#       (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (call $load (local.get $n)))))
#       (local.set $n (i64.add (local.get $n) (i64.const 1)))
#       (br $next)))
#     (local.set $at (call $alloc (i64.const 8)))
#     (call $store (local.get $at) (local.get $sum))
#     (call $output (local.get $at) (i64.const 8))
#     (i32.const 0)))
WASM = base64.b64decode(
    "AGFzbQEAAAABGAVgAAF+YAF+AX9gAX4BfmACfn4AYAABfwKRAQUPZXh0aXNtOmhvc3QvZW52DGlucHV0X2xlbmd0aA"
    "AAD2V4dGlzbTpob3N0L2Vudg1pbnB1dF9sb2FkX3U4AAEPZXh0aXNtOmhvc3QvZW52BWFsbG9jAAIPZXh0aXNtOmhv"
    "c3QvZW52CXN0b3JlX3U2NAADD2V4dGlzbTpob3N0L2VudgpvdXRwdXRfc2V0AAMDAgEEBwcBA3N1bQAFCjoBOAEDfg"
    "JAA0AgABAAWg0BIAEgABABrXwhASAAQgF8IQAMAAsLQggQAiECIAIgARADIAJCCBAEQQAL"
)
ARGUMENTS = b'{"name":"a plugin","weights":[0.5,1.5,2.0,4.0],"options":{"scale":2.0,"strict":true}}'


def medians(work, runs=2000):
    for _ in range(50):
        work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


compiled = CompiledPlugin(WASM)
kept = Plugin(compiled)


def fresh():
    answer = Plugin(compiled).call("sum", ARGUMENTS)
    assert int.from_bytes(answer, "little") == sum(ARGUMENTS), answer


def again():
    kept.call("sum", ARGUMENTS)


print(json.dumps({"extism/fresh": medians(fresh), "extism/kept": medians(again)}))
