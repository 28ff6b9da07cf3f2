//! `${VAR}`, `${VAR:-default}` and `${file:/path}` inside string values.
