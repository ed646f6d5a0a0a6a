//! Calls of plugins' tools.

use super::guests::{Guest, typed};
use super::*;

/// Imports a function of ours, as the core module names it.
fn importing(interface: &str, function: &str, signature: &str) -> String {
    format!(
        r#"(import "toolcell:guest/{interface}@0.1.0" "{function}" (func ${function} {signature}))"#
    )
}

/// Counts its calls in a global and answers with the count as text.
fn counting() -> Guest {
    Guest {
        more: "(global $count (mut i32) (i32.const 48))".to_owned(),
        on_call: format!(
            "(global.set $count (i32.add (global.get $count) (i32.const 1)))
             (i32.store8 (i32.const 40) (global.get $count))
             (local.set $arguments (i32.const 40))
             (local.set $arguments-length (i32.const 1))
             {}",
            guests::answer_arguments()
        ),
        ..Guest::default()
    }
}

use super::guests;

#[tokio::test]
async fn two_calls_share_nothing_unless_the_instance_is_kept() {
    let host = Host::new();
    let plugin = host.loaded(&counting().component()).await;
    for _ in 0..2 {
        assert_eq!(answered(call(&plugin, "echo", "{}").await).first_text(), "1");
    }
    let never = CancellationToken::new();
    let mut kept = plugin.open().await.expect("an instance is made");
    for count in ["1", "2", "3"] {
        let world = surroundings(World::default(), Limits::default());
        let (execution, guest) =
            plugin.call_kept(kept, "echo", "{}", world, &never).await.expect("it is entered");
        assert_eq!(answered(execution).first_text(), count);
        kept = guest.expect("it comes back");
    }
}

#[tokio::test]
async fn a_kept_instance_that_traps_is_gone() {
    let host = Host::new();
    let guest = Guest { on_call: "unreachable".to_owned(), ..Guest::default() };
    let plugin = host.loaded(&guest.component()).await;
    let kept = plugin.open().await.expect("an instance is made");
    let world = surroundings(World::default(), Limits::default());
    let never = CancellationToken::new();
    let (execution, guest) =
        plugin.call_kept(kept, "echo", "{}", world, &never).await.expect("it is entered");
    assert!(guest.is_none());
    let PluginOutcome::Trapped(why) = execution.outcome else { panic!("{execution:?}") };
    assert!(why.contains("unreachable"), "{why}");
}

#[tokio::test]
async fn a_refusal_is_the_plugins_own() {
    let host = Host::new();
    let refusing = |kind: u32| Guest {
        // The refusal's first text is the arguments.
        on_call: format!(
            "(i32.store8 (i32.const 64) (i32.const 1))
             (i32.store8 (i32.const 68) (i32.const {kind}))
             (i32.store (i32.const 72) (local.get $arguments))
             (i32.store (i32.const 76) (local.get $arguments-length))
             (i32.store (i32.const 80) (local.get $name))
             (i32.store (i32.const 84) (local.get $name-length))
             (i32.const 64)"
        ),
        ..Guest::default()
    };
    let plugin = host.loaded(&refusing(0).component()).await;
    let execution = call(&plugin, "echo", "/x").await;
    assert!(matches!(execution.outcome, PluginOutcome::UnknownTool(words) if words == "/x"));
    let plugin = host.loaded(&refusing(1).component()).await;
    let execution = call(&plugin, "echo", "/x").await;
    let PluginOutcome::InvalidArguments { path, message } = execution.outcome else { panic!() };
    assert_eq!((path.as_str(), message.as_str()), ("/x", "echo"));
}

#[tokio::test]
async fn a_plugin_calls_a_tool_and_its_fuel_is_its_calls_too() {
    let host = Host::new();
    let guest = Guest {
        more: importing("tools", "call", "(param i32 i32 i32 i32 i32)"),
        on_call: format!(
            "(call $call (local.get $name) (local.get $name-length)
                         (local.get $arguments) (local.get $arguments-length) (i32.const 256))
             {}",
            guests::answer_arguments()
        ),
        ..Guest::default()
    };
    let plugin = host.loaded(&guest.component()).await;
    let never = CancellationToken::new();
    let limits = Limits { fuel: 1_000_000, ..Limits::default() };
    let run = async |cost: u64| {
        let world = surroundings(World { cost, ..World::default() }, limits.clone());
        plugin.call("echo", "{}", world, &never).await.expect("an instance is made")
    };
    let alone = run(0).await.usage;
    assert_eq!(alone.tool_calls, 1);
    let with_calls = run(500_000).await;
    assert_eq!(with_calls.usage.fuel, alone.fuel + 500_000);
    answered(with_calls);

    let reached = limit(run(2_000_000).await);
    assert_eq!(
        (reached.kind, reached.limit, reached.used),
        (LimitKind::Fuel, 1_000_000, 1_000_000)
    );
}

#[tokio::test]
async fn state_is_kept_by_whoever_the_run_belongs_to() {
    let host = Host::new();
    let guest = Guest {
        more: importing("state", "set", "(param i32 i32 i32 i32 i32)"),
        on_call: format!(
            "(call $set (local.get $name) (local.get $name-length)
                        (local.get $arguments) (local.get $arguments-length) (i32.const 256))
             ;; Whether it was refused.
             (i32.store8 (i32.const 40) (i32.add (i32.const 48) (i32.load8_u (i32.const 256))))
             (local.set $arguments (i32.const 40))
             (local.set $arguments-length (i32.const 1))
             {}",
            guests::answer_arguments()
        ),
        ..Guest::default()
    };
    let plugin = host.loaded(&guest.component()).await;
    assert_eq!(answered(call(&plugin, "echo", "{\"a\":[1]}").await).first_text(), "0");
    let long = Limits { argument_bytes: 4, ..Limits::default() };
    let execution = call_within(&plugin, "echo", "[1,2,3]", long).await;
    assert_eq!(answered(execution).first_text(), "1", "a value has its limit");
    let PluginOutcome::Trapped(why) = call(&plugin, "echo", "{oops").await.outcome else {
        panic!()
    };
    assert!(why.contains("is not JSON"), "{why}");
}

#[tokio::test]
async fn plain_functions_are_tools() {
    let host = Host::new();
    let plugin = host
        .loaded(&typed(
            r#"(component
                (core module $m
                    (memory (export "memory") 1)
                    (func (export "add") (param i32 i32) (result i32)
                        (i32.add (local.get 0) (local.get 1)))
                    (func (export "divide") (param i32 i32) (result i32)
                        (if (i32.eqz (local.get 1)) (then
                            (i32.store8 (i32.const 0) (i32.const 1))
                            (i32.store (i32.const 4) (i32.const 32))
                            (i32.store (i32.const 8) (i32.const 16))
                            (return (i32.const 0))))
                        (i32.store8 (i32.const 0) (i32.const 0))
                        (i32.store (i32.const 4) (i32.div_u (local.get 0) (local.get 1)))
                        (i32.const 0))
                    (data (i32.const 32) "division by zero"))
                (core instance $i (instantiate $m))
                (func $add (param "left-hand" u32) (param "right-hand" u32) (result u32)
                    (canon lift (core func $i "add")))
                (func $divide (param "left-hand" u32) (param "right-hand" u32)
                    (result (result u32 (error string)))
                    (canon lift (core func $i "divide") (memory (core memory $i "memory"))))
                (instance (export "acme:math/whole-numbers@1.0.0")
                    (export "add" (func $add)) (export "divide" (func $divide)))
                (instance (export "acme:math/more") (export "add" (func $add))))"#,
        ))
        .await;
    let names: Vec<&str> = plugin.tools().iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["whole_numbers_add", "divide", "more_add"]);
    let schema = &plugin.tools()[0].input_schema;
    assert_eq!(schema["required"], serde_json::json!(["left_hand", "right_hand"]));

    let arguments = r#"{"left_hand": 40, "right_hand": 2}"#;
    let sum = structured(call(&plugin, "whole_numbers_add", arguments).await);
    assert_eq!(sum, serde_json::json!({ "result": 42 }));
    assert_eq!(answered(call(&plugin, "divide", arguments).await).first_text(), "20");

    let failed = answered(call(&plugin, "divide", r#"{"left_hand":1,"right_hand":0}"#).await);
    assert!(failed.is_error && failed.structured.is_none());
    assert_eq!(failed.first_text(), "division by zero");

    let execution = call(&plugin, "divide", r#"{"left_hand":-1,"right_hand":0}"#).await;
    let PluginOutcome::InvalidArguments { path, message } = execution.outcome else { panic!() };
    assert_eq!(path, "/left_hand");
    assert_eq!(message, "-1 is not between 0 and 4294967295");
    let execution = call(&plugin, "minus", "{}").await;
    assert!(matches!(execution.outcome, PluginOutcome::UnknownTool(_)));
}

#[tokio::test]
async fn functions_that_json_cannot_carry_are_left_out_with_the_reason() {
    let host = Host::new();
    let with = |more: &str| {
        typed(&format!(
            r#"(component
                (type $r' (resource (rep i32)))
                (export $r "handle" (type $r'))
                (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
                (core instance $i (instantiate $m))
                (func (export "open") (param "id" u32) (result (own $r))
                    (canon lift (core func $i "f")))
                {more})"#
        ))
    };
    let refused = host.refused(&with("")).await;
    assert_eq!(
        refused,
        "its function `open` cannot be a tool: of its result: its type has a resource, which JSON \
         cannot carry"
    );
    let same =
        r#"(func (export "same") (param "x" s32) (result s32) (canon lift (core func $i "f")))"#;
    let plugin = host.loaded(&with(same)).await;
    assert_eq!(plugin.tools().len(), 1);
    assert!(plugin.left_out()[0].starts_with("`open`: of its result"), "{:?}", plugin.left_out());
    let value = structured(call(&plugin, "same", r#"{"x":-5}"#).await);
    assert_eq!(value, serde_json::json!({ "result": -5 }));
}
