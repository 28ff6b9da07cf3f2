//! Bytes on a connection of our own.
