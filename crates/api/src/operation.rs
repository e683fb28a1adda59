//! An operation: a method on a route, what answers it, and what the manual says of it.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use queue::Scope;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::body::JSON;
use crate::state::Api;

/// Gives the schema of a type, and notes what it refers to.
pub(crate) type Shape = fn(&mut SchemaGenerator) -> Schema;

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A method on a route.
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) handler: MethodRouter<Api>,
    pub(crate) summary: &'static str,
    /// What the caller's token must allow one of. Empty: nothing.
    pub(crate) scopes: &'static [Scope],
    pub(crate) query: Vec<Parameter>,
    pub(crate) body: Option<Shape>,
    /// Whether its body is bytes.
    pub(crate) has_bytes: bool,
    pub(crate) headers: Vec<Parameter>,
    pub(crate) replies: Vec<Answer>,
}

/// A parameter behind the question mark.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) shape: Shape,
}

/// A reply that is no problem.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: &'static str,
    pub(crate) media: &'static str,
    pub(crate) shape: Option<Shape>,
}

macro_rules! methods {
    ($($name:ident $word:literal)*) => {$(
        #[doc = concat!($word, " on a route.")]
        pub(crate) fn $name<H, T>(path: &'static str, handler: H) -> Self
        where
            H: Handler<T, Api>,
            T: 'static,
        {
            Self::new($word, path, routing::$name(handler))
        }
    )*};
}

impl Operation {
    methods! { get "get" post "post" put "put" delete "delete" }

    fn new(method: &'static str, path: &'static str, handler: MethodRouter<Api>) -> Self {
        let (scopes, query, replies, headers) = (&[] as &[Scope], Vec::new(), Vec::new(), Vec::new());
        Self { method, path, handler, summary: "", scopes, query, body: None, has_bytes: false, headers, replies }
    }

    /// What it does, in a sentence.
    pub(crate) fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// What the caller's token must allow one of.
    pub(crate) fn scopes(mut self, scopes: &'static [Scope]) -> Self {
        self.scopes = scopes;
        self
    }

    /// A parameter.
    pub(crate) fn query<T: JsonSchema>(mut self, name: &'static str, text: &'static str) -> Self {
        self.query.push(Parameter { name, text, shape: shape::<T> });
        self
    }

    /// What its body holds.
    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(shape::<T>);
        self
    }

    /// Its body is bytes.
    pub(crate) fn bytes(mut self) -> Self {
        self.has_bytes = true;
        self
    }

    /// A header that it needs.
    pub(crate) fn header<T: JsonSchema>(mut self, name: &'static str, text: &'static str) -> Self {
        self.headers.push(Parameter { name, text, shape: shape::<T> });
        self
    }

    /// What it replies.
    pub(crate) fn reply<T: JsonSchema>(mut self, status: u16, text: &'static str) -> Self {
        self.replies.push(Answer { status, text, media: JSON, shape: Some(shape::<T>) });
        self
    }

    /// What each message holds of a reply that is a stream of them.
    pub(crate) fn reply_events<T: JsonSchema>(mut self, status: u16, media: &'static str, text: &'static str) -> Self {
        self.replies.push(Answer { status, text, media, shape: Some(shape::<T>) });
        self
    }

    /// What it replies where that is no JSON. No media: no body.
    pub(crate) fn reply_other(mut self, status: u16, media: &'static str, text: &'static str) -> Self {
        self.replies.push(Answer { status, text, media, shape: None });
        self
    }
}
