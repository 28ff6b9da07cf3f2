//! Whole transactions folded to net effects; pure.
