//! The COPY binary and text formats, both directions; pure.
