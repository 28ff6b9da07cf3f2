//! TLS by rustls: sslmode's meanings, root certificates, client certificates, channel binding.
//!
//! In: a TCP stream that the server agreed to encrypt. Out: the encrypted stream and the hash that
//! binds a SCRAM exchange to it. Files are read at every call, so that rotated certificates are
//! picked up by the next connection. **Invariant:** whatever sslmode says, the handshake proves
//! that the server owns the key of the certificate it showed.
//!
//! The provider is named here and never taken from the process, so no other crate's choice can
//! change it or make it ambiguous.

mod certificate;
mod verify;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::verify::{NameRule, Trust, Verifier};
use crate::pg::connect_error::Failure;
use crate::pg::conninfo::{Host, HostName, RootCertificates, SslMode, SslNegotiation, TlsOptions};
use crate::pg::dial::network;

/// What a server from 17 on expects where TLS begins with the first byte.
const ALPN: &[u8] = b"postgresql";

/// The encrypted stream, and the `tls-server-end-point` hash where the certificate gives one.
pub(crate) async fn handshake(
    stream: TcpStream,
    host: &Host,
    options: &TlsOptions,
) -> Result<(TlsStream<TcpStream>, Option<Vec<u8>>), Failure> {
    let name = server_name(host, options.mode)?;
    let options = options.clone();
    // Files and the system's store are read from disk, and hundreds of roots are parsed.
    let config =
        tokio::task::spawn_blocking(move || client_config(&options)).await.map_err(|_| {
            Failure::Handshake { reason: "reading the certificates failed".to_owned() }
        })??;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => failure(error, Some(host)),
                None => network("TLS handshake", &error),
            }
        })?;
    let binding = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|leaf| certificate::end_point_hash(leaf));
    Ok((stream, binding))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The name to ask for (SNI) and to verify.
fn server_name(host: &Host, mode: SslMode) -> Result<ServerName<'static>, Failure> {
    let HostName::Tcp(name) = &host.name else {
        unreachable!("TLS is not used on Unix sockets");
    };
    // A zone (`fe80::1%eth0`) is this machine's business.
    let bare = name.split('%').next().unwrap_or(name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    match (ServerName::try_from(name.clone()), host.address) {
        (Ok(name), _) => Ok(name),
        (Err(_), Some(address)) if mode != SslMode::VerifyFull => {
            Ok(ServerName::IpAddress(address.into()))
        }
        (Err(_), _) => Err(Failure::Certificate {
            reason: format!("\"{name}\" is not a name that a certificate can hold"),
            hint: "",
        }),
    }
}

fn client_config(options: &TlsOptions) -> Result<ClientConfig, Failure> {
    let provider = provider();
    let trust = match (&options.root, options.mode) {
        (_, SslMode::Disable | SslMode::Prefer) | (None, _) => None,
        (Some(RootCertificates::System), _) => Some(system_roots()?),
        (Some(RootCertificates::File(path)), _) => Some(roots_from_file(path)?),
    };
    // As in libpq, `require` with a root file verifies the chain.
    let names = match options.mode {
        SslMode::VerifyFull => NameRule::MustMatch,
        _ => NameRule::Ignored,
    };
    let verifier = Verifier::new(Arc::clone(&provider), trust, names);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Handshake { reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("sslcert", certificate)?;
            let key_der = private_key(key)?;
            builder.with_client_auth_cert(chain, key_der).map_err(|error| Failure::TlsFile {
                key: "sslkey",
                path: key.clone(),
                reason: format!("does not fit the certificate: {error}"),
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    if options.negotiation == SslNegotiation::Direct {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(config)
}

fn system_roots() -> Result<Trust, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(Failure::Certificate {
            reason: "this system has no trusted root certificates".to_owned(),
            hint: "Install the ca-certificates package, or name a file with sslrootcert.",
        });
    }
    Ok(Trust { store: Arc::new(store), pinned: Vec::new() })
}

fn roots_from_file(path: &Path) -> Result<Trust, Failure> {
    let pinned = certificates("sslrootcert", path)?;
    let mut store = RootCertStore::empty();
    for certificate in &pinned {
        store.add(certificate.clone()).map_err(|error| Failure::TlsFile {
            key: "sslrootcert",
            path: path.to_owned(),
            reason: format!("holds a certificate that cannot be used: {error}"),
        })?;
    }
    Ok(Trust { store: Arc::new(store), pinned })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let refused = |reason: String| Failure::TlsFile { key, path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|error| refused(cannot_read(&error)))?;
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| refused("is not PEM".to_owned()))?;
    if found.is_empty() {
        return Err(refused("holds no certificate in PEM form".to_owned()));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let refused =
        |reason: String| Failure::TlsFile { key: "sslkey", path: path.to_owned(), reason };
    let metadata = std::fs::metadata(path).map_err(|error| refused(cannot_read(&error)))?;
    if is_open_to_others(&metadata) {
        return Err(refused("has group or world access; its mode should be 0600".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| refused(cannot_read(&error)))?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        refused("holds no private key in PEM form (an encrypted key cannot be read)".to_owned())
    })
}

fn cannot_read(error: &std::io::Error) -> String {
    format!("cannot be read: {}", error.kind())
}

/// libpq's rule: nobody but the owner, or the owner's group where the owner is root.
#[cfg(unix)]
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    metadata.mode() & forbidden != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}

/// rustls' error in an operator's words.
pub(crate) fn failure(error: &rustls::Error, host: Option<&Host>) -> Failure {
    let refused = |reason: String, hint| Failure::Certificate { reason, hint };
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return Failure::Handshake { reason: error.to_string() };
    };
    match certificate {
        CertificateError::UnknownIssuer => refused(
            "no certificate in sslrootcert has issued it".to_owned(),
            "Give the issuer's certificate as sslrootcert; for a self-signed server certificate, \
             that certificate itself.",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let presented = match certificate {
                CertificateError::NotValidForNameContext { presented, .. }
                    if !presented.is_empty() =>
                {
                    format!("it is for {}", bare_names(presented).join(", "))
                }
                _ => "it names another host".to_owned(),
            };
            let wanted = host.map_or_else(
                || "the host".to_owned(),
                |host| match &host.name {
                    HostName::Tcp(name) => format!("\"{name}\""),
                    HostName::Unix(_) => "the host".to_owned(),
                },
            );
            refused(
                format!("it does not name {wanted}: {presented}"),
                "Connect by a name in the certificate (hostaddr says where it is), or use \
                 sslmode=verify-ca where every certificate of this issuer is trusted.",
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => refused(
            "it has expired".to_owned(),
            "Renew the server's certificate (or mend this machine's clock).",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            refused("it is not valid yet".to_owned(), "Check this machine's clock.")
        }
        CertificateError::BadEncoding | CertificateError::Other(_) => refused(
            format!("it cannot be verified: {certificate}"),
            "An X.509 version 1 certificate, or a certificate authority used as the server's own \
             certificate, cannot be verified against an issuer: give that very certificate as \
             sslrootcert, or issue one of version 3.",
        ),
        other => refused(other.to_string(), ""),
    }
}

/// rustls prints names as `DnsName("db1")` and `IpAddress(10.0.0.1)`.
fn bare_names(presented: &[String]) -> Vec<&str> {
    presented
        .iter()
        .map(|name| {
            let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
            inner.unwrap_or(name).trim_matches('"')
        })
        .collect()
}
