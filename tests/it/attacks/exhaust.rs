//! The attacker wants time, memory or output without end, or wants others to have none.
//!
//! Reached by: any script. Defended by: fuel in every compiled instruction and byte of a bulk copy,
//! the meter around each poll of the guest, the memory limiter, the console, the broker's counters.

use std::time::{Duration, Instant};

use toolcell::Script;
use toolcell::limits::Limits;

use super::{Attack, LATE, alone, attack, host, tight, value};
use crate::hosts::block_on;

const COMPUTE: Duration = Duration::from_millis(300);

/// An attack on the processor: it says hello, and computes for ever.
#[track_caller]
fn computes_for_ever(source: &str) -> Attack {
    let limits = Limits { compute_time: COMPUTE, ..tight() };
    let attack = attack(limits, &format!("print('hello', flush=True)\n{source}"));
    attack.printed("hello\n").stopped_by("limit.compute_time", 300, COMPUTE);
    let usage = attack.report.usage;
    assert!(usage.compute >= COMPUTE && usage.compute < COMPUTE + LATE, "{usage:?}");
    attack
}

#[test]
fn i_loop() {
    computes_for_ever("while True: pass");
}

#[test]
fn i_loop_and_catch_whatever_would_stop_me() {
    computes_for_ever(
        "while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass",
    );
}

#[test]
fn i_loop_where_cleaning_up_is_sacred() {
    computes_for_ever("try:\n    1 / 0\nfinally:\n    while True: pass");
    computes_for_ever(
        "class Trap:\n    def __del__(self):\n        while True: pass\nTrap()\nprint('unreachable')",
    );
    computes_for_ever("import atexit\n@atexit.register\ndef late():\n    while True: pass");
    // The value is written as JSON after the last line of mine.
    computes_for_ever(
        "class Late(dict):\n    def items(self):\n        while True: pass\nLate(a=1)",
    );
    computes_for_ever(
        "class Late(Exception):\n    def __str__(self):\n        while True: pass\nraise Late()",
    );
}

#[test]
fn i_loop_in_c() {
    computes_for_ever("import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')");
    computes_for_ever("7 ** (10 ** 8)");
    computes_for_ever("str(1 << 10 ** 7)");
    computes_for_ever("import itertools\nsum(itertools.count())");
    computes_for_ever(
        "items = [str(n) for n in range(100_000)]\nwhile True: sorted(items, reverse=True)",
    );
    computes_for_ever(
        "import itertools, collections\ncollections.deque(itertools.repeat(1), maxlen=0)",
    );
    computes_for_ever(
        "import json\ntext = json.dumps(list(range(100_000)))\nwhile True: json.loads(text)",
    );
}

#[test]
fn i_burn_fuel_to_the_last_unit() {
    let limits = Limits { fuel: 200_000_000, ..tight() };
    let attack = attack(limits, "print('hello')\nwhile True: pass");
    attack.printed("hello\n").stopped_by("limit.fuel", 200_000_000, Duration::ZERO);
    assert_eq!(attack.report.usage.fuel, 200_000_000);
}

#[test]
fn i_copy_memory_in_bulk_where_no_instruction_counts() {
    let source = "a = bytearray(64 << 20)\nwhile True: a[:]";
    let limits = Limits { memory_bytes: 256 << 20, compute_time: COMPUTE, ..tight() };
    attack(limits.clone(), source).stopped_by("limit.compute_time", 300, COMPUTE);
    // Each byte of a copy is a unit of fuel: 64 MiB are copied some three times, not three hundred.
    let limits = Limits { fuel: 200_000_000, compute_time: Duration::from_secs(10), ..limits };
    let attack = attack(limits, source);
    attack.stopped_by("limit.fuel", 200_000_000, Duration::ZERO);
}

/// Runs `hostile` as often as said, and meanwhile small scripts; the slowest of these is returned.
fn slowest_neighbour_of(hostile: &str, count: usize) -> Duration {
    let limits = Limits {
        memory_bytes: 256 << 20,
        compute_time: Duration::from_secs(60),
        deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    block_on(async {
        let hostile: Vec<_> = (0..count)
            .map(|_| {
                let script = Script::python(format!("print('go')\n{hostile}"));
                host().start(script.limits(limits.clone())).expect("a hostile run starts")
            })
            .collect();
        let mut running = Vec::with_capacity(count);
        for mut run in hostile {
            // Only once it has printed does it compute.
            assert!(run.next_event().await.is_some());
            running.push(run);
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            let started = Instant::now();
            let report = host().run(Script::python("sum(range(1000))")).await.expect("starts");
            assert_eq!(value(&report), 499_500);
            slowest = slowest.max(started.elapsed());
        }
        for run in running {
            run.cancellation().cancel();
            let report = run.await.expect("a cancelled run has a report");
            assert_eq!(report.error.expect("it was stopped").kind.to_string(), "cancelled");
            assert_eq!(report.stdout, "go\n");
        }
        slowest
    })
}

#[test]
fn i_leave_my_neighbours_no_turn() {
    let _alone = alone();
    // Twenty loops on two cores: a neighbour of a few milliseconds gets a twentieth of them each
    // time it asks, which makes a few hundred. Without turns it would wait for a minute.
    let slowest = slowest_neighbour_of("while True: pass", 20);
    assert!(slowest < Duration::from_secs(5), "a small run took {slowest:?} among twenty loops");
    let slowest = slowest_neighbour_of("a = bytearray(100 << 20)\nwhile True: a[:]", 2);
    assert!(slowest < Duration::from_secs(5), "a small run took {slowest:?} beside bulk copies");
}

#[test]
fn i_recurse_in_python() {
    for source in [
        "print('hello')\ndef f(): return f()\nf()",
        "print('hello')\nclass A:\n    def __getattr__(self, name): return getattr(self, name + 'x')\nA().y",
        "print('hello')\nimport re\nre.compile('(' * 50_000 + ')' * 50_000)",
    ] {
        let attack = attack(tight(), source);
        let error =
            attack.printed("hello\n").stopped_by("limit.stack", 1000, Duration::from_secs(5));
        assert!(error.message.contains("1000 frames"), "{}", error.message);
        assert!(error.traceback.as_deref().is_some_and(|text| text.contains("RecursionError")));
    }
    // Whoever catches it goes on.
    let caught =
        attack(tight(), "def f(): return f()\ntry: f()\nexcept RecursionError: result = 'on'");
    assert_eq!(caught.value(), "on");
}

#[test]
fn i_recurse_without_pythons_own_limit() {
    let source =
        "print('hello')\nimport sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()";
    let attack = attack(tight(), source);
    // Python's frames are in memory, its compiled code's on the stack: one of them ends.
    let kind = attack.printed("hello\n").report.error.as_ref().map(|error| error.kind.to_string());
    assert!(matches!(kind.as_deref(), Some("limit.stack" | "limit.memory")), "{kind:?}");
    assert!(attack.elapsed < tight().compute_time + LATE);
}

#[test]
fn i_recurse_in_c() {
    for source in [
        "import json\njson.loads('[' * 100_000)",
        "import json\ntry: json.loads('{\"a\":' * 100_000)\nexcept BaseException: pass",
        "a = []\nb = []\nfor _ in range(100_000): a, b = [a], [b]\na == b",
        "import itertools\ni = iter([])\nfor _ in range(100_000): i = itertools.chain(i, [1])\nnext(i)",
        "a = []\nfor _ in range(100_000): a = [a]\nimport pickle\npickle.dumps(a)",
    ] {
        let attack = attack(tight(), &format!("print('hello', flush=True)\n{source}"));
        let limit = Limits::STACK_BYTES;
        attack.printed("hello\n").stopped_by("limit.stack", limit, Duration::from_secs(10));
    }
}

#[test]
fn i_nest_deeper_than_a_reader_can_follow() {
    let deep = attack(tight(), "a = []\nfor _ in range(100_000): a = [a]\na");
    assert!(deep.failed_as("value").message.contains("1000 levels"));
    let allowed = attack(tight(), "a = []\nfor _ in range(900): a = [a]\na");
    // No reader of ours may need more stack than this for it, and serde_json follows only 128.
    let text = allowed.report.value.as_ref().expect("has a value").get();
    assert_eq!(text, format!("{}{}", "[".repeat(901), "]".repeat(901)));
    let source = attack(tight(), "eval('(' * 100_000)");
    // It calls itself a MemoryError, but no memory was refused.
    assert!(source.failed_as("exception").message.contains("too complex to parse"));
    let arguments = "a = 1\nfor _ in range(100_000): a = [a]\ntools['good']['nested'](filter=a)";
    let arguments = attack(tight(), arguments);
    assert!(arguments.report.error.is_some() && arguments.report.calls.iter().all(|call| !call.ok));
}

#[test]
fn i_allocate_in_one_burst_or_without_end() {
    let limit = tight().memory_bytes;
    for source in [
        "'a' * 10 ** 9",
        "items = []\nwhile True: items.append('x' * 100_000)",
        "b = b'x'\nwhile True: b += b",
        "b = bytearray(1)\nwhile True: b.extend(bytes(b))",
        "d = {}\nwhile True: d[len(d)] = bytes(4096)",
        "t = ()\nwhile True: t = (t, bytes(1024))",
        "import json\njson.loads('[' + '[1,2,3],' * 2_000_000 + '1]')",
    ] {
        let attack = attack(tight(), &format!("print('hello', flush=True)\n{source}"));
        attack.printed("hello\n").stopped_by("limit.memory", limit, Duration::from_secs(10));
        assert!(attack.report.usage.memory_bytes <= limit, "{source}: {:?}", attack.report.usage);
    }
}

#[test]
fn i_ask_for_more_memory_than_there_are_addresses() {
    // CPython refuses by itself; it is the memory limit all the same.
    let attack = attack(tight(), "print('hello')\nbytearray(2 ** 31 - 1)");
    attack.printed("hello\n").failed_as("limit.memory");
}

#[test]
fn i_catch_the_memory_error_and_go_on() {
    let source = "items = []\ntry:\n    while True: items.append(bytearray(100_000))\n\
                  except MemoryError:\n    count = len(items)\n    items.clear()\n[count > 100, 'on']";
    let caught = attack(tight(), source);
    assert_eq!(caught.value(), serde_json::json!([true, "on"]));
    assert!(caught.report.usage.memory_bytes <= tight().memory_bytes);
    // For ever, too, but not longer than the other limits allow.
    computes_for_ever(
        "while True:\n    try:\n        b = b'x'\n        while True: b += b\n    except MemoryError: pass",
    );
}

#[test]
fn i_flood_the_output() {
    let limits = Limits { output_bytes: 10_000, ..tight() };
    for source in [
        "while True: print('x' * 100)",
        "import os\nwhile True: os.write(1, b'x' * 100)",
        "import sys\nwhile True: print('x' * 100, file=sys.stderr); print('x' * 100)",
        "import sys\nwhile True: sys.stdout.write('x')",
        "print('x' * 5_000_000)",
        "import os\nwhile True: os.write(2, b'x' * 5_000_000)",
        // Longer than any one copy between guest and host.
        "print('x' * 40_000_000)",
        "from wit_world.imports import console\n\
         while True: console.write(console.Stream.STDERR, b'x' * 1000)",
    ] {
        let source = format!("print('the first line')\n{source}");
        let limits = Limits { memory_bytes: 256 << 20, ..limits.clone() };
        let attack = attack(limits, &source);
        attack.printed("the first line\n").stopped_by(
            "limit.output",
            640_000,
            Duration::from_secs(10),
        );
        let report = &attack.report;
        assert!(report.usage.output_bytes <= 640_000, "{source}: {:?}", report.usage);
        assert!(report.stdout.len() + report.stderr.len() <= 10_000 + 200, "{source}");
    }
}

#[test]
fn i_hide_what_i_print_among_noise() {
    let limits = Limits { output_bytes: 1000, ..tight() };
    let attack =
        attack(limits, "print('first')\nfor _ in range(100): print('x' * 99)\nprint('last')");
    assert!(attack.report.ok, "ten times the limit is not a flood: {:#?}", attack.report.error);
    let stdout = &attack.report.stdout;
    assert!(stdout.starts_with("first\n") && stdout.ends_with("last\n"), "{stdout}");
    assert!(stdout.contains(" bytes of output were not kept ...]"), "{stdout}");
    assert!(stdout.len() < 1100 && attack.report.usage.output_bytes == 10_011);
}

#[test]
fn i_return_more_than_anyone_wants() {
    let limits = Limits { output_bytes: 10_000, ..tight() };
    let large = attack(limits.clone(), "print('hello')\n'v' * 20_000");
    let error = large.printed("hello\n").stopped_by("limit.output", 10_000, Duration::ZERO);
    assert_eq!(error.used, Some(20_002));
    // My words on the way out are not for free either.
    let limits = Limits { memory_bytes: 768 << 20, ..limits };
    let error = attack(limits, "raise ValueError('w' * 30_000_000)");
    let error = error.failed_as("exception");
    assert!(error.message.len() < 2 << 20, "{} bytes of message", error.message.len());
    assert!(error.traceback.as_ref().is_some_and(|text| text.len() < 2 << 20));
}

#[test]
fn i_sleep_past_the_end() {
    let limits = Limits { deadline: COMPUTE, compute_time: COMPUTE, ..tight() };
    for source in [
        "import time\ntime.sleep(10 ** 6)",
        "import time\ntime.sleep(10 ** 10)",
        "import asyncio\nawait asyncio.sleep(10 ** 6)",
        "from wit_world.imports import tools\ntools.wait(2 ** 64 - 1)",
        "import select, time\nselect.select([], [], [], 10 ** 6)",
        "import time\nwhile True:\n    try: time.sleep(1)\n    except BaseException: pass",
    ] {
        let attack = attack(limits.clone(), &format!("print('hello', flush=True)\n{source}"));
        attack.printed("hello\n").stopped_by("limit.deadline", 300, COMPUTE);
        let usage = attack.report.usage;
        assert!(usage.wall >= COMPUTE, "{source}: {usage:?}");
        // Waiting is not computing.
        assert!(usage.compute < COMPUTE / 2, "{source}: {usage:?}");
    }
}
