//! What the fuzz targets run: bytes of anybody, into everything that reads bytes of others.
//!
//! Each body asserts what must hold whatever the bytes are: no panic, and where something was
//! understood, it is written again as it was read. `fuzz/` gives them to libFuzzer, `tests/fuzz.rs`
//! the corpus and mutations of it.

use bytes::{Bytes, BytesMut};
use sync_agent::config::pattern::{Pattern, parse_name};
use sync_agent::pg::conninfo::ConnInfo;
use sync_agent::pg::copy_format::{
    BinaryReader, CopyField, CopyFormatError, CopyRow, HEADER, RowPieces, TRAILER, TextReader,
    encode_row, encode_text_row, oversized_value,
};
use sync_agent::pg::ident::QualifiedName;
use sync_agent::pgoutput::{self, Message, OldTuple, Tuple};
use sync_agent::structure::Names;
use sync_agent::wire::{Envelope, StatusUpdate};

/// A fuzz target's name and body.
pub(crate) type Target = (&'static str, fn(&[u8]));

pub(crate) const TARGETS: [Target; 7] = [
    ("pgoutput", pgoutput),
    ("copy_binary", copy_binary),
    ("copy_text", copy_text),
    ("envelope", envelope),
    ("conninfo", conninfo),
    ("names", names),
    ("server_text", server_text),
];

/// The first byte says whether it is inside a streamed transaction; the rest is a message.
pub(crate) fn pgoutput(data: &[u8]) {
    let Some((&mode, payload)) = data.split_first() else { return };
    let is_streaming = mode & 1 == 1;
    let limit = usize::from(mode >> 1);
    let early = pgoutput::oversized(payload, limit);
    let Ok(message) = pgoutput::decode(Bytes::copy_from_slice(payload), is_streaming) else {
        return;
    };
    assert_eq!(pgoutput::encode(&message), payload, "{message:?}");
    let tuples: Vec<&Tuple> = match &message {
        Message::Insert(insert) => vec![&insert.new],
        Message::Update(update) => update.old.iter().map(of_old).chain([&update.new]).collect(),
        Message::Delete(delete) => vec![of_old(&delete.old)],
        _ => Vec::new(),
    };
    let mut too_long = false;
    for tuple in &tuples {
        let fields: Vec<_> = tuple.iter().collect();
        assert_eq!(fields.len(), tuple.count());
        too_long |= fields.iter().any(|field| match field {
            pgoutput::TupleField::Text(value) | pgoutput::TupleField::Binary(value) => {
                value.len() > limit
            }
            _ => false,
        });
        assert_eq!(Tuple::from_fields(fields), **tuple);
    }
    // What is told of a message that is still arriving is what the whole one shows.
    if !is_streaming {
        assert_eq!(early.is_some(), too_long, "{message:?}");
        assert_eq!(pgoutput::relation_id(payload).is_some(), !tuples.is_empty());
    }
}

fn of_old(old: &OldTuple) -> &Tuple {
    match old {
        OldTuple::Key(tuple) | OldTuple::Full(tuple) => tuple,
    }
}

/// The first byte says how the stream is cut into frames; the rest is a COPY in binary.
pub(crate) fn copy_binary(data: &[u8]) {
    let Some((&length, stream)) = data.split_first() else { return };
    let read = |frame_bytes: usize| {
        let mut reader = BinaryReader::new();
        let rows = read_all(stream, frame_bytes, |frame| {
            if let Some(frame) = frame {
                reader.push(frame);
            }
            reader.next_row()
        });
        let end = rows.1 && reader.finish().is_ok();
        (rows.0, end)
    };
    let (rows, is_whole) = read(usize::MAX);
    assert_eq!(read(usize::from(length).max(1)), (rows.clone(), is_whole), "however it is cut");
    let limit = usize::from(length);
    oversized_value(stream, true, false, limit);
    let mut written = BytesMut::from(HEADER);
    for row in &rows {
        let start = written.len();
        encode_row(&mut written, fields(row, CopyField::Binary)).expect("it was read");
        pieces_are_the_same(row, true, limit, &written[start..]);
        let is_long = row.iter().flatten().any(|value| value.len() > limit);
        assert_eq!(oversized_value(&written[start..], true, true, limit).is_some(), is_long);
    }
    if is_whole {
        written.extend_from_slice(TRAILER);
        // A header may have an extension, which is not written again.
        assert!(stream.ends_with(&written[HEADER.len()..]));
    }
}

/// The first byte is the number of columns, the second says how the stream is cut; the rest is a COPY
/// in text.
pub(crate) fn copy_text(data: &[u8]) {
    let [columns, length, stream @ ..] = data else { return };
    let column_count = usize::from(columns % 9);
    let read = |frame_bytes: usize, stream: &[u8]| {
        let mut reader = TextReader::new(column_count);
        let rows = read_all(stream, frame_bytes, |frame| {
            if let Some(frame) = frame {
                reader.push(frame);
            }
            reader.next_row()
        });
        (rows.0, rows.1 && reader.finish().is_ok())
    };
    let (rows, is_whole) = read(usize::MAX, stream);
    assert_eq!(read(usize::from(*length).max(1), stream), (rows.clone(), is_whole));
    let mut written = BytesMut::new();
    for row in &rows {
        let start = written.len();
        encode_text_row(&mut written, fields(row, CopyField::Text)).expect("it was read");
        pieces_are_the_same(row, false, usize::from(*length), &written[start..]);
    }
    // Not byte by byte: a reader may know more escapes than a writer uses.
    assert_eq!(read(usize::MAX, &written), (rows, true));
}

/// Every row that comes out of the frames, and whether no error did.
fn read_all(
    stream: &[u8],
    frame_bytes: usize,
    mut next: impl FnMut(Option<Bytes>) -> Result<Option<CopyRow>, CopyFormatError>,
) -> (Vec<CopyRow>, bool) {
    let mut rows = Vec::new();
    for frame in stream.chunks(frame_bytes) {
        let mut frame = Some(Bytes::copy_from_slice(frame));
        loop {
            match next(frame.take()) {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => break,
                Err(_) => return (rows, false),
            }
        }
    }
    (rows, true)
}

fn fields<'a>(row: &'a CopyRow, of: fn(&'a [u8]) -> CopyField<'a>) -> Vec<CopyField<'a>> {
    row.iter().map(|value| value.as_ref().map_or(CopyField::Null, |value| of(value))).collect()
}

fn pieces_are_the_same(row: &CopyRow, is_binary: bool, piece_bytes: usize, whole: &[u8]) {
    let of = if is_binary { CopyField::Binary } else { CopyField::Text };
    let mut pieces = RowPieces::new(is_binary, fields(row, of)).expect("it was written whole");
    let mut written = BytesMut::new();
    loop {
        let mut piece = BytesMut::new();
        let is_more = pieces.fill(&mut piece, piece_bytes.max(1));
        written.extend_from_slice(&piece);
        if !is_more {
            break;
        }
    }
    assert_eq!(written, whole);
}

/// A frame's payload, of either direction.
pub(crate) fn envelope(data: &[u8]) {
    let payload = |framed: BytesMut| framed.freeze().slice(5..);
    if let Ok(read) = Envelope::decode(Bytes::copy_from_slice(data)) {
        let mut written = BytesMut::new();
        read.encode(&mut written);
        assert_eq!(payload(written), data, "{read:?}");
    }
    if let Ok(read) = StatusUpdate::decode(Bytes::copy_from_slice(data)) {
        let mut written = BytesMut::new();
        read.encode(&mut written);
        assert_eq!(payload(written), data, "{read:?}");
    }
}

/// A connection string. What is shown of it has no password, and its URL means the same.
pub(crate) fn conninfo(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parse = |text: &str| ConnInfo::parse(text, &|_| None);
    let Ok(read) = parse(text) else { return };
    let (shown, url) = (read.redacted(), read.url());
    let again = parse(&url).unwrap_or_else(|error| panic!("{text:?} as {url:?}: {error}"));
    let is_same = again.hosts == read.hosts
        && (&again.user, &again.dbname) == (&read.user, &read.dbname)
        && again.target_session_attrs == read.target_session_attrs
        && again.application_name == read.application_name
        && again.password.is_none();
    assert!(is_same, "{text:?} is {read:?}\nbut {url:?} is {again:?}");
    assert_eq!(again.redacted(), shown);
    assert_eq!(again.url(), url);
}

/// A pattern as written; and, cut at the first line end, a schema and a table.
pub(crate) fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(pattern) = Pattern::parse(text) {
        let again = Pattern::parse(&pattern.to_string()).expect("it was one");
        assert!(again.same_as(&pattern), "{text:?}");
        if let Some(name) = pattern.literal() {
            assert!(pattern.matches(&name), "{text:?}");
            assert_eq!(parse_name(&name.sql()), Ok(name));
        }
    }
    if let Some((schema, table)) = text.split_once('\n')
        && !schema.is_empty()
        && !table.is_empty()
    {
        let name = QualifiedName::new(schema, table);
        assert_eq!(parse_name(&name.sql()), Ok(name), "{text:?}");
    }
}

/// Text of the server's own (an expression, a definition): without a mapping it stays as it is.
pub(crate) fn server_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert_eq!(Names::default().text(text), text);
    let mut names = Names::default();
    names.schemas.insert("public".to_owned(), "Other \"Place".to_owned());
    let mapped = names.text(text);
    if !text.contains("public") {
        assert_eq!(mapped, text);
    }
}
