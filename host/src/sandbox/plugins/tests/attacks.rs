//! Written as the attacker: a plugin is a stranger's.

use super::guests::{Guest, answer_arguments, typed};
use super::*;

fn looping() -> &'static str {
    "(loop $again (br $again)) unreachable"
}

fn doing(on_call: &str) -> Guest {
    Guest { on_call: on_call.to_owned(), ..Guest::default() }
}

#[tokio::test]
async fn a_listing_that_never_ends_traps_or_floods_is_no_plugin() {
    let host = Host::new();
    let listing = |on_list: &str| Guest { on_list: on_list.to_owned(), ..Guest::default() };
    let refused = host.refused(&listing("(loop $again (br $again))").component()).await;
    assert!(refused.contains("does not come to an end when it is asked"), "{refused}");
    let refused = host.refused(&listing("unreachable").component()).await;
    assert!(refused.contains("breaks down when it is asked for its tools"), "{refused}");
    // A list of 76 million tools, 4 GB of it.
    let lie = "(i32.store (i32.const 1028) (i32.const 76000000))";
    let refused = host.refused(&listing(lie).component()).await;
    assert!(refused.contains("breaks down"), "{refused}");
    // A name of 4 GB.
    let lie = "(i32.store (i32.const 1036) (i32.const -1))";
    let refused = host.refused(&listing(lie).component()).await;
    assert!(refused.contains("breaks down"), "{refused}");
    // A name of the whole memory.
    let lie = "(i32.store (i32.const 1032) (i32.const 150000))
         (i32.store (i32.const 1036) (i32.const 100000))";
    let refused = host.refused(&listing(lie).component()).await;
    assert!(refused.contains("1 to 64"), "{refused}");
    // It calls a tool meanwhile.
    let calls = Guest {
        more: r#"(import "toolcell:guest/tools@0.1.0" "start" (func $start-call (param i32 i32 i32 i32) (result i64)))"#.to_owned(),
        on_list: "(drop (call $start-call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))"
            .to_owned(),
        ..Guest::default()
    };
    let refused = host.refused(&calls.component()).await;
    assert!(refused.contains("the tool_calls limit of 0"), "{refused}");
}

#[tokio::test]
async fn names_that_no_tool_has_are_refused() {
    let host = Host::new();
    let named = |names: &[&str]| Guest {
        tools: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Guest::default()
    };
    assert!(host.refused(&named(&["a b"]).component()).await.contains("1 to 64"));
    assert!(host.refused(&named(&["a", "a"]).component()).await.contains("listed twice"));
    let many: Vec<String> = (0..501).map(|n| format!("t{n}")).collect();
    let many = Guest { tools: many, ..Guest::default() };
    assert!(host.refused(&many.component()).await.contains("it lists 501 tools"));
    assert!(host.refused(&named(&[]).component()).await.contains("no tools"));
}

#[tokio::test]
async fn a_start_that_never_ends_is_no_plugin() {
    let host = Host::new();
    let guest = Guest { start: Some(looping().to_owned()), ..Guest::default() };
    let refused = host.refused(&guest.component()).await;
    assert!(refused.contains("cannot be started") && refused.contains("fuel"), "{refused}");
    let typed = typed(
        r#"(component
            (core module $m
                (func $start unreachable) (start $start)
                (func (export "f") (result i32) (i32.const 1)))
            (core instance $i (instantiate $m))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))"#,
    );
    let refused = host.refused(&typed).await;
    assert!(refused.contains("cannot be started") && refused.contains("unreachable"), "{refused}");
}

#[tokio::test]
async fn what_a_start_used_is_charged_to_the_call() {
    let host = Host::new();
    let guest = Guest {
        start: Some(
            "(local $n i32) (loop $again
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $n) (i32.const 10000))))"
                .to_owned(),
        ),
        ..Guest::default()
    };
    let plugin = host.loaded(&guest.component()).await;
    let execution = call(&plugin, "echo", "{}").await;
    assert!(execution.usage.fuel > 10_000, "{:?}", execution.usage);
    let little = Limits { fuel: 5_000, ..Limits::default() };
    let reached = limit(call_within(&plugin, "echo", "{}", little).await);
    assert_eq!((reached.kind, reached.limit), (LimitKind::Fuel, 5_000));
}

#[tokio::test]
async fn a_call_is_stopped_at_each_of_its_limits() {
    let host = Host::new();
    let plugin = host.loaded(&doing(looping()).component()).await;
    let fuel = Limits { fuel: 1_000_000, ..Limits::default() };
    assert_eq!(limit(call_within(&plugin, "echo", "{}", fuel).await).kind, LimitKind::Fuel);
    let time = Limits { compute_time: Duration::from_millis(5), ..Limits::default() };
    assert_eq!(limit(call_within(&plugin, "echo", "{}", time).await).kind, LimitKind::ComputeTime);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let world = surroundings(World::default(), Limits::default());
    let execution = plugin.call("echo", "{}", world, &cancel).await.expect("an instance is made");
    assert!(matches!(execution.outcome, PluginOutcome::Cancelled));

    let deep = Guest {
        more: "(func $deep (param i32) (result i32)
                 (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))"
            .to_owned(),
        on_call: "(call $deep (i32.const 0))".to_owned(),
        ..Guest::default()
    };
    let plugin = host.loaded(&deep.component()).await;
    assert_eq!(limit(call(&plugin, "echo", "{}").await).kind, LimitKind::Stack);

    let hungry = doing(
        "(loop $again
            (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
         unreachable",
    );
    let plugin = host.loaded(&hungry.component()).await;
    let memory = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    assert_eq!(limit(call_within(&plugin, "echo", "{}", memory).await).kind, LimitKind::Memory);
}

#[tokio::test]
async fn memory_that_a_plugin_begins_with_counts() {
    let host = Host::new();
    let large = Guest { pages: 1_000, ..Guest::default() };
    let plugin = host.loaded(&large.component()).await;
    let memory = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    let reached = limit(call_within(&plugin, "echo", "{}", memory).await);
    assert_eq!((reached.kind, reached.used), (LimitKind::Memory, 1_000 * 65_536));
    let enormous = Guest { pages: 40_000, ..Guest::default() };
    let refused = host.refused(&enormous.component()).await;
    assert!(refused.contains("cannot be started"), "{refused}");
}

#[tokio::test]
async fn an_answer_is_no_larger_than_answers_may_be() {
    let host = Host::new();
    let with = |length: u32| {
        let guest = Guest {
            on_call: format!(
                "(local.set $arguments (i32.const 200000))
                 (local.set $arguments-length (i32.const {length}))
                 {}",
                answer_arguments()
            ),
            pages: 2_000,
            ..Guest::default()
        };
        guest.component()
    };
    let small = Limits { answer_bytes: 1_000, argument_bytes: 1_000, ..Limits::default() };
    let plugin = host.loaded(&with(1_001)).await;
    let reached = limit(call_within(&plugin, "echo", "{}", small.clone()).await);
    assert_eq!((reached.kind, reached.limit, reached.used), (LimitKind::Answer, 1_000, 1_001));
    // So much that it is not even copied.
    let plugin = host.loaded(&with(100_000_000)).await;
    let outcome = call_within(&plugin, "echo", "{}", small).await.outcome;
    let PluginOutcome::Trapped(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("too much data"), "{why}");
}

#[tokio::test]
async fn lies_about_where_things_lie_are_traps() {
    let host = Host::new();
    for lie in [
        // A result that lies outside of memory, and one that is not aligned.
        "(i32.const -8)",
        "(i32.const 66)",
        // A list of blocks of 4 GB.
        "(i32.store8 (i32.const 64) (i32.const 0))
         (i32.store (i32.const 68) (i32.const 128))
         (i32.store (i32.const 72) (i32.const 214748364))
         (i32.const 64)",
        // A case that the variant does not have.
        "(i32.store8 (i32.const 64) (i32.const 9)) (i32.const 64)",
        // A text that is none.
        "(i32.store8 (i32.const 64) (i32.const 1))
         (i32.store8 (i32.const 68) (i32.const 0))
         (i32.store8 (i32.const 200) (i32.const 255))
         (i32.store (i32.const 72) (i32.const 200))
         (i32.store (i32.const 76) (i32.const 1))
         (i32.const 64)",
    ] {
        let plugin = host.loaded(&doing(lie).component()).await;
        let outcome = call(&plugin, "echo", "{}").await.outcome;
        assert!(matches!(outcome, PluginOutcome::Trapped(_)), "{lie}: {outcome:?}");
    }
}

#[tokio::test]
async fn structured_content_that_is_no_json_is_no_answer() {
    let host = Host::new();
    let guest = doing(
        "(i32.store8 (i32.const 64) (i32.const 0))
         (i32.store (i32.const 68) (i32.const 128))
         (i32.store (i32.const 72) (i32.const 0))
         (i32.store8 (i32.const 76) (i32.const 1))
         (i32.store (i32.const 80) (local.get $name))
         (i32.store (i32.const 84) (local.get $name-length))
         (i32.const 64)",
    );
    let plugin = host.loaded(&guest.component()).await;
    let outcome = call(&plugin, "echo", "{}").await.outcome;
    let PluginOutcome::Trapped(why) = outcome else { panic!("{outcome:?}") };
    assert!(
        why.starts_with("the answer of `echo` has structured content that is not JSON"),
        "{why}"
    );
}

#[tokio::test]
async fn types_that_explode_when_written_out_are_refused() {
    let host = Host::new();
    // Thirty lines that stand for a billion fields.
    let mut types = String::from("(type $t0 (tuple u32 u32))");
    for n in 1..30 {
        types += &format!("(type $t{n} (tuple $t{0} $t{0}))", n - 1);
    }
    let text = format!(
        r#"(component {types}
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" $t29)
                (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    );
    let refused = host.refused(&typed(&text)).await;
    assert!(refused.contains("too large") || refused.contains("damaged"), "{refused}");

    // A hundred lists in one another.
    let mut types = String::from("(type $t0 (list u32))");
    for n in 1..60 {
        types += &format!("(type $t{n} (list $t{}))", n - 1);
    }
    let text = format!(
        r#"(component {types}
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "f") (param i32 i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" $t59)
                (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    );
    let refused = host.refused(&typed(&text)).await;
    assert!(refused.contains("nested more than 32 deep"), "{refused}");
}

#[tokio::test]
async fn a_hundred_thousand_exports_are_too_many() {
    let host = Host::new();
    let mut text = String::from(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))"#,
    );
    for n in 0..100_000 {
        text += &format!("(export \"f{n}\" (func $f))\n");
    }
    text.push(')');
    let refused = host.refused(&typed(&text)).await;
    assert!(refused.contains("exports; a plugin may have 5000"), "{refused}");

    let mut text = String::new();
    for _ in 0..40 {
        text = format!("(component {text})");
    }
    assert!(host.refused(&typed(&text)).await.contains("levels of components"));
}

#[tokio::test]
async fn a_list_of_four_gigabytes_is_not_lifted() {
    let host = Host::new();
    let plugin = host
        .loaded(&typed(
            r#"(component
                (core module $m
                    (memory (export "memory") 2000)
                    (func (export "bytes") (result i32)
                        (i32.store (i32.const 0) (i32.const 8))
                        (i32.store (i32.const 4) (i32.const 130000000))
                        (i32.const 0))
                    (func (export "more") (result i32)
                        (i32.store (i32.const 0) (i32.const 8))
                        (i32.store (i32.const 4) (i32.const -16))
                        (i32.const 0)))
                (core instance $i (instantiate $m))
                (func (export "bytes") (result (list u8))
                    (canon lift (core func $i "bytes") (memory (core memory $i "memory"))))
                (func (export "more") (result (list u8))
                    (canon lift (core func $i "more") (memory (core memory $i "memory")))))"#,
        ))
        .await;
    for tool in ["bytes", "more"] {
        let outcome = call(&plugin, tool, "{}").await.outcome;
        assert!(matches!(outcome, PluginOutcome::Trapped(_)), "{tool}: {outcome:?}");
    }
}
