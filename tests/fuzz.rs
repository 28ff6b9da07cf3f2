//! The fuzz targets without a fuzzer: each body over its corpus, and over mutations of it.
//!
//! The mutations are drawn from a fixed seed, so a failure comes again by running the test again; its
//! input stands in the message. `make fuzz TARGET=… MINUTES=…` looks further, and what it finds is
//! put into the corpus.

#![forbid(unsafe_code)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[path = "fuzz/bodies.rs"]
mod bodies;

/// For each target; all together run a few seconds in a debug build.
const MUTATION_COUNT: usize = 20_000;

/// Lengths and counts that sit on an edge, as they are on the wire.
const EDGES: [i32; 9] = [0, 1, -1, -2, i32::MAX, i32::MIN, 0x7fff, 0x0001_0000, i32::MAX - 4];

/// xorshift64*: small, reproducible, good enough to choose places.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from((self.next() >> 33) % limit.max(1) as u64).expect("below a usize")
    }

    /// A range of `bytes`, empty where they are.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        start..start + self.below((bytes.len() - start).min(16) + 1)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        match self.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = self.next().to_le_bytes()[3],
            2 => bytes.truncate(at),
            3 => {
                let range = self.range(bytes);
                bytes.drain(range);
            }
            4 => {
                let range = self.range(bytes);
                let copy = bytes[range].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let range = self.range(other);
                bytes.splice(at..at, other[range].iter().copied());
            }
            6 => {
                let edge = EDGES[self.below(EDGES.len())].to_be_bytes();
                let edge = &edge[self.below(4)..];
                let end = (at + edge.len()).min(bytes.len());
                bytes.splice(at..end, edge.iter().copied());
            }
            _ => {
                let special = b"\"'\\$*.\t\n%{}();:/@?=&\0";
                bytes.insert(at, special[self.below(special.len())]);
            }
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect()
}

fn run(target: bodies::Target, input: &[u8]) {
    let (name, body) = target;
    if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
        panic!("{name} fails on \"{}\"", input.escape_ascii());
    }
}

fn fuzz(name: &str) {
    let target = bodies::TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
    for input in &corpus {
        run(target, input);
    }
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for _ in 0..MUTATION_COUNT {
        let mut input = corpus[noise.below(corpus.len())].clone();
        for _ in 0..=noise.below(4) {
            let other = &corpus[noise.below(corpus.len())];
            noise.mutate(&mut input, other);
        }
        run(target, &input);
    }
}

#[test]
fn every_target_has_a_file_and_a_corpus() {
    for (name, _) in bodies::TARGETS {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets").join(name);
        let text = fs::read_to_string(file.with_extension("rs")).expect("a target's file");
        assert!(text.contains(&format!("bodies::{name}(data)")), "{name}");
        assert!(!corpus(name).is_empty(), "{name}");
    }
}

#[test]
fn pgoutput_messages() {
    fuzz("pgoutput");
}

#[test]
fn copy_in_binary() {
    fuzz("copy_binary");
}

#[test]
fn copy_in_text() {
    fuzz("copy_text");
}

#[test]
fn envelopes() {
    fuzz("envelope");
}

#[test]
fn connection_strings() {
    fuzz("conninfo");
}

#[test]
fn names_and_patterns() {
    fuzz("names");
}

#[test]
fn texts_of_the_server() {
    fuzz("server_text");
}
