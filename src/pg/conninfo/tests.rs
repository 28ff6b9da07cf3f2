//! Both spellings to one meaning, and nothing secret in any message.

use secrecy::ExposeSecret;

use super::*;

fn parse(text: &str) -> Result<ConnInfo, ConnInfoError> {
    ConnInfo::parse(text, &|_| None)
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<ConnInfo, ConnInfoError> {
    ConnInfo::parse(text, &|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn hosts_ports_and_addresses_are_paired() {
    let info = parse("postgresql://u@a:1,b:2,[::1]/db").expect("valid");
    assert_eq!(info.redacted(), "postgresql://u@a:1,b:2,[::1]:5432/db");
    let info = parse("host=a,b hostaddr=10.0.0.1,10.0.0.2 port=7 user=u").expect("valid");
    assert_eq!(info.hosts[1].address, Some("10.0.0.2".parse().expect("address")));
    assert_eq!((info.hosts[0].port, info.hosts[1].port), (7, 7));
    assert_eq!(info.dbname, "u", "the database defaults to the user's name");
    let info = parse("postgresql:///db?host=/run/pg&user=u&port=9").expect("valid");
    assert_eq!(info.hosts[0].name, HostName::Unix("/run/pg".into()));
    assert_eq!(info.hosts[0].to_string(), "/run/pg/.s.PGSQL.9");
    assert!(parse("host=a,b hostaddr=10.0.0.1 user=u").is_err());
    assert!(parse("host=a,b,c port=1,2 user=u").is_err());
}

#[test]
fn of_several_hosts_the_primary_is_meant_unless_something_else_is_said() {
    let target = |text: &str| parse(text).expect("valid").target_session_attrs;
    assert_eq!(target("host=a user=u"), TargetSessionAttrs::Any);
    assert_eq!(target("host=a,b user=u"), TargetSessionAttrs::Primary);
    assert_eq!(target("host=a,b user=u target_session_attrs=any"), TargetSessionAttrs::Any);
    let info = with("host=a,b user=u", &[("PGTARGETSESSIONATTRS", "read-write")]).expect("valid");
    assert_eq!(info.target_session_attrs, TargetSessionAttrs::ReadWrite);
}

#[test]
fn variables_stand_in_for_what_the_text_leaves_out() {
    let variables = [
        ("PGHOST", "envhost"),
        ("PGHOSTADDR", "10.9.9.9"),
        ("PGPORT", "6000"),
        ("PGUSER", "envuser"),
        ("PGPASSWORD", "secret"),
        ("PGSSLMODE", "require"),
        ("PGDATABASE", ""),
    ];
    let info = with("dbname=x", &variables).expect("valid");
    assert_eq!(info.redacted(), "postgresql://envuser@envhost:6000/x");
    assert_eq!(info.tls.mode, SslMode::Require);
    assert_eq!(info.password.expect("password").expose_secret(), "secret");
    let info = with("host=mine user=me sslmode=disable", &variables).expect("valid");
    assert_eq!(info.redacted(), "postgresql://me@mine:6000/me");
    assert_eq!(info.hosts[0].address, None, "another host's address is not ours");
    let settings = [("PGOPTIONS", "-c x=y"), ("PGTZ", "x"), ("PGCLIENTENCODING", "SJIS")];
    assert!(with("host=h user=u", &settings).is_ok(), "what sets a session is not ours");
    assert!(with("host=h user=u options='-c x=y'", &[]).is_err(), "but asked for, it is refused");
}

#[test]
fn words_that_are_not_spoken_are_refused_by_name() {
    for (text, word) in [
        ("sslmode=allow", "sslmode"),
        ("sslmode=verify", "sslmode"),
        ("target_session_attrs=standby", "target_session_attrs"),
        ("channel_binding=maybe", "channel_binding"),
        ("options='-c x=y'", "options"),
        ("port=0", "port"),
        ("port=x", "port"),
        ("hostaddr=db1", "hostaddr"),
        ("connect_timeout=soon", "connect_timeout"),
        ("nonsense=1", "nonsense"),
        ("sslrootcert=system sslmode=require", "sslmode"),
        ("sslmode=verify-full", "sslrootcert"),
        ("sslcert=/a", "sslkey"),
        ("sslnegotiation=direct", "sslnegotiation"),
        ("sslmode=disable channel_binding=require", "channel_binding"),
        ("gssencmode=require", "gssencmode"),
        ("client_encoding=LATIN1", "client_encoding"),
    ] {
        let error = parse(&format!("user=u {text}")).expect_err(text).to_string();
        assert!(error.contains(&format!("\"{word}\"")), "{text}: {error}");
    }
}

#[test]
fn a_password_is_never_printed() {
    let info = parse("postgresql://u:canary@h/db").expect("valid");
    assert!(!format!("{info:?} {}", info.redacted()).contains("canary"));
    for text in [
        "host=h password=a canary=1",
        "postgresql://u:canary/x@h/db",
        "postgresql://u@h:canary/db",
        "postgresql://u@h/db?password=a&canary=b",
    ] {
        let error = parse(text).expect_err(text);
        assert!(!format!("{error} {error:?}").contains("canary"), "{text}: {error}");
    }
}

#[test]
fn the_defaults_notice_a_dead_peer_in_time() {
    let network = parse("user=u").expect("valid").network;
    assert_eq!(network.connect_timeout, Duration::from_secs(10));
    assert_eq!(network.tcp_user_timeout, Duration::from_secs(30));
    let keepalive = network.keepalive.expect("on");
    let noticed = keepalive.idle + keepalive.interval * keepalive.probe_count;
    assert!(noticed <= Duration::from_secs(30));
    assert_eq!(parse("user=u keepalives=0").expect("valid").network.keepalive, None);
}
