//! What stands in a request's path and behind its question mark.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::rejection::PathRejection;
use axum::http::request::Parts;
use queue::JobId;

use crate::limit;
use crate::problem::Problem;

/// The parameters of a request.
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    }
}

impl Query {
    /// Refuses what is not of these, and what stands twice.
    pub(crate) fn only(self, names: &[&str]) -> Result<Self, Problem> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                let detail = format!("`{name}` is no parameter here; known are: {}", names.join(", "));
                return Err(Problem::invalid(name, detail));
            }
            if self.0[..at].iter().any(|(other, _)| other == name) {
                return Err(Problem::invalid(name, format!("`{name}` stands twice; separate values by commas")));
            }
        }
        Ok(self)
    }

    /// The text of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter.
    pub(crate) fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.text(name).map(str::parse).transpose().map_err(|why| Problem::invalid(name, format!("`{name}`: {why}")))
    }

    /// The values of a parameter, separated by commas.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.text(name).unwrap_or_default().split(',');
        values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// A number from 1 to `max`.
    pub(crate) fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, Problem> {
        match self.get::<usize>(name)? {
            None => Ok(default),
            Some(count) if (1..=max).contains(&count) => Ok(count),
            Some(_) => Err(Problem::invalid(name, format!("`{name}` must be from 1 to {max}"))),
        }
    }

    /// How long to wait, at most as long as one may.
    pub(crate) fn wait(&self) -> Result<Duration, Problem> {
        let wait = self.get::<document::Duration>("wait")?;
        Ok(wait.map_or(Duration::ZERO, |wait| wait.get().min(limit::WAIT_MAX)))
    }
}

/// The name in a path.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<axum::extract::Path<String>, PathRejection> =
            axum::extract::Path::from_request_parts(parts, state).await;
        let name = path.map_or_else(|_| String::new(), |path| path.0);
        if name.is_empty() || name.len() > limit::PATH_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let detail =
                format!("a name must have 1 to {} bytes and no control characters", limit::PATH_NAME_BYTES_MAX);
            return Err(Problem::invalid("name", detail));
        }
        Ok(Self(name))
    }
}

/// The job in a path.
pub(crate) struct Id(pub(crate) JobId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<axum::extract::RawPathParams, _> =
            axum::extract::RawPathParams::from_request_parts(parts, state).await;
        let text = path
            .ok()
            .and_then(|params| params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value.to_owned()));
        let text = text.unwrap_or_default();
        // What can't be an id is the id of no job.
        text.parse().map(Self).map_err(|_| Problem::not_found("job", &text))
    }
}
