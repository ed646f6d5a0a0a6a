//! The attacker wants a credential that the host holds, or to learn what else there is.
//!
//! Reached by: a script together with a careless or hostile server. Defended by: secrets that only
//! `upstream` can read, redaction of what servers put on stderr and into errors, one text for what is
//! denied and what does not exist. What a tool *answers* is its own content and is passed on.

use toolcell::Script;
use toolcell_tests::{Cli, fixtures};

use super::attack_with;

const SECRET: &str = "hunter2-correct-horse-battery";

#[test]
fn i_let_the_server_spill_its_credential() {
    let server = fixtures::misbehaving("leaks-secret").env("MISBEHAVING_SECRET", "${THE_TOKEN}");
    let http = "[servers.gone]\nurl = \"http://127.0.0.1:9/mcp\"\ntransport = \"streamable-http\"\n\
                connect_timeout = \"2s\"\n[servers.gone.headers]\nAuthorization = \"Bearer ${THE_TOKEN}\"\n";
    let script = "import os\nprint(dict(os.environ))\n\
                  for server, tool in (('leaky', 'exit'), ('gone', 'any')):\n\
                  \x20   try: print(tools[server][tool]())\n    except Exception as e: print(repr(e), vars(e))\n\
                  tools['leaky']['exit']()";
    for json in [true, false] {
        let cli = Cli::new("run").config(&format!("{}{http}", server.toml("leaky")));
        let cli = cli.env("THE_TOKEN", SECRET).env("TOOLCELL_LOG", "trace");
        let cli = if json { cli.arg("--json") } else { cli };
        let finished = cli.args(["-c", script]).run();
        assert_ne!(finished.code(), Some(0), "{finished}");
        for (stream, text) in [("stdout", &finished.stdout), ("stderr", &finished.stderr)] {
            assert!(!text.contains(SECRET), "{stream} has the secret (json: {json}):\n{text}");
        }
        // Something was logged: the test would see a leak.
        assert!(finished.stderr.len() > 100, "{finished}");
    }
}

#[test]
fn i_ask_for_what_is_denied_and_for_what_does_not_exist() {
    let ask = |name: &str| {
        let source = format!(
            "from wit_world.imports import tools as raw\nraw.names('good')\n\
             try: raw.call('{name}', '{{}}')\nexcept Exception as e: result = [type(e.value).__name__, e.value.value]"
        );
        let answer = attack_with(Script::python(source).profile("good")).value().to_string();
        answer.replace(name, "NAME")
    };
    // `good.fail` exists and is denied; `mute` is a server that is not granted at all.
    // Neither an `f` nor a `k` is in a granted name, so that both resemble the same ones.
    assert_eq!(ask("good.fail"), ask("good.kail"));
    assert_eq!(ask("mute.qqqq"), ask("nope.qqqq"));
}
