//! Missing tables are created with all that belongs to them, and then they replicate.

/// Everything at once, compared by both servers' catalogs and by pg_dump.
mod everything;
