//! The routes. Each file lists its own; the router and the `OpenAPI` document are made of the same list.

mod artifacts;
mod enqueue;
mod events;
mod health;
mod jobs;
mod leases;
mod lecture;
mod logs;
mod queues;
mod schedules;
mod workers;

use std::collections::BTreeMap;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;

use crate::access;
use crate::meter;
use crate::operation::Operation;
use crate::problem;
use crate::state::Api;

/// All operations, in the order of the manual.
pub(crate) fn operations() -> Vec<Operation> {
    [
        enqueue::operations(),
        queues::operations(),
        jobs::operations(),
        events::operations(),
        logs::operations(),
        artifacts::operations(),
        leases::operations(),
        workers::operations(),
        schedules::operations(),
        lecture::operations(),
        health::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The routes over `api`. [`serve`](crate::serve) adds what guards a socket: limits of time and number, a drain, and
/// leases that go back when their reply was never sent.
pub fn router(api: Api) -> Router {
    let mut methods: BTreeMap<&'static str, MethodRouter<Api>> = BTreeMap::new();
    for operation in operations() {
        let mut handler = operation.handler;
        if !operation.scopes.is_empty() {
            handler = handler.route_layer(from_fn_with_state(api.clone(), access::identify));
        }
        let others = methods.remove(operation.path).unwrap_or_default();
        methods.insert(operation.path, others.merge(handler));
    }
    let routes = methods.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    routes.layer(from_fn(problem::everywhere)).layer(from_fn_with_state(api.clone(), meter::measure)).with_state(api)
}
