//! What an edge, or a select, asks of an event.

use serde::{Deserialize, Serialize};

use crate::event::Event;

/// What a conditional edge asks of an event (`F-018`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The attribute's name.
    pub attribute: String,
    /// What its value must be.
    pub is: Comparison,
}

/// How a condition compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The same value. A missing attribute equals nothing.
    Equals(serde_json::Value),
    /// Any other value, or none.
    Differs(serde_json::Value),
    /// A number, and at least this.
    AtLeast(f64),
    /// A number, and below this.
    Below(f64),
}

impl Condition {
    /// Whether the edge carries this event. What says something of the whole stream passes every condition.
    pub fn holds(&self, event: &Event) -> bool {
        if event.payload.port_type().is_none() {
            return true;
        }
        let value = event.attribute(&self.attribute);
        let number = value.as_ref().and_then(serde_json::Value::as_f64);
        match &self.is {
            Comparison::Equals(wanted) => value.as_ref() == Some(wanted),
            Comparison::Differs(unwanted) => value.as_ref() != Some(unwanted),
            Comparison::AtLeast(bound) => number.is_some_and(|number| number >= *bound),
            Comparison::Below(bound) => number.is_some_and(|number| number < *bound),
        }
    }
}
