//! The `json_drop` step: parts of a JSON value are left out, the rest stays as it is, byte for byte.
//!
//! For jsonb the result is the text of `v #- '{a,b}'`, for each path; no number or string is ever
//! decoded, so `1.50` and `1e400` stay what they are. Of json the server has no such operator: white
//! space and order stay, and where keys are there twice, both go. A path that leads nowhere changes
//! nothing, a scalar included (on which `#-` is an error).
//!
//! All paths speak of the value as it was: "tags.0" and "tags.1" are the first two elements.

use bytes::Bytes;

use super::text_form::NoText;
use crate::config::steps::{JsonPath, JsonSegment};

const MALFORMED: NoText = NoText::Malformed("json");

/// The value without what the paths lead to; `None` where they lead to nothing.
pub(super) fn dropped(paths: &[JsonPath], json: &[u8]) -> Result<Option<Bytes>, NoText> {
    let mut walk = Walk { paths, json, out: Vec::with_capacity(json.len()), has_dropped: false };
    let all = paths.iter().enumerate().fold(0, |all, (bit, _)| all | 1 << bit);
    let start = walk.white_space(0);
    let end = walk.value(start, all, 0)?;
    if walk.white_space(end) != json.len() {
        return Err(MALFORMED);
    }
    walk.copy(end, json.len());
    Ok(walk.has_dropped.then(|| Bytes::from(walk.out)))
}

/// A set of paths, as bits.
type Paths = u64;

struct Walk<'a> {
    paths: &'a [JsonPath],
    json: &'a [u8],
    out: Vec<u8>,
    has_dropped: bool,
}

/// What is done with a member of an object or an element of an array.
enum Fate {
    Drop,
    /// The paths that go on inside.
    Keep(Paths),
}

impl Walk<'_> {
    /// Writes the value that begins at `start`, without what `active` leads to, whose segments up to
    /// `depth` have matched. Gives its end.
    fn value(&mut self, start: usize, active: Paths, depth: usize) -> Result<usize, NoText> {
        if active == 0 {
            let end = self.skip(start)?;
            self.copy(start, end);
            return Ok(end);
        }
        match self.json.get(start) {
            Some(b'{') => self.container(start, active, depth, b'}'),
            Some(b'[') => self.container(start, active, depth, b']'),
            _ => self.value(start, 0, depth),
        }
    }

    fn container(
        &mut self,
        start: usize,
        active: Paths,
        depth: usize,
        close: u8,
    ) -> Result<usize, NoText> {
        let first = self.white_space(start + 1);
        if self.json.get(first) == Some(&close) {
            self.copy(start, first + 1);
            return Ok(first + 1);
        }
        let length = if close == b']' { self.length_if_needed(start, active, depth)? } else { 0 };
        self.out.push(self.json[start]);
        // White space in front of the first and behind the last stays there, whichever they are.
        let (mut any, mut behind) = (false, first..first);
        let (mut place, mut index) = (first, 0);
        loop {
            let fate = match close {
                b'}' => self.fate_of_key(place, active, depth)?,
                _ => self.fate_of_element(index, length, active, depth),
            };
            let end = match fate {
                Fate::Drop => {
                    self.has_dropped = true;
                    let value = if close == b'}' { self.behind_key(place)? } else { place };
                    self.skip(value)?
                }
                Fate::Keep(inside) => {
                    if any {
                        self.copy(behind.start, behind.end);
                        self.out.push(b',');
                        let before = self.white_space_before(place);
                        self.copy(before, place);
                    } else {
                        self.copy(start + 1, first);
                    }
                    any = true;
                    let value = if close == b'}' { self.behind_key(place)? } else { place };
                    self.copy(place, value);
                    self.value(value, inside, depth + 1)?
                }
            };
            let next = self.white_space(end);
            match self.json.get(next) {
                Some(b',') => {
                    behind = end..next;
                    place = self.white_space(next + 1);
                    index += 1;
                }
                Some(&found) if found == close => {
                    if any {
                        self.copy(end, next);
                    }
                    self.out.push(close);
                    return Ok(next + 1);
                }
                _ => return Err(MALFORMED),
            }
        }
    }

    fn fate_of_key(&self, place: usize, active: Paths, depth: usize) -> Result<Fate, NoText> {
        let end = self.string(place)?;
        let raw = &self.json[place..end];
        let decoded: Option<String> = match raw.contains(&b'\\') {
            true => serde_json::from_slice(raw).ok(),
            false => None,
        };
        let key = decoded.as_deref().map_or(&raw[1..raw.len() - 1], str::as_bytes);
        Ok(self.fate(active, depth, |segment| match segment {
            JsonSegment::Any => true,
            JsonSegment::Named { key: wanted, .. } => wanted.as_bytes() == key,
        }))
    }

    fn fate_of_element(&self, index: i64, length: i64, active: Paths, depth: usize) -> Fate {
        self.fate(active, depth, |segment| match segment {
            JsonSegment::Any => true,
            JsonSegment::Named { index: wanted, .. } => wanted
                .is_some_and(|wanted| wanted == index || wanted < 0 && wanted + length == index),
        })
    }

    fn fate(&self, active: Paths, depth: usize, matches: impl Fn(&JsonSegment) -> bool) -> Fate {
        let mut inside = 0;
        for (bit, JsonPath(segments)) in self.paths.iter().enumerate() {
            if active & 1 << bit == 0 || !matches(&segments[depth]) {
                continue;
            }
            if segments.len() == depth + 1 {
                return Fate::Drop;
            }
            inside |= 1 << bit;
        }
        Fate::Keep(inside)
    }

    /// The number of an array's elements, where a path counts from its end; 0 otherwise.
    fn length_if_needed(&self, start: usize, active: Paths, depth: usize) -> Result<i64, NoText> {
        let counts_back = |(bit, JsonPath(segments)): (usize, &JsonPath)| {
            let is_back =
                |s: &JsonSegment| matches!(s, JsonSegment::Named { index: Some(..0), .. });
            active & 1 << bit != 0 && is_back(&segments[depth])
        };
        if !self.paths.iter().enumerate().any(counts_back) {
            return Ok(0);
        }
        let (mut length, mut place) = (0, start);
        loop {
            place = self.white_space(self.skip(self.white_space(place + 1))?);
            length += 1;
            match self.json.get(place) {
                Some(b',') => {}
                Some(b']') => return Ok(length),
                _ => return Err(MALFORMED),
            }
        }
    }

    /// Where the value of the key at `place` begins.
    fn behind_key(&self, place: usize) -> Result<usize, NoText> {
        let colon = self.white_space(self.string(place)?);
        match self.json.get(colon) {
            Some(b':') => Ok(self.white_space(colon + 1)),
            _ => Err(MALFORMED),
        }
    }

    /// The end of the value that begins at `start`. Of what is inside only strings and brackets are
    /// looked at: the server has parsed it.
    fn skip(&self, start: usize) -> Result<usize, NoText> {
        match self.json.get(start) {
            Some(b'"') => return self.string(start),
            Some(b'{' | b'[') => {}
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                let is_end =
                    |byte: &u8| matches!(byte, b',' | b']' | b'}') || is_white_space(*byte);
                let length = self.json[start..].iter().position(is_end);
                return Ok(length.map_or(self.json.len(), |length| start + length));
            }
            _ => return Err(MALFORMED),
        }
        let (mut place, mut open) = (start, 0_usize);
        loop {
            match self.json.get(place) {
                Some(b'"') => {
                    place = self.string(place)?;
                    continue;
                }
                Some(b'{' | b'[') => open += 1,
                Some(b'}' | b']') => open -= 1,
                Some(_) => {}
                None => return Err(MALFORMED),
            }
            place += 1;
            if open == 0 {
                return Ok(place);
            }
        }
    }

    /// The end of the string that begins at `start`.
    fn string(&self, start: usize) -> Result<usize, NoText> {
        if self.json.get(start) != Some(&b'"') {
            return Err(MALFORMED);
        }
        let mut place = start + 1;
        loop {
            match self.json.get(place) {
                Some(b'"') => return Ok(place + 1),
                Some(b'\\') => place += 2,
                Some(_) => place += 1,
                None => return Err(MALFORMED),
            }
        }
    }

    fn white_space(&self, start: usize) -> usize {
        let rest = self.json.get(start..).unwrap_or_default();
        let length = rest.iter().position(|&byte| !is_white_space(byte));
        start + length.unwrap_or(rest.len())
    }

    fn white_space_before(&self, end: usize) -> usize {
        let last = self.json[..end].iter().rposition(|&byte| !is_white_space(byte));
        last.map_or(0, |last| last + 1)
    }

    fn copy(&mut self, start: usize, end: usize) {
        self.out.extend_from_slice(&self.json[start..end]);
    }
}

fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
