//! The few fields of an X.509 certificate that rustls does not hand out; pure.
//!
//! ```text
//! Certificate  ::= SEQUENCE { tbs, signatureAlgorithm SEQUENCE { OID, … }, signature }
//! tbs          ::= SEQUENCE { [0] version?, serial, algorithm, issuer, validity SEQUENCE { t, t },
//!                             subject, publicKeyInfo, [1]? [2]? [3] extensions? }
//! ```
//!
//! Nothing is trusted because of what is read here alone: chains and signatures are webpki's.

use sha2::{Digest, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;

/// 2.5.4.3 and 2.5.29.17.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1D, 0x11];

#[derive(Debug)]
pub(super) struct Certificate<'a> {
    pub is_version_1: bool,
    pub not_before_unix_seconds: i64,
    pub not_after_unix_seconds: i64,
    /// The last one in the subject, as libpq takes it.
    pub common_name: Option<&'a str>,
    pub has_alternative_names: bool,
    /// SubjectPublicKeyInfo with its header.
    pub public_key: &'a [u8],
    /// The OID of the signature over the certificate.
    signature_oid: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut outer = Reader(der).expect(SEQUENCE)?;
        let mut tbs = outer.expect(SEQUENCE)?;
        let signature_oid = outer.expect(SEQUENCE)?.expect(OID)?.0;
        let is_version_1 = tbs.0.first() != Some(&VERSION);
        if !is_version_1 {
            tbs.any()?;
        }
        tbs.any()?; // serial number
        tbs.any()?; // signature algorithm
        tbs.any()?; // issuer
        let mut validity = tbs.expect(SEQUENCE)?;
        let not_before_unix_seconds = validity.time()?;
        let not_after_unix_seconds = validity.time()?;
        let common_name = common_name(tbs.expect(SEQUENCE)?);
        let before = tbs.0;
        tbs.expect(SEQUENCE)?;
        let public_key = &before[..before.len() - tbs.0.len()];
        let mut has_alternative_names = false;
        while let Some((tag, content)) = tbs.any() {
            if tag == EXTENSIONS {
                has_alternative_names = names_alternatives(Reader(content).expect(SEQUENCE)?)?;
            }
        }
        Some(Certificate {
            is_version_1,
            not_before_unix_seconds,
            not_after_unix_seconds,
            common_name,
            has_alternative_names,
            public_key,
            signature_oid,
        })
    }
}

/// RFC 5929's `tls-server-end-point`: the certificate hashed by the hash of its own signature, and
/// SHA-256 in place of MD5 and SHA-1. None where the signature names no hash we know (Ed25519,
/// RSA-PSS): then there is no channel binding.
pub(super) fn end_point_hash(der: &[u8]) -> Option<Vec<u8>> {
    let oid = Certificate::parse(der)?.signature_oid;
    // 1.2.840.113549.1.1.x (RSA) and 1.2.840.10045.4.x (ECDSA).
    let rsa = oid.strip_prefix(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01]);
    let ecdsa = oid.strip_prefix(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04]);
    match (rsa, ecdsa) {
        // MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256.
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(Sha256::digest(der).to_vec()),
        (Some([12]), _) | (_, Some([3, 3])) => Some(Sha384::digest(der).to_vec()),
        (Some([13]), _) | (_, Some([3, 4])) => Some(Sha512::digest(der).to_vec()),
        _ => None,
    }
}

fn common_name(mut subject: Reader<'_>) -> Option<&str> {
    let mut found = None;
    while let Some(mut set) = subject.expect(SET) {
        while let Some(mut attribute) = set.expect(SEQUENCE) {
            if attribute.expect(OID)?.0 == COMMON_NAME {
                let (_, value) = attribute.any()?;
                // A NUL in a name is an old trick to make it look like another.
                found = std::str::from_utf8(value).ok().filter(|name| !name.contains('\0'));
            }
        }
    }
    found
}

fn names_alternatives(mut extensions: Reader<'_>) -> Option<bool> {
    while !extensions.0.is_empty() {
        if extensions.expect(SEQUENCE)?.expect(OID)?.0 == SUBJECT_ALTERNATIVE_NAME {
            return Some(true);
        }
    }
    Some(false)
}

// === Reader ===

/// DER, from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element's tag and content.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7F);
            if count == 0 || count > 4 {
                return None;
            }
            let digits = rest.get(..count)?;
            rest = &rest[count..];
            length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
        }
        let content = rest.get(..length)?;
        self.0 = &rest[length..];
        Some((tag, content))
    }

    /// The next element if it has this tag; otherwise nothing is taken.
    fn expect(&mut self, tag: u8) -> Option<Reader<'a>> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        self.any().map(|(_, content)| Reader(content))
    }

    /// UTCTime `YYMMDDHHMMSSZ` (years 1950 to 2049) or GeneralizedTime `YYYYMMDDHHMMSSZ`.
    fn time(&mut self) -> Option<i64> {
        let (tag, content) = self.any()?;
        let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME if text.len() == 12 => {
                let year: i64 = text[..2].parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
            }
            GENERALIZED_TIME if text.len() == 14 => (text[..4].parse().ok()?, &text[4..]),
            _ => return None,
        };
        let two = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
        let days = days_from_epoch(year, two(0)?, two(2)?);
        Some(((days * 24 + two(4)?) * 60 + two(6)?) * 60 + two(8)?)
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day
/// comes last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    use super::*;

    fn certificate(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "not the name");
        params.distinguished_name.push(DnType::CommonName, "db1.example.com");
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2051, 3, 1);
        let key = KeyPair::generate_for(algorithm).expect("key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn the_fields_are_found() {
        let der = certificate(&[], &PKCS_ECDSA_P256_SHA256);
        let parsed = Certificate::parse(&der).expect("parsed");
        assert_eq!(parsed.common_name, Some("db1.example.com"));
        assert!(!parsed.has_alternative_names && !parsed.is_version_1);
        assert_eq!(parsed.not_before_unix_seconds, 946_598_400, "UTCTime");
        assert_eq!(parsed.not_after_unix_seconds, 2_561_241_600, "GeneralizedTime");
        let der = certificate(&["db2"], &PKCS_ECDSA_P256_SHA256);
        assert!(Certificate::parse(&der).expect("parsed").has_alternative_names);
    }

    #[test]
    fn a_signature_without_a_hash_binds_nothing() {
        let der = certificate(&[], &PKCS_ECDSA_P256_SHA256);
        assert_eq!(end_point_hash(&der), Some(Sha256::digest(&der).to_vec()));
        assert_eq!(end_point_hash(&certificate(&[], &PKCS_ED25519)), None);
    }

    #[test]
    fn a_certificate_cut_short_is_refused_at_every_byte() {
        let der = certificate(&["db1"], &PKCS_ECDSA_P256_SHA256);
        for length in 0..der.len() {
            assert!(Certificate::parse(&der[..length]).is_none(), "{length} bytes");
        }
    }
}
