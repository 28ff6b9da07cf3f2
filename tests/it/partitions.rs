//! Partitioned tables, by their roots and by their leaves, on either side.

mod leaf;
mod shapes;
