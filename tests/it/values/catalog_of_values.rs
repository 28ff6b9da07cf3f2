//! Types, each with values at its edges: SQL expressions, which the source's server makes.

/// A type, and expressions of it. A table of them has a column for each type; rows take them in turn.
pub(super) type Kind = (&'static str, &'static [&'static str]);

/// Numbers and what is stored as one.
pub(super) const NUMBERS: &[Kind] = &[
    ("bool", &["true", "false"]),
    ("smallint", &["-32768", "32767", "0"]),
    ("int", &["-2147483648", "2147483647"]),
    ("bigint", &["'-9223372036854775808'", "9223372036854775807", "9007199254740993"]),
    (
        "numeric",
        &[
            "1.10",
            "1.1",
            "1.100",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "-0.000",
            "9007199254740993",
            "('1' || repeat('0', 130000))",
            "('-0.' || repeat('0', 16382) || '1')",
            "1e-7",
            "123456789e20",
        ],
    ),
    ("numeric(38,0)", &["99999999999999999999999999999999999999", "'NaN'"]),
    ("numeric(1000,999)", &["('9.' || repeat('5', 999))", "-0.1"]),
    ("numeric(3,-2)", &["12345", "-99949"]),
    (
        "float8",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "'-0'",
            "'5e-324'",
            "'1.7976931348623157e308'",
            "0.1::float8 + 0.2::float8",
            "1e15",
            "1e16",
            "123456789012345680",
        ],
    ),
    ("float4", &["'NaN'", "'-Infinity'", "'-0'", "'1e-45'", "'3.4028235e38'", "16777216", "0.1"]),
    ("money", &["'-92233720368547758.08'", "'0.01'", "'92233720368547758.07'"]),
    ("oid", &["4294967295", "0"]),
    ("xid", &["'4294967295'"]),
    ("cid", &["'0'"]),
    ("xid8", &["'18446744073709551615'"]),
    ("tid", &["'(4294967295,65535)'", "'(0,1)'"]),
    ("pg_lsn", &["'FFFFFFFF/FFFFFFFF'", "'0/0'"]),
    ("pg_snapshot", &["'10:20:10,14,15'", "'1:1:'"]),
    ("txid_snapshot", &["'10:20:10,14,15'"]),
    ("uuid", &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'{00000000000000000000000000000000}'"]),
];

/// Times.
pub(super) const TIMES: &[Kind] = &[
    (
        "date",
        &[
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 BC'",
            "'0044-03-15 BC'",
            "'5874897-12-31'",
            "'2024-02-29'",
        ],
    ),
    ("time", &["'24:00'", "'00:00'", "'23:59:59.999999'"]),
    ("time(3)", &["'23:59:59.9996'", "'12:00:00.5'"]),
    ("timetz", &["'24:00-15:59:59'", "'00:00+15:59:59'", "'01:30:00.123456+05:45:30'"]),
    (
        "timestamp",
        &[
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 00:00:00 BC'",
            "'294276-12-31 23:59:59.999999'",
            "'2000-01-01'",
        ],
    ),
    ("timestamp(0)", &["'1999-12-31 23:59:59.5'"]),
    (
        "timestamptz",
        &[
            "'infinity'",
            "'-infinity'",
            "'0001-12-31 23:59:59.000001+00 BC'",
            // One clock time, twice.
            "'2025-11-02 05:30:00+00'",
            "'2025-11-02 06:30:00+00'",
            "'1883-11-18 12:00:00 America/New_York'",
        ],
    ),
    (
        "interval",
        &[
            "'1 year -2 mons 3 days -04:05:06.789'",
            "'-1 day 1 microsecond'",
            "'0'",
            "'178000000 years'",
            "'-178000000 years'",
            "'2147483647 days'",
            "'-2562047788:00:54'",
            "'-1 mon -1 day -00:00:01'",
        ],
    ),
    ("interval(2)", &["'1.239 s'"]),
    ("interval year to month", &["'13 months'"]),
];

/// Texts of every shape.
pub(super) const TEXTS: &[Kind] = &[
    (
        "text",
        &[
            "''",
            "'NULL'",
            r"E'\\N'",
            r"E'\\.'",
            r"E'\\.\n'",
            r"E'a\tb\nc\r\nd\\e\\'",
            r"E'\b\f\x0b\x01\x7f'",
            "'😀𝔸 👩‍👩‍👧'",
            r"E'\u00e9'",
            r"E'e\u0301'",
            r"E'\uFEFF\uFFFD\U0010FFFF'",
            "'\"it''s\" {a,b} (c)'",
            "'  blanks  '",
            "repeat(E'\\\\\\t', 9000)",
            r"E'\u2028\u202e\u0130\u0131'",
        ],
    ),
    ("varchar(20)", &["'ab  '", "''", "'äöü€😀'"]),
    ("char(10)", &["'ab'", "''", "'é  x'"]),
    ("bpchar", &["'ab  '", "''"]),
    ("\"char\"", &["'a'", "''", r"'\'"]),
    ("name", &["repeat('ü', 31)", "''", "'a b\"'"]),
    ("bytea", &["''", r"'\x00ff5c0a0d2c22'", "decode(repeat('00', 5000), 'hex')"]),
    ("bit(3)", &["B'101'", "B'000'"]),
    ("varbit", &["B''", "B'1011001'", "repeat('10', 5000)::varbit"]),
    (
        "json",
        &[
            r#"'{"b" : 1,  "a":[ ],"b":2}'"#,
            r#"E'  [1.10, 1e400,\n\t"\\u0000"]  '"#,
            "'\"é😀\"'",
            "'null'",
        ],
    ),
    (
        "jsonb",
        &[
            r#"'{"b" : 1.10,  "a":[ ],"b":2e2, "ü\u00e9": null}'"#,
            "'1e-20'",
            "'\"\"'",
            "'null'",
            "'[]'",
        ],
    ),
    ("jsonpath", &[r#"'strict $."a b"[*] ? (@ > 1.50 && @ like_regex "^x" flag "i")'"#, "'$'"]),
    (
        "xml",
        &[
            "'<a>b &amp; c</a>'",
            "'text<b/>more<c d=\"1\"/>'",
            "'<!DOCTYPE a><a>é</a>'",
            "''",
            r"E'<a>\n<![CDATA[<x>]]><!-- c --></a>'",
        ],
    ),
    ("tsvector", &[r"$$'a':1A,3 'it''s':2B 'w\\x':16383C$$", "''"]),
    ("refcursor", &["'c 1'"]),
    ("information_schema.sql_identifier", &["'x'"]),
    ("information_schema.yes_or_no", &["'YES'"]),
];

/// Networks and shapes.
pub(super) const PLACES: &[Kind] = &[
    ("inet", &["'10.1.2.3/24'", "'10.1.2.3'", "'::ffff:1.2.3.4/96'", "'2001:db8::1'"]),
    ("cidr", &["'10.0.0.0/8'", "'2001:db8::/32'", "'0.0.0.0/0'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("point", &["'(1.5,-2)'", "'(NaN,Infinity)'", "'(-0,0.1)'"]),
    ("line", &["'{1,-2,0.1}'"]),
    ("lseg", &["'[(1,2),(3,4)]'"]),
    ("box", &["'(1,2),(3,4)'"]),
    ("path", &["'((1,2),(3,4))'", "'[(1,2),(3,4)]'"]),
    ("polygon", &["'((0,0),(1,1),(2,0))'"]),
    ("circle", &["'<(1,2),0.1>'"]),
];

/// Arrays, with bounds, dimensions and NULLs.
pub(super) const ARRAYS: &[Kind] = &[
    ("int[]", &["'{}'", "'[0:1]={1,NULL}'", "'[-2:-1][3:4]={{1,2},{3,4}}'", "'{{{1}}}'"]),
    (
        "text[]",
        &[
            r#"'{NULL,"NULL","null",""," a","b,c","d\"e","f\\g","{h}"}'"#,
            r"ARRAY[E'\t\n\\N', '😀']",
        ],
    ),
    ("varchar(3)[]", &["'{\"a  \",b}'"]),
    ("char(3)[]", &["'{a,NULL}'"]),
    ("\"char\"[]", &["'{a,b}'"]),
    ("bool[]", &["'{t,f,NULL}'"]),
    ("float8[]", &["'{NaN,-0,Infinity,5e-324}'"]),
    ("numeric(9,3)[]", &["'{1.10,NaN,NULL}'"]),
    ("date[]", &["'{infinity,0044-03-15 BC}'"]),
    ("timestamptz[]", &["'{infinity,2024-01-01 00:00:00+05}'"]),
    ("interval[]", &["'{1 mon -1 day,-00:00:00.000001}'"]),
    ("bytea[]", &[r#"'{"\\x00ff",""}'"#]),
    ("uuid[]", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}'"]),
    ("json[]", &[r#"ARRAY['{"a" : 1}', NULL, '"x,y"']"#]),
    ("jsonb[]", &[r#"ARRAY['{"a" : 1.0}', 'null', NULL]"#]),
    ("xml[]", &["ARRAY['<a b=\"c\"/>', 'x'] :: text[]::xml[]"]),
    ("inet[]", &["'{10.0.0.1/8,::1}'"]),
    ("money[]", &["'{1.50,NULL}'"]),
    ("box[]", &["'{(1,2),(3,4);(5,6),(7,8)}'"]),
    ("point[]", &["ARRAY['(1,2)', NULL]"]),
    ("bit(2)[]", &["'{10,01}'"]),
    ("tsvector[]", &["ARRAY['a:1 b:2', '']"]),
    ("oid[]", &["'{4294967295}'"]),
    ("name[]", &["'{a,\"b c\"}'"]),
    ("int4range[]", &["'{\"[1,5)\",empty,NULL}'"]),
    ("int4multirange[]", &["ARRAY['{[1,3),[5,8)}', '{}']"]),
];

/// Ranges and multiranges.
pub(super) const RANGES: &[Kind] = &[
    ("int4range", &["'empty'", "'(,)'", "'[1,5]'", "'[,5)'"]),
    ("int8range", &["'[1,9223372036854775807)'"]),
    ("numrange", &["'[1.10,2.200)'", "'(,NaN]'"]),
    ("daterange", &["'[-infinity,infinity]'", "'[2024-02-29,)'", "'(0044-03-15 BC,)'"]),
    ("tsrange", &["'[2024-01-01 00:00:00.000001,infinity)'"]),
    ("tstzrange", &["'[2024-01-01 12:00:00+03,infinity]'", "'empty'"]),
    ("int4multirange", &["'{[1,3),[5,8)}'", "'{}'", "'{(,)}'"]),
    ("nummultirange", &["'{[1.0,1.10],(2,3)}'"]),
    ("tstzmultirange", &["'{[2024-01-01,2024-02-01),[2024-03-01,infinity)}'"]),
    ("datemultirange", &["'{(,2024-01-01),[2024-02-02,)}'"]),
    ("int8multirange", &["'{[1,2)}'"]),
    ("tsmultirange", &["'{[2024-01-01,2024-02-01)}'"]),
];

/// Of users' making, in [`USER_TYPES`].
pub(super) const USERS: &[Kind] = &[
    ("\"S x\".\"E n\"", &["'a'", "'it''s'", "'\"q\", (x)\\'", "'ü😀'"]),
    ("\"E n\"", &["'b'", "'a'"]),
    ("\"S x\".\"E n\"[]", &["ARRAY['a', NULL, '\"q\", (x)\\']"]),
    (
        "pt",
        &[
            "ROW('NaN', 'a,b(\"c\")\\', '{1,NULL}')",
            "ROW(NULL, '', '[0:0]={7}')",
            "ROW(NULL, NULL, NULL)",
        ],
    ),
    ("pt[]", &["ARRAY[ROW(1, E'\\t\\n', '{}'), NULL, ROW(NULL, NULL, NULL)]"]),
    (
        "nest",
        &[
            "ROW(ROW(-0.0::float8, 'x\"y', NULL), ARRAY[ROW(1, ',', NULL)]::pt[], 5, '[1.5,2)')",
            "ROW(NULL, NULL, NULL, NULL)",
        ],
    ),
    ("nest[]", &["ARRAY[ROW(ROW(1, '{', '{1}'), NULL, 1, 'empty')]"]),
    ("pos2", &["1", "2147483647"]),
    ("pos[]", &["'{1,NULL,3}'"]),
    ("tags", &["'{a,b}'", "'[2:3]={a,NULL}'"]),
    ("tags[]", &["ARRAY['{a}'::tags, '{b,c}'::tags]"]),
    ("dpt", &["ROW(1, 'b', '{}')"]),
    ("cents", &["1.10", "-0.05"]),
    ("moods", &["'it''s'"]),
    ("floats", &["'[1.5,2.5)'", "'empty'", "'(,Infinity]'"]),
    ("floats[]", &["ARRAY['[1.5,2.5)', 'empty', NULL]"]),
    ("many_floats", &["'{[1.5,2.5),(3,)}'", "'{}'"]),
    ("many_floats[]", &["ARRAY['{[1.5,2.5)}', '{}']"]),
    ("words", &["'[a,\"b,c\")'", "'[\"\",z]'"]),
];

pub(super) const USER_TYPES: &str = r#"
    CREATE SCHEMA "S x"; CREATE TYPE "S x"."E n" AS ENUM ('a', 'it''s', '"q", (x)\', 'ü😀');
    CREATE TYPE "E n" AS ENUM ('b', 'a');
    CREATE TYPE pt AS (a float8, b text, c int[]);
    CREATE DOMAIN pos AS int CHECK (VALUE > 0); CREATE DOMAIN pos2 AS pos NOT NULL;
    CREATE TYPE floats AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = float8mi, MULTIRANGE_TYPE_NAME = many_floats);
    CREATE TYPE words AS RANGE (SUBTYPE = text, COLLATION = "C");
    CREATE TYPE nest AS ("p q" pt, ps pt[], d pos, r floats);
    CREATE DOMAIN tags AS text[] CHECK (cardinality(VALUE) < 9);
    CREATE DOMAIN dpt AS pt CHECK ((VALUE).a > 0);
    CREATE DOMAIN cents AS numeric(9,2); CREATE DOMAIN moods AS "S x"."E n";"#;
