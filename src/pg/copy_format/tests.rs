//! Round trips through frames cut anywhere, and the bytes that PostgreSQL documents.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

type Values = Vec<Option<Vec<u8>>>;

fn rows(column_count: usize) -> impl Strategy<Value = Vec<Values>> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..12),
        "[a\\\\\t\n\r\u{8}\u{b}\u{c}N.]{0,8}".prop_map(String::into_bytes),
    ];
    vec(vec(option::of(value), column_count), 0..6)
}

fn table() -> impl Strategy<Value = (usize, Vec<Values>)> {
    (0..5_usize).prop_flat_map(|count| (Just(count), rows(count)))
}

fn binary(values: &Values) -> Vec<CopyField<'_>> {
    values.iter().map(|v| v.as_deref().map_or(CopyField::Null, CopyField::Binary)).collect()
}

fn text(values: &Values) -> Vec<CopyField<'_>> {
    values.iter().map(|v| v.as_deref().map_or(CopyField::Null, CopyField::Text)).collect()
}

fn plain(row: CopyRow) -> Values {
    row.into_iter().map(|value| value.map(|bytes| bytes.to_vec())).collect()
}

/// The stream as frames of these lengths, over and over.
fn frames(stream: Bytes, lengths: &[usize]) -> Vec<Bytes> {
    let mut rest = stream;
    let mut frames = Vec::new();
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        frames.push(rest.split_to(length.min(rest.len())));
    }
    frames
}

fn binary_stream(rows: &[Values]) -> Bytes {
    let mut out = BytesMut::from(HEADER);
    for row in rows {
        encode_row(&mut out, binary(row)).expect("binary values");
    }
    out.extend_from_slice(TRAILER);
    out.freeze()
}

fn text_stream(rows: &[Values]) -> Bytes {
    let mut out = BytesMut::new();
    for row in rows {
        encode_text_row(&mut out, text(row)).expect("text values");
    }
    out.freeze()
}

/// Everything a binary reader makes of the frames.
fn read_binary(frames: Vec<Bytes>) -> Result<Vec<Values>, CopyFormatError> {
    let mut reader = BinaryReader::new();
    let mut rows = Vec::new();
    for frame in frames {
        reader.push(frame);
        while let Some(row) = reader.next_row()? {
            rows.push(plain(row));
        }
    }
    reader.finish()?;
    Ok(rows)
}

fn read_text(column_count: usize, frames: Vec<Bytes>) -> Result<Vec<Values>, CopyFormatError> {
    let mut reader = TextReader::new(column_count);
    let mut rows = Vec::new();
    for frame in frames {
        reader.push(frame);
        while let Some(row) = reader.next_row()? {
            rows.push(plain(row));
        }
    }
    reader.finish()?;
    Ok(rows)
}

proptest! {
    #[test]
    fn binary_rows_survive_any_cutting_into_frames(
        (_, rows) in table(),
        lengths in vec(1..30_usize, 1..6),
    ) {
        let stream = binary_stream(&rows);
        prop_assert_eq!(read_binary(frames(stream.clone(), &[1])), Ok(rows.clone()));
        prop_assert_eq!(read_binary(frames(stream, &lengths)), Ok(rows));
    }

    #[test]
    fn text_rows_survive_any_cutting_into_frames(
        (column_count, rows) in table(),
        lengths in vec(1..30_usize, 1..6),
    ) {
        let stream = text_stream(&rows);
        prop_assert_eq!(read_text(column_count, frames(stream.clone(), &[1])), Ok(rows.clone()));
        prop_assert_eq!(read_text(column_count, frames(stream, &lengths)), Ok(rows));
    }

    #[test]
    fn a_binary_stream_cut_short_is_an_error((_, rows) in table()) {
        let stream = binary_stream(&rows);
        for length in 0..stream.len() {
            let cut = read_binary(vec![stream.slice(..length)]);
            prop_assert!(matches!(cut, Err(CopyFormatError::Incomplete { .. })), "{:?}", cut);
        }
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(bytes in vec(any::<u8>(), 0..80), lengths in vec(1..9_usize, 1..4)) {
        let body = Bytes::from(bytes);
        let stream = Bytes::from([HEADER, &body].concat());
        let _ = read_binary(frames(stream, &lengths));
        if let Ok(rows) = read_text(3, frames(body.clone(), &lengths)) {
            // Only what the server writes is accepted, so writing it again gives the same.
            prop_assert_eq!(text_stream(&rows), body);
        }
    }
}

// === binary ===

#[test]
fn binary_has_the_bytes_that_postgres_documents() {
    let rows = [vec![Some(b"ab".to_vec()), None, Some(Vec::new())]];
    let expected = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\
        \0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0\
        \xff\xff";
    assert_eq!(binary_stream(&rows), expected[..]);
}

#[test]
fn frames_as_a_server_cuts_them_are_not_copied() {
    let values: Values = vec![Some(b"abc".to_vec())];
    let mut first = BytesMut::from(HEADER);
    encode_row(&mut first, binary(&values)).expect("binary values");
    let first = first.freeze();
    let inside = first.as_ptr_range();
    let mut reader = BinaryReader::new();
    reader.push(first.clone());
    let row = reader.next_row().expect("well-formed").expect("whole");
    let value = row[0].as_ref().expect("not NULL");
    assert!(inside.contains(&value.as_ptr()));
    assert_eq!(reader.next_row(), Ok(None));
    reader.push(Bytes::from_static(TRAILER));
    assert_eq!((reader.next_row(), reader.finish()), (Ok(None), Ok(())));
}

#[test]
fn malformed_binary_streams_are_refused() {
    let stream = |parts: &[&[u8]]| read_binary(vec![Bytes::from(parts.concat())]);
    let mut flagged = HEADER.to_vec();
    flagged[12] = 1;
    let flags = 0x0001_0000;
    assert_eq!(stream(&[&flagged]), Err(CopyFormatError::UnknownFlags { flags }));
    assert_eq!(stream(&[b"PGCOPY\r\n"]), Err(CopyFormatError::Signature));
    assert_eq!(stream(&[b"1\t2\n"]), Err(CopyFormatError::Signature));
    let negative = |value| Err(CopyFormatError::Negative { value });
    assert_eq!(stream(&[HEADER, b"\xff\xfe"]), negative(-2));
    assert_eq!(stream(&[HEADER, b"\0\x01\xff\xff\xff\xfe"]), negative(-2));
    let count = 1;
    assert_eq!(stream(&[HEADER, TRAILER, b"x"]), Err(CopyFormatError::AfterTrailer { count }));
}

#[test]
fn a_header_extension_is_passed_over_as_the_format_says() {
    let mut header = HEADER.to_vec();
    header[18] = 3;
    let stream = Bytes::from([&header, &b"ext"[..], &b"\0\0"[..], TRAILER].concat());
    assert_eq!(read_binary(frames(stream, &[1])), Ok(vec![vec![]]));
}

#[test]
fn a_value_of_the_other_format_leaves_no_trace() {
    let mut out = BytesMut::from(&b"before"[..]);
    let fields = [CopyField::Binary(b"x"), CopyField::Text(b"y")];
    let given = "text";
    let error = CopyFormatError::WrongFormat { format: "binary", given };
    assert_eq!(encode_row(&mut out, fields), Err(error));
    let given = "binary";
    let error = CopyFormatError::WrongFormat { format: "text", given };
    assert_eq!(
        encode_text_row(&mut out, [CopyField::Text(b"y"), CopyField::Binary(b"x")]),
        Err(error)
    );
    assert!(encode_row(&mut out, [CopyField::Unchanged]).is_err());
    assert!(encode_text_row(&mut out, [CopyField::Unchanged]).is_err());
    assert_eq!(out, b"before"[..]);
}

#[test]
fn a_row_of_too_many_columns_is_refused() {
    let mut out = BytesMut::new();
    let fields = |count| std::iter::repeat_n(CopyField::Null, count);
    let count = 32_768;
    let error = CopyFormatError::TooManyColumns { count };
    assert_eq!(encode_row(&mut out, fields(count)), Err(error));
    assert!(out.is_empty());
    assert_eq!(encode_row(&mut out, fields(count - 1)), Ok(()));
}

// === text ===

fn one_text(value: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_text_row(&mut out, [CopyField::Text(value)]).expect("text");
    out.to_vec()
}

#[test]
fn text_is_escaped_as_the_server_does() {
    assert_eq!(one_text(b"a\\b\tc\nd\re\x08f\x0cg\x0bh"), b"a\\\\b\\tc\\nd\\re\\bf\\fg\\vh\n");
    assert_eq!(one_text("naïf".as_bytes()), "naïf\n".as_bytes());
}

#[test]
fn the_end_marker_and_the_null_marker_as_values_are_escaped() {
    assert_eq!(one_text(b"\\."), b"\\\\.\n");
    assert_eq!(one_text(b"\\N"), b"\\\\N\n");
}

#[test]
fn null_the_text_of_null_and_the_empty_string_are_three_things() {
    let rows = vec![vec![None, Some(b"\\N".to_vec()), Some(Vec::new())]];
    let stream = text_stream(&rows);
    assert_eq!(stream, b"\\N\t\\\\N\t\n"[..]);
    assert_eq!(read_text(3, vec![stream]), Ok(rows));
}

#[test]
fn an_empty_line_is_no_column_or_one_empty_value() {
    let line = Bytes::from_static(b"\n");
    assert_eq!(decode_text_row(&line, 0), Ok(vec![]));
    assert_eq!(decode_text_row(&line, 1), Ok(vec![Some(Bytes::new())]));
    let error = CopyFormatError::ColumnCount { expected: 2, actual: 1 };
    assert_eq!(decode_text_row(&line, 2), Err(error));
}

#[test]
fn text_that_the_server_does_not_write_is_refused() {
    let decode = |row: &'static [u8]| decode_text_row(&Bytes::from_static(row), 1);
    let unknown = |byte| Err(CopyFormatError::UnknownEscape { byte });
    assert_eq!(decode(b"\\.\n"), unknown(b'.'));
    assert_eq!(decode(b"a\\N\n"), unknown(b'N'));
    assert_eq!(decode(b"\\x41\n"), unknown(b'x'));
    assert_eq!(decode(b"a\rb\n"), unknown(b'\r'));
    assert_eq!(decode(b"a\\\n"), Err(CopyFormatError::Incomplete { part: "an escape" }));
    let cut = read_text(1, vec![Bytes::from_static(b"a\nb")]);
    assert_eq!(cut, Err(CopyFormatError::Incomplete { part: "a row" }));
}
