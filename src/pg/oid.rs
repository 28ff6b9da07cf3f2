//! Type OIDs that PostgreSQL fixes for ever (`src/include/catalog/pg_type.dat`), and which of them
//! look the same in binary on every server.

/// An object's identifier in one database. Only built-in ones mean the same in another.
pub type Oid = u32;

/// First OID that `initdb` and users hand out: from here on an OID means nothing to another server.
pub const FIRST_UNPINNED_OID: Oid = 12_000;

pub const BOOL: Oid = 16;
pub const BYTEA: Oid = 17;
pub const CHAR: Oid = 18;
pub const NAME: Oid = 19;
pub const INT8: Oid = 20;
pub const INT2: Oid = 21;
pub const INT4: Oid = 23;
pub const TEXT: Oid = 25;
pub const OID: Oid = 26;
pub const JSON: Oid = 114;
pub const XML: Oid = 142;
pub const CIDR: Oid = 650;
pub const FLOAT4: Oid = 700;
pub const FLOAT8: Oid = 701;
pub const MONEY: Oid = 790;
pub const INET: Oid = 869;
pub const BPCHAR: Oid = 1042;
pub const VARCHAR: Oid = 1043;
pub const DATE: Oid = 1082;
pub const TIME: Oid = 1083;
pub const TIMESTAMP: Oid = 1114;
pub const TIMESTAMPTZ: Oid = 1184;
pub const INTERVAL: Oid = 1186;
pub const TIMETZ: Oid = 1266;
pub const BIT: Oid = 1560;
pub const VARBIT: Oid = 1562;
pub const NUMERIC: Oid = 1700;
pub const UUID: Oid = 2950;
pub const JSONB: Oid = 3802;
pub const INT4_RANGE: Oid = 3904;
pub const NUM_RANGE: Oid = 3906;
pub const TS_RANGE: Oid = 3908;
pub const TSTZ_RANGE: Oid = 3910;
pub const INT8_RANGE: Oid = 3926;
pub const INT4_MULTIRANGE: Oid = 4451;
pub const NUM_MULTIRANGE: Oid = 4532;
pub const INT8_MULTIRANGE: Oid = 4536;

/// Longest `name`, and longest label of an enum, in bytes (`NAMEDATALEN` less its end).
pub const NAME_BYTES_MAX: i32 = 63;

/// The reg* types: in binary they are bare OIDs, which mean another object on another server
/// (`regproc` … `regdatabase`).
const REG_TYPES: [Oid; 12] = [24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 8326];

/// Arrays of them.
const REG_ARRAYS: [Oid; 12] =
    [1008, 2207, 2208, 2209, 2210, 2211, 3735, 3770, 4090, 4097, 4192, 8327];

/// `int2vector`, `oidvector`, `tsquery`: the server does not take its own binary form of an empty one.
const NEVER_EMPTY_IN_BINARY: [Oid; 3] = [22, 30, 3615];

/// `VARHDRSZ`, added to the stored modifiers of texts.
const HEADER: i32 = 4;

/// The characters that a type with this modifier has room for, where it has a bound.
pub fn characters(oid: Oid, modifier: i32) -> Option<usize> {
    let is_bounded = matches!(oid, VARCHAR | BPCHAR) && modifier >= 0;
    is_bounded.then(|| usize::try_from(modifier - HEADER).unwrap_or(0))
}

/// A type with its modifier as a CREATE TABLE says it, for those types that hold texts.
pub fn written(oid: Oid, modifier: i32) -> Option<String> {
    let length = |name: &str| match modifier {
        ..0 => name.to_owned(),
        _ => format!("{name}({})", modifier - HEADER),
    };
    match oid {
        VARCHAR => Some(length("character varying")),
        // "character" alone is one character long.
        BPCHAR => Some(if modifier < 0 { "bpchar".to_owned() } else { length("character") }),
        TEXT | JSON | JSONB | UUID => built_in_name(oid).map(str::to_owned),
        _ => None,
    }
}

/// What the most usual types are called.
pub fn built_in_name(oid: Oid) -> Option<&'static str> {
    Some(match oid {
        BOOL => "boolean",
        BYTEA => "bytea",
        CHAR => "\"char\"",
        NAME => "name",
        INT2 => "smallint",
        INT4 => "integer",
        INT8 => "bigint",
        TEXT => "text",
        OID => "oid",
        JSON => "json",
        JSONB => "jsonb",
        XML => "xml",
        CIDR => "cidr",
        INET => "inet",
        FLOAT4 => "real",
        FLOAT8 => "double precision",
        MONEY => "money",
        BPCHAR => "char",
        VARCHAR => "varchar",
        DATE => "date",
        TIME => "time",
        TIMETZ => "time with time zone",
        TIMESTAMP => "timestamp",
        TIMESTAMPTZ => "timestamp with time zone",
        INTERVAL => "interval",
        BIT => "bit",
        VARBIT => "bit varying",
        NUMERIC => "numeric",
        UUID => "uuid",
        _ => return None,
    })
}

/// Whether a value's text names an object, with its schema or without one as the search path has it.
pub fn is_named(oid: Oid) -> bool {
    REG_TYPES.contains(&oid) || REG_ARRAYS.contains(&oid)
}

/// Whether values of this type must travel as text, though the server has a binary form of them.
pub fn is_text_only(oid: Oid) -> bool {
    REG_TYPES.contains(&oid) || NEVER_EMPTY_IN_BINARY.contains(&oid)
}

/// Whether values of the type are never kept apart from their row, for all that is usual: a `numeric` of
/// some thousand digits is.
pub fn has_fixed_length(oid: Oid) -> bool {
    matches!(
        oid,
        BOOL | CHAR
            | NAME
            | INT2
            | INT4
            | INT8
            | OID
            | FLOAT4
            | FLOAT8
            | MONEY
            | DATE
            | TIME
            | TIMETZ
            | TIMESTAMP
            | TIMESTAMPTZ
            | INTERVAL
            | UUID
            | NUMERIC
    )
}

/// Whether the type's OID and binary form are the same on every server.
pub fn is_built_in(oid: Oid) -> bool {
    oid < FIRST_UNPINNED_OID
}
