//! Pairs of types, each thought through by PostgreSQL's rules.

use super::*;
use crate::pg::catalog::table_info::fixture::column;
use crate::pg::oid::{
    BIT, BOOL, BPCHAR, CHAR, DATE, FLOAT4, FLOAT8, INT2, INT4, INT8, INTERVAL, JSON, JSONB, MONEY,
    NAME, NUMERIC, TEXT, TIME, TIMESTAMP, TIMESTAMPTZ, UUID, VARBIT, VARCHAR,
};

/// A built-in type with a modifier.
fn of(type_oid: Oid, modifier: i32) -> ColumnInfo {
    let mut info = column("c", "x", type_oid);
    info.leaf.type_modifier = modifier;
    info
}

fn plain(type_oid: Oid) -> ColumnInfo {
    of(type_oid, -1)
}

/// varchar(n), char(n).
fn long(type_oid: Oid, length: i32) -> ColumnInfo {
    of(type_oid, length + 4)
}

fn numeric(precision: i32, scale: i32) -> ColumnInfo {
    of(NUMERIC, ((precision << 16) | (scale & 0x7ff)) + 4)
}

fn kind(from: &ColumnInfo, to: &ColumnInfo) -> char {
    match fit(from, to) {
        Fit::Whole => 'w',
        Fit::Read(_) => 'r',
        Fit::Narrow(_) => 'n',
        Fit::Alters(_) => 'a',
    }
}

#[test]
fn each_pair_is_judged_by_what_the_server_does_with_its_text() {
    let cases = [
        ("int→bigint", plain(INT4), plain(INT8), 'w'),
        ("bigint→int", plain(INT8), plain(INT4), 'n'),
        ("int→text", plain(INT4), plain(TEXT), 'w'),
        ("int→varchar(11)", plain(INT4), long(VARCHAR, 11), 'w'),
        ("int→varchar(10)", plain(INT4), long(VARCHAR, 10), 'n'),
        ("bool→int", plain(BOOL), plain(INT4), 'n'),
        ("smallint→bool", plain(INT2), plain(BOOL), 'n'),
        ("varchar→text", long(VARCHAR, 5), plain(TEXT), 'w'),
        ("char→text", long(BPCHAR, 5), plain(TEXT), 'w'),
        ("text→varchar(3)", plain(TEXT), long(VARCHAR, 3), 'a'),
        ("varchar(5)→varchar(3)", long(VARCHAR, 5), long(VARCHAR, 3), 'a'),
        ("varchar(3)→varchar(5)", long(VARCHAR, 3), long(VARCHAR, 5), 'w'),
        ("char(5)→char(10)", long(BPCHAR, 5), long(BPCHAR, 10), 'w'),
        ("char(5)→char(3)", long(BPCHAR, 5), long(BPCHAR, 3), 'n'),
        ("varchar(3)→char(5)", long(VARCHAR, 3), long(BPCHAR, 5), 'a'),
        ("char(3)→varchar(3)", long(BPCHAR, 3), long(VARCHAR, 3), 'w'),
        ("text→name", plain(TEXT), plain(NAME), 'a'),
        ("name→varchar(63)", plain(NAME), long(VARCHAR, 63), 'w'),
        ("text→\"char\"", plain(TEXT), plain(CHAR), 'a'),
        ("text→uuid", plain(TEXT), plain(UUID), 'r'),
        ("text→date", plain(TEXT), plain(DATE), 'a'),
        ("text→json", plain(TEXT), plain(JSON), 'r'),
        ("json→jsonb", plain(JSON), plain(JSONB), 'r'),
        ("jsonb→json", plain(JSONB), plain(JSON), 'w'),
        ("real→double", plain(FLOAT4), plain(FLOAT8), 'w'),
        ("double→real", plain(FLOAT8), plain(FLOAT4), 'a'),
        ("int→real", plain(INT4), plain(FLOAT4), 'a'),
        ("int→double", plain(INT4), plain(FLOAT8), 'w'),
        ("bigint→double", plain(INT8), plain(FLOAT8), 'a'),
        ("double→numeric", plain(FLOAT8), plain(NUMERIC), 'w'),
        ("double→numeric(9,2)", plain(FLOAT8), numeric(9, 2), 'a'),
        ("numeric→double", plain(NUMERIC), plain(FLOAT8), 'a'),
        ("numeric→numeric(5,2)", plain(NUMERIC), numeric(5, 2), 'a'),
        ("numeric(5,2)→numeric", numeric(5, 2), plain(NUMERIC), 'w'),
        ("numeric(10,4)→numeric(10,2)", numeric(10, 4), numeric(10, 2), 'a'),
        ("numeric(10,2)→numeric(10,4)", numeric(10, 2), numeric(10, 4), 'n'),
        ("numeric(10,2)→numeric(12,4)", numeric(10, 2), numeric(12, 4), 'w'),
        ("numeric(3,-2)→numeric(5,0)", numeric(3, -2), numeric(5, 0), 'w'),
        ("numeric(5,0)→numeric(3,-2)", numeric(5, 0), numeric(3, -2), 'a'),
        ("int→numeric(10)", plain(INT4), numeric(10, 0), 'w'),
        ("int→numeric(9)", plain(INT4), numeric(9, 0), 'n'),
        ("numeric(9)→int", numeric(9, 0), plain(INT4), 'w'),
        ("numeric(10)→int", numeric(10, 0), plain(INT4), 'n'),
        ("numeric(9,2)→bigint", numeric(9, 2), plain(INT8), 'n'),
        ("int→money", plain(INT4), plain(MONEY), 'a'),
        ("money→text", plain(MONEY), plain(TEXT), 'a'),
        ("timestamp→timestamptz", plain(TIMESTAMP), plain(TIMESTAMPTZ), 'r'),
        ("timestamptz→timestamp", plain(TIMESTAMPTZ), plain(TIMESTAMP), 'a'),
        ("timestamp→timestamptz(3)", plain(TIMESTAMP), of(TIMESTAMPTZ, 3), 'a'),
        ("timestamp(6)→timestamp(3)", of(TIMESTAMP, 6), of(TIMESTAMP, 3), 'a'),
        ("timestamp(3)→timestamp(6)", of(TIMESTAMP, 3), of(TIMESTAMP, 6), 'w'),
        ("timestamp→timestamp(6)", plain(TIMESTAMP), of(TIMESTAMP, 6), 'w'),
        ("date→timestamp", plain(DATE), plain(TIMESTAMP), 'w'),
        ("timestamp→date", plain(TIMESTAMP), plain(DATE), 'a'),
        ("timestamp→time", plain(TIMESTAMP), plain(TIME), 'a'),
        ("interval→interval(3)", plain(INTERVAL), of(INTERVAL, 0x7fff_0003), 'a'),
        ("interval→interval year", plain(INTERVAL), of(INTERVAL, 0x0004_ffff), 'a'),
        ("interval(3)→interval", of(INTERVAL, 0x7fff_0003), plain(INTERVAL), 'w'),
        ("bit(3)→varbit", of(BIT, 3), plain(VARBIT), 'w'),
        ("bit(3)→varbit(2)", of(BIT, 3), of(VARBIT, 2), 'n'),
        ("bit(3)→bit(4)", of(BIT, 3), of(BIT, 4), 'n'),
        ("uuid→varchar(36)", plain(UUID), long(VARCHAR, 36), 'w'),
        ("uuid→int", plain(UUID), plain(INT4), 'n'),
    ];
    for (pair, from, to, expected) in cases {
        assert_eq!(kind(&from, &to), expected, "{pair}: {:?}", fit(&from, &to));
    }
}

#[test]
fn arrays_are_judged_by_their_elements() {
    let array = |mut info: ColumnInfo| {
        info.leaf.array_depth = 1;
        info
    };
    assert_eq!(kind(&array(plain(NUMERIC)), &array(numeric(5, 2))), 'a');
    assert_eq!(kind(&array(plain(INT4)), &array(plain(INT8))), 'w');
    assert_eq!(kind(&array(plain(INT4)), &plain(TEXT)), 'w');
    assert_eq!(kind(&array(plain(INT4)), &plain(INT4)), 'n');
    assert_eq!(kind(&plain(TEXT), &array(plain(TEXT))), 'r');
}

#[test]
fn types_of_users_are_the_same_by_name_and_parts() {
    let made = |name: &str, kind: char, shape: &str, type_oid: Oid| {
        let mut info = column("c", name, type_oid);
        info.leaf.kind = kind;
        shape.clone_into(&mut info.leaf.shape);
        info
    };
    let pair = |shape: &str, type_oid| made("pair", 'c', shape, type_oid);
    assert_eq!(kind(&pair(".1 a:int4", 20_001), &pair(".1 a:int4", 30_001)), 'w');
    assert_eq!(kind(&pair(".1 a:int4", 20_001), &pair(".1 b:int4", 30_001)), 'a');
    let mood = |name: &str, type_oid| made(name, 'e', "", type_oid);
    assert_eq!(kind(&mood("mood", 20_001), &mood("mood", 30_001)), 'w');
    assert_eq!(kind(&mood("mood", 20_001), &mood("temper", 30_001)), 'r');
    assert_eq!(kind(&mood("mood", 20_001), &long(VARCHAR, 63)), 'w');
    assert_eq!(kind(&plain(TEXT), &mood("mood", 30_001)), 'r');
    let citext = || made("citext", 'b', "", 20_003);
    assert_eq!((kind(&citext(), &plain(TEXT)), kind(&plain(TEXT), &citext())), ('w', 'w'));
    assert_eq!(kind(&citext(), &long(VARCHAR, 3)), 'a');
}
