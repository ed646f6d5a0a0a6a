//! What each type is in JSON, and that nothing is lost on the way.

use proptest::prelude::*;
use serde_json::{Value, json};
use wasmtime::component::Val;

use super::schema::{self, Direction};
use super::shape::{Case, Field, Integer, Name, Shape};
use super::values::{arguments, read, to_json};

fn name(wit: &str) -> Name {
    Name::new(wit)
}

fn field(wit: &str, shape: Shape) -> Field {
    Field { name: name(wit), shape }
}

fn case(wit: &str, shape: Option<Shape>) -> Case {
    Case { name: name(wit), shape }
}

fn boxed(shape: Shape) -> Box<Shape> {
    Box::new(shape)
}

#[test]
fn each_type_has_its_schema() {
    let check = |shape: Shape, expected: Value| {
        assert_eq!(schema::of(&shape, Direction::In), expected, "{shape:?}");
    };
    check(Shape::Bool, json!({ "type": "boolean" }));
    check(Shape::Integer(Integer::U8), json!({ "type": "integer", "minimum": 0, "maximum": 255 }));
    check(
        Shape::Integer(Integer::S64),
        json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
    );
    check(
        Shape::Integer(Integer::U64),
        json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
    );
    check(Shape::Float64, json!({ "type": "number" }));
    check(Shape::Char, json!({ "type": "string", "minLength": 1, "maxLength": 1 }));
    check(Shape::Bytes, json!({ "type": "string", "contentEncoding": "base64" }));
    check(
        Shape::List(boxed(Shape::Text)),
        json!({ "type": "array", "items": { "type": "string" } }),
    );
    check(
        Shape::Tuple(vec![Shape::Bool, Shape::Text]),
        json!({
            "type": "array",
            "prefixItems": [{ "type": "boolean" }, { "type": "string" }],
            "items": false,
            "minItems": 2,
        }),
    );
    check(
        Shape::Record(vec![
            field("user-name", Shape::Text),
            field("nick", Shape::Option(boxed(Shape::Text))),
        ]),
        json!({
            "type": "object",
            "properties": {
                "user_name": { "type": "string" },
                "nick": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
            },
            "required": ["user_name"],
            "additionalProperties": false,
        }),
    );
    check(
        Shape::Variant(vec![case("all-of-it", None), case("some", Some(Shape::Bool))]),
        json!({ "oneOf": [
            {
                "type": "object",
                "properties": { "tag": { "const": "all_of_it" } },
                "required": ["tag"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": { "tag": { "const": "some" }, "value": { "type": "boolean" } },
                "required": ["tag", "value"],
                "additionalProperties": false,
            },
        ] }),
    );
    check(
        Shape::Enum(vec![name("dark-red"), name("blue")]),
        json!({ "type": "string", "enum": ["dark_red", "blue"] }),
    );
    check(
        Shape::Flags(vec![name("read"), name("write")]),
        json!({
            "type": "array",
            "items": { "type": "string", "enum": ["read", "write"] },
            "uniqueItems": true,
        }),
    );
    check(
        Shape::Result(None, Some(boxed(Shape::Text))),
        json!({ "oneOf": [
            {
                "type": "object",
                "properties": { "ok": { "type": "null" } },
                "required": ["ok"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": { "err": { "type": "string" } },
                "required": ["err"],
                "additionalProperties": false,
            },
        ] }),
    );
    let out = schema::of(&Shape::Float32, Direction::Out);
    assert_eq!(out, json!({ "type": ["number", "null"] }), "a result may be no number");
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let parameters = vec![
        field("user-name", Shape::Text),
        field("ages", Shape::List(boxed(Shape::Integer(Integer::U8)))),
        field("kind", Shape::Option(boxed(Shape::Enum(vec![name("big"), name("small")])))),
        field(
            "how",
            Shape::Option(boxed(Shape::Variant(vec![
                case("plain", None),
                case("times", Some(Shape::Integer(Integer::S8))),
            ]))),
        ),
        field("a/b", Shape::Option(boxed(Shape::Bytes))),
        field("nested", Shape::Option(boxed(Shape::Option(boxed(Shape::Bool))))),
    ];
    let check = |more: Value, path: &str, message: &str| {
        let mut given = json!({ "user_name": "Ada", "ages": [1] });
        for (key, value) in more.as_object().expect("an object") {
            given[key] = value.clone();
        }
        let misfit = arguments(&parameters, &given).expect_err(message);
        assert_eq!((misfit.0.as_str(), misfit.1.as_str()), (path, message));
    };
    check(json!({ "user_name": 1 }), "/user_name", "a text is needed, not a number");
    check(json!({ "ages": [1, 300] }), "/ages/1", "300 is not between 0 and 255");
    check(json!({ "ages": [1.5] }), "/ages/0", "a whole number is needed");
    check(json!({ "ages": 7 }), "/ages", "an array is needed, not a number");
    check(json!({ "kind": "bog" }), "/kind", "there is no `bog`; did you mean `big`?");
    check(json!({ "kinds": 1 }), "/kinds", "there is no `kinds`; did you mean `kind`?");
    check(json!({ "how": { "tag": "times" } }), "/how", "the `value` of `times` is missing");
    check(json!({ "how": { "tag": "plain", "value": 1 } }), "/how/value", "`plain` has no value");
    check(
        json!({ "how": { "tag": "times", "value": 1, "x": 1 } }),
        "/how/x",
        "there are `tag` and `value`, and nothing else",
    );
    check(json!({ "nested": true }), "/nested", "{\"some\": …} is needed, not true or false");
    let misfit = arguments(&parameters, &json!({ "a/b": "*" })).expect_err("misses");
    assert_eq!(misfit, (String::new(), "`user_name` is missing".to_owned()));
    let misfit = arguments(&parameters, &json!({ "user_name": "", "ages": [], "a/b": "*" }));
    assert_eq!(misfit.expect_err("is no base64").0, "/a~1b");
    let misfit = arguments(&parameters, &json!([])).expect_err("is no object");
    assert_eq!(misfit.1, "an object is needed, not an array");
}

#[test]
fn numbers_are_what_json_says_they_are() {
    let u64s = Shape::Integer(Integer::U64);
    assert_eq!(read(&u64s, &json!(u64::MAX)), Ok(Val::U64(u64::MAX)));
    assert_eq!(read(&u64s, &json!(3.0)), Ok(Val::U64(3)));
    assert!(read(&u64s, &json!(-1)).is_err());
    assert!(read(&u64s, &json!(1e300)).is_err());
    assert_eq!(read(&Shape::Integer(Integer::S64), &json!(i64::MIN)), Ok(Val::S64(i64::MIN)));
    assert_eq!(read(&Shape::Float32, &json!(0.1)), Ok(Val::Float32(0.1)));
    assert!(read(&Shape::Float32, &json!(1e39)).is_err(), "no number becomes infinite");
    assert_eq!(to_json(&Shape::Float64, &Val::Float64(f64::NAN)), Some(Value::Null));
}

fn words() -> impl Strategy<Value = Vec<Name>> {
    (1..5usize).prop_map(|count| (0..count).map(|n| name(&format!("word-{n}"))).collect())
}

fn shapes() -> impl Strategy<Value = Shape> {
    let integer = prop::sample::select(vec![
        Integer::U8,
        Integer::U16,
        Integer::U32,
        Integer::U64,
        Integer::S8,
        Integer::S16,
        Integer::S32,
        Integer::S64,
    ]);
    let leaf = prop_oneof![
        Just(Shape::Bool),
        integer.prop_map(Shape::Integer),
        Just(Shape::Float32),
        Just(Shape::Float64),
        Just(Shape::Char),
        Just(Shape::Text),
        Just(Shape::Bytes),
        words().prop_map(Shape::Enum),
        words().prop_map(Shape::Flags),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let maybe = || prop::option::of(inner.clone());
        prop_oneof![
            inner.clone().prop_map(|shape| Shape::List(boxed(shape))),
            inner.clone().prop_map(|shape| Shape::Option(boxed(shape))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Shape::Tuple),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|shapes| {
                let fields = shapes.into_iter().enumerate();
                Shape::Record(fields.map(|(n, shape)| field(&format!("f-{n}"), shape)).collect())
            }),
            prop::collection::vec(maybe(), 1..4).prop_map(|shapes| {
                let cases = shapes.into_iter().enumerate();
                Shape::Variant(cases.map(|(n, shape)| case(&format!("c-{n}"), shape)).collect())
            }),
            (maybe(), maybe()).prop_map(|(ok, err)| Shape::Result(ok.map(boxed), err.map(boxed))),
        ]
    })
}

fn optional(shape: Option<Shape>) -> BoxedStrategy<Option<Box<Val>>> {
    match shape {
        Some(shape) => values(shape).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    }
}

fn values(shape: Shape) -> BoxedStrategy<Val> {
    match shape {
        Shape::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Shape::Integer(Integer::U8) => any::<u8>().prop_map(Val::U8).boxed(),
        Shape::Integer(Integer::U16) => any::<u16>().prop_map(Val::U16).boxed(),
        Shape::Integer(Integer::U32) => any::<u32>().prop_map(Val::U32).boxed(),
        Shape::Integer(Integer::U64) => any::<u64>().prop_map(Val::U64).boxed(),
        Shape::Integer(Integer::S8) => any::<i8>().prop_map(Val::S8).boxed(),
        Shape::Integer(Integer::S16) => any::<i16>().prop_map(Val::S16).boxed(),
        Shape::Integer(Integer::S32) => any::<i32>().prop_map(Val::S32).boxed(),
        Shape::Integer(Integer::S64) => any::<i64>().prop_map(Val::S64).boxed(),
        Shape::Float32 => any::<f32>().prop_map(Val::Float32).boxed(),
        Shape::Float64 => any::<f64>().prop_map(Val::Float64).boxed(),
        Shape::Char => any::<char>().prop_map(Val::Char).boxed(),
        Shape::Text => any::<String>().prop_map(Val::String).boxed(),
        Shape::Bytes => {
            prop::collection::vec(any::<u8>().prop_map(Val::U8), 0..9).prop_map(Val::List).boxed()
        }
        Shape::List(element) => {
            prop::collection::vec(values(*element), 0..4).prop_map(Val::List).boxed()
        }
        Shape::Tuple(parts) => {
            parts.into_iter().map(values).collect::<Vec<_>>().prop_map(Val::Tuple).boxed()
        }
        Shape::Record(fields) => fields
            .into_iter()
            .map(|field| values(field.shape).prop_map(move |value| (field.name.wit.clone(), value)))
            .collect::<Vec<_>>()
            .prop_map(Val::Record)
            .boxed(),
        Shape::Variant(cases) => prop::sample::select(cases)
            .prop_flat_map(|case| {
                let name = case.name.wit;
                optional(case.shape).prop_map(move |value| Val::Variant(name.clone(), value))
            })
            .boxed(),
        Shape::Enum(names) => {
            prop::sample::select(names).prop_map(|name| Val::Enum(name.wit)).boxed()
        }
        Shape::Option(some) => {
            prop_oneof![Just(Val::Option(None)), optional(Some(*some)).prop_map(Val::Option)]
                .boxed()
        }
        Shape::Result(ok, err) => prop_oneof![
            optional(ok.map(|shape| *shape)).prop_map(|value| Val::Result(Ok(value))),
            optional(err.map(|shape| *shape)).prop_map(|value| Val::Result(Err(value))),
        ]
        .boxed(),
        Shape::Flags(names) => {
            let count = names.len();
            prop::sample::subsequence(names, 0..=count)
                .prop_map(|set| Val::Flags(set.into_iter().map(|name| name.wit).collect()))
                .boxed()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_lost_between_json_and_wit(
        (shape, value) in shapes().prop_flat_map(|shape| (Just(shape.clone()), values(shape)))
    ) {
        let json = to_json(&shape, &value).expect("the value is of its type");
        for direction in [Direction::In, Direction::Out] {
            let schema = schema::of(&shape, direction);
            let valid = jsonschema::draft202012::is_valid(&schema, &json);
            prop_assert!(valid, "{schema} does not take {json}");
        }
        prop_assert_eq!(read(&shape, &json), Ok(value));
    }

    #[test]
    fn whatever_is_given_there_is_an_answer(shape in shapes(), text in "[\\[\\]{}\",:0-9a-z]{0,20}") {
        let json: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let _ = read(&shape, &json);
    }
}
