//! The exposition as a whole, and whether the dashboards and alerts ask for what it has.

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
