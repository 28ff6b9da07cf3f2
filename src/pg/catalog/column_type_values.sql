-- Of a, a column (atttypid, atttypmod): what is known of its type, and of what is inside it.
       a.atttypid,
       a.atttypmod,
       pg_catalog.format_type(a.atttypid, a.atttypmod),
       pg_catalog.format_type(a.atttypid, -1),
       tn.nspname::pg_catalog.text,
       t.typname::pg_catalog.text,
       t.typarray,
       t.typtype,
       leaf.type,
       leaf.modifier,
       leaf.arrays,
       lt.typname::pg_catalog.text,
       lt.typtype
