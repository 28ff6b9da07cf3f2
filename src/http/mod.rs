//! What the agent shows.
