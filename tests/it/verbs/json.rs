//! `--output json`: what docs/json.md shows is what the verbs print, failing or not.

use std::path::Path;

use serde_json::{Map, Value};

use super::with_table;
use crate::support::agent::{Agent, Output};
use crate::support::cluster::Stop;

/// The example under the name.
fn documented(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let text = std::fs::read_to_string(path).expect("the docs");
    let open = format!("```json {name}\n");
    let (_, example) = text.split_once(&open).unwrap_or_else(|| panic!("no example {name}"));
    let (example, _) = example.split_once("```").expect("it is closed");
    serde_json::from_str(example).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All keys of all objects of a list.
fn united(list: &[Value]) -> Option<Value> {
    let objects: Vec<&Map<String, Value>> = list.iter().filter_map(Value::as_object).collect();
    if objects.is_empty() {
        return list.first().cloned();
    }
    let mut all = Map::new();
    for (key, value) in objects.into_iter().flatten() {
        if all.get(key).is_none_or(Value::is_null) {
            all.insert(key.clone(), value.clone());
        }
    }
    Some(Value::Object(all))
}

/// The same keys at every depth; what is null or empty on one side says nothing of its inside.
fn assert_same_shape(path: &str, documented: &Value, printed: &Value) {
    match (documented, printed) {
        (Value::Object(documented), Value::Object(printed)) => {
            for key in printed.keys() {
                assert!(documented.contains_key(key), "docs/json.md does not know {path}.{key}");
            }
            for (key, value) in documented {
                // The one key that is left out where there is nothing to say.
                let Some(printed) = printed.get(key) else {
                    assert_eq!(key, "remedy", "{path}.{key} is documented, and not printed");
                    continue;
                };
                assert_same_shape(&format!("{path}.{key}"), value, printed);
            }
        }
        (Value::Array(documented), Value::Array(printed)) => {
            if let (Some(documented), Some(printed)) = (united(documented), united(printed)) {
                assert_same_shape(&format!("{path}[]"), &documented, &printed);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (documented, printed) => {
            let kind = |value: &Value| std::mem::discriminant(value);
            assert_eq!(kind(documented), kind(printed), "{path}: {documented} and {printed}");
        }
    }
}

/// One object, with an end of line and nothing else, in the documented shape.
fn assert_documented(name: &str, output: &Output) -> Value {
    let Ok(printed) = serde_json::from_str::<Value>(&output.stdout) else {
        panic!("no single JSON object on stdout: {output:?}")
    };
    assert!(output.stdout.ends_with('\n'), "{output:?}");
    assert_same_shape(name, &documented(name), &printed);
    printed
}

async fn json(agent: &Agent, code: i32, arguments: &[&str]) -> Output {
    let output = agent.verb(&[arguments, &["--output", "json"]].concat()).await;
    assert_eq!(output.code, code, "{arguments:?}: {output:?}");
    output
}

#[tokio::test]
async fn every_result_has_the_documented_keys() {
    let (source, destination) = with_table().await;
    source.exec("CREATE TABLE log (line text)").await;
    let mut agent = Agent::between(&source, &destination)
        .section("[[query]]\nname = \"q\"\nsql = \"SELECT 1 AS a\"\ndestination = \"public.q\"");
    assert_documented("check", &json(&agent, 0, &["check"]).await);
    let mistaken = Agent::between(&source, &destination).set("include", "[\"gone.*\"]");
    assert_documented("check", &json(&mistaken, 3, &["check"]).await);
    let preview = ["preview", "--show-source"];
    assert_eq!(assert_documented("preview", &json(&agent, 0, &preview).await)["ok"], true);
    let snapshot = json(&agent, 0, &["snapshot"]).await;
    assert_eq!(assert_documented("snapshot", &snapshot)["ok"], true);
    assert_documented("snapshot", &json(&agent, 0, &["snapshot"]).await);
    assert_documented("reset", &json(&agent, 0, &["reset", "--yes"]).await);
    destination.exec("TRUNCATE t, log, q").await;

    agent.start_and_stream().await;
    agent
        .wait_for("the slot was polled", async |agent| agent.status().await["slot"].is_object())
        .await;
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    let waited = json(&agent, 0, &["wait", "--for", "caught-up", "--timeout", "60s"]).await;
    assert_eq!(assert_documented("wait", &waited)["ok"], true);
    let status = assert_documented("status", &json(&agent, 0, &["status"]).await);
    assert!(status["slot"].is_object(), "the slot's keys were compared: {status}");
    destination.exec("ALTER TABLE t ADD CHECK (id <> 3)").await;
    source.exec("INSERT INTO t VALUES (3, 'c')").await;
    agent.wait_for_state("degraded").await;
    let status = assert_documented("status", &json(&agent, 0, &["status"]).await);
    assert_eq!(status["last_error"]["active"], true, "its keys were compared: {status}");
    assert_documented("check", &json(&agent, 0, &["check"]).await);
    assert_documented("failure", &json(&agent, 1, &["reset", "--yes"]).await);
    destination.exec("ALTER TABLE t DROP CONSTRAINT t_id_check").await;
    agent.wait_for_state("streaming").await;
    assert_eq!(agent.terminate().await, Some(0));

    assert_documented("status", &json(&agent, 0, &["status"]).await);
    let late = json(&agent, 1, &["wait", "--for", "FF/0", "--timeout", "1s"]).await;
    assert_eq!(assert_documented("wait", &late)["ok"], false);
    let resync = json(&agent, 0, &["resync", "--all", "--yes"]).await;
    assert_eq!(assert_documented("resync", &resync)["outcome"], "recorded");
}

#[tokio::test]
async fn every_failure_is_one_object_with_the_same_exit_code() {
    let (mut source, mut destination) = with_table().await;
    let agent = Agent::between(&source, &destination);
    // Not asked for by JSON: nothing on stdout.
    let silent = agent.verb(&["reset"]).await;
    assert_eq!((silent.code, silent.stdout.as_str()), (2, ""), "{silent:?}");
    for verb in [&["reset"][..], &["snapshot", "--restart"], &["resync", "--all"]] {
        let refused = assert_documented("failure", &json(&agent, 2, verb).await);
        assert_eq!(refused["code"], Value::Null);
        assert!(refused["reason"].to_string().contains("--yes"), "{refused}");
    }
    let mistaken = Agent::between(&source, &destination).set("apply.lanes", "0").set("y", "1");
    for verb in [
        &["check"][..],
        &["status"],
        &["wait", "--for", "streaming"],
        &["snapshot"],
        &["preview"],
        &["reset", "--yes"],
        &["resync", "--all", "--yes"],
    ] {
        let failure = assert_documented("failure", &json(&mistaken, 3, verb).await);
        assert_eq!(failure["code"], "E_CONFIG");
        assert_eq!(failure["errors"].as_array().map(Vec::len), Some(2), "{failure}");
    }
    source.stop(Stop::Fast).await;
    destination.stop(Stop::Fast).await;
    let unreachable = json(&agent, 1, &["check"]).await;
    assert_eq!(assert_documented("check", &unreachable)["code"], "E_CONNECT");
    for verb in [
        &["status"][..],
        &["wait", "--for", "streaming"],
        &["snapshot"],
        &["preview"],
        &["reset", "--yes"],
        &["resync", "--all", "--yes"],
    ] {
        let failure = assert_documented("failure", &json(&agent, 1, verb).await);
        assert_eq!(failure["code"], "E_CONNECT", "{verb:?}: {failure}");
        assert!(!failure["reason"].to_string().is_empty(), "{failure}");
    }
}
