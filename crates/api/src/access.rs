//! Who may do what.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use document::{Secret, Secrets};
use queue::{AuthSpec, Scope};
use subtle::{Choice, ConstantTimeEq};

use crate::error::Error;
use crate::problem::Problem;
use crate::state::Api;

/// The shortest token that is taken: shorter ones can be guessed.
pub const TOKEN_BYTES_MIN: usize = 16;

/// A token and what it allows.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose it is.
    pub holder: String,
    /// The token itself.
    pub token: Secret,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
    /// In which queues: names, with `*` for any letters.
    pub queues: Vec<String>,
}

/// Who may do what: the holders of tokens what these say, or everybody everything.
#[derive(Clone, Debug)]
pub struct Access(Option<Arc<[Arc<Grant>]>>);

impl Access {
    /// Whoever reaches the address may do everything. Only a loopback address may then be listened on.
    pub fn open() -> Self {
        Self(None)
    }

    /// Only who shows one of these tokens.
    pub fn tokens(grants: Vec<Grant>) -> Result<Self, Error> {
        for (at, grant) in grants.iter().enumerate() {
            if let Some(found) = weakness(grant, &grants[..at]) {
                return Err(Error::WeakToken { holder: grant.holder.clone(), found });
            }
        }
        Ok(Self(Some(grants.into_iter().map(Arc::new).collect())))
    }

    /// Whether this may guard what is listened on at `address`.
    pub fn check(&self, address: SocketAddr) -> Result<(), Error> {
        match &self.0 {
            None if !address.ip().to_canonical().is_loopback() => Err(Error::Exposed { address }),
            _ => Ok(()),
        }
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let Some(grants) = &self.0 else {
            return from_this_machine(headers).map(|()| Caller(None));
        };
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let Some(shown) = shown else {
            return Err(unauthorized("a token is needed: `Authorization: Bearer ...`"));
        };
        // All are compared, each in full, so that the time tells nothing.
        let mut found = None;
        for grant in grants.iter() {
            let is_it: Choice = grant.token.expose().as_bytes().ct_eq(shown.as_bytes());
            if bool::from(is_it) {
                found = Some(Arc::clone(grant));
            }
        }
        found.map(|grant| Caller(Some(grant))).ok_or_else(|| unauthorized("the token is not known"))
    }
}

/// Who may do what as a document's `auth` says, or all that is wrong with it.
pub fn grants(auth: Option<&AuthSpec>, secrets: &Secrets) -> Result<Vec<Grant>, Vec<document::Problem>> {
    let (mut grants, mut problems): (Vec<Grant>, Vec<document::Problem>) = (Vec::new(), Vec::new());
    for (holder, spec) in auth.iter().flat_map(|auth| &auth.tokens) {
        let path = document::Path::default().field("spec").field("auth").field("tokens").field(holder).field("value");
        let grant = secrets.resolve(&spec.value, &path.to_string()).map(|token| Grant {
            holder: holder.clone(),
            token,
            scopes: spec.scopes.clone(),
            queues: spec.queues.clone(),
        });
        match grant.map(|grant| (weakness(&grant, &grants), grant)) {
            Ok((None, grant)) => grants.push(grant),
            Ok((Some(found), _)) => problems.push(
                document::Problem::at(path)
                    .found(format!("a token that is {found}"))
                    .expected(format!("a token of its own, of at least {TOKEN_BYTES_MIN} characters"))
                    .hint("make one with `openssl rand -hex 32`"),
            ),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(grants) } else { Err(problems) }
}

/// What is wrong with a token beside others.
fn weakness(grant: &Grant, others: &[Grant]) -> Option<String> {
    let token = grant.token.expose();
    if token.len() < TOKEN_BYTES_MIN {
        return Some("short".to_owned());
    }
    let other = others.iter().find(|other| other.token.expose() == token)?;
    Some(format!("also that of `{}`", other.holder))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

/// Without tokens, a page in somebody's browser must not reach the server: neither from a foreign origin, nor by a
/// name that was made to point here.
fn from_this_machine(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    for host in [text(header::HOST), origin].into_iter().flatten() {
        if !is_loopback(host) {
            let detail = format!("`{host}` is not this machine; without `auth` only it is served");
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
        }
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_local = |ip: std::net::IpAddr| ip.to_canonical().is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_local)
}

/// Finds out who calls, for all that follows.
pub(crate) async fn identify(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    match api.access.caller(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Option<Arc<Grant>>);

impl Caller {
    /// Whether it may do one of these in a queue. Who may administer may do everything.
    pub(crate) fn may(&self, scopes: &[Scope], queue: &str) -> bool {
        self.has(scopes) && self.0.as_ref().is_none_or(|grant| grant.queues.iter().any(|glob| matches(glob, queue)))
    }

    /// Whether it may do one of these in some queue.
    pub(crate) fn has(&self, scopes: &[Scope]) -> bool {
        self.0
            .as_ref()
            .is_none_or(|grant| grant.scopes.iter().any(|scope| *scope == Scope::Admin || scopes.contains(scope)))
    }

    /// Whether it may do one of these in every queue.
    pub(crate) fn may_everywhere(&self, scopes: &[Scope]) -> bool {
        self.has(scopes) && self.0.as_ref().is_none_or(|grant| grant.queues.iter().any(|glob| glob == "*"))
    }

    /// Refuses who may do none of these in the queue.
    pub(crate) fn need(&self, scopes: &[Scope], queue: &str) -> Result<(), Problem> {
        if self.may(scopes, queue) { Ok(()) } else { Err(forbidden(scopes, &format!("in queue `{queue}`"))) }
    }

    /// Refuses who may do none of these anywhere.
    pub(crate) fn need_some(&self, scopes: &[Scope]) -> Result<(), Problem> {
        if self.has(scopes) { Ok(()) } else { Err(forbidden(scopes, "in any queue")) }
    }

    /// Refuses who may do none of these everywhere.
    pub(crate) fn need_all(&self, scopes: &[Scope]) -> Result<(), Problem> {
        if self.may_everywhere(scopes) { Ok(()) } else { Err(forbidden(scopes, "in all queues")) }
    }
}

fn forbidden(scopes: &[Scope], place: &str) -> Problem {
    let words: Vec<&str> = scopes.iter().map(|scope| word(*scope)).collect();
    let detail = format!("the token does not allow `{}` {place}", words.join("` or `"));
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// A scope as documents write it.
pub(crate) const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Enqueue => "enqueue",
        Scope::Work => "work",
        Scope::Read => "read",
        Scope::Admin => "admin",
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| unauthorized("a token is needed"))
    }
}

/// Whether a name is as a glob says: `*` stands for any letters, none included.
fn matches(glob: &str, name: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else { return glob == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let (last, middle) = parts.split_last().unwrap_or((&"", &[]));
    for part in middle {
        // The first place will do: whatever a later one leaves, this one leaves more.
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, name, expected) in [
            ("*", "", true),
            ("*", "a", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("a*", "b", false),
            ("*b", "ab", true),
            ("*b", "ba", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("a*a", "a", false),
            ("*ab*ab", "ab", false),
            ("x-*-y", "x-1-2-y", true),
        ] {
            assert_eq!(matches(glob, name), expected, "{glob} {name}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:5000", "127.0.0.1:80", "127.3.2.1", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "?", "null", "example.com", "127.0.0.1.example.com", "10.0.0.1:5000", "localhost.evil.com"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_document_says_who() {
        let token =
            |key: &str| serde_json::json!({"value": {"secret": {"name": "api", "key": key}}, "scopes": ["read"]});
        let auth = serde_json::json!({"tokens": {"a": token("a"), "b": token("b"), "c": token("c"), "d": token("d")}});
        let auth: AuthSpec = serde_json::from_value(auth).unwrap();
        let variable = |key: &str, value: &str| (format!("HEADWATER_SECRET_API_{key}"), value.to_owned());
        let long = "0123456789abcdef";
        let secrets = Secrets::new([variable("A", long), variable("B", "short"), variable("C", long)]);
        let problems = grants(Some(&auth), &secrets).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        for (told, word) in told.iter().zip(["short", "`a`", "HEADWATER_SECRET_API_D"]) {
            assert!(told.contains(word) && !told.contains(long), "{told}");
        }
        let auth: AuthSpec = serde_json::from_value(serde_json::json!({"tokens": {"a": token("a")}})).unwrap();
        assert_eq!(grants(Some(&auth), &secrets).unwrap().len(), 1);
        assert!(grants(None, &secrets).unwrap().is_empty());
    }

    #[test]
    fn without_tokens_only_loopback_is_listened_on() {
        let (here, out): (SocketAddr, SocketAddr) = ("127.0.0.1:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap());
        assert!(Access::open().check(here).is_ok());
        assert!(Access::open().check("[::ffff:127.0.0.1]:1".parse().unwrap()).is_ok());
        assert!(matches!(Access::open().check(out), Err(Error::Exposed { .. })));
        let grant = |holder: &str, token: &str| Grant {
            holder: holder.to_owned(),
            token: Secret::new(token),
            scopes: vec![Scope::Read],
            queues: vec!["*".to_owned()],
        };
        let grants = vec![grant("a", "0123456789abcdef"), grant("b", "0123456789abcdeg")];
        assert!(Access::tokens(grants).unwrap().check(out).is_ok());
        assert!(matches!(Access::tokens(vec![grant("a", "")]), Err(Error::WeakToken { .. })));
        let same = vec![grant("a", "0123456789abcdef"), grant("b", "0123456789abcdef")];
        assert!(matches!(Access::tokens(same), Err(Error::WeakToken { .. })));
    }
}
