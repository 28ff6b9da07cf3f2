//! What a server's certificate must be for each sslmode.
//!
//! ```text
//! prefer, require            no root     any certificate, but the handshake's signature is checked
//! require, verify-ca         a root      chain to it, any name
//! verify-full                a root      chain to it, and the host's name
//! ```
//!
//! Two things libpq accepts and webpki alone does not, both common on private networks: the
//! server's own self-signed certificate given as the root, and a certificate without alternative
//! names whose common name is the host (`pq_verify_peer_name_matches_certificate` in `fe-secure-common.c`).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::Certificate;

/// Whom we trust.
#[derive(Debug)]
pub(super) struct Trust {
    pub store: Arc<RootCertStore>,
    /// The file's certificates as they are: one of them may be the server's own.
    pub pinned: Vec<CertificateDer<'static>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameRule {
    Ignored,
    MustMatch,
}

#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Option<Trust>,
    names: NameRule,
}

impl Verifier {
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        trust: Option<Trust>,
        names: NameRule,
    ) -> Verifier {
        Verifier { provider, trust, names }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        if trust.pinned.iter().any(|pinned| pinned == end_entity) {
            let certificate = Certificate::parse(end_entity)
                .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
            check_validity(&certificate, now)?;
        } else {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                &trust.store,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.names == NameRule::MustMatch {
            check_name(end_entity, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        // webpki does not read version 1 certificates, which PostgreSQL's manual used to teach
        // people to make. Their key can be checked all the same.
        match Certificate::parse(certificate) {
            Some(parsed) if parsed.is_version_1 => verify_tls13_signature_with_raw_key(
                message,
                &SubjectPublicKeyInfoDer::from(parsed.public_key),
                signature,
                algorithms,
            ),
            _ => verify_tls13_signature(message, certificate, signature, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn check_validity(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < certificate.not_before_unix_seconds {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > certificate.not_after_unix_seconds {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}

fn check_name(end_entity: &CertificateDer<'_>, wanted: &ServerName<'_>) -> Result<(), Error> {
    let certificate = Certificate::parse(end_entity)
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    if certificate.has_alternative_names {
        return verify_server_name(&ParsedCertificate::try_from(end_entity)?, wanted);
    }
    let matches = certificate
        .common_name
        .is_some_and(|name| common_name_matches(name, wanted.to_str().as_ref()));
    if matches {
        return Ok(());
    }
    Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
        expected: wanted.to_owned(),
        presented: certificate.common_name.map(str::to_owned).into_iter().collect(),
    }))
}

/// libpq's rule: equal without regard to case, or `*.` in place of the first label.
fn common_name_matches(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((label, rest))) => {
            !label.is_empty() && domain.contains('.') && domain.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (pattern, host, matches) in [
            ("db1", "DB1", true),
            ("*.example.com", "db1.example.com", true),
            ("*.example.com", "a.db1.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.com", "example.com", false),
            ("*", "db1", false),
            ("db1", "db2", false),
        ] {
            assert_eq!(common_name_matches(pattern, host), matches, "{pattern} {host}");
        }
    }
}
