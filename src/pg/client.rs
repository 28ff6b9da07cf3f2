//! Ordinary connections (tokio-postgres) over our own stream.
