//! sslmode against real servers, on both kinds of connection. libpq is the oracle: whatever psql
//! does with the same connection string, we do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA512,
    SignatureAlgorithm,
};
use sync_agent::pg::client;
use sync_agent::pg::conninfo::ConnInfo;
use sync_agent::pg::dial::{ConnectError, Endpoint, PasswordSource};
use sync_agent::wire::{Mode, Session};
use tempfile::TempDir;

use crate::support::cluster::{Cluster, Spec};
use crate::support::installation;

/// Who may come how. `certified` needs a certificate with that name.
const RULES: &str = "
local all all trust
hostssl all certified 127.0.0.1/32 cert
hostssl all tls_only 127.0.0.1/32 trust
hostnossl all plain_only 127.0.0.1/32 trust
host all scram 127.0.0.1/32 scram-sha-256
host all postgres 127.0.0.1/32 trust
";

/// Certificates and keys that the server's user can read.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().expect("a directory");
        own(dir.path());
        Files(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own");
        path
    }
}

/// Hands a file to the user who runs the servers.
fn own(path: &std::path::Path) {
    if let Some((uid, gid)) = installation::server_user() {
        nix::unistd::chown(path, Some(uid), Some(gid)).expect("root may");
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    authority_with(name, &PKCS_ECDSA_P256_SHA256)
}

/// What signs the certificates it issues.
fn authority_with(name: &str, algorithm: &'static SignatureAlgorithm) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate_for(algorithm).expect("key");
    CertifiedIssuer::self_signed(params, key).expect("signed")
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// Certificate and key in PEM.
fn issued(params: &CertificateParams, issuer: &Authority) -> (String, String) {
    let key = KeyPair::generate().expect("key");
    (params.signed_by(&key, issuer).expect("signed").pem(), key.serialize_pem())
}

fn self_signed(params: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().expect("key");
    (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
}

async fn server(files: &Files, (certificate, key): (String, String), authority: &str) -> Cluster {
    for (name, text) in
        [("server.crt", &*certificate), ("server.key", &*key), ("clients.crt", authority)]
    {
        own(&files.write(name, text));
    }
    own(&files.write("hba.conf", RULES));
    let dir = files.0.path().display();
    let settings = format!(
        "ssl = on\nssl_cert_file = '{dir}/server.crt'\nssl_key_file = '{dir}/server.key'\n\
         ssl_ca_file = '{dir}/clients.crt'\nhba_file = '{dir}/hba.conf'\n"
    );
    let cluster = Cluster::start(Spec { settings, ..Spec::default() }).await;
    for role in ["certified", "tls_only", "plain_only", "scram"] {
        cluster.exec(&format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'canary'")).await;
    }
    cluster
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint {
        side: "source",
        conninfo: ConnInfo::parse(text, &|_| None).expect("valid"),
        password: PasswordSource::ConnInfo,
        pipeline: "it".to_owned(),
    }
}

/// Whether the connection is encrypted, by both kinds of connection.
async fn ours(text: &str) -> Result<bool, ConnectError> {
    let endpoint = endpoint(text);
    let asked = "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()";
    let ordinary = match client::connect(&endpoint, "test").await {
        Ok(client) => Ok(client.query_one(asked, &[]).await.expect("a row").get::<_, bool>(0)),
        Err(error) => Err(error),
    };
    let replication = match Session::connect(&endpoint, "test", Mode::Replication).await {
        Ok(mut session) => {
            let rows = session.simple_query(asked).await.expect("a row");
            Ok(rows[0][0].as_deref() == Some("t"))
        }
        Err(error) => Err(error),
    };
    match (&ordinary, &replication) {
        (Ok(one), Ok(two)) => assert_eq!(one, two, "{text}"),
        (Err(one), Err(two)) => assert_eq!(one.to_string(), two.to_string()),
        _ => panic!("{text}: one connects, the other does not: {ordinary:?} {replication:?}"),
    }
    ordinary
}

/// What psql says of the same text.
fn libpq(text: &str) -> Option<bool> {
    let output = Command::new(installation::client("psql"))
        .args(["-AtXc", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", text])
        .env_remove("PGSSLMODE")
        .output()
        .expect("psql runs");
    output.status.success().then(|| output.stdout.starts_with(b"t"))
}

/// Ours and libpq's outcome are the same; returns ours.
async fn same(text: &str) -> Result<bool, ConnectError> {
    let outcome = ours(text).await;
    assert_eq!(outcome.as_ref().ok().copied(), libpq(text), "{text}: {outcome:?}");
    outcome
}

#[tokio::test]
async fn every_sslmode_means_what_it_means_to_libpq() {
    let files = Files::new();
    let authority = authority("the authority");
    let certificate =
        issued(&params("db1", &["localhost", "127.0.0.1", "*.example.com"]), &authority);
    let root = files.write("root.crt", &authority.pem());
    let other = files.write("other.crt", &self::authority("another").pem());
    let cluster = server(&files, certificate, &authority.pem()).await;
    let (root, other) = (root.display().to_string(), other.display().to_string());
    let to = |host: &str, user: &str, rest: &str| {
        format!(
            "host={host} hostaddr=127.0.0.1 port={} user={user} dbname=postgres {rest}",
            cluster.port
        )
    };
    for (host, user, rest, encrypted) in [
        ("localhost", "postgres", "sslmode=disable".to_owned(), false),
        ("localhost", "plain_only", "sslmode=disable".to_owned(), false),
        ("localhost", "postgres", "sslmode=prefer".to_owned(), true),
        // Refused with TLS, taken without.
        ("localhost", "plain_only", "sslmode=prefer".to_owned(), false),
        ("localhost", "tls_only", "sslmode=prefer".to_owned(), true),
        ("wrong", "postgres", "sslmode=require".to_owned(), true),
        ("wrong", "postgres", format!("sslmode=require sslrootcert={root}"), true),
        ("wrong", "postgres", format!("sslmode=verify-ca sslrootcert={root}"), true),
        ("localhost", "postgres", format!("sslmode=verify-full sslrootcert={root}"), true),
        ("a.example.com", "postgres", format!("sslmode=verify-full sslrootcert={root}"), true),
        ("127.0.0.1", "postgres", format!("sslmode=verify-full sslrootcert={root}"), true),
    ] {
        let text = to(host, user, &rest);
        assert_eq!(same(&text).await.expect(&text), encrypted, "{text}");
    }
    for (host, user, rest, words) in [
        ("localhost", "tls_only", "sslmode=disable".to_owned(), "no pg_hba.conf entry"),
        ("localhost", "plain_only", "sslmode=require".to_owned(), "no pg_hba.conf entry"),
        (
            "localhost",
            "postgres",
            format!("sslmode=require sslrootcert={other}"),
            "no certificate in sslrootcert has issued it",
        ),
        (
            "localhost",
            "postgres",
            format!("sslmode=verify-ca sslrootcert={other}"),
            "no certificate in sslrootcert has issued it",
        ),
        (
            "wrong",
            "postgres",
            format!("sslmode=verify-full sslrootcert={root}"),
            "does not name \"wrong\": it is for localhost, 127.0.0.1, *.example.com",
        ),
        // The common name counts only where there are no alternative names.
        ("db1", "postgres", format!("sslmode=verify-full sslrootcert={root}"), "not name \"db1\""),
        (
            "a.b.example.com",
            "postgres",
            format!("sslmode=verify-full sslrootcert={root}"),
            "does not name \"a.b.example.com\"",
        ),
        (
            "localhost",
            "postgres",
            "sslmode=verify-ca sslrootcert=/nonexistent".to_owned(),
            "\"sslrootcert\": file \"/nonexistent\" cannot be read",
        ),
    ] {
        let text = to(host, user, &rest);
        let error = same(&text).await.expect_err(&text);
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(!error.is_transient(), "{text}: {error}");
    }
    // psql 15 knows neither of the next two words.
    let text = to("localhost", "postgres", &format!("sslmode=verify-full sslrootcert={root}"));
    let direct = ours(&format!("{text} sslnegotiation=direct")).await;
    assert_eq!(direct.is_ok(), cluster.major >= 17, "{direct:?}");
    let text = to("localhost", "postgres", "sslmode=verify-full sslrootcert=system");
    let error = ours(&text).await.expect_err("not one of the public authorities");
    assert!(error.to_string().contains("has issued it"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_before_it_learns_who_asks() {
    let cluster = Cluster::source().await;
    let to = |rest: &str| {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres {rest}", cluster.port)
    };
    assert!(!same(&to("sslmode=prefer")).await.expect("plain"));
    let error = same(&to("sslmode=require")).await.expect_err("no TLS there");
    assert!(error.to_string().contains("does not offer TLS"), "{error}");
    assert!(!error.is_transient() && error.hint().expect("a hint").contains("ssl = on"));
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_its_own_root() {
    let files = Files::new();
    let certificate = self_signed(&params("db1", &[]));
    let root = files.write("root.crt", &certificate.0).display().to_string();
    let cluster = server(&files, certificate, &authority("clients").pem()).await;
    for (host, words) in [("db1", None), ("db2", Some("does not name \"db2\": it is for db1"))] {
        let text = format!(
            "host={host} hostaddr=127.0.0.1 port={} user=postgres dbname=postgres \
             sslmode=verify-full sslrootcert={root}",
            cluster.port
        );
        match (same(&text).await, words) {
            (Ok(encrypted), None) => assert!(encrypted),
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (outcome, _) => panic!("{text}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_where_certificates_are_looked_at() {
    let authority = authority("the authority");
    let mut expired = params("localhost", &["localhost"]);
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    for certificate in [issued(&expired, &authority), self_signed(&expired)] {
        let files = Files::new();
        let roots = format!("{}{}", authority.pem(), certificate.0);
        let root = files.write("root.crt", &roots).display().to_string();
        let cluster = server(&files, certificate, &authority.pem()).await;
        let to = |rest: &str| {
            format!("host=localhost port={} user=postgres dbname=postgres {rest}", cluster.port)
        };
        assert!(same(&to("sslmode=require")).await.expect("not looked at"));
        let error = same(&to(&format!("sslmode=verify-full sslrootcert={root}"))).await;
        let error = error.expect_err("expired");
        assert!(error.to_string().contains("expired"), "{error}");
        assert!(error.hint().expect("a hint").contains("Renew"));
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_there_is_one() {
    let files = Files::new();
    let authority = authority("the authority");
    let certificate = issued(&params("db1", &["localhost"]), &authority);
    let cluster = server(&files, certificate, &authority.pem()).await;
    let (client, key) = issued(&params("certified", &[]), &authority);
    let (stranger, stranger_key) = issued(&params("certified", &[]), &self::authority("another"));
    for (name, text) in [
        ("client.crt", &client),
        ("client.key", &key),
        ("open.key", &key),
        ("stranger.crt", &stranger),
        ("stranger.key", &stranger_key),
    ] {
        files.write(name, text);
    }
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(files.path("open.key"), open).expect("our own");
    let with = |certificate: &str, key: &str| {
        let dir = files.0.path().display();
        format!(
            "host=localhost port={} user=certified dbname=postgres sslmode=require \
             sslcert={dir}/{certificate} sslkey={dir}/{key}",
            cluster.port
        )
    };
    assert!(same(&with("client.crt", "client.key")).await.expect("shown"));
    for (certificate, key, words) in [
        ("client.crt", "open.key", "group or world access"),
        ("client.crt", "stranger.key", "does not fit the certificate"),
        ("client.crt", "server.crt", "holds no private key"),
        ("stranger.crt", "stranger.key", ""),
    ] {
        let error = same(&with(certificate, key)).await.expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_transient(), "{error}");
    }
    let without = with("x", "y").split(" sslcert").next().map(str::to_owned).expect("there");
    let error = same(&without).await.expect_err("none shown");
    assert!(error.to_string().contains("client certificate"), "{error}");
}

#[tokio::test]
async fn scram_is_bound_to_the_certificate_whatever_hash_signed_it() {
    for (algorithm, is_bound) in [
        (&PKCS_ECDSA_P256_SHA256, true),
        (&PKCS_ECDSA_P384_SHA384, true),
        (&PKCS_RSA_SHA512, true),
        // No hash to bind to.
        (&PKCS_ED25519, false),
    ] {
        let files = Files::new();
        let authority = authority_with("the authority", algorithm);
        let certificate = issued(&params("db1", &["localhost"]), &authority);
        let cluster = server(&files, certificate, &authority.pem()).await;
        let to = |rest: &str| {
            format!(
                "host=localhost port={} user=scram password=canary dbname=postgres {rest}",
                cluster.port
            )
        };
        for binding in ["disable", "prefer"] {
            let text = to(&format!("sslmode=require channel_binding={binding}"));
            assert!(ours(&text).await.expect("connected"), "{algorithm:?} {binding}");
        }
        let outcome = ours(&to("sslmode=require channel_binding=require")).await;
        assert_eq!(outcome.is_ok(), is_bound, "{algorithm:?}: {outcome:?}");
        let wrong = to("sslmode=require").replace("canary", "wrong");
        let error = ours(&wrong).await.expect_err("a wrong password");
        assert_eq!(error.server_error().expect("the server's").code.code(), "28P01");
    }
}
