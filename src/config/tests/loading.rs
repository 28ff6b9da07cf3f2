//! Good configurations: what the settings become, and which of several sources wins.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::config::load::Purpose;
use crate::config::settings::{
    Hash, NewColumns, NewTables, OnExisting, OnTruncate, Settings, Step, Unlisted,
};
use crate::config::steps::{Fake, FakeKind, Mask};
use crate::config::tests::{Case, URLS};
use crate::pg::dial::PasswordSource;
use crate::pg::ident::QualifiedName;

fn table<'s>(settings: &'s Settings, name: &str) -> &'s crate::config::settings::TableSettings {
    settings.table(&QualifiedName::new("public", name)).expect(name)
}

#[test]
fn two_urls_are_a_whole_configuration() {
    let settings = Case::new(URLS).load().expect("valid");
    assert_eq!(settings.pipeline, "default");
    assert_eq!(settings.source.slot, "sync_agent_default");
    assert_eq!(settings.source.publications, ["sync_agent_default"]);
    assert!(!settings.source.publications_named);
    assert_eq!(settings.source.new_tables, NewTables::Add);
    assert_eq!(settings.source.max_retained_wal_bytes, None);
    assert_eq!(settings.destination.state_schema, "sync_agent");
    assert_eq!(settings.destination.on_existing, OnExisting::Refuse);
    assert_eq!(settings.destination.on_truncate, OnTruncate::Truncate);
    assert_eq!(settings.destination.new_columns, NewColumns::Add);
    assert!(settings.destination.create_tables);
    assert_eq!(settings.state.dir.to_str(), Some("/state/default"));
    assert_eq!(settings.http.listen, Some("127.0.0.1:9847".parse().expect("address")));
    assert_eq!(settings.http.max_tables, 500);
    assert_eq!(settings.limits.memory_bytes, 64 << 20);
    assert_eq!(settings.limits.max_value_bytes, 256 << 20);
    assert_eq!((settings.snapshot.workers, settings.snapshot.chunk_bytes), (4, 256 << 20));
    assert!(settings.snapshot.defer_indexes && settings.snapshot.copy_data);
    assert_eq!(settings.apply.max_batch_rows, 50_000);
    assert_eq!(settings.apply.max_batch_bytes, 16 << 20);
    assert_eq!(settings.apply.max_batch_delay, Duration::from_millis(5));
    assert_eq!(settings.shutdown_grace, Duration::from_secs(10));
    assert!(settings.selects(&QualifiedName::new("public", "orders")));
    assert!(!settings.selects(&QualifiedName::new("hr", "staff")));
}

#[test]
fn flag_beats_variable_beats_file() {
    let case = Case::new(URLS);
    let host = |settings: &Settings| settings.source.conninfo.hosts[0].to_string();
    assert_eq!(host(&case.load().expect("file")), "db1:5432");
    let case = case.variable("SYNC_AGENT_SOURCE", "postgresql://u@variable/shop");
    assert_eq!(host(&case.load().expect("variable")), "variable:5432");
    let flag = case.load_with(|inputs| inputs.source = Some("host=flag user=u".to_owned()));
    assert_eq!(host(&flag.expect("flag")), "flag:5432");
    let set = case.load_with(|inputs| {
        inputs.set = vec!["source.url=\"host=set user=u\"".to_owned()];
    });
    assert_eq!(host(&set.expect("--set is a flag")), "set:5432");
    let case = case.variable("SYNC_AGENT_SOURCE", "");
    assert_eq!(host(&case.load().expect("an empty variable is none")), "db1:5432");
}

#[test]
fn with_both_urls_no_file_is_needed() {
    let case = Case::new("");
    std::fs::remove_file(case.path("sync-agent.toml")).expect("remove");
    let errors = case.load().expect_err("nothing to read");
    assert!(
        errors.to_string().starts_with("E_CONFIG: sync-agent.toml: there is no configuration file"),
        "{errors}"
    );
    let settings = case.load_with(|inputs| {
        inputs.source = Some("postgresql://u@a/x".to_owned());
        inputs.destination = Some("postgresql://u@b/x".to_owned());
        inputs.include = vec!["hr.*".to_owned()];
        inputs.exclude = vec!["hr.old_*".to_owned()];
        inputs.set = vec!["pipeline=\"shop\"".to_owned(), "apply.max_batch_rows=7".to_owned()];
    });
    let settings = settings.expect("valid");
    assert_eq!((settings.pipeline.as_str(), settings.apply.max_batch_rows), ("shop", 7));
    assert!(settings.selects(&QualifiedName::new("hr", "staff")));
    assert!(!settings.selects(&QualifiedName::new("hr", "old_staff")));
    assert!(!settings.selects(&QualifiedName::new("public", "orders")));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let case = Case::new(URLS);
    let named = case.path("other.toml");
    let errors = case.load_with(|inputs| inputs.config = Some(named.clone())).expect_err("absent");
    let start = format!("E_CONFIG: {}: cannot be read: ", named.display());
    assert!(errors.to_string().starts_with(&start), "{errors}");
    let case = case.variable("SYNC_AGENT_CONFIG", named.to_str().expect("path"));
    assert!(case.load().expect_err("absent").to_string().starts_with(&start));
    std::fs::write(&named, URLS).expect("write");
    assert!(case.load().is_ok());
}

#[test]
fn set_takes_any_toml_value_and_says_what_is_none() {
    let case = Case::new(&format!("include = [\"a.*\"]\n{URLS}"));
    let set = |text: &str| case.load_with(|inputs| inputs.set = vec![text.to_owned()]);
    let settings = set("include = [\"b.*\"]").expect("a list replaces the list");
    assert!(!settings.selects(&QualifiedName::new("a", "x")));
    let settings = set("destination.schemas.\"Odd one\"=\"even\"").expect("a quoted key");
    assert_eq!(settings.destination.schemas["Odd one"], "even");
    let cases = [
        ("pipeline=shop", "--set pipeline: the value is not a TOML value"),
        ("pipeline", "--set: there is no \"=\""),
        ("a b=1", "--set: the key is not a TOML key"),
        ("source.slto=1", "--set source.slto: source.slto: unknown key \"slto\""),
        ("apply.lanes=0", "--set apply.lanes: apply.lanes: must be at least 1"),
        ("include.x=1", "include.x: --set cannot be set: a part of it is not a table"),
        ("pipeline=\"a\"\ninclude=5", "--set pipeline: the value is not a TOML value"),
    ];
    for (text, message) in cases {
        let errors = set(text).expect_err(text).to_string();
        assert!(errors.contains(message), "{text}\n{errors}");
    }
}

#[test]
fn names_follow_the_pipeline() {
    let case = Case::new(&format!("pipeline = \"My-Shop\"\n{URLS}"));
    let settings = case.load().expect("valid");
    assert_eq!(settings.source.slot, "sync_agent_my_shop");
    assert_eq!(settings.source.publications, ["sync_agent_my_shop"]);
    assert_eq!(settings.state.dir.to_str(), Some("/state/My-Shop"));
}

#[test]
fn state_lives_where_the_first_of_three_says() {
    let dir = |case: Case| case.load().expect("valid").state.dir.display().to_string();
    let written = format!("{URLS}[state]\ndir = \"/written\"\n");
    assert_eq!(dir(Case::new(&written)), "/written/default");
    let several = Case::new(URLS).variable("STATE_DIRECTORY", "/one:/two");
    assert_eq!(dir(several), "/one/default");
    let user = Case::new(URLS).variable("STATE_DIRECTORY", "").variable("HOME", "/home/u");
    let found = dir(user);
    let expected = ["/var/lib/sync-agent/default", "/home/u/.local/state/sync-agent/default"];
    assert!(expected.contains(&found.as_str()), "{found}");
}

#[test]
fn columns_become_steps() {
    let text = format!(
        "{URLS}
[[table]]
name = \"public.employees\"
destination = \"hr.staff\"
on_existing = \"truncate\"
new_columns = \"halt\"
[table.columns]
ssn = {{ hash = \"hmac-sha256\", key = \"${{PII_KEY}}\", rename = \"ssn_hash\" }}
notes = {{ drop = true }}
name = {{ rename = \"full_name\" }}
region = {{ value = \"eu-1\" }}
level = {{ value = 3 }}
gone = [{{ rename = \"left\" }}, {{ null = true }}]
mail = [{{ lower = true }}, {{ trim = true }}, {{ mask = \"email\" }}]
phone = {{ mask = {{ keep_last = 4 }} }}
comment = {{ replace = {{ pattern = \"(a)b\", with = \"$${{1}}\" }} }}
profile = {{ json_drop = [\"a.b\", \"*.c\"] }}
alias = {{ fake = \"first_name\", key = \"${{PII_KEY}}\" }}
[[table]]
name = \"public.plain\"
[[table]]
name = \"public.judged\"
unlisted = \"drop\"
columns = {{ a = {{ hash = \"sha256\" }} }}
"
    );
    let settings = Case::new(&text).variable("PII_KEY", "k").load().expect("valid");
    let employees = table(&settings, "employees");
    assert_eq!(employees.destination, Some(QualifiedName::new("hr", "staff")));
    assert_eq!(settings.on_existing(&employees.name), OnExisting::Truncate);
    assert_eq!(settings.new_columns(&employees.name), NewColumns::Halt);
    let column = |name: &str| employees.columns.iter().find(|c| c.name == name).expect("column");
    assert_eq!(column("ssn").rename.as_deref(), Some("ssn_hash"));
    match column("ssn").steps.as_slice() {
        [Step::Hash(Hash::HmacSha256 { key })] => assert_eq!(key.expose_secret(), "k"),
        other => unreachable!("{other:?}"),
    }
    assert!(matches!(column("notes").steps.as_slice(), [Step::Drop]));
    assert!(column("name").steps.is_empty());
    assert!(matches!(column("region").steps.as_slice(), [Step::Value(v)] if v == "eu-1"));
    assert!(matches!(column("level").steps.as_slice(), [Step::Value(v)] if v == "3"));
    assert_eq!(column("gone").rename.as_deref(), Some("left"));
    assert!(matches!(column("gone").steps.as_slice(), [Step::Null]));
    let mail = column("mail").steps.as_slice();
    assert!(matches!(mail, [Step::Lower, Step::Trim, Step::Mask(Mask::Email)]), "{mail:?}");
    let phone = Mask::Parts { keep_first: 0, keep_last: 4, with: '*' };
    assert!(matches!(column("phone").steps.as_slice(), [Step::Mask(mask)] if *mask == phone));
    match column("comment").steps.as_slice() {
        [Step::Replace(replace)] => assert_eq!(replace.with, "${1}"),
        other => unreachable!("{other:?}"),
    }
    match column("profile").steps.as_slice() {
        [Step::JsonDrop(paths)] => assert_eq!(paths.len(), 2),
        other => unreachable!("{other:?}"),
    }
    match column("alias").steps.as_slice() {
        [Step::Fake(Fake { kind: FakeKind::FirstName, key })] => {
            assert_eq!(key.expose_secret(), "k");
        }
        other => unreachable!("{other:?}"),
    }
    assert!(employees.is_masked() && employees.halts_on_new_column());
    assert!(!table(&settings, "plain").halts_on_new_column());
    let judged = table(&settings, "judged");
    assert_eq!(judged.unlisted, Some(Unlisted::Drop));
    assert!(judged.is_masked() && !judged.halts_on_new_column());
    assert!(!format!("{settings:?}").contains("\"k\""), "no key in Debug");
}

#[test]
fn a_password_in_a_file_is_read_again() {
    let case = Case::new("");
    let file = case.path("password");
    std::fs::write(&file, "first\n").expect("write");
    let text = format!(
        "[source]\nurl = \"postgresql://u@db1/shop\"\npassword = \"${{file:{0}}}\"\n\
         [destination]\nurl = \"postgresql://u:${{PREFIX}}${{file:{0}}}@db2/shop\"\n",
        file.display()
    );
    std::fs::write(case.path("sync-agent.toml"), text).expect("write");
    let case = case.variable("PREFIX", "x");
    let settings = case.load().expect("valid");
    let read = |source: &PasswordSource| match source {
        PasswordSource::Read(reader) => reader.read().map(|p| p.expose_secret().to_owned()),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(read(&settings.source.password).as_deref(), Ok("first"));
    assert_eq!(read(&settings.destination.password).as_deref(), Ok("xfirst"));
    std::fs::write(&file, "second").expect("write");
    assert_eq!(read(&settings.source.password).as_deref(), Ok("second"));
    assert_eq!(read(&settings.destination.password).as_deref(), Ok("xsecond"));
    std::fs::remove_file(&file).expect("remove");
    assert!(read(&settings.source.password).is_err());
}

#[test]
fn the_other_passwords_are_taken_as_they_are() {
    let text = format!("{URLS}password_command = [\"vault\", \"read\"]\n");
    let settings = Case::new(&text).load().expect("valid");
    assert!(matches!(settings.source.password, PasswordSource::ConnInfo));
    match settings.destination.password {
        PasswordSource::Command(command) => assert_eq!(command, ["vault", "read"]),
        other => unreachable!("{other:?}"),
    }
    let text = format!("{URLS}password = \"a/b@c\"\n");
    match Case::new(&text).load().expect("valid").destination.password {
        PasswordSource::Inline(password) => assert_eq!(password.expose_secret(), "a/b@c"),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn only_run_needs_a_place_for_state() {
    let case = Case::new(URLS).variable("STATE_DIRECTORY", "");
    let other = case.load_with(|inputs| inputs.purpose = Purpose::Other);
    assert!(other.is_ok());
}
