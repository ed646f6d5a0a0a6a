//! `toolcell stubs --lang typescript`: what editors and the TypeScript compiler make of it.

use serde_json::json;
use toolcell_tests::clients::tsc;
use toolcell_tests::guests::guest;
use toolcell_tests::{Cli, Marker, fixtures};

/// What the compiler says of a script beside these declarations; nothing if all is well.
#[track_caller]
fn compile(declarations: &str, script: &str) -> String {
    let output = Cli::of(tsc())
        .file("tools.d.ts", declarations)
        .file("script.ts", script)
        .args(["--noEmit", "--strict", "--target", "es2023", "--module", "esnext"])
        .args(["--moduleResolution", "bundler", "--pretty", "false"])
        .args(["tools.d.ts", "script.ts"])
        .run();
    let expected = if output.stdout.is_empty() { 0 } else { 2 };
    output.expect_code(expected).stdout
}

#[test]
fn the_compiler_takes_the_declarations_and_finds_what_is_wrong_in_scripts() {
    let marker = Marker::new();
    let toml = fixtures::everything_stdio().marked(&marker).toml("every-thing")
        + &fixtures::misbehaving("ok").marked(&marker).toml("demo");
    let stubs = Cli::new("stubs").config(&toml).args(["--lang", "typescript"]).run().success();
    let declarations = stubs.stdout;
    assert!(declarations.contains("declare module \"tools\""), "{declarations}");
    let good = "import { demo, every_thing, everyThing, ToolError, tools as all } from \"tools\";
import { log } from \"events\";
const texts: Promise<unknown>[] = [\"a\", \"b\"].map((text) => demo.echo({ text }));
await Promise.all(texts);
await every_thing.getSum({ a: 1, b: 2 }, { timeout: 500 });
await everyThing[\"get-sum\"]({ a: 1, b: 2 });
await all[\"every-thing\"].get_sum({ a: 1, b: 2 });
await tools.call(\"demo.echo\", { text: \"x\" });
log(\"info\", inputs?.length);
try { await demo.echo({ text: \"x\" }); } catch (error) { if (error instanceof ToolError) log(\"error\", error.kind); }
export default 5;
";
    assert_eq!(compile(&declarations, good), "");
    let check = |wrong: &str, parts: &[&str]| {
        let script =
            format!("import {{ demo, everyThing }} from \"tools\";\n{wrong}\nexport {{}};");
        let said = compile(&declarations, &script);
        assert!(parts.iter().all(|part| said.contains(part)), "{wrong}: {said}");
    };
    check("await demo.echo({ txt: 1 });", &["script.ts(2,", "txt"]);
    check("await demo.ecko({ text: \"a\" });", &["'ecko' does not exist"]);
    check("await everyThing.getSum({ a: \"1\", b: 2 });", &["'string' is not assignable"]);
    check("import { nowhere } from \"tools\";", &["nowhere"]);
    marker.assert_nothing_survives();
}

#[test]
fn plugins_have_declarations_in_both_languages() {
    let stubs = |args: &[&str]| {
        let wasm = std::fs::read(guest("typed")).expect("a guest can be read");
        let toml = "[servers.files]\nbuiltin = \"files\"\nroots = { here = \".\" }\n\
                    [profiles.few]\ntools = [\"typed.greet\"]\n[profiles.all]\ntools = [\"*\"]\n";
        let cli = Cli::new("stubs").file("plugins/typed.wasm", wasm).config(toml);
        cli.args(args.iter().copied()).run().success().stdout
    };
    let python = stubs(&["--profile", "all"]);
    for part in ["def greet(", "def divide(", "def read_file("] {
        assert!(python.contains(part), "{part}: {python}");
    }
    let few = stubs(&["--profile", "few"]);
    assert!(few.contains("def greet(") && !few.contains("def divide("), "{few}");
    assert!(!stubs(&["--profile", "all", "files"]).contains("def greet("));

    let declarations = stubs(&["--profile", "all", "--lang", "typescript"]);
    let greeting = "import { typed, files } from \"tools\";
const greeted: { result: string } = await typed.greet({ name: \"you\" });
export default [greeted, await files.read_file({ path: \"here/a\" })];
";
    assert_eq!(compile(&declarations, greeting), "");
    let wrong = compile(&declarations, &greeting.replace("\"you\"", "7"));
    assert!(wrong.contains("is not assignable to type 'string'"), "{wrong}");
    let unknown = Cli::new("stubs").config("").args(["nobody"]).run().expect_code(2);
    assert!(unknown.stderr.contains(&json!("nobody").to_string()), "{unknown}");
}
