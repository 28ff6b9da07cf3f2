//! The steps that read a value and make another: their parts, each with its place.

use crate::config::document::Path;
use crate::config::file::{
    FakeFile, HashFile, MaskFile, MaskName, MaskParts, ReplaceFile, StepFile,
};
use crate::config::replacement::{Replacement, ReplacementError};
use crate::config::settings::{Hash, Step};
use crate::config::steps::{Fake, FakeKind, JSON_PATHS_MAX, JsonPath, Mask};
use crate::config::validate::Check;

/// What stands for a masked character.
const STAND_IN: char = '*';

impl Check<'_> {
    /// `None` where the step is none of these, or is refused.
    pub(super) fn made(&mut self, step: &StepFile, path: &Path) -> Option<Step> {
        if let Some(hash) = step.hash {
            return self.hash(hash, step.key.as_deref(), path).map(Step::Hash);
        }
        if let Some(kind) = step.fake {
            return self.fake(kind, step.key.as_deref(), path).map(Step::Fake);
        }
        if let Some(mask) = &step.mask {
            return self.mask(mask, &path.key("mask")).map(Step::Mask);
        }
        if let Some(replace) = &step.replace {
            let replacement = self.replace(replace, &path.key("replace"));
            return replacement.map(|replacement| Step::Replace(Box::new(replacement)));
        }
        let paths = step.json_drop.as_deref()?;
        self.json_drop(paths, &path.key("json_drop")).map(Step::JsonDrop)
    }

    fn hash(&mut self, hash: HashFile, key: Option<&str>, path: &Path) -> Option<Hash> {
        match hash {
            HashFile::Sha256 => Some(Hash::Sha256),
            HashFile::HmacSha256 => {
                let key = self.secret("hash", "hmac-sha256", key, path)?;
                Some(Hash::HmacSha256 { key: key.into() })
            }
        }
    }

    fn fake(&mut self, kind: FakeFile, key: Option<&str>, path: &Path) -> Option<Fake> {
        let kind = match kind {
            FakeFile::Name => FakeKind::Name,
            FakeFile::FirstName => FakeKind::FirstName,
            FakeFile::LastName => FakeKind::LastName,
            FakeFile::Email => FakeKind::Email,
            FakeFile::Phone => FakeKind::Phone,
            FakeFile::Uuid => FakeKind::Uuid,
        };
        let key = self.secret("fake", kind.word(), key, path)?;
        Some(Fake { kind, key: key.into() })
    }

    /// The key of a step that needs one.
    fn secret<'f>(
        &mut self,
        step: &str,
        word: &str,
        key: Option<&'f str>,
        path: &Path,
    ) -> Option<&'f str> {
        match key {
            None if self.problems.within(&path.key("key")) => None,
            None => {
                let problem = self.problems.value(&path.key(step), "needs a key beside it");
                problem.hint(format!("Write {{ {step} = \"{word}\", key = \"${{PII_KEY}}\" }}."));
                None
            }
            Some("") => {
                let message = format!("the key of a {step} must not be empty");
                self.problems.value(&path.key("key"), message);
                None
            }
            key => key,
        }
    }

    fn mask(&mut self, mask: &MaskFile, path: &Path) -> Option<Mask> {
        match mask {
            MaskFile::Named(MaskName::Full) => Some(Mask::Full),
            MaskFile::Named(MaskName::Email) => Some(Mask::Email),
            MaskFile::Parts(MaskParts { keep_first: None, keep_last: None, with: None }) => {
                if !self.problems.within(path) {
                    let problem = self.problems.value(path, "the table says nothing");
                    problem.hint("Write \"full\", or { keep_first = 1, keep_last = 4 }.");
                }
                None
            }
            MaskFile::Parts(MaskParts { keep_first, keep_last, with }) => {
                let kept = |count: &Option<u32>| {
                    count.map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
                };
                let with = match with {
                    Some(text) => self.stand_in(text, &path.key("with"))?,
                    None => STAND_IN,
                };
                Some(Mask::Parts { keep_first: kept(keep_first), keep_last: kept(keep_last), with })
            }
        }
    }

    fn stand_in(&mut self, text: &str, path: &Path) -> Option<char> {
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some('\0'), None) => {
                self.problems.value(path, "a zero byte is no character of a text");
                None
            }
            (Some(with), None) => Some(with),
            _ => {
                self.problems.value(path, "takes one character");
                None
            }
        }
    }

    fn replace(&mut self, replace: &ReplaceFile, path: &Path) -> Option<Replacement> {
        // Those that are missing have their problem already.
        let (pattern, with) = (replace.pattern.as_deref()?, replace.with.as_deref()?);
        match Replacement::new(pattern, with) {
            Ok(replacement) => Some(replacement),
            Err(ReplacementError::Pattern(reason)) => {
                let message = format!("is not a pattern that can be used: {reason}");
                self.problems.value(&path.key("pattern"), message);
                None
            }
            Err(ReplacementError::With(reason)) => {
                let problem = self.problems.value(&path.key("with"), reason);
                problem.hint("Write $1 or $${1} for a group, $$ for a dollar sign.");
                None
            }
        }
    }

    fn json_drop(&mut self, paths: &[String], path: &Path) -> Option<Vec<JsonPath>> {
        if paths.is_empty() {
            self.problems.value(path, "the list names no path");
        }
        if paths.len() > JSON_PATHS_MAX {
            self.problems.value(path, format!("takes at most {JSON_PATHS_MAX} paths"));
        }
        let mut parsed = Vec::with_capacity(paths.len());
        for (index, text) in paths.iter().enumerate() {
            match JsonPath::parse(text) {
                Ok(json_path) => parsed.push(json_path),
                Err(reason) => {
                    let problem = self.problems.value(&path.index(index), reason);
                    problem.hint("Write keys with dots between them: \"address.street\".");
                }
            }
        }
        (!parsed.is_empty() && parsed.len() == paths.len()).then_some(parsed)
    }
}
