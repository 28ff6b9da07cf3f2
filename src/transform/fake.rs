//! The `fake` step: a value of a kind is made up from a keyed hash of the value's text form, so that
//! equal values stay equal in every table, in the copy, in the tail and in every release.
//!
//! With `d = hmac(v::text, key, 'sha256')` (pgcrypto), its bytes counted from 0:
//!
//! | kind | made of | form |
//! | --- | --- | --- |
//! | first_name | byte 0 | a name of [`FIRST_NAMES`] |
//! | last_name | byte 1 | a name of [`LAST_NAMES`] |
//! | name | both | `First Last` |
//! | email | both, byte 2, bytes 6 to 15 | `first.last.<20 digits>@example.com`, `.org` or `.net` |
//! | phone | bytes 3 to 5 | `+1NXX55501XX`: numbers that are kept free for fiction |
//! | uuid | bytes 0 to 15 | a uuid of version 4 |
//!
//! 256 names of each make one byte choose without preference. What has to be unique gets bytes 6 to 15
//! (80 bits) as digits behind it: among a hundred million values the odds of two equal ones are below
//! one in a hundred million. Addresses have them always, so that a column which refers to a unique one
//! without being unique has the same values.

mod names;

use std::fmt;

use bytes::Bytes;
use hmac::Hmac;
use secrecy::ExposeSecret as _;
use sha2::Sha256;

use self::names::{FIRST_NAMES, LAST_NAMES};
use super::error::Refusal;
use super::hash::{keyed, signature};
use super::text_form::{hex, uuid_text};
use crate::config::steps::{Fake, FakeKind};

/// Kept free for examples (RFC 2606): nobody gets this mail.
const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];
/// Digits that keep made values apart.
const APART_DIGITS: usize = 20;

/// A compiled `fake`.
#[derive(Clone)]
pub(super) struct FakeStep {
    kind: FakeKind,
    /// No two values may become the same.
    is_unique: bool,
    key: Box<Hmac<Sha256>>,
}

impl FakeStep {
    pub(super) fn compile(fake: &Fake, is_unique: bool) -> Result<FakeStep, Refusal> {
        let key = fake.key.expose_secret();
        if key.is_empty() {
            return Err(Refusal::EmptyHashKey);
        }
        Ok(FakeStep { kind: fake.kind, is_unique, key: Box::new(keyed(key.as_bytes())) })
    }

    pub(super) fn is_unique(&self) -> bool {
        self.is_unique || matches!(self.kind, FakeKind::Email | FakeKind::Uuid)
    }

    pub(super) fn is_uuid(&self) -> bool {
        self.kind == FakeKind::Uuid
    }

    pub(super) fn kind(&self) -> FakeKind {
        self.kind
    }

    /// Most characters that are made.
    pub(super) fn characters_max(&self) -> usize {
        let longest = |names: &[&str]| names.iter().map(|name| name.len()).max().unwrap_or(0);
        let (first, last) = (longest(&FIRST_NAMES), longest(&LAST_NAMES));
        let apart = 1 + APART_DIGITS;
        let bare = match self.kind {
            FakeKind::Name => first + 1 + last,
            FakeKind::FirstName => first,
            FakeKind::LastName => last,
            FakeKind::Email => return first + 1 + last + apart + 1 + longest(&DOMAINS),
            FakeKind::Phone => 12,
            FakeKind::Uuid => return 36,
        };
        if self.is_unique { bare + apart } else { bare }
    }

    pub(super) fn made(&self, text: &[u8]) -> Bytes {
        let digest = signature(&self.key, text);
        let first = FIRST_NAMES[usize::from(digest[0])];
        let last = LAST_NAMES[usize::from(digest[1])];
        let apart = || hex(&digest[6..16]);
        let bare = match self.kind {
            FakeKind::Name => format!("{first} {last}"),
            FakeKind::FirstName => first.to_owned(),
            FakeKind::LastName => last.to_owned(),
            FakeKind::Email => {
                let domain = DOMAINS[usize::from(digest[2]) % DOMAINS.len()];
                let mut address = format!("{first}.{last}.{}@{domain}", apart());
                address.make_ascii_lowercase();
                return Bytes::from(address);
            }
            FakeKind::Phone => {
                let (area, office) = (2 + digest[3] % 8, digest[4] % 90);
                format!("+1{area}{office:02}55501{:02}", digest[5] % 100)
            }
            FakeKind::Uuid => return Bytes::from(uuid_text(&version_4(&digest))),
        };
        Bytes::from(match (self.is_unique, self.kind) {
            (true, FakeKind::Phone) => format!("{bare}x{}", apart()),
            (true, _) => format!("{bare} {}", apart()),
            (false, _) => bare,
        })
    }
}

/// Version and variant of a random uuid (RFC 9562); 122 bits stay.
fn version_4(digest: &[u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// Says the kind, never the key.
impl fmt::Debug for FakeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeStep")
            .field("kind", &self.kind)
            .field("is_unique", &self.is_unique)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const KINDS: [FakeKind; 6] = [
        FakeKind::Name,
        FakeKind::FirstName,
        FakeKind::LastName,
        FakeKind::Email,
        FakeKind::Phone,
        FakeKind::Uuid,
    ];

    fn step(kind: FakeKind, is_unique: bool) -> FakeStep {
        let fake = Fake { kind, key: "pepper".to_owned().into() };
        FakeStep::compile(&fake, is_unique).expect("compiles")
    }

    fn shown(kind: FakeKind, is_unique: bool, text: &str) -> String {
        let made = step(kind, is_unique).made(text.as_bytes());
        String::from_utf8(made.to_vec()).expect("is text")
    }

    /// Computed by other means. Such values are in destinations: a release that gives others breaks joins.
    #[test]
    fn what_is_made_stays_the_same_for_ever() {
        for (kind, bare, unique) in [
            (FakeKind::Name, "Glenda Clark", "Glenda Clark 3a27b70e067eb1407875"),
            (FakeKind::FirstName, "Glenda", "Glenda 3a27b70e067eb1407875"),
            (FakeKind::LastName, "Clark", "Clark 3a27b70e067eb1407875"),
            (
                FakeKind::Email,
                "glenda.clark.3a27b70e067eb1407875@example.net",
                "glenda.clark.3a27b70e067eb1407875@example.net",
            ),
            (FakeKind::Phone, "+16175550121", "+16175550121x3a27b70e067eb1407875"),
            (
                FakeKind::Uuid,
                "802ee964-c579-4a27-b70e-067eb1407875",
                "802ee964-c579-4a27-b70e-067eb1407875",
            ),
        ] {
            assert_eq!(shown(kind, false, "ann@x.org"), bare);
            assert_eq!(shown(kind, true, "ann@x.org"), unique);
        }
    }

    #[test]
    fn what_is_apart_stays_apart_and_fits() {
        for kind in KINDS {
            let made: HashSet<String> =
                (0..5_000).map(|n| shown(kind, true, &n.to_string())).collect();
            assert_eq!(made.len(), 5_000, "{kind:?}");
            for is_unique in [true, false] {
                let longest = step(kind, is_unique).characters_max();
                let made = |n: u32| shown(kind, is_unique, &n.to_string());
                assert!((0..5_000).all(|n| made(n).len() <= longest), "{kind:?}");
            }
        }
    }

    #[test]
    fn addresses_and_numbers_are_nobodys() {
        for n in 0..2_000 {
            let address = shown(FakeKind::Email, false, &n.to_string());
            let (local, domain) = address.split_once('@').expect("an address");
            assert!(DOMAINS.contains(&domain) && local.len() <= 64, "{address}");
            assert_eq!(address, shown(FakeKind::Email, true, &n.to_string()));
            let number = shown(FakeKind::Phone, false, &n.to_string());
            assert_eq!((number.len(), &number[5..10]), (12, "55501"), "{number}");
            assert!(matches!(number.as_bytes()[2], b'2'..=b'9'), "{number}");
        }
    }

    #[test]
    fn an_empty_key_is_refused_and_no_key_is_printed() {
        let fake = Fake { kind: FakeKind::Name, key: String::new().into() };
        assert_eq!(FakeStep::compile(&fake, false).err(), Some(Refusal::EmptyHashKey));
        assert!(!format!("{:?}", step(FakeKind::Name, false)).contains("pepper"));
    }
}
