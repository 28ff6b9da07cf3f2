//! Messages to changes, and what we promise back.
