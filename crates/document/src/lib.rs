//! What all documents share: reading them, checking them, describing them.
//!
//! A text holds one or more documents in YAML (or JSON, which is YAML). [`read`] turns it into trees of [`Node`]s that
//! remember where they were written, fills in `spec.variables`, and checks the envelope (`apiVersion`, `kind`,
//! `metadata`). [`Document::spec`] then walks a tree against the JSON Schema of a domain's spec type and hands over
//! the type itself. What is wrong is told as [`Problem`]s, all at once, each with its path and place:
//!
//! ```text
//!   text ──read──▶ Node ──variables──▶ Node ──check──▶ spec type
//!                    └────────┴───────────┴──▶ Problem ──render──▶ what a person reads
//! ```
//!
//! No word of a domain is spoken here, and nothing is read from the environment: [`Settings`] and [`Secrets`] are
//! values that the door builds.

mod check;
mod duration;
mod envelope;
mod foreign;
mod name;
mod nearest;
mod node;
mod path;
mod pod;
mod problem;
mod read;
mod render;
mod scalar;
mod schema;
mod secret;
mod settings;
mod size;
mod source;
mod variables;
mod within;
mod yaml;

pub use duration::Duration;
pub use envelope::{API_VERSION, Document, Kind, Metadata};
pub use foreign::Foreign;
pub use name::Name;
pub use nearest::nearest;
pub use node::{Entry, Node, Number, Span, Value};
pub use path::{Path, Segment};
pub use pod::{Effect, EnvValue, Operator, Pod, Quantity, Resources, Toleration};
pub use problem::{PROBLEMS_MAX, Place, Problem};
pub use read::{Input, Read, read};
pub use render::render;
pub use schema::schema;
pub use secret::{Secret, SecretKey, SecretRef, Secrets};
pub use settings::Settings;
pub use size::ByteSize;
pub use within::Within;
pub use yaml::{DEPTH_MAX, EXPANDED_BYTES_MAX, FILE_BYTES_MAX, NODES_MAX};
