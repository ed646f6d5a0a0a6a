//! What of TypeScript is left, by example.

use super::*;

fn stripped(source: &str) -> String {
    let prepared = prepare("script.ts", source, false).unwrap_or_else(|refusal| {
        panic!("{source}\n{}", refusal.shown("script.ts"));
    });
    assert_eq!(prepared.source.lines().count(), source.lines().count(), "{source}");
    // Blank is blank: how much of it there is matters to columns only.
    let words: Vec<&str> = prepared.source.split([' ', '\t']).filter(|it| !it.is_empty()).collect();
    words.join(" ")
}

#[test]
fn types_are_blank() {
    let cases = [
        ("let a: number = 1", "let a = 1"),
        ("let a: string\n(b)", "let a;\n(b)"),
        (
            "function f<T>(this: X, a?: T, ...b: T[]): a is string { return a! }",
            "function f( a , ...b ) { return a ; }",
        ),
        ("const f = async <T,>(a: T): Promise<T> => a as T", "const f = async (a) => a ;"),
        ("const f = (a: A): {\n b: B\n} => a", "const f = (a \n\n ) => a"),
        ("interface A { b: string }\n(c)", ";\n(c)"),
        ("type A = { b: string }\n[c]", ";\n[c]"),
        ("x as any\n(y)", "x ;\n(y)"),
        ("const x = y satisfies Z\n[1].map(f)", "const x = y ;\n[1].map(f)"),
        (
            "abstract class A<T> extends B<T> implements C, D { private readonly a?: T = 1; abstract b(): void; c!: string\n[d] = 1 }",
            "class A extends B { a = 1; ; c;\n[d] = 1 }",
        ),
        (
            "class A { private static async b?(): Promise<void> {} }",
            "class A { static async b () {} }",
        ),
        ("class A { [key: string]: any\n a = 1 }", "class A { ;\n a = 1 }"),
        ("function f(a: string): void\nfunction f(a: any) {}", ";\nfunction f(a) {}"),
        ("declare const a: string\nlet b = <any>c", ";\nlet b = c"),
        ("try {} catch (e: unknown) {}", "try {} catch (e ) {}"),
        ("f<string>(a!.b!)", "f (a .b )"),
        ("declare module 'x' { }\nnamespace N { type A = 1 }", ";\n;"),
        ("export type A = 1; export interface B {}\nexport const c: A = 1", "; ;\n const c = 1"),
        (
            "for (const [k, v] of Object.entries(a as Record<string, number>)) {}",
            "for (const [k, v] of Object.entries(a )) {}",
        ),
        ("const g = new Map<string, number>()", "const g = new Map ()"),
        ("enumerate(a)", "enumerate(a)"),
        ("if (a) b as T\nelse c", "if (a) b ;\nelse c"),
        ("let v = <\nT\n>x", "let v = (\n\n x)"),
    ];
    for (source, wanted) in cases {
        let (one, other) = (stripped(source), wanted);
        let plain = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
        assert_eq!(plain(&one), plain(other), "{source}");
    }
}

#[test]
fn columns_are_the_authors() {
    let source = "import { a } from \"tools\"; a(); b()\nx";
    let prepared = prepare("script.ts", source, false).expect("a program");
    let at = prepared.source.find("b()").expect("is there") + 1;
    assert_eq!(prepared.map.column(1, at), source.find("b()").expect("is there") + 1);
    assert_eq!(prepared.map.column(2, 1), 1);
}

#[test]
fn what_is_code_is_refused_with_what_to_write_instead() {
    let cases = [
        ("let a = 1\nenum Color { Red }", "2:1", "as const"),
        ("namespace N { export const a = 1 }", "1:1", "write an object"),
        ("class A { constructor(private a: string) {} }", "1:23", "this.name = name"),
        ("@d class A {}", "1:1", "decorators"),
        ("import x = require('y')", "1:1", "import { server }"),
        ("export = 1", "1:1", "export default"),
        ("import fs from 'node:fs'", "1:16", "no files"),
        ("import _ from 'lodash'", "1:15", "no packages"),
        ("let a = ;", "1:9", "nexpected"),
        ("import.meta.url", "1:1", "import.meta"),
    ];
    for (source, place, words) in cases {
        let refusal = prepare("script.ts", source, false).expect_err(source);
        assert_eq!(format!("{}:{}", refusal.line, refusal.column), place, "{source}: {refusal:?}");
        assert!(refusal.message.contains(words), "{source}: {}", refusal.message);
        assert!(refusal.excerpt.contains('^'), "{source}");
    }
}

#[test]
fn the_value_is_known() {
    let cases = [
        ("1 + 1", ValueFrom::LastExpression),
        ("let a = 1", ValueFrom::Nothing),
        ("a\ninterface B {}", ValueFrom::LastExpression),
        ("export default 1", ValueFrom::DefaultExport),
        ("for (;;) { a }", ValueFrom::Nothing),
        ("'text'", ValueFrom::LastExpression),
    ];
    for (source, wanted) in cases {
        assert_eq!(
            prepare("script.ts", source, false).expect("a program").value,
            wanted,
            "{source}"
        );
    }
    assert!(prepare("a.ts", "const result = 1", false).expect("a program").assigns_result);
    assert!(prepare("a.ts", "await x", false).expect("a program").awaits);
    assert!(!prepare("a.ts", "async () => await x", false).expect("a program").awaits);
}

#[test]
fn a_session_declares_again() {
    let prepared = prepare("cell 1", "const a = 1; let b; class C {}", true).expect("a program");
    assert_eq!(prepared.source, "var   a = 1; var b=void 0; var C=class C {};");
}

#[test]
fn types_and_comments_of_functions_are_schemas() {
    let source = "
type Kind = 'a' | 'b';
interface Hit { title: string; tags?: string[] }
/** Searches.
 * @param question what to look for
 */
export async function search({ question, limit = 5, kind }: {
  question: string;
  /** how many */
  limit?: number;
  kind?: Kind | undefined;
  more: Record<string, Hit>;
}): Promise<Hit> { return x }
export const none = () => 1;
";
    let wanted = r#"{"search":{"input":{"type":"object","properties":{"question":{"type":"string","description":"what to look for"},"limit":{"type":"number","description":"how many","default":5},"kind":{"anyOf":[{"enum":["a","b"]}]},"more":{"type":"object","additionalProperties":{"type":"object","properties":{"title":{"type":"string"},"tags":{"type":"array","items":{"type":"string"}}},"required":["title"]}}},"required":["question","more"]},"description":"Searches.","output":{"type":"object","properties":{"title":{"type":"string"},"tags":{"type":"array","items":{"type":"string"}}},"required":["title"]}},"none":{"input":{"type":"object","properties":{}}}}"#;
    let made = functions("a.ts", source);
    assert_eq!(made, wanted.replace(r#"{"anyOf":[{"enum":["a","b"]}]}"#, r#"{"enum":["a","b"]}"#));
}

/// The calls as `server.tool(kinds)@byte`; an argument's kind is `?` where it is not known.
fn told(source: &str) -> Vec<String> {
    let Some(json) = calls("script.ts", source) else { return Vec::new() };
    let calls: Vec<serde_json::Value> = serde_json::from_str(&json).expect("is JSON");
    fn kind(value: &serde_json::Value) -> String {
        match value["entries"].as_array() {
            Some(entries) => {
                let some = |it: &serde_json::Value| {
                    format!("{}:{}", it["name"].as_str().unwrap(), kind(&it["value"]))
                };
                let mut inner: Vec<String> = entries.iter().map(some).collect();
                if value["partial"] == true {
                    inner.push("…".to_owned());
                }
                format!("{{{}}}", inner.join(" "))
            }
            None => value["kind"].as_str().unwrap_or("?").to_owned(),
        }
    }
    let shown = |call: &serde_json::Value| {
        let full = call["full"].as_str().map_or_else(
            || format!("{}.{}", call["server"].as_str().unwrap(), call["tool"].as_str().unwrap()),
            str::to_owned,
        );
        let arguments = call["args"].as_array().map_or_else(
            || "…".to_owned(),
            |all| all.iter().map(kind).collect::<Vec<_>>().join(", "),
        );
        format!("{full}({arguments})@{}", call["at"])
    };
    calls.iter().map(shown).collect()
}

#[test]
fn calls_are_found_where_it_is_sure_what_is_called() {
    let cases: [(&str, &[&str]); 22] = [
        (
            "tools.a.b({ x: 1, y: 'z', z: -1.5, w: [n], v: null, u: !0 })",
            &["a.b({x:integer y:string z:number w:array v:null u:?})@8"],
        ),
        ("tools['a-b']['c.d']({ 'e f': { g: `h` } })", &["a-b.c.d({e f:{g:string}})@13"]),
        ("import { a } from 'tools'; await a.b()", &["a.b()@35"]),
        ("import { a as z } from 'tools'; z.b(x, 2)", &["a.b(?, integer)@34"]),
        ("import t from 'tools'; t.a.b(...x)", &["a.b(…)@27"]),
        ("import * as t from 'tools'; t.a.b({ ...x, y: true })", &["a.b({y:boolean …})@32"]),
        ("import a from 'tools/my-a'; a.b({ [x]: 1 })", &["my-a.b({…})@30"]),
        ("import { b } from 'tools/a'; b('x')", &["a.b(string)@29"]),
        ("import { call } from 'tools'; call('a.b', { x: 1 })", &["a.b({x:integer})@35"]),
        ("tools.call('a.b')", &["a.b()@11"]),
        ("const { a } = tools; const { b: c } = a; c({ x })", &["a.b({x:?})@41"]),
        (
            "const a = tools.a; function f() { return a.b({ x: <any>1 as unknown }) }",
            &["a.b({x:integer})@43"],
        ),
        ("tools.a.b({ x() {}, get y() { return 1 } })", &["a.b({x:? …})@8"]),
        ("await Promise.all(['x'].map((x) => (tools.a).b({ x })))", &["a.b({x:?})@45"]),
        // It is not sure what these are.
        ("let a = tools.a; a.b()", &[]),
        ("import { a } from 'tools'; function f(a) { a.b() }", &[]),
        ("const tools = 1; tools.a.b()", &[]),
        ("tools.a[b]({}); tools.a?.b(); tools.a.b.call(1); tools.a(); x.a.b()", &[]),
        ("import type { a } from 'x'; a.b()", &[]),
        ("tools.a.b`x`", &[]),
        ("new tools.a.b()", &[]),
        ("tools.a.b(", &[]),
    ];
    for (source, expected) in cases {
        assert_eq!(told(source), expected, "{source}");
    }
    let deep = format!("tools.a.b({}1{})", "{x:".repeat(40), "}".repeat(40));
    assert!(told(&deep)[0].contains('?'));
    assert_eq!(told(&"tools.a.b();".repeat(2_100)).len(), 2_000);
}
