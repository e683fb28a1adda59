//! The rules of a filtered stream: ours are added and removed, those of others are left alone.

use std::sync::Arc;

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;

use super::Rules;
use super::client::{Client, Failure};
use crate::Error;

/// The pages that are read of a list of rules.
const PAGES_MAX: usize = 100;
/// The rules that one request adds or deletes.
const RULES_A_REQUEST: usize = 100;

/// A rule as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Kept {
    id: String,
    value: String,
    #[serde(default)]
    tag: Option<String>,
}

/// What must be asked of the server. Deletes come first: a value can't be there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    delete: Vec<String>,
    add: Vec<(String, String)>,
}

/// What turns the rules there are into those that are wanted. Only rules whose tag begins with our mark are deleted.
/// A value that somebody else's rule already has is not added: the server would refuse it, and its rows come anyway.
pub(super) fn change(wanted: &Rules, kept: &[Kept]) -> Change {
    let mark = mark(&wanted.owner);
    let ours = |rule: &Kept| rule.tag.as_ref().is_some_and(|tag| tag.starts_with(&mark));
    let wanted: Vec<(String, String)> =
        wanted.add.iter().map(|rule| (rule.value.clone(), format!("{mark}{}", rule.tag))).collect();
    let is_wanted =
        |rule: &Kept| wanted.iter().any(|(value, tag)| *value == rule.value && Some(tag) == rule.tag.as_ref());
    let (gone, left): (Vec<&Kept>, Vec<&Kept>) = kept.iter().partition(|rule| ours(rule) && !is_wanted(rule));
    let is_there = |value: &String| left.iter().any(|rule| rule.value == *value);
    Change {
        delete: gone.into_iter().map(|rule| rule.id.clone()).collect(),
        add: wanted.iter().filter(|(value, _)| !is_there(value)).cloned().collect(),
    }
}

fn mark(owner: &str) -> String {
    format!("headwater/{owner}/")
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    data: Vec<Kept>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

/// Makes the server's rules as they are wanted.
pub(super) async fn synchronise(client: &Client, wanted: &Rules, source: &Arc<str>) -> Result<(), Failure> {
    let url = super::client::parse(&wanted.url).map_err(|found| Failure::Stop(Error::World(found)))?;
    let change = change(wanted, &list(client, &url).await?);
    for ids in change.delete.chunks(RULES_A_REQUEST) {
        post(client, &url, &json!({"delete": {"ids": ids}})).await?;
    }
    for rules in change.add.chunks(RULES_A_REQUEST) {
        let rules: Vec<_> = rules.iter().map(|(value, tag)| json!({"value": value, "tag": tag})).collect();
        post(client, &url, &json!({"add": rules})).await?;
    }
    tracing::info!(source = %source, added = change.add.len(), deleted = change.delete.len(), "rules synchronised");
    Ok(())
}

async fn list(client: &Client, url: &Url) -> Result<Vec<Kept>, Failure> {
    let mut kept = Vec::new();
    let mut page_url = url.clone();
    for _ in 0..PAGES_MAX {
        let body = client.text(Method::GET, &page_url, None).await?;
        let page: Page = understood(client, url, &body)?;
        kept.extend(page.data);
        let Some(next) = page.meta.next_token else { return Ok(kept) };
        page_url = url.clone();
        page_url.query_pairs_mut().append_pair("pagination_token", &next);
    }
    Err(client.refused(url, 200, &format!("the list of rules has more than {PAGES_MAX} pages")))
}

async fn post(client: &Client, url: &Url, body: &serde_json::Value) -> Result<(), Failure> {
    let body = client.text(Method::POST, url, Some(body.to_string())).await?;
    let answer: Answer = understood(client, url, &body)?;
    if answer.errors.is_empty() {
        return Ok(());
    }
    let said = serde_json::Value::from(answer.errors).to_string();
    Err(client.refused(url, 200, &format!("a rule was not accepted; correct `rules`: {said}")))
}

fn understood<'a, T: Deserialize<'a>>(client: &Client, url: &Url, body: &'a str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| {
        client.refused(url, 200, &format!("the answer is not a list of rules ({error}); correct `rules.url`"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Rule;
    use super::*;

    fn kept(id: &str, value: &str, tag: Option<&str>) -> Kept {
        Kept { id: id.into(), value: value.into(), tag: tag.map(str::to_owned) }
    }

    fn wanted(rules: &[(&str, &str)]) -> Rules {
        let rule = |(value, tag): &(&str, &str)| Rule { value: (*value).to_owned(), tag: (*tag).to_owned() };
        Rules { url: String::new(), owner: "me".into(), add: rules.iter().map(rule).collect() }
    }

    #[test]
    fn adds_ours_and_removes_only_ours() {
        let kept = [
            kept("1", "cats", Some("headwater/me/pets")),
            kept("2", "old", Some("headwater/me/old")),
            kept("3", "theirs", Some("headwater/men/old")),
            kept("4", "no tag", None),
            kept("5", "fish", Some("aquarium")),
        ];
        let change = change(&wanted(&[("cats", "pets"), ("dogs", "pets"), ("fish", "pets")]), &kept);
        assert_eq!(change, Change { delete: vec!["2".into()], add: vec![("dogs".into(), "headwater/me/pets".into())] });
    }

    #[test]
    fn a_changed_tag_is_deleted_and_added() {
        let kept = [kept("1", "cats", Some("headwater/me/pets"))];
        let change = change(&wanted(&[("cats", "animals")]), &kept);
        assert_eq!(change.delete, ["1"]);
        assert_eq!(change.add, [("cats".to_owned(), "headwater/me/animals".to_owned())]);
    }

    #[test]
    fn what_is_right_is_left() {
        let kept = [kept("1", "cats", Some("headwater/me/pets"))];
        assert_eq!(change(&wanted(&[("cats", "pets")]), &kept), Change::default());
    }
}
