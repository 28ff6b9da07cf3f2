//! Values arrive exactly as they were, whatever their type and whatever the servers are set to.

mod differing_types;
