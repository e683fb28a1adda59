//! Documents as users write them, and what they are told.

mod cases;
mod fuzz;
mod pipeline;
mod read;
mod schema;
