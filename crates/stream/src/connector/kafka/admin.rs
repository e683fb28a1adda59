//! Topics: what there is, and what is made.
