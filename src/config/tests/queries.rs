//! `[[query]]` in a file.

use crate::config::load::Purpose;
use crate::config::tests::{Case, URLS};
use crate::pg::ident::QualifiedName;

fn query(name: &str, rest: &str) -> String {
    format!("[[query]]\nname = \"{name}\"\nsql = \"SELECT 1 AS a\"\n{rest}\n")
}

fn to(destination: &str) -> String {
    format!("destination = \"{destination}\"")
}

#[test]
fn a_query_is_read_for_every_verb() {
    let text = format!(
        "{URLS}[[query]]\nname = \"totals\"\nsql = \"\"\"\nSELECT 1 AS a; \n\"\"\"\n\
         destination = \"r.totals\"\nkey = [\"a\"]\n"
    );
    for purpose in [Purpose::Run, Purpose::Snapshot, Purpose::Other] {
        let settings = Case::new(&text).load_with(|inputs| inputs.purpose = purpose);
        let settings = settings.expect("it is valid");
        let [query] = &settings.queries[..] else { panic!("one query") };
        assert_eq!(query.sql, "SELECT 1 AS a", "COPY takes no semicolon");
        assert_eq!(query.destination, QualifiedName::new("r", "totals"));
        assert_eq!(query.key, ["a"]);
    }
}

#[test]
fn every_mistake_is_placed() {
    let text = [
        URLS,
        "on_existing = \"merge\"\n",
        "[[table]]\nname = \"public.t\"\ndestination = \"r.taken\"\n",
        &query("a", &to("r.a")),
        &query("a", &to("r.b")),
        &query("c", &to("r.a")),
        &query("d", &to("r.taken")),
        &query("", &to("sync_agent.d")),
        &query("e", &format!("{}\nkey = [\"a\", \"a\"]", to("pg_catalog.e"))),
        "[[query]]\nname = \"f\"\nsql = \" ;\"\ndestination = \"f\"\n",
    ];
    let errors = Case::new(&text.concat()).load().expect_err("nothing of it is right").to_string();
    for expected in [
        "query[0]: needs a key: destination.on_existing is \"merge\"",
        "query[1].name: query \"a\" has an entry already",
        "query[2].destination: query \"a\" has the destination r.a already",
        "query[3].destination: table \"public.t\" has the destination r.taken already",
        "query[4].name: a query's name is a text",
        "query[4].destination: schema \"sync_agent\" is the agent's own",
        "query[5].destination: schema \"pg_catalog\" is the server's own",
        "query[5].key[1]: column \"a\" is in the key already",
        "query[6].sql: holds no query",
        "query[6].destination: table name",
    ] {
        assert!(errors.contains(expected), "{expected} is missing in\n{errors}");
    }
    assert!(!errors.contains("query[5]: needs a key"), "{errors}");
}

#[test]
fn only_run_needs_a_table() {
    let text = format!("include = []\n{URLS}{}", query("a", &to("r.a")));
    let case = Case::new(&text);
    case.load_with(|inputs| inputs.purpose = Purpose::Snapshot).expect("queries are enough");
    let errors = case.load().expect_err("run would have nothing to do");
    assert!(errors.to_string().contains("include: selects no table"), "{errors}");
}
