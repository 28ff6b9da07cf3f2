//! Rows as of one LSN.
