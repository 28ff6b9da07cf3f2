//! Net effects to the destination.
