//! Python as agents write it: values, output, input, failures, modules. No tools.

use serde_json::{Value, json};
use toolcell::Script;
use toolcell_tests::Cli;

use crate::hosts::{Configured, failure, python, run, value};

#[track_caller]
fn check(source: &str, expected: Value) {
    assert_eq!(value(&python(source)), expected, "{source}");
}

#[test]
fn the_value_is_the_last_expression_or_result() {
    check("1 + 1", json!(2));
    check("x = 20\nx * 2 + 2", json!(42));
    check("if True:\n    7\n", json!(null));
    check("x = 1", json!(null));
    check("None", json!(null));
    check("", json!(null));
    check("# nothing but words", json!(null));
    check("result = [1, 2]\nprint('done')", json!([1, 2]));
    check("result = 1\n2", json!(2));
    check("result = 3\nNone", json!(3));
    check("a = 1; b = 2; a + b", json!(3));
    check("[\n  1,\n  2,\n]", json!([1, 2]));
    check("text = '''\nx\n'''\ntext", json!("\nx\n"));
    check("from __future__ import annotations\n'future'", json!("future"));
    check("(y := 5)", json!(5));
    check("def f():\n    return 'é世🌍'\n\nf()\n\n\n", json!("é世🌍"));
    check("\u{feff}'with a byte order mark'", json!("with a byte order mark"));
    check("'crlf'\r\n", json!("crlf"));
}

#[test]
fn top_level_await_works_and_so_does_a_forgotten_one() {
    check("import asyncio\nawait asyncio.sleep(0, 'slept')", json!("slept"));
    check("async def f():\n    return 1\n\nf()", json!(1));
    check("async def f():\n    return 2\n\nresult = await f()", json!(2));
    check("import asyncio\nasync def f():\n    return 3\n\nasyncio.run(f())", json!(3));
    let nested =
        "import asyncio\nasync def f():\n    return 4\n\nx = await f()\nasyncio.run(f()) + x";
    check(nested, json!(8));
    check("import asyncio\nt = asyncio.ensure_future(asyncio.sleep(0, 5))\nawait t", json!(5));
    check("async def g():\n    yield 1\n    yield 2\n\n[x async for x in g()]", json!([1, 2]));
}

#[test]
fn python_values_become_json() {
    check(
        "import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int\n    y: object\n\nPoint(1, Point(2, None))",
        json!({"x": 1, "y": {"x": 2, "y": null}}),
    );
    check(
        "import datetime as d\n[d.datetime(2026, 1, 2, 3, 4, tzinfo=d.UTC), d.date(2026, 1, 2), d.timedelta(hours=1)]",
        json!(["2026-01-02T03:04:00+00:00", "2026-01-02", "1:00:00"]),
    );
    check("{3, 1, 2}", json!([1, 2, 3]));
    check("(1, frozenset([2]))", json!([1, [2]]));
    check("[b'text', b'\\xff\\x00']", json!(["text", "/wA="]));
    check("[float('nan'), float('inf'), 1.5]", json!([null, null, 1.5]));
    check(
        "{1: 'a', None: 'b', (1, 2): 'c', True: 'd'}['x':] if False else {2: 'a', None: 'b', (1, 2): 'c'}",
        json!({"2": "a", "null": "b", "(1, 2)": "c"}),
    );
    check(
        "import decimal, fractions\n[decimal.Decimal('1.10'), fractions.Fraction(1, 3)]",
        json!(["1.10", "1/3"]),
    );
    check(
        "import enum\nclass E(enum.Enum):\n    A = 'a'\n\n[E.A, {E.A: 1}]",
        json!(["a", {"a": 1}]),
    );
    check(
        "import collections\n[collections.Counter('aab'), collections.deque([1]), {'k': 1}.items()]",
        json!([{"a": 2, "b": 1}, [1], [["k", 1]]]),
    );
    check(
        "import pathlib, uuid\n[pathlib.Path('/a') / 'b', uuid.UUID(int=1)]",
        json!(["/a/b", "00000000-0000-0000-0000-000000000001"]),
    );
    check("range(3)", json!([0, 1, 2]));
    check("'half a pair: \\ud800'", json!("half a pair: ?"));
    let shown = value(&python("object()"));
    assert!(shown.as_str().is_some_and(|text| text.starts_with("<object object at")), "{shown}");
}

#[test]
fn big_integers_keep_every_digit() {
    let report = python("[2 ** 64, 10 ** 30, -(10 ** 20)]");
    let json = report.value.expect("a value");
    assert_eq!(
        json.get(),
        "[18446744073709551616,1000000000000000000000000000000,-100000000000000000000]"
    );
    let report = python("10 ** 5000");
    assert_eq!(report.value.expect("a value").get().len(), 5001);

    let shown = Cli::new("run").args(["-c", "{'n': 10 ** 30, 'x': []}"]).run().success();
    assert_eq!(shown.stdout, "{\n  \"n\": 1000000000000000000000000000000,\n  \"x\": []\n}\n");
}

#[test]
fn what_has_no_json_form_is_told_and_not_a_crash() {
    for (source, words) in [
        ("a = []\na.append(a)\na", "circular: a `list` contains itself"),
        ("d = {}\nd['d'] = [d]\nd", "circular: a `dict` contains itself"),
        ("x = []\nfor _ in range(5000):\n    x = [x]\nx", "nested more than 1000 levels deep"),
    ] {
        let report = python(source);
        let (kind, message, _) = failure(&report);
        assert_eq!(kind, "value", "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn what_is_printed_is_kept_in_order_and_told_from_errors() {
    let report = python(
        "import sys\nprint('a', end='')\nprint('b', file=sys.stderr)\nsys.stdout.write('c\\n')\nsys.stdout.buffer.write(b'd\\n')\nprint('é', 1, sep='|')",
    );
    assert_eq!(report.stdout, "ac\nd\né|1\n");
    assert_eq!(report.stderr, "b\n");
    let report = python("print('before')\n1 / 0");
    assert_eq!(report.stdout, "before\n");
}

#[test]
fn a_traceback_has_the_programs_lines_only() {
    let report = run(Script::python("def f(x):\n    return 1 / x\n\nf(0)").name("work.py"));
    let (kind, message, traceback) = failure(&report);
    assert_eq!((kind.as_str(), message), ("exception", "ZeroDivisionError: division by zero"));
    assert_eq!(
        traceback,
        "Traceback (most recent call last):\n  File \"work.py\", line 4, in <module>\n    f(0)\n    ~^^^\n  File \"work.py\", line 2, in f\n    return 1 / x\n           ~~^~~\nZeroDivisionError: division by zero\n"
    );
    // The frames of the standard library are not the program's either.
    for source in [
        "import json\njson.loads('{')",
        "import asyncio\nasync def f():\n    raise KeyError('k')\n\nawait asyncio.gather(f(), f())",
        "import asyncio\nasync def f():\n    raise KeyError('k')\n\nasyncio.run(f())",
    ] {
        let report = python(source);
        let (_, _, traceback) = failure(&report);
        let files = traceback.lines().filter(|line| line.trim_start().starts_with("File "));
        assert!(files.clone().count() > 0, "{traceback}");
        files.for_each(|line| assert!(line.contains("\"script.py\""), "{traceback}"));
    }
}

#[test]
fn chains_and_groups_of_exceptions_are_shown_whole() {
    let report = python(
        "def low():\n    raise KeyError('k')\n\ndef high():\n    try:\n        low()\n    except KeyError as e:\n        raise ValueError('bad') from e\n\nhigh()",
    );
    let (_, message, traceback) = failure(&report);
    assert_eq!(message, "ValueError: bad");
    let cause = traceback.find("KeyError: 'k'").expect("the cause");
    let direct = traceback.find("direct cause of the following").expect("the words between");
    assert!(cause < direct && direct < traceback.rfind("ValueError: bad").expect("the end"));

    let report = python("try:\n    1 / 0\nexcept ZeroDivisionError:\n    undefined");
    let (_, message, traceback) = failure(&report);
    assert_eq!(message, "NameError: name 'undefined' is not defined");
    assert!(traceback.contains("During handling of the above exception"), "{traceback}");

    let report = python(
        "import asyncio\nasync def f(n):\n    raise ValueError(n)\n\nasync with asyncio.TaskGroup() as group:\n    group.create_task(f(1))\n    group.create_task(f(2))",
    );
    let (kind, message, traceback) = failure(&report);
    assert_eq!(kind, "exception");
    assert!(message.starts_with("ExceptionGroup: unhandled errors in a TaskGroup"), "{message}");
    for part in ["ValueError: 1", "ValueError: 2", "line 3, in f", "+---------------- 2"] {
        assert!(traceback.contains(part), "{part}: {traceback}");
    }
    assert!(!traceback.contains("taskgroups.py"), "{traceback}");
}

#[test]
fn a_syntax_error_points_at_its_place() {
    let report = python("x = 1\ny = (2 +\n");
    let (kind, message, traceback) = failure(&report);
    assert_eq!((kind.as_str(), message), ("syntax", "SyntaxError: '(' was never closed"));
    assert_eq!(
        traceback,
        "  File \"script.py\", line 2\n    y = (2 +\n        ^\nSyntaxError: '(' was never closed\n"
    );
    for source in [
        "this is not Python at all",
        "\0",
        "x = 'a\0b'",
        "<html><body>502 Bad Gateway</body></html>",
        "{\"json\": true, }}",
        "  indented = 1",
        "def f():\nreturn 1",
        "return 5",
        "yield 1",
        "break",
        "nonlocal x",
    ] {
        assert_eq!(failure(&python(source)).0, "syntax", "{source:?}");
    }
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(failure(&python(&deep)).0, "syntax");
    let deep = format!("x = {}1", "-".repeat(200_000));
    assert!(!python(&deep).ok);
}

#[test]
fn an_exit_is_an_exit() {
    check("import sys\nprint('x')\nsys.exit()", json!(null));
    check("raise SystemExit(0)", json!(null));
    check("result = 1\nexit(0)", json!(1));
    let report = python("import sys\nprint('x')\nsys.exit(3)");
    assert_eq!(failure(&report), ("exit".to_owned(), "the script ended itself with status 3", ""));
    assert_eq!(report.stdout, "x\n");
    let report = python("import sys\nsys.exit('no data today')");
    assert_eq!(failure(&report).1, "the script ended itself with status 1");
    assert_eq!(report.stderr, "no data today\n");
    let report = python("import asyncio, sys\nasync def f():\n    sys.exit(5)\n\nawait f()");
    assert_eq!(failure(&report).1, "the script ended itself with status 5");
}

#[test]
fn input_is_a_variable_and_text() {
    let with = |source: &str, input: Value| value(&run(Script::python(source).input(input)));
    assert_eq!(with("inputs['a'] + 1", json!({"a": 41})), json!(42));
    assert_eq!(with("[input(), input('? '), inputs]", json!("x\ny")), json!(["x", "y", "x\ny"]));
    assert_eq!(
        with("import json, sys\njson.load(sys.stdin)", json!({"a": [1]})),
        json!({"a": [1]})
    );
    assert_eq!(
        with("import sys\n[line.strip() for line in sys.stdin]", json!("a\nb\n")),
        json!(["a", "b"])
    );
    assert_eq!(value(&python("inputs")), json!(null));

    for (source, input) in [("input()", None), ("input()\ninput()", Some(json!("only one line")))] {
        let script = Script::python(source);
        let report = run(match input {
            Some(input) => script.input(input),
            None => script,
        });
        let (kind, message, _) = failure(&report);
        assert_eq!(kind, "exception");
        assert!(message.starts_with("EOFError: "), "{message}");
    }
    assert!(failure(&python("input()")).1.contains("--input"));
}

#[test]
fn imports_can_be_kept_to_a_list() {
    let profile = "[profiles.narrow]\nimports = [\"json\", \"math\", \"os.path\", \"asyncio\"]\n";
    let configured = Configured::new(|_| profile.to_owned());
    for allowed in [
        "import json, math\n[json.loads('1'), math.floor(1.5)]",
        "from os.path import join\n1",
        "from os import path\n1",
        "import tools\n1",
        "import asyncio\nawait asyncio.sleep(0, 1)",
        // What the standard library needs for itself is its own business.
        "import json\njson.dumps({'a': 1.5})",
    ] {
        let report = configured.python(allowed);
        assert!(report.ok, "{allowed}: {report:#?}");
    }
    for refused in
        ["import os", "import re", "from os import getcwd", "def f():\n    import sys\nf()"]
    {
        let report = configured.python(refused);
        let (kind, message, traceback) = failure(&report);
        assert_eq!(kind, "exception");
        assert!(message.starts_with("ImportError: import of `"), "{message}");
        assert!(message.contains("allowed: asyncio, json, math, os.path"), "{message}");
        assert!(!traceback.contains("imports.py"), "{traceback}");
    }
    // The list ends with its run.
    check("import re, os\n1", json!(1));
}

#[test]
fn a_package_that_is_not_there_says_what_is() {
    let report = python("import numpy");
    let (_, message, traceback) = failure(&report);
    assert_eq!(message, "ModuleNotFoundError: No module named 'numpy'");
    assert!(traceback.contains("packages cannot be installed"), "{traceback}");
    let report = python("import ssl");
    assert!(failure(&report).2.contains("part of Python but not of this sandbox"));
}

/// Modules, and for each an expression over it and its value as Python shows it.
#[rustfmt::skip]
const STDLIB: &[(&str, &str, &str)] = &[
    ("abc", "issubclass(abc.ABC, object)", "True"),
    ("argparse", "argparse.ArgumentParser().parse_args([])", "Namespace()"),
    ("array", "array.array('i', [1]).tolist()", "[1]"),
    ("ast", "ast.literal_eval('[1, 2]')", "[1, 2]"),
    ("base64", "base64.b64encode(b'x')", "b'eA=='"),
    ("binascii", "binascii.hexlify(b'x')", "b'78'"),
    ("bisect", "bisect.bisect([1, 3], 2)", "1"),
    ("calendar", "calendar.isleap(2024)", "True"),
    ("cmath", "cmath.sqrt(-1)", "1j"),
    ("codecs", "codecs.encode('a', 'rot13')", "'n'"),
    ("collections", "collections.Counter('aa')['a']", "2"),
    ("configparser", "configparser.ConfigParser().sections()", "[]"),
    ("contextlib", "contextlib.nullcontext(1).enter_result", "1"),
    ("contextvars", "contextvars.ContextVar('v', default=1).get()", "1"),
    ("copy", "copy.deepcopy([[1]])", "[[1]]"),
    ("csv", "list(csv.reader(['a,\"b,c\"']))", "[['a', 'b,c']]"),
    ("dataclasses", "dataclasses.make_dataclass('P', ['x'])(1)", "P(x=1)"),
    ("datetime", "datetime.date(2026, 1, 31).isoformat()", "'2026-01-31'"),
    ("decimal", "decimal.Decimal('0.1') * 3", "Decimal('0.3')"),
    ("difflib", "difflib.get_close_matches('appel', ['apple'])", "['apple']"),
    ("email.message", "email.message.EmailMessage().get_content_type()", "'text/plain'"),
    ("enum", "enum.IntEnum('E', 'A').A.value", "1"),
    ("fnmatch", "fnmatch.fnmatch('a.py', '*.py')", "True"),
    ("fractions", "fractions.Fraction(2, 4)", "Fraction(1, 2)"),
    ("functools", "functools.reduce(max, [1, 3, 2])", "3"),
    ("glob", "glob.escape('*')", "'[*]'"),
    ("graphlib", "list(graphlib.TopologicalSorter({1: [2]}).static_order())", "[2, 1]"),
    ("gzip", "gzip.decompress(gzip.compress(b'x'))", "b'x'"),
    ("hashlib", "hashlib.sha256(b'').hexdigest()[:8]", "'e3b0c442'"),
    ("heapq", "heapq.nsmallest(1, [2, 1])", "[1]"),
    ("hmac", "hmac.new(b'k', b'm', 'sha256').hexdigest()[:4]", "'b600'"),
    ("html", "html.escape('<')", "'&lt;'"),
    ("html.parser", "html.parser.HTMLParser().feed('<p>')", "None"),
    ("http", "http.HTTPStatus.NOT_FOUND.value", "404"),
    ("importlib", "importlib.import_module('math').floor(1.5)", "1"),
    ("inspect", "inspect.signature(lambda a: a)", "<Signature (a)>"),
    ("io", "io.StringIO('x').read()", "'x'"),
    ("ipaddress", "ipaddress.ip_network('10.0.0.0/30').num_addresses", "4"),
    ("itertools", "list(itertools.batched([1, 2, 3], 2))", "[(1, 2), (3,)]"),
    ("json", "json.loads('{\"a\": 1}')", "{'a': 1}"),
    ("keyword", "keyword.iskeyword('if')", "True"),
    ("locale", "locale.getlocale() is not None", "True"),
    ("logging", "logging.getLogger('x').name", "'x'"),
    ("math", "math.comb(5, 2)", "10"),
    ("mimetypes", "mimetypes.guess_type('a.png')[0]", "'image/png'"),
    ("numbers", "isinstance(1, numbers.Number)", "True"),
    ("operator", "operator.itemgetter(1)([1, 2])", "2"),
    ("os", "os.path.join('a', 'b')", "'a/b'"),
    ("pathlib", "pathlib.PurePath('a/b.c').suffix", "'.c'"),
    ("pickle", "pickle.loads(pickle.dumps([1]))", "[1]"),
    ("platform", "platform.python_version_tuple()[:2]", "('3', '14')"),
    ("pprint", "pprint.pformat({'a': 1})", "\"{'a': 1}\""),
    ("queue", "queue.Queue().empty()", "True"),
    ("random", "random.Random(1).randint(1, 6)", "2"),
    ("re", "re.findall(r'\\d+', 'a1b22')", "['1', '22']"),
    ("secrets", "len(secrets.token_hex(4))", "8"),
    ("shlex", "shlex.split('a \"b c\"')", "['a', 'b c']"),
    ("sqlite3", "sqlite3.connect(':memory:').execute('select 1').fetchone()", "(1,)"),
    ("statistics", "statistics.median([1, 3, 2])", "2"),
    ("string", "string.Template('$a').substitute(a=1)", "'1'"),
    ("struct", "struct.pack('<I', 1)", "b'\\x01\\x00\\x00\\x00'"),
    ("sys", "sys.version_info[:2]", "(3, 14)"),
    ("textwrap", "textwrap.shorten('a b c', 3, placeholder='')", "'a b'"),
    ("threading", "threading.Lock().locked()", "False"),
    ("time", "time.gmtime(0).tm_year", "1970"),
    ("tomllib", "tomllib.loads('a = 1')", "{'a': 1}"),
    ("traceback", "traceback.format_exception_only(ValueError(1))", "['ValueError: 1\\n']"),
    ("types", "types.SimpleNamespace(a=1).a", "1"),
    ("typing", "typing.get_args(list[int])", "(<class 'int'>,)"),
    ("unicodedata", "unicodedata.normalize('NFC', 'e\\u0301')", "'é'"),
    ("unittest.mock", "unittest.mock.Mock(return_value=1)()", "1"),
    ("urllib.parse", "urllib.parse.urlencode({'a': 'b c'})", "'a=b+c'"),
    ("uuid", "uuid.uuid5(uuid.NAMESPACE_DNS, 'a').version", "5"),
    ("weakref", "weakref.WeakValueDictionary().data", "{}"),
    ("xml.etree.ElementTree", "xml.etree.ElementTree.fromstring('<a b=\"1\"/>').get('b')", "'1'"),
    ("zipfile", "zipfile.is_zipfile('/none')", "False"),
    ("zlib", "zlib.decompress(zlib.compress(b'x'))", "b'x'"),
    ("zoneinfo", "zoneinfo.ZoneInfo('Europe/Berlin').key", "'Europe/Berlin'"),
];

#[test]
fn the_standard_library_is_there() {
    let source = "answers = []\nfor name, expression, expected in inputs:\n    try:\n        space = {}\n        exec(f'import {name}', space)\n        got = repr(eval(expression, space))\n    except BaseException as error:\n        got = f'{type(error).__name__}: {error}'\n    if got != expected:\n        answers.append(f'{expression} -> {got}, not {expected}')\nanswers";
    let report = run(Script::python(source).input(json!(STDLIB)));
    assert_eq!(value(&report), json!([]));
}
