//! pgoutput messages: bytes in, messages out; pure.
