//! The status page with made-up numbers, for working on the page without two servers:
//! `cargo run --example status_page [streaming|copying|degraded|many]`, then open the address.

#![allow(clippy::print_stderr)]

use std::time::Duration;

use sync_agent::http;
use sync_agent::model::change::Op;
use sync_agent::pg::ident::QualifiedName;
use sync_agent::pg::lsn::Lsn;
use sync_agent::pg::time::PgTimestamp;
use sync_agent::pipeline::status::{
    Board, BoardOptions, ConflictKind, ErrorReport, SlotPoll, SourcePoll, State, TableState,
};

const TABLES: [&str; 6] =
    ["orders", "order_lines", "customers", "<img src=x onerror=alert(1)>", "audit_log", "a\"b.c"];

fn table(name: &str) -> QualifiedName {
    QualifiedName::new("public", name)
}

fn announce(board: &Board, kind: &str) {
    board.server_versions(Some("18.4".to_owned()), Some("15.18".to_owned()));
    board.source_reached();
    board.destination_reached();
    for (index, name) in TABLES.into_iter().enumerate() {
        board.table(&table(name), &table(name), name == "audit_log");
        board.snapshot_expected(&table(name), Some(100_000), 64 << 20);
        let is_pending = kind == "copying" && index > 3;
        board.table_state(
            &table(name),
            match kind {
                "copying" if is_pending => TableState::Pending,
                "copying" if index > 0 => TableState::Copying,
                _ => TableState::Ready,
            },
        );
    }
    if kind == "many" {
        for index in 0..2000 {
            let name = table(&format!("tenant_{index:04}"));
            board.table(&name, &name, false);
            board.table_state(&name, TableState::Ready);
        }
    }
    match kind {
        "copying" => board.set_state(State::Copying, "copying 5 of 6 tables"),
        "degraded" => {
            board.set_state(State::Degraded, "the destination refuses a row");
            board.set_error(ErrorReport {
                stage: "apply",
                code: "E_DATA",
                message: "value too long for column \"city\" of type character varying(10)"
                    .to_owned(),
                table: Some(table("customers")),
            });
            board.conflict(&table("customers"), ConflictKind::UpdateMissing, 3);
        }
        _ => board.set_state(State::Streaming, "following the source"),
    }
}

fn tick(board: &Board, kind: &str, tick: u64) {
    let wal_end = Lsn::new(0x16_B374_0000 + tick * 400_000);
    board.source_poll(SourcePoll {
        wal_end,
        server_time: PgTimestamp::now(),
        slot: Some(SlotPoll {
            confirmed_flush: Some(wal_end),
            restart_lsn: Some(Lsn::new(0x16_B370_0000)),
            retained_bytes: (32 << 20) + tick % 30 * 1_000_000,
            safe_bytes: Some(2 << 30),
            wal_status: "reserved".to_owned(),
            active: true,
        }),
    });
    board.message_received(PgTimestamp::now());
    board.queue(tick % 7 * 100_000, 64 << 20);
    if kind == "copying" {
        for name in &TABLES[1..4] {
            board.snapshot_progress(&table(name), 900, 600_000);
        }
        return;
    }
    board.received(wal_end, 300_000 + tick % 13 * 20_000);
    if kind == "degraded" {
        return;
    }
    for (index, name) in (1u64..).zip(TABLES) {
        board.rows(&table(name), Op::Insert, index * 10 + tick % 11);
        board.rows(&table(name), Op::Update, index * 7);
    }
    board.transactions(40);
    // Every so often the destination pauses for a few seconds.
    if tick % 30 < 24 {
        board.applied(wal_end, Some(PgTimestamp::now()));
        board.confirmed(wal_end);
        board.batch_applied(Duration::from_millis(3 + tick % 9), 350, Some(PgTimestamp::now()));
        board.checkpoint_flush(Duration::from_micros(900));
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let kind = std::env::args().nth(1).unwrap_or_else(|| "streaming".to_owned());
    let board = Board::new(BoardOptions { pipeline: "shop".to_owned(), max_tables: 500 });
    announce(&board, &kind);
    board.resumed(Lsn::new(0x16_B374_0000), Some(PgTimestamp::now()));
    let listener = http::bind("127.0.0.1:9847".parse()?).await?;
    eprintln!("http://{}/", listener.local_addr()?);
    let page = tokio::spawn(http::serve(listener, board.clone(), std::future::pending()));
    let mut interval = tokio::time::interval(Duration::from_millis(250));
    for count in 0.. {
        interval.tick().await;
        tick(&board, &kind, count);
        if page.is_finished() {
            break;
        }
    }
    Ok(())
}
