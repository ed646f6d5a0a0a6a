//! What a seed repeats: randomness, the clock, and the fuel that a run uses.

use serde_json::{Value, json};
use toolcell::Script;
use toolcell::sandbox::GuestDirectory;
use toolcell_tests::Cli;

use crate::hosts::{run, value};

/// Every way in which Python asks for chance or for the time.
const CHANCE: &str = r#"
import asyncio, datetime, os, random, secrets, tempfile, time, uuid
before = time.monotonic()
await asyncio.sleep(0.01)
time.sleep(0.01)
{
    "random": [random.random(), random.randint(0, 10**9), random.Random().random()],
    "system": [random.SystemRandom().random(), secrets.token_hex(8), os.urandom(4).hex()],
    "uuid": [str(uuid.uuid4()), str(uuid.uuid1())],
    "hash": [hash("text"), list({"a", "b", "c", "d", "e"})],
    "time": [time.time(), datetime.datetime.now().isoformat(), time.time_ns()],
    "passed": [time.monotonic() - before, time.perf_counter(), time.process_time()],
}
"#;

#[test]
fn a_seed_repeats_chance_time_and_fuel() {
    let with = |seed| run(Script::python(CHANCE).seed(seed));
    let (first, second, other) = (with(7), with(7), with(8));
    assert_eq!(value(&first), value(&second));
    assert_eq!(first.usage.fuel, second.usage.fuel);
    assert_eq!((first.seed, other.seed), (7, 8));
    let (first, other) = (value(&first), value(&other));
    for (kind, repeated) in [("random", false), ("system", false), ("uuid", false)] {
        assert_eq!(first[kind] == other[kind], repeated, "{kind}: {first} {other}");
    }
}

#[test]
fn without_a_seed_every_run_differs_and_says_its_seed() {
    let (one, two) = (run(Script::python(CHANCE)), run(Script::python(CHANCE)));
    assert_ne!(one.seed, two.seed);
    let (first, second) = (value(&one), value(&two));
    for kind in ["random", "system", "uuid", "time"] {
        assert_ne!(first[kind], second[kind], "{kind}");
    }
    let again = run(Script::python(CHANCE).seed(one.seed));
    assert_eq!(value(&again)["random"], first["random"]);
    assert_eq!(value(&again)["system"], first["system"]);
}

#[test]
fn two_processes_use_the_same_fuel_and_see_the_same() {
    let process = || {
        let cli = Cli::new("run").file("chance.py", CHANCE);
        cli.args(["chance.py", "--seed", "7", "--json"]).run().success().json()
    };
    let (one, two) = (process(), process());
    assert_eq!(one["value"], two["value"]);
    assert_eq!(one["usage"]["fuel"], two["usage"]["fuel"]);
    // Nor does it matter whether the instance was made ahead, nor which binary is the host.
    let here = run(Script::python(CHANCE).name("chance.py").seed(7));
    assert_eq!(json!(here.usage.fuel), one["usage"]["fuel"]);
    assert_eq!(value(&here), one["value"]);
}

#[test]
fn fuel_counts_the_work_and_not_the_machine() {
    let fuel = |source: &str| run(Script::python(source).seed(1)).usage.fuel;
    let source = "sum(range(100_000))";
    let counts: Vec<u64> = (0..5).map(|_| fuel(source)).collect();
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    let (once, twice) =
        (fuel("for i in range(100_000): pass"), fuel("for i in range(200_000): pass"));
    let nothing = fuel("pass");
    let ratio = (twice - nothing) as f64 / (once - nothing) as f64;
    assert!((1.9..2.1).contains(&ratio), "{nothing} {once} {twice}");
}

#[test]
fn a_run_that_saw_a_directory_is_not_replayable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::python("open('/d/f', 'w').write('x')").directory(GuestDirectory {
        host: folder.path().to_owned(),
        guest: "/d".to_owned(),
        read_only: false,
    });
    let report = run(script);
    assert_eq!((value(&report), report.replayable), (Value::from(1), false));
    assert!(run(Script::python("1")).replayable);
}
