//! Values arrive exactly as they were, whatever their type and whatever the servers are set to.

mod catalog_of_values;
mod differing_types;
mod encodings;
mod every_type;
mod extensions;
mod round_trip;
mod row_types;
