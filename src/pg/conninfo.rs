//! libpq connection strings: URL and key=value form.

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct ConnInfo {}
