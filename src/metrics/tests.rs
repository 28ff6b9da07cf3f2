//! The exposition as a whole, and whether the dashboards and alerts ask for what it has.

use std::collections::BTreeSet;

use super::*;

fn filled() -> Metrics {
    let mut metrics = Metrics::new("shop", 10);
    let mut table = metrics.tables.add("public.t");
    table.state("ready", "copied");
    table.expected_rows(Some(1.0));
    metrics.replication.lag_seconds.set(0.0);
    for stage in labels::LAG_STAGES {
        metrics.replication.lag_bytes(stage, Some(0));
    }
    metrics.replication.source_commit_timestamp_seconds.set(1.0);
    metrics.replication.last_message_timestamp_seconds.set(1.0);
    metrics.replication.slot(&SlotWal {
        retained_bytes: 0,
        safe_bytes: Some(1),
        status: "reserved".to_owned(),
    });
    metrics.apply.checkpoint_timestamp_seconds.set(1.0);
    metrics.apply.queue_capacity_bytes.set(1.0);
    metrics
}

#[test]
fn every_series_of_ours_names_its_pipeline_and_process_metrics_do_not() {
    for line in filled().exposition().render().lines().filter(|line| !line.starts_with('#')) {
        let is_ours = line.starts_with("sync_agent_");
        assert_eq!(line.contains("pipeline=\"shop\""), is_ours, "{line}");
        assert!(is_ours || line.starts_with("process_"), "{line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_usual_process_metrics_are_there() {
    let text = filled().exposition().render();
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
        assert!(text.contains(name), "{name} is missing");
    }
}

#[test]
fn closed_label_sets_exist_from_the_start() {
    let text = Metrics::new("shop", 10).exposition().render();
    for (name, label, values) in [
        ("state", "state", &labels::STATES[..]),
        ("errors_total", "stage", &labels::STAGES[..]),
        ("errors_total", "code", &labels::CODES[..]),
        ("reconnects_total", "side", &labels::SIDES[..]),
        ("snapshot_tables", "state", &labels::COPY_STATES[..]),
    ] {
        for value in values {
            let label = format!("{label}=\"{value}\"");
            let found = text.lines().any(|line| {
                line.starts_with(&format!("sync_agent_{name}{{")) && line.contains(&label)
            });
            assert!(found, "{name} lacks {label}");
        }
    }
}

#[test]
fn a_hostile_table_name_stays_one_label_value() {
    let mut metrics = Metrics::new("shop", 10);
    let hostile = "public.\"x\"\n} 1\nevil 1 \\";
    metrics.tables.add(hostile).rows("insert", 3);
    let text = metrics.exposition().render();
    assert!(text.lines().all(|line| !line.starts_with("evil")), "{text}");
    assert!(text.contains(r#"table="public.\"x\"\n} 1\nevil 1 \\",pipeline="shop"} 3"#), "{text}");
}

/// The names that a scrape can hold, histograms with their suffixes.
fn exported_names() -> BTreeSet<String> {
    let text = filled().exposition().render();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"].map(|s| format!("{name}{s}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

/// The metric names in a PromQL expression, ours and the process's.
fn metric_names(expression: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    expression
        .split(|c| !is_word(c))
        .filter(|word| word.starts_with("sync_agent_") || word.starts_with("process_"))
        .collect()
}

/// Every query in a dashboard: of panels (`expr`) and of variables (`definition`).
fn queries(json: &serde_json::Value, found: &mut Vec<String>) {
    match json {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    serde_json::Value::String(text) if key == "expr" || key == "definition" => {
                        found.push(text.clone());
                    }
                    _ => queries(value, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(folder);
    let paths = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("readable");
            (path.display().to_string(), text)
        })
        .collect()
}

fn assert_exported(place: &str, expression: &str) -> usize {
    let exported = exported_names();
    let names = metric_names(expression);
    for name in &names {
        // The process's metrics exist on Linux only.
        let is_known = exported.contains(*name)
            || (cfg!(not(target_os = "linux")) && name.starts_with("process_"));
        assert!(is_known, "{place} asks for {name}, which is not exported");
    }
    names.len()
}

#[test]
fn dashboards_ask_only_for_what_is_exported() {
    let dashboards = files("dashboards", "json");
    assert!(!dashboards.is_empty());
    for (place, text) in dashboards {
        let dashboard = serde_json::from_str(&text).expect("a dashboard is JSON");
        let mut found = Vec::new();
        queries(&dashboard, &mut found);
        let count: usize = found.iter().map(|query| assert_exported(&place, query)).sum();
        assert!(count > 0, "{place} shows nothing of ours");
    }
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let dashboards = files("dashboards", "json");
    let shown: String = dashboards.into_iter().map(|(_, text)| text).collect();
    for name in exported_names().iter().filter(|name| name.starts_with("sync_agent_")) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
        let base = base.unwrap_or(name);
        assert!(shown.contains(base), "{base} is on no dashboard");
    }
}

#[test]
fn alert_rules_ask_only_for_what_is_exported() {
    let rules = files("alerts", "yml");
    assert!(rules.iter().any(|(place, _)| place.ends_with(".rules.yml")));
    for (place, text) in rules {
        // The rule file's own name is no metric: it has a hyphen.
        let count = assert_exported(&place, &text);
        assert!(count > 0, "{place} asks for nothing of ours");
    }
}
