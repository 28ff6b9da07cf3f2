//! Missing tables are created with all that belongs to them, and then they replicate.

/// What check says of structure, and what only an administrator can make.
mod check;
/// Everything at once, compared by both servers' catalogs and by pg_dump.
mod everything;
/// Foreign keys: after the loads, checked, or left out with a word.
mod foreign_keys;
/// Other schemas, other names, columns that are gone.
mod mapping;
/// Partitions that appear later.
mod partitions;
/// PostgreSQL 14 to 18.
mod versions;
