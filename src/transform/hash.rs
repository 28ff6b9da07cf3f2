//! The `hash` step: a value's text form goes in, 64 lower-case hexadecimal digits come out.
//!
//! The result is what a user gets in SQL, so that it can be checked and joined there:
//! `encode(sha256(convert_to(v::text, 'UTF8')), 'hex')`, and with pgcrypto
//! `encode(hmac(v::text, key, 'sha256'), 'hex')`. Plain SHA-256 of a short or guessable value is
//! found again with a dictionary; the keyed form is the one for personal data.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::error::Refusal;
use super::text_form::hex;
use crate::config::settings::Hash;

/// A compiled hash. The key is mixed in once, when the plan is compiled.
#[derive(Clone)]
pub(super) enum HashStep {
    Sha256,
    HmacSha256(Box<Hmac<Sha256>>),
}

impl HashStep {
    pub(super) fn compile(hash: &Hash) -> Result<HashStep, Refusal> {
        match hash {
            Hash::Sha256 => Ok(HashStep::Sha256),
            Hash::HmacSha256 { key } if key.expose_secret().is_empty() => {
                Err(Refusal::EmptyHashKey)
            }
            Hash::HmacSha256 { key } => {
                Ok(HashStep::HmacSha256(Box::new(keyed(key.expose_secret().as_bytes()))))
            }
        }
    }

    pub(super) fn digits(&self, text: &[u8]) -> Bytes {
        Bytes::from(match self {
            HashStep::Sha256 => hex(&Sha256::digest(text)),
            HashStep::HmacSha256(keyed) => hex(&signature(keyed, text)),
        })
    }
}

/// Says the kind, never the key.
impl fmt::Debug for HashStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HashStep::Sha256 => "Sha256",
            HashStep::HmacSha256(_) => "HmacSha256",
        })
    }
}

/// The HMAC of `text`, in digits.
pub(super) fn keyed_digits(key: &[u8], text: &[u8]) -> String {
    hex(&signature(&keyed(key), text))
}

/// The HMAC of `text`.
pub(super) fn signature(keyed: &Hmac<Sha256>, text: &[u8]) -> [u8; 32] {
    let mut hmac = Hmac::clone(keyed);
    hmac.update(text);
    hmac.finalize().into_bytes().into()
}

pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hmac(key: &[u8], text: &[u8]) -> Bytes {
        HashStep::HmacSha256(Box::new(keyed(key))).digits(text)
    }

    /// RFC 4231, test cases 1, 2, 3, 6 and 7.
    #[test]
    fn hmac_gives_the_vectors_of_rfc_4231() {
        let long_key = [0xaa_u8; 131];
        let cases: &[(&[u8], &[u8], &str)] = &[
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &long_key,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &long_key,
                b"This is a test using a larger than block-size key and a larger than block-size \
                  data. The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, text, expected) in cases {
            assert_eq!(hmac(key, text), expected.as_bytes());
        }
    }

    /// FIPS 180-2.
    #[test]
    fn sha256_gives_the_published_vectors() {
        assert_eq!(
            HashStep::Sha256.digits(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            HashStep::Sha256.digits(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn an_empty_key_is_refused_and_no_key_is_printed() {
        let hash = |key: &str| Hash::HmacSha256 { key: key.to_owned().into() };
        assert_eq!(HashStep::compile(&hash("")).err(), Some(Refusal::EmptyHashKey));
        let step = HashStep::compile(&hash("canary")).expect("compiles");
        assert_eq!(format!("{step:?}"), "HmacSha256");
    }
}
