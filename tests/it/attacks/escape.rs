//! The attacker wants out: to the host's files, network, environment, processes, time, or into the
//! next run.
//!
//! Reached by: any script, raw imports included. Defended by: nothing is imported but tools, a console
//! and an empty WASI; one instance for each run; cap-std under a directory that was given.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use toolcell::Script;
use toolcell::sandbox::GuestDirectory;

use super::{Attack, assert_next_run_is_unaffected, attack, attack_with, host, tight, value};
use crate::hosts::block_on;

/// Tries expressions in order; each gives its value, or the class of its exception.
#[track_caller]
fn try_each(expressions: &[&str], directory: Option<GuestDirectory>) -> Attack {
    let source = "import os, sys, socket\nresult = []\nfor code in inputs:\n    try: result.append(str(eval(code)))\n\
                  \x20   except Exception as e: result.append('! ' + type(e).__name__)";
    let mut script = Script::python(source).input(json!(expressions)).limits(tight());
    if let Some(directory) = directory {
        script = script.directory(directory);
    }
    attack_with(script)
}

/// Asserts that each of them raises.
#[track_caller]
fn all_fail(expressions: &[&str], directory: Option<GuestDirectory>) {
    let tried = try_each(expressions, directory).value();
    for (expression, result) in expressions.iter().zip(tried.as_array().expect("a list")) {
        let result = result.as_str().expect("a text");
        assert!(result.starts_with("! "), "{expression} gave {result}");
    }
}

#[test]
fn i_reach_for_the_hosts_files() {
    all_fail(
        &[
            "open('/etc/passwd').read()",
            "open('/proc/self/environ').read()",
            "open('etc/passwd').read()",
            "open('../../../../etc/passwd').read()",
            "open('/tmp/mine', 'w')",
            "os.listdir('/')",
            "os.listdir('.')",
            "os.stat('/')",
            "os.mkdir('/tmp/mine')",
            "os.open('/dev/zero', os.O_RDONLY)",
            "os.readlink('/proc/self/exe')",
            // The descriptors of a preopened directory, if there were one.
            "os.listdir(3)",
            "os.stat(3)",
            "os.open('x', os.O_RDONLY, dir_fd=3)",
        ],
        None,
    );
}

#[test]
fn i_reach_for_the_network_and_for_processes() {
    all_fail(
        &[
            "socket.create_connection(('127.0.0.1', 80), 1)",
            "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
            "socket.getaddrinfo('example.com', 80)",
            "__import__('urllib.request').request.urlopen('http://127.0.0.1:1/')",
            "__import__('http.client').client.HTTPConnection('127.0.0.1').connect()",
            "__import__('subprocess').run(['/bin/sh', '-c', 'id'])",
            "os.system('id')",
            "os.fork()",
            "os.execv('/bin/sh', ['sh'])",
            "os.kill(1, 9)",
            "__import__('threading').Thread(target=print).start()",
            "__import__('ctypes')",
            "__import__('_ctypes')",
            "__import__('mmap')",
            "__import__('fcntl')",
        ],
        None,
    );
    let environment = try_each(&["dict(os.environ)", "os.getenv('PATH')"], None);
    assert_eq!(environment.value(), json!(["{}", "None"]));
}

/// A folder with a secret, and in it the one that the guest is given.
fn folders() -> (TempDir, GuestDirectory) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let given = folder.path().join("given");
    fs::create_dir_all(given.join("sub")).expect("a folder can be made");
    fs::write(folder.path().join("secret"), "SECRET").expect("a file can be written");
    fs::write(given.join("mine"), "MINE").expect("a file can be written");
    // What somebody else may have left there.
    let links: [(&Path, &str); 4] = [
        (Path::new("../secret"), "up"),
        (&folder.path().join("secret"), "absolute"),
        (Path::new(".."), "parent"),
        (Path::new("/etc"), "etc"),
    ];
    for (target, name) in links {
        std::os::unix::fs::symlink(target, given.join(name)).expect("a link can be made");
    }
    let directory = GuestDirectory { host: given, guest: "/data".to_owned(), read_only: false };
    (folder, directory)
}

#[test]
fn i_climb_out_of_the_directory_that_i_was_given() {
    let (folder, directory) = folders();
    all_fail(
        &[
            "open('/data/../secret').read()",
            "open('/data/sub/../../secret').read()",
            "open('/data/up').read()",
            "open('/data/absolute').read()",
            "open('/data/parent/secret').read()",
            "open('/data/etc/passwd').read()",
            "os.listdir('/data/..')",
            "os.listdir('/data/parent')",
            "os.listdir('/')",
            "open('/data/up', 'w')",
            "open('/data/parent/new', 'w')",
            "os.rename('/data/mine', '/data/../stolen')",
            "os.rename('/data/mine', '/data/parent/stolen')",
            "os.link('/data/../secret', '/data/hard')",
            "os.symlink('/etc/passwd', '/data/mylink')",
            // This link can be made; it leads nowhere, neither by name nor through a folder.
            "[os.symlink('../../secret', '/data/sub/mylink'), open('/data/sub/mylink').read()]",
            "[os.symlink('../..', '/data/sub/dir'), open('/data/sub/dir/secret').read()]",
        ],
        Some(directory.clone()),
    );
    assert_eq!(fs::read_to_string(folder.path().join("secret")).expect("is there"), "SECRET");
    assert!(!folder.path().join("stolen").exists() && !folder.path().join("new").exists());
    // What was given can be used.
    let used = try_each(
        &["open('/data/mine').read()", "open('/data/new', 'w').write('abc')"],
        Some(directory.clone()),
    );
    assert_eq!(used.value(), json!(["MINE", "3"]));
    assert!(!used.report.replayable);
    assert_eq!(fs::read_to_string(directory.host.join("new")).expect("is there"), "abc");
}

#[test]
fn i_write_where_i_may_only_read() {
    let (_folder, directory) = folders();
    let directory = GuestDirectory { read_only: true, ..directory };
    all_fail(
        &[
            "open('/data/new', 'w')",
            "open('/data/mine', 'a')",
            "open('/data/mine', 'r+')",
            "os.remove('/data/mine')",
            "os.rename('/data/mine', '/data/yours')",
            "os.mkdir('/data/folder')",
            "os.rmdir('/data/sub')",
            "os.symlink('mine', '/data/link')",
            "os.link('/data/mine', '/data/hard')",
            "os.truncate('/data/mine', 0)",
            "os.utime('/data/mine', (0, 0))",
            "os.open('/data/mine', os.O_RDONLY | os.O_TRUNC)",
            "os.open('/data/new', os.O_RDONLY | os.O_CREAT)",
        ],
        Some(directory.clone()),
    );
    let read = try_each(&["open('/data/mine').read()"], Some(directory.clone()));
    assert_eq!(read.value(), json!(["MINE"]));
    assert_eq!(fs::read_dir(&directory.host).expect("is there").count(), 6);
}

#[test]
fn i_take_all_of_the_hosts_file_descriptors() {
    let (_folder, directory) = folders();
    let source = "import os\nprint('hello', flush=True)\nheld = []\nwhile True: held.append(os.open('/data/mine', os.O_RDONLY))";
    let attack = attack_with(Script::python(source).limits(tight()).directory(directory.clone()));
    assert!(attack.failed_as("trap").message.contains("256 files"), "{:#?}", attack.report.error);
    attack.printed("hello\n");
    // Opening and closing is no crime.
    let source =
        "for _ in range(2000):\n    with open('/data/mine') as file: text = file.read()\ntext";
    let used = attack_with(Script::python(source).limits(tight()).directory(directory));
    assert_eq!(used.value(), "MINE");
}

const RAW: &str = "from wit_world.imports import tools, console\nresult = []\n\
                   def go(function, *args):\n    try: result.append(repr(function(*args))[:60])\n\
                   \x20   except Exception as e: result.append(type(getattr(e, 'value', e)).__name__)\n";

#[test]
fn i_call_the_imports_with_whatever_i_like() {
    let source = format!(
        "{RAW}go(tools.names, 'x' * 10_000_000)\ngo(tools.describe, 'a.' + 'b' * 10_000_000)\n\
         go(tools.call, 'a\\0b.c\\0', '{{}}')\ngo(tools.call, '', '')\ngo(tools.call, '.', '{{}}')\n\
         go(tools.call, 'good.echo', 'not json')\ngo(tools.call, 'good.echo', '[]')\n\
         go(tools.call, 'good.echo', '[' * 100_000)\ngo(tools.call, 'good.echo', 'x' * 20_000_000)\n\
         go(tools.cancel, 2 ** 64 - 1)\ngo(tools.cancel, 0)\ngo(tools.wait, 0)\ngo(tools.wait, None)"
    );
    let attack = attack(toolcell::limits::Limits { memory_bytes: 256 << 20, ..tight() }, &source);
    let unknown = "CallError_UnknownTool";
    let invalid = "CallError_InvalidArguments";
    assert_eq!(
        attack.value(),
        json!([
            unknown,
            unknown,
            unknown,
            unknown,
            unknown,
            invalid,
            invalid,
            invalid,
            "CallError_Exhausted",
            "None",
            "None",
            "[]",
            "[]"
        ])
    );
    // Nothing of a long name is kept.
    let records = &attack.report.calls;
    assert!(records.iter().all(|call| !call.ok && call.tool.len() <= 512), "{records:#?}");
}

#[test]
fn i_break_the_boundary_itself() {
    for call in [
        "tools.cancel(-1)",
        "tools.cancel(2 ** 64)",
        "tools.names(5)",
        "tools.call('\\udc80', '{}')",
        "console.write('neither', b'x')",
        "import componentize_py_runtime as r\nr.call_import(10 ** 6, [], 1)",
    ] {
        let attack = attack(tight(), &format!("print('hello', flush=True)\n{RAW}{call}"));
        let error = attack.printed("hello\n").report.error.as_ref().expect("it broke");
        assert!(
            matches!(error.kind.to_string().as_str(), "trap" | "exception"),
            "{call}: {error:#?}"
        );
    }
    // From a finalizer, in the middle of another call's preparations.
    let source = format!(
        "{RAW}class Late:\n    def __del__(self): go(tools.call, 'good.echo', '{{\"text\": \"late\"}}')\n\
         class Text(str):\n    def encode(self, *a): Late(); return str.encode(self, *a)\n\
         Late()\ntry: globals()['tools'].call(Text('good.echo'), '{{}}')\nexcept Exception as e: pass\nlen(result) > 0"
    );
    assert_eq!(attack(tight(), &source).value(), true);
}

#[test]
fn i_leave_something_for_the_next_run() {
    for vandalism in [
        "import builtins, sys, json, re\nbuiltins.sum = lambda items: 0\njson.dumps = lambda value: 'mine'\n\
         re.sub = None\nsys.setrecursionlimit(50)\nsys.modules['os'] = None\nbuiltins.mine = 1",
        "import sys\nfor name in list(sys.modules):\n    if name.startswith('toolcell_runtime'): del sys.modules[name]",
        "import sys\nruntime = sys.modules['toolcell_runtime.program']\nruntime.run = runtime._run = None\nruntime.main.__dict__.clear()",
        "import gc\nfor thing in gc.get_objects():\n    if type(thing) is dict: thing.pop('__name__', None)",
        "import os\nos.environ['MINE'] = '1'\nos._exit(0)",
        "import os\nos.abort()",
        "import builtins\nbuiltins.mine = 1\nimport json\njson.loads('[' * 100_000)",
    ] {
        let report = block_on(host().run(Script::python(vandalism).limits(tight())));
        report.expect("the run starts");
        assert_next_run_is_unaffected();
        let look = "import os, builtins, sys\n[hasattr(builtins, 'mine'), dict(os.environ), 'mine' in globals()]";
        let next = block_on(host().run(Script::python(look))).expect("the next run starts");
        assert_eq!(value(&next), json!([false, {}, false]), "after {vandalism}");
    }
}

#[test]
fn i_look_for_randomness_or_time_that_is_not_mine() {
    let source = "import random, uuid, secrets, os, time, datetime, tempfile\n\
                  time.sleep(0.01)\n\
                  [random.random(), str(uuid.uuid4()), str(uuid.uuid1()), secrets.token_hex(), os.urandom(8).hex(),\n\
                  hash('text'), hash(b'x'), time.time(), time.monotonic(), time.perf_counter(), time.process_time(),\n\
                  str(datetime.datetime.now()), id(object()), list({'b', 'a', 'c'}), random.SystemRandom().random(),\n\
                  next(tempfile._get_candidate_names()), time.time_ns(), repr(object())]";
    let draw = |seed: u64| {
        let attack = attack_with(Script::python(source).seed(seed).limits(tight()));
        (attack.value(), attack.report.usage.fuel)
    };
    let (first, second, other) = (draw(7), draw(7), draw(8));
    assert_eq!(first, second);
    let drawn = |run: &(serde_json::Value, u64)| run.0.as_array().expect("a list")[..5].to_vec();
    assert_ne!(drawn(&first), drawn(&other));
    assert_ne!(first.0[0], other.0[0]);
}
