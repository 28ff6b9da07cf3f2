//! Our own connections against real servers: COPY by whole frames, the replication stream.

use bytes::Bytes;
use futures::FutureExt;
use sync_agent::pg::conninfo::ConnInfo;
use sync_agent::pg::dial::{Endpoint, PasswordSource};
use sync_agent::pg::lsn::Lsn;
use sync_agent::pg::time::PgTimestamp;
use sync_agent::wire::{
    CopyBoth, Envelope, Mode, Session, StatusUpdate, StreamOptions, frame, start_replication_sql,
};
use tokio::time::timeout;

use crate::support::cluster::{Cluster, Stop, pair};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::wait;

async fn session(database: &Database, mode: Mode) -> Session {
    let endpoint = Endpoint {
        side: "source",
        conninfo: ConnInfo::parse(&database.url(), &|_| None).expect("valid"),
        password: PasswordSource::ConnInfo,
        pipeline: "it".to_owned(),
    };
    Session::connect(&endpoint, "test", mode).await.expect("connected")
}

#[tokio::test]
async fn rows_are_copied_verbatim_in_both_formats() {
    let (source, destination) = pair().await;
    let create = "CREATE TABLE t (id bigint PRIMARY KEY, a text, b bytea, n numeric, j jsonb)";
    source.exec(create).await;
    destination.exec(create).await;
    source
        .exec(
            "INSERT INTO t SELECT g, CASE WHEN g % 3 = 0 THEN NULL ELSE repeat(md5(g::text), 3) END,
               decode(md5(g::text), 'hex'), g / 7.0, jsonb_build_object('g', g)
             FROM generate_series(1, 30000) g;
             INSERT INTO t VALUES (0, repeat(E'\\\\\\t\\n', 1000000), '', 'NaN', '[]')",
        )
        .await;
    let (mut from, mut to) =
        (session(&source, Mode::Ordinary).await, session(&destination, Mode::Ordinary).await);
    for (format, extra) in [("binary", 1), ("text", 0)] {
        to.execute("TRUNCATE public.t").await.expect("emptied");
        let sql = format!("COPY public.t TO STDOUT (FORMAT {format})");
        let mut rows_out = from.copy_out(&sql).await.expect("begun");
        let sql = format!("COPY public.t FROM STDIN (FORMAT {format})");
        let mut rows_in = to.copy_in(&sql).await.expect("begun");
        assert_eq!((rows_out.is_binary(), rows_in.is_binary()), (extra == 1, extra == 1));
        let mut count = 0;
        while let Some(frames) = rows_out.next_frames().await.expect("rows") {
            assert_eq!(rows_out.frame_count(), frame::frame_count(&frames));
            count += rows_out.frame_count();
            rows_in.send_frames(frames).await.expect("taken");
        }
        assert_eq!(rows_out.row_count(), Some(30_001));
        assert_eq!(rows_in.finish().await.expect("taken"), 30_001);
        // In binary the trailer is a frame of its own; the header travels with the first row.
        assert_eq!(count, 30_001 + extra);
        assert_same(&source, &destination, &["t"]).await;
    }
}

#[tokio::test]
async fn a_copy_that_fails_leaves_the_session_usable() {
    let destination = Cluster::destination().await;
    destination.exec("CREATE TABLE t (id int PRIMARY KEY, a text)").await;
    let mut session = session(&destination, Mode::Ordinary).await;
    // Refused at its first row, long before the last is sent.
    let mut copy = session.copy_in("COPY public.t FROM STDIN").await.expect("begun");
    let row = format!("canary{}\n", "x".repeat(10_000));
    let error = timeout(wait::PROCESS, async {
        loop {
            if let Err(error) = copy.send_data(row.as_bytes()).await {
                return error;
            }
        }
    })
    .await
    .expect("noticed while sending");
    assert_eq!(error.server_error().expect("the server's").code.code(), "22P02");
    assert!(!error.to_string().contains("canary"), "no row values: {error}");
    assert!(copy.finish().await.is_err());
    // Refused at the end.
    let mut copy = session.copy_in("COPY public.t FROM STDIN").await.expect("begun");
    copy.send_data(b"1\tx\n1\ty\n").await.expect("buffered");
    let error = copy.finish().await.expect_err("a duplicate");
    assert_eq!(error.server_error().expect("the server's").constraint.as_deref(), Some("t_pkey"));
    // Given up by us.
    let mut copy = session.copy_in("COPY public.t FROM STDIN").await.expect("begun");
    copy.send_data(b"1\tx\n").await.expect("buffered");
    copy.abort("not wanted").await.expect("given up");
    // Refused before it begins, and in the middle of the way out.
    assert!(session.copy_out("COPY public.none TO STDOUT").await.is_err());
    let sql = "COPY (SELECT 1 / (100000 - g) FROM generate_series(1, 200000) g) TO STDOUT";
    let mut copy = session.copy_out(sql).await.expect("begun");
    let error = loop {
        match copy.next_frames().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a short copy"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.server_error().expect("the server's").code.code(), "22012");
    let rows = session.simple_query("SELECT count(*) FROM public.t").await.expect("usable");
    assert_eq!(rows[0][0].as_deref(), Some("0"));
}

#[tokio::test]
async fn a_backend_that_is_terminated_says_so_in_the_middle_of_a_copy() {
    let destination = Cluster::destination().await;
    destination.exec("CREATE TABLE t (a text)").await;
    let mut session = session(&destination, Mode::Ordinary).await;
    let pid = session.backend_pid();
    let mut copy = session.copy_in("COPY public.t FROM STDIN").await.expect("begun");
    destination.exec(&format!("SELECT pg_terminate_backend({pid})")).await;
    let row = Bytes::from(format!("{}\n", "x".repeat(100_000)));
    let error = timeout(wait::PROCESS, async {
        loop {
            if let Err(error) = copy.send_data(&row).await {
                return error;
            }
        }
    })
    .await
    .expect("noticed");
    assert!(error.is_transient(), "{error}");
    assert_eq!(error.server_error().expect("its last words").code.code(), "57P01");
}

async fn stream(source: &Cluster, slot: &str, publications: &[&str]) -> (CopyBoth, Lsn) {
    let mut session = session(source, Mode::Replication).await;
    let failover = source.major >= 17;
    let created = session.create_logical_slot(slot, false, failover).await.expect("created");
    let rows = source
        .session()
        .await
        .expect("connected")
        .simple_query(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{}'; COMMIT",
            created.snapshot_name
        ))
        .await;
    rows.expect("the snapshot can be imported until the next command");
    let options = StreamOptions {
        proto_version: 1,
        publications: publications.iter().map(|&name| name.to_owned()).collect(),
        binary: true,
        messages: false,
    };
    let sql = start_replication_sql(slot, created.consistent_lsn, &options);
    (session.start_replication(&sql).await.expect("started"), created.consistent_lsn)
}

fn status(lsn: Lsn) -> StatusUpdate {
    StatusUpdate {
        written: lsn,
        flushed: lsn,
        applied: lsn,
        reply_requested: true,
        clock: PgTimestamp::now(),
    }
}

#[tokio::test]
async fn a_stream_gives_every_message_and_takes_feedback() {
    let source = Cluster::source().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, a text)").await;
    source.exec("CREATE PUBLICATION \"p\"\"u,b'x\" FOR TABLE t").await;
    let mut session = session(&source, Mode::Replication).await;
    let identity = session.identify_system().await.expect("told");
    let wanted = source.scalar("SELECT system_identifier FROM pg_control_system()").await;
    assert_eq!(identity.system_identifier, wanted);
    assert_eq!((identity.timeline, identity.dbname.as_deref()), (1, Some("postgres")));
    assert!(session.timeline_history(1).await.expect("none").is_empty());
    drop(session);

    let (mut stream, start) = stream(&source, "s", &["p\"u,b'x"]).await;
    source.exec("INSERT INTO t SELECT g, repeat('x', 100000) FROM generate_series(1, 100) g").await;
    let (mut kinds, mut last) = (Vec::new(), start);
    while kinds.last() != Some(&b'C') {
        // Given up and called again: nothing is lost.
        let envelope = match stream.recv().now_or_never() {
            Some(envelope) => envelope,
            None => timeout(wait::PROCESS, stream.recv()).await.expect("in time"),
        };
        let mut next = Some(envelope.expect("the stream goes on"));
        while let Some(envelope) = next {
            if let Envelope::Data { payload, wal_end, .. } = envelope {
                kinds.push(payload[0]);
                last = last.max(wal_end);
            }
            next = stream.try_recv().expect("the stream goes on");
        }
    }
    assert_eq!((kinds[0], kinds[1]), (b'B', b'R'));
    assert_eq!(kinds.iter().filter(|&&kind| kind == b'I').count(), 100);
    stream.send_status(status(last)).await.expect("sent");
    loop {
        let envelope = timeout(wait::PROCESS, stream.recv()).await.expect("in time");
        if let Envelope::Keepalive { wal_end, .. } = envelope.expect("the stream goes on") {
            assert!(wal_end >= last);
            break;
        }
    }
    let confirmed = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 's'";
    assert_eq!(source.scalar(confirmed).await, last.to_string());

    // Ended while the next transaction is on its way.
    source.exec("UPDATE t SET a = repeat('y', 100000)").await;
    timeout(wait::PROCESS, stream.finish()).await.expect("in time").expect("in order");
    let active = "SELECT active FROM pg_replication_slots WHERE slot_name = 's'";
    wait::until("the slot is free", wait::PROCESS, async || source.scalar(active).await == "f")
        .await;
    let mut session = self::session(&source, Mode::Replication).await;
    session.drop_slot("s").await.expect("dropped");
    let error = session.drop_slot("s").await.expect_err("there is none");
    assert_eq!(error.server_error().expect("the server's").code.code(), "42704");
}

#[tokio::test]
async fn a_server_that_stops_ends_the_stream() {
    let mut source = Cluster::source().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t").await;
    let (mut stream, _) = stream(&source, "s", &["p"]).await;
    // Its first word: from now on it streams, and is not just about to.
    timeout(wait::PROCESS, stream.recv()).await.expect("in time").expect("a keepalive");
    // A fast shutdown waits until the stream has confirmed the last record.
    let reader = tokio::spawn(async move {
        loop {
            match stream.recv().await {
                Ok(Envelope::Keepalive { wal_end, .. }) => {
                    // A server that has gone meanwhile is heard of by the next read.
                    let _ = stream.send_status(status(wal_end)).await;
                }
                Ok(Envelope::End) => return Ok(stream),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    });
    source.stop(Stop::Fast).await;
    let stream = timeout(wait::PROCESS, reader).await.expect("in time").expect("no panic");
    let stream = stream.expect("an end, not an error");
    timeout(wait::PROCESS, stream.finish()).await.expect("in time").expect("nothing left to say");
}

#[tokio::test]
async fn a_publication_that_is_gone_is_heard_of() {
    let source = Cluster::source().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let (mut stream, _) = stream(&source, "s", &["none"]).await;
    source.exec("INSERT INTO t VALUES (1)").await;
    let heard = timeout(wait::PROCESS, async {
        loop {
            match stream.recv().await {
                // Up to 17 an error, from 18 on only a warning.
                Err(error) => return error.server_error().cloned(),
                Ok(Envelope::Notice(notice)) => return Some(*notice),
                Ok(_) => {}
            }
        }
    });
    let error = heard.await.expect("in time").expect("the server's words");
    assert!(error.message.contains("publication \"none\""), "{error}");
}
