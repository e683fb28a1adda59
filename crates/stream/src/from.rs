use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The parts that rows come from: the name of a source or step, or a list of names.
///
/// Several inputs of one step or sink must have the same columns, unless the step is `sql`, which sees each as a table.
/// Example: `from: alerts`, or `from: [alerts, backlog]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Shape")]
pub struct From(pub Vec<String>);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a name or a list of names")]
enum Shape {
    One(String),
    Many(Vec<String>),
}

impl From {
    /// The names, in the order of the document.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for From {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Shape::deserialize(deserializer)? {
            Shape::One(name) => Self(vec![name]),
            Shape::Many(names) => Self(names),
        })
    }
}

impl Serialize for From {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [name] => serializer.serialize_str(name),
            names => names.serialize(serializer),
        }
    }
}
