//! Documents of the kind `Queue`: checked, looked at, planned.

use std::path::PathBuf;

use document::{Document, Path, Problem, Secret};
use queue::{Facts, Plan, Service, World};

use crate::documents::label;
use crate::exit::{Problems, Unseen};
use crate::session::Session;

/// A queue and the document that asks for it.
#[derive(Debug)]
pub(crate) struct LoadedQueue {
    pub(crate) document: Document,
    pub(crate) service: Service,
}

impl LoadedQueue {
    /// Checks a document, or tells all that is wrong with it.
    pub(crate) fn new(document: Document) -> Result<Self, Vec<Problem>> {
        let located = |problems: Vec<Problem>| problems.into_iter().map(|problem| document.locate(problem)).collect();
        let spec = document.spec().map_err(|mut problems| {
            problems.extend::<Vec<Problem>>(located(queue::check_tree(&document.spec_json())));
            problems
        })?;
        let (name, namespace) = (document.metadata.name.to_string(), document.metadata.namespace.to_string());
        let service = Service { name, namespace, spec };
        let problems = queue::check(&service);
        if problems.is_empty() { Ok(Self { document, service }) } else { Err(located(problems)) }
    }

    /// What the queue is called among others.
    pub(crate) fn label(&self) -> String {
        label(&self.service.namespace, &self.service.name)
    }

    /// Looks at the world. The tokens are looked for, and are no part of what is seen.
    pub(crate) fn facts(&self, session: &Session) -> Result<Facts, Unseen> {
        let unseen = |Problems(problems): Problems| Unseen(problems.into());
        self.tokens(session).map_err(unseen)?;
        Ok(queue::facts(&self.service, &self.world(session).map_err(unseen)?))
    }

    /// The queue's world, with what opens its store.
    pub(crate) fn world(&self, session: &Session) -> Result<World, Problems> {
        let password = self.service.spec.store.password();
        let found = password.map(|(path, reference)| session.secrets.resolve(reference, path)).transpose();
        let password = found.map_err(|problem| self.locate(vec![problem]))?;
        Ok(World { store_password: password, ..session.jobs_world() })
    }

    /// What will happen.
    pub(crate) fn plan(&self, facts: &Facts) -> Result<Plan, Problems> {
        queue::plan(&self.service, facts).map_err(|found| self.locate(found))
    }

    /// The tokens, or all that is wrong with them.
    pub(crate) fn tokens(&self, session: &Session) -> Result<Vec<Secret>, Problems> {
        let (mut tokens, mut problems) = (Vec::new(), Vec::new());
        let path = Path::default().field("spec").field("auth").field("tokens");
        for (name, token) in self.service.spec.auth.iter().flat_map(|auth| &auth.tokens) {
            let path = path.field(name).field("value");
            match session.secrets.resolve(&token.value, &path.to_string()) {
                Ok(secret) if secret.expose().len() < api::TOKEN_BYTES_MIN => {
                    let expected = format!("at least {} characters, so that nobody guesses it", api::TOKEN_BYTES_MIN);
                    problems.push(Problem::at(path).found("a token that is short").expected(expected));
                }
                Ok(secret) => tokens.push(secret),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(tokens) } else { Err(self.locate(problems)) }
    }

    /// The file of jobs, where they are in one.
    pub(crate) fn store(&self, session: &Session) -> Result<PathBuf, Problems> {
        let path = self.service.spec.store.path().map(|path| session.folder.join(path));
        path.ok_or_else(|| {
            let problem = Problem::at("spec.store").found("a store that is no file").expected("`sqlite`");
            self.locate(vec![problem.hint("copy a database with its own tools: pg_dump for PostgreSQL")])
        })
    }

    fn locate(&self, problems: Vec<Problem>) -> Problems {
        Problems(problems.into_iter().map(|problem| self.document.locate(problem)).collect())
    }
}

/// Who may do what, of the holders of a plan and their tokens in the same order, and the token of our own workers.
pub(crate) fn access(plan: &Plan, tokens: Vec<Secret>) -> anyhow::Result<(api::Access, Option<String>)> {
    if plan.holders.is_empty() {
        return Ok((api::Access::open(), None));
    }
    let held = plan.holders.iter().zip(tokens).map(|(holder, token)| api::Grant {
        holder: holder.name.clone(),
        token,
        scopes: holder.scopes.clone(),
        queues: holder.queues.clone(),
    });
    let mut grants: Vec<api::Grant> = held.collect();
    let own = queue::own_token()?;
    let mut queues: Vec<String> = plan.pools.iter().flat_map(|pool| pool.queues.clone()).collect();
    queues.sort();
    queues.dedup();
    let scopes = vec![queue::Scope::Work];
    grants.push(api::Grant { holder: "own workers".to_owned(), token: Secret::new(own.clone()), scopes, queues });
    Ok((api::Access::tokens(grants)?, Some(own)))
}

/// A store that requests and views share.
pub(crate) fn serving(opened: queue::Opened, access: api::Access) -> api::Api {
    api::Api::new(opened.store, opened.view, Some(opened.artifacts), access, api::Limits::default())
}
