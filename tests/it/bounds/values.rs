//! Large values: held once, in the copy and in the tail.

use super::assert_bounded;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::assert_same;

/// Of each value: three copies of one would not fit into the bound, and the servers' work with it is
/// a matter of seconds.
const MEGABYTES: u64 = 64;

async fn servers() -> (Cluster, Cluster) {
    let settings = "shared_buffers = 128MB\nmax_wal_size = 8GB\n".to_owned();
    let source = Spec { settings: settings.clone(), ..Spec::default() };
    let destination = Spec { identity: 1, settings, ..Spec::default() };
    tokio::join!(Cluster::start(source), Cluster::start(destination))
}

/// Not compressible, so that it is as large on disk and in WAL as it looks; stored as it is.
const TABLE: &str = "CREATE TABLE large (id int PRIMARY KEY, note text, v bytea);
     ALTER TABLE large ALTER v SET STORAGE EXTERNAL";

fn insert(id: u32, megabytes: u64) -> String {
    format!(
        "INSERT INTO large VALUES ({id}, 'n', decode(repeat('0af1', {megabytes} << 19), 'hex'))"
    )
}

#[tokio::test]
async fn a_large_value_is_held_once_in_the_tail() {
    in_the_tail(MEGABYTES).await;
}

async fn in_the_tail(megabytes: u64) {
    let (source, destination) = servers().await;
    source.exec(TABLE).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec(&insert(1, megabytes)).await;
    agent.caught_up().await;
    assert_bounded(&agent, megabytes << 20);
    source.exec("UPDATE large SET v = v || '\\x00'::bytea").await;
    agent.caught_up().await;
    assert_bounded(&agent, megabytes << 20);
    source
        .exec(&format!("BEGIN; {}; {}; COMMIT", insert(2, megabytes), insert(3, megabytes)))
        .await;
    agent.caught_up().await;
    assert_bounded(&agent, megabytes << 20);
    assert_same(&source, &destination, &["large"]).await;
}

#[tokio::test]
async fn large_values_beside_a_transform_are_held_once() {
    let (source, destination) = servers().await;
    source.exec(TABLE).await;
    source.exec(&insert(1, MEGABYTES)).await;
    let mut agent = Agent::between(&source, &destination).section(
        "[[table]]\nname = \"public.large\"\n[table.columns]\nnote = { hash = \"sha256\" }",
    );
    agent.start_and_stream().await;
    assert_bounded(&agent, MEGABYTES << 20);
    let values = |note: &str| {
        format!("SELECT string_agg(id || {note} || md5(v), ' ' ORDER BY id) FROM large")
    };
    let hashed = "encode(sha256(convert_to(note, 'UTF8')), 'hex')";
    assert_eq!(destination.scalar(&values("note")).await, source.scalar(&values(hashed)).await);
}

/// Few sizes of statements are prepared, and what fills one up must not be the largest row.
#[tokio::test]
async fn a_large_value_behind_many_small_ones_is_sent_to_an_expression_once() {
    let (source, destination) = servers().await;
    source.exec(TABLE).await;
    source.exec("INSERT INTO large SELECT g, 'n', 'v' FROM generate_series(1, 128) g").await;
    source.exec(&insert(129, 4)).await;
    let mut agent = Agent::between(&source, &destination).section(
        "[[table]]\nname = \"public.large\"\n[table.columns]\nnote = { mask = \"full\" }\n\
         size = { sql = \"length(v) + length(note)\" }",
    );
    agent.start_and_stream().await;
    assert_bounded(&agent, 4 << 20);
    let sizes = "SELECT sum(size) FROM large";
    let expected = "SELECT sum(length(v) + length(note)) FROM large";
    assert_eq!(destination.scalar(sizes).await, source.scalar(expected).await);
}

/// What a step leaves out was received all the same, and is memory as long as its row waits.
#[tokio::test]
async fn a_column_left_out_counts_as_long_as_its_row_is_held() {
    let (source, destination) = servers().await;
    source.exec(TABLE).await;
    let mut agent = Agent::between(&source, &destination)
        .section("[[table]]\nname = \"public.large\"\n[table.columns]\nv = { drop = true }");
    agent.start_and_stream().await;
    source
        .exec(
            "INSERT INTO large SELECT g, 'n', decode(repeat('0af1', 50000), 'hex') \
             FROM generate_series(1, 5000) g",
        )
        .await;
    agent.caught_up().await;
    assert_bounded(&agent, 0);
    assert_eq!(destination.count("large").await, 5000);
}

mod long {
    use super::*;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_value_of_200_mb_is_held_once_in_the_tail() {
        in_the_tail(200).await;
    }

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn values_of_200_mb_are_held_one_at_a_time_in_the_copy() {
        let megabytes = 200;
        let (source, destination) = servers().await;
        source.exec(TABLE).await;
        source.exec(&TABLE.replace("large", "wide")).await;
        source.exec(&format!("{}; {}", insert(1, megabytes), insert(2, megabytes))).await;
        source.exec("INSERT INTO wide SELECT * FROM large").await;
        let mut agent = Agent::between(&source, &destination);
        agent.start_and_stream().await;
        assert_bounded(&agent, megabytes << 20);
        assert_same(&source, &destination, &["large", "wide"]).await;
    }
}
