//! How processes are placed on Kubernetes, in Kubernetes' own words.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::Name;
use crate::path::Path;
use crate::problem::Problem;
use crate::secret::SecretRef;

/// How the pods of a document are made on Kubernetes. Fields are those of a Kubernetes pod and mean the same; nothing of
/// it matters where `headwater run` runs the document itself.
///
/// ```yaml
/// pod:
///   resources: {requests: {cpu: 500m, memory: 512Mi}, limits: {memory: 512Mi}}
///   nodeSelector: {disk: fast}
///   tolerations: [{key: batch, operator: Exists, effect: NoSchedule}]
///   env: {TZ: UTC, TOKEN: {secret: {name: broker, key: token}}}
///   serviceAccount: streams
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Pod {
    /// What each pod asks for, and what it may use at most.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// Labels that a node must have for pods to run there.
    #[serde(skip_serializing_if = "is_default")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that pods put up with.
    #[serde(skip_serializing_if = "is_default")]
    pub tolerations: Vec<Toleration>,
    /// Variables of the environment: text, or a secret by reference.
    #[serde(skip_serializing_if = "is_default")]
    pub env: BTreeMap<String, EnvValue>,
    /// The service account that pods run as. By default one of their own with the narrowest rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Name>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a pod asks for, and what it may use at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What a node must have left for the pod: `{cpu: 500m, memory: 512Mi}`, or a resource of the cluster's own.
    #[serde(skip_serializing_if = "is_default")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the pod may use at most. Give it no less memory than the document's own `memory` and some for the process.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: BTreeMap<String, Quantity>,
}

/// An amount as Kubernetes writes it: `2`, `500m`, `0.5`, `512Mi`, `1G`, `1e3`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quantity(String);

impl Quantity {
    /// The amount as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Text(String),
            Number(serde_json::Number),
        }
        Ok(Quantity(match Shape::deserialize(deserializer)? {
            Shape::Text(text) => text,
            Shape::Number(number) => number.to_string(),
        }))
    }
}

/// What an amount looks like, as a regular expression.
const QUANTITY: &str = "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$";

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "title": "an amount",
            "description": "An amount as Kubernetes writes it: `2`, `500m`, `0.5`, `512Mi`, `1G`.",
            "minimum": 0,
            "pattern": QUANTITY,
            "examples": ["512Mi"],
        })
    }
}

/// A taint of nodes that pods put up with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key. By default any, where `operator` is `Exists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the key's value is compared. Default `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    /// The value to be equal to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The effect that is put up with. By default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// How long a pod stays after such a taint was put on its node, in seconds, where the effect is `NoExecute`. By
    /// default for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<u32>,
}

/// How a taint's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// Any value will do.
    Exists,
    /// It must be equal.
    Equal,
}

/// What a taint does to pods that don't put up with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// They aren't put on the node.
    NoSchedule,
    /// They aren't put on the node while another will do.
    PreferNoSchedule,
    /// They are also sent away from it.
    NoExecute,
}

/// The value of a variable of the environment: text, or a secret by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvValue {
    /// Text.
    Text(String),
    /// A secret by reference.
    Secret(SecretRef),
}

impl Pod {
    /// What Kubernetes would refuse, beyond what the types say.
    pub fn problems(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, toleration) in self.tolerations.iter().enumerate() {
            let at = format!("{path}.tolerations[{index}]");
            problems.extend(toleration.problem(&at));
        }
        let is_name = |name: &str| {
            let letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
            !name.is_empty() && name.chars().all(letter) && !name.starts_with(|first: char| first.is_ascii_digit())
        };
        for name in self.env.keys().filter(|name| !is_name(name)) {
            let at = Path::parse(path).field("env").field(name);
            let problem = Problem::at(at).found(format!("the variable `{name}`"));
            problems.push(problem.expected("letters, digits, `_`, `-` and `.`, and no digit first"));
        }
        problems
    }
}

impl Toleration {
    fn problem(&self, path: &str) -> Option<Problem> {
        let is_any_value = self.operator == Some(Operator::Exists);
        match self {
            Self { value: Some(_), .. } if is_any_value => Some(
                Problem::at(format!("{path}.value"))
                    .found("a value, where any will do")
                    .expected("none")
                    .hint("remove it, or write `operator: Equal`"),
            ),
            Self { key: None, .. } if !is_any_value => Some(
                Problem::at(path)
                    .found("a value without a key")
                    .expected("`key`")
                    .hint("`operator: Exists` alone puts up with every taint"),
            ),
            Self { toleration_seconds: Some(_), effect, .. } if *effect != Some(Effect::NoExecute) => Some(
                Problem::at(format!("{path}.tolerationSeconds"))
                    .found("a time for an effect that sends nobody away")
                    .expected("`effect: NoExecute`"),
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_kubernetes() {
        let pattern = regex::Regex::new(QUANTITY).unwrap();
        for good in ["2", "500m", "0.5", ".5", "512Mi", "1G", "1e3", "100k", "5."] {
            assert!(pattern.is_match(good), "{good}");
        }
        for bad in ["", "m", "512MiB", "1 Gi", "-1", "1K", "0x10"] {
            assert!(!pattern.is_match(bad), "{bad}");
        }
    }

    #[test]
    fn a_pod_is_written_as_kubernetes_writes_it() {
        let text = r#"{"resources":{"limits":{"memory":"512Mi"}},"tolerations":[{"key":"batch","operator":"Exists","effect":"NoSchedule"}],"env":{"A":"b","T":{"secret":{"name":"broker","key":"token"}}},"serviceAccount":"streams"}"#;
        let pod: Pod = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&pod).unwrap(), text);
        assert_eq!(pod.problems("spec.pod"), []);
        assert_eq!(serde_json::to_string(&Pod::default()).unwrap(), "{}");
        let amount: Quantity = serde_json::from_str("2").unwrap();
        assert_eq!(amount.as_str(), "2");
    }

    #[test]
    fn what_kubernetes_would_refuse_is_a_problem() {
        let text = r#"{
            "tolerations": [
                {"operator": "Exists"},
                {"key": "a", "operator": "Exists", "value": "b"},
                {"value": "b"},
                {"key": "a", "value": "b", "effect": "NoSchedule", "tolerationSeconds": 3},
                {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 3}
            ],
            "env": {"GOOD_1": "", "a b": "", "1st": ""}
        }"#;
        let pod: Pod = serde_json::from_str(text).unwrap();
        let paths: Vec<String> = pod.problems("spec.pod").into_iter().map(|problem| problem.path).collect();
        let expected = [
            "spec.pod.tolerations[1].value",
            "spec.pod.tolerations[2]",
            "spec.pod.tolerations[3].tolerationSeconds",
            "spec.pod.env.1st",
            "spec.pod.env[\"a b\"]",
        ];
        assert_eq!(paths, expected);
    }
}
