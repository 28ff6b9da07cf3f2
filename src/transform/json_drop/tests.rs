//! What is left of JSON values, byte for byte.

use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::*;

fn shown(paths: &[&str], json: &str) -> String {
    let paths: Vec<JsonPath> =
        paths.iter().map(|path| JsonPath::parse(path).expect("a path")).collect();
    let left = dropped(&paths, json.as_bytes()).expect("is JSON");
    left.map_or(json.to_owned(), |left| String::from_utf8(left.to_vec()).expect("is text"))
}

#[test]
fn what_a_path_leads_to_is_left_out() {
    for (paths, json, expected) in [
        (&["a"][..], r#"{"a": 1, "b": 2}"#, r#"{"b": 2}"#),
        (&["b"], r#"{"a": 1, "b": 2}"#, r#"{"a": 1}"#),
        (&["b"], r#"{"a": 1, "b": 2, "c": 3}"#, r#"{"a": 1, "c": 3}"#),
        (&["a", "b"], r#"{"a": 1, "b": 2}"#, "{}"),
        (&["a.b"], r#"{"a": {"b": 1}}"#, r#"{"a": {}}"#),
        (&["a.b", "a"], r#"{"a": {"b": 1}, "c": {"a": 1}}"#, r#"{"c": {"a": 1}}"#),
        (&["tags.0"], r#"{"tags": ["x", "y"]}"#, r#"{"tags": ["y"]}"#),
        (&["tags.0", "tags.1"], r#"{"tags": [1, 2, 3]}"#, r#"{"tags": [3]}"#),
        (&["tags.-1"], r#"{"tags": [[1], {"a": ","}, "]"]}"#, r#"{"tags": [[1], {"a": ","}]}"#),
        (&["tags.-3"], r#"{"tags": [1, 2]}"#, r#"{"tags": [1, 2]}"#),
        (&["0"], r#"{"0": 1}"#, "{}"),
        (&["0"], "[1, 2]", "[2]"),
        (&["a"], "[1, 2]", "[1, 2]"),
        (
            &["orders.*.card"],
            r#"{"orders": [{"card": 1, "n": 2}, {"n": 3}, 4]}"#,
            r#"{"orders": [{"n": 2}, {"n": 3}, 4]}"#,
        ),
        (&["*.card"], r#"{"x": {"card": 1}, "y": {"card": {"card": 1}}}"#, r#"{"x": {}, "y": {}}"#),
        (&["*"], "[1, 2]", "[]"),
        (&[r#""a.b""#], r#"{"a.b": 1, "a": {"b": 2}}"#, r#"{"a": {"b": 2}}"#),
        (&["a"], r#"{"a": 1, "a" : 2, "b": 3, "a": 4}"#, r#"{"b": 3}"#),
        (&["a\"b"], r#"{"a\"b": 1, "c": 2}"#, r#"{"c": 2}"#),
        (&["é"], r#"{"\u00e9": 1, "\ud800": 2}"#, r#"{"\ud800": 2}"#),
        (&["a"], r#""a""#, r#""a""#),
        (&["a"], "null", "null"),
        (
            &["b"],
            r#"{"a": 1.50, "b": 0, "c": 1e400, "d": "\u00e9\/"}"#,
            r#"{"a": 1.50, "c": 1e400, "d": "\u00e9\/"}"#,
        ),
    ] {
        assert_eq!(shown(paths, json), expected, "{paths:?} of {json}");
    }
}

#[test]
fn white_space_of_what_stays_stays() {
    for (path, json, expected) in [
        ("a", r#"{ "a" : 1 , "b" : 2 }"#, r#"{ "b" : 2 }"#),
        ("b", r#"{ "a" : 1 , "b" : 2 }"#, r#"{ "a" : 1 }"#),
        ("a", r#"{ "a":1 }"#, "{}"),
        ("x", " { } ", " { } "),
        ("b", "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}\n", "{\n  \"a\": 1,\n  \"c\": 3\n}\n"),
        ("b", r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"c":3}"#),
    ] {
        assert_eq!(shown(&[path], json), expected);
    }
}

#[test]
fn what_is_no_json_is_an_error() {
    let paths = [JsonPath::parse("a.-1").expect("a path")];
    for json in [
        "",
        "{",
        "[",
        r#"{"a"#,
        r#"{"a" 1}"#,
        r#"{"a": [1"#,
        r#"{"a": [1}"#,
        "{1: 2}",
        "[1, ]",
        "1 2",
        r#"{"a\"#,
        r#"{"a": "\"#,
        "x",
        r#"{"a": }"#,
        r#"{"a": 1,}"#,
    ] {
        assert_eq!(dropped(&paths, json.as_bytes()), Err(MALFORMED), "{json}");
    }
}

/// The same, by taking the value apart.
fn without(paths: &[Vec<JsonSegment>], value: Json) -> Json {
    let fate = |matches: &dyn Fn(&JsonSegment) -> bool| {
        let inside: Vec<Vec<JsonSegment>> =
            paths.iter().filter(|path| matches(&path[0])).map(|path| path[1..].to_vec()).collect();
        (!inside.iter().any(Vec::is_empty)).then_some(inside)
    };
    match value {
        Json::Object(members) => {
            Json::Object(Map::from_iter(members.into_iter().filter_map(|(key, value)| {
                let inside = fate(&|segment| match segment {
                    JsonSegment::Any => true,
                    JsonSegment::Named { key: wanted, .. } => *wanted == key,
                })?;
                Some((key, without(&inside, value)))
            })))
        }
        Json::Array(elements) => {
            let length = i64::try_from(elements.len()).expect("short");
            Json::Array(
                (0..)
                    .zip(elements)
                    .filter_map(|(place, value)| {
                        let inside = fate(&|segment| match segment {
                            JsonSegment::Any => true,
                            JsonSegment::Named { index, .. } => index.is_some_and(|index| {
                                index == place || index + length == place && index < 0
                            }),
                        })?;
                        Some(without(&inside, value))
                    })
                    .collect(),
            )
        }
        scalar => scalar,
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        r#"[a,"\\{}\[\]é ]{0,4}"#.prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[ab\"0]{0,1}", inner, 0..4)
                .prop_map(|members| Json::Object(Map::from_iter(members))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_left_is_what_taking_apart_leaves(
        json in any_json(),
        paths in prop::collection::vec(r#"(a|b|0|1|-1|-2|\*|"")(\.(a|b|0|-1|\*)){0,2}"#, 1..4),
        pretty: bool,
    ) {
        let parsed: Vec<JsonPath> =
            paths.iter().map(|path| JsonPath::parse(path).expect("a path")).collect();
        let segments: Vec<Vec<JsonSegment>> = parsed.iter().map(|path| path.0.clone()).collect();
        let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) };
        let text = text.expect("is JSON");
        let names: Vec<&str> = paths.iter().map(String::as_str).collect();
        let left: Json = serde_json::from_str(&shown(&names, &text)).expect("stays JSON");
        prop_assert_eq!(left, without(&segments, json));
    }

    #[test]
    fn no_bytes_make_it_panic(json: Vec<u8>, text in r#"[{}\[\]",:\\a1 ]{0,20}"#) {
        let paths = [JsonPath::parse("*.*").expect("a path"), JsonPath::parse("-1").expect("a path")];
        let _ = dropped(&paths, &json);
        let _ = dropped(&paths, text.as_bytes());
    }
}
