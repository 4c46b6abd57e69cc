//! Node types from outside the tree: a user's binary registers them, a spec names them (`F-011`).

use std::collections::BTreeMap;
use std::sync::Arc;

use rspp_operators::Node;
use rspp_specs::event::PortType;
use rspp_specs::plan::StateClass;
use rspp_specs::port::{Only, Port};
use serde_json::Value;

type Make = dyn Fn(&Value) -> Result<Box<dyn Node>, String> + Send + Sync;

/// A type of node: its ports, and how to make one from its `config`.
#[derive(Clone)]
pub struct NodeType {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) calls_providers: bool,
    pub(crate) paced: bool,
    pub(crate) keeps: Option<StateClass>,
    pub(crate) make: Arc<Make>,
}

impl NodeType {
    /// A type with one input `in` and one output `out`. `make` reads a node's `config`; what it refuses is a
    /// finding of the spec, with its message. Workers on several threads share it.
    pub fn new(
        input: PortType,
        output: PortType,
        make: impl Fn(&Value) -> Result<Box<dyn Node>, String> + Send + Sync + 'static,
    ) -> Self {
        let (inputs, outputs) = (vec![Port::new("in", input)], vec![Port::new("out", output)]);
        Self { inputs, outputs, calls_providers: false, paced: false, keeps: None, make: Arc::new(make) }
    }

    /// With other ports.
    pub fn with_ports(self, inputs: &[(&str, PortType)], outputs: &[(&str, PortType)]) -> Self {
        let ports = |ports: &[(&str, PortType)]| ports.iter().map(|(name, of)| Port::new(name, *of)).collect();
        Self { inputs: ports(inputs), outputs: ports(outputs), ..self }
    }

    /// More is said of what a port carries, by the port's name: the form of audio, finals only, a schema.
    pub fn with_only(mut self, port: &str, only: &Only) -> Self {
        for known in self.inputs.iter_mut().chain(&mut self.outputs).filter(|known| known.name == port) {
            known.only = Some(only.clone());
        }
        self
    }

    /// It makes invocations, and gets their results.
    pub fn calling_providers(self) -> Self {
        Self { calls_providers: true, ..self }
    }

    /// What it keeps is of this class, and would be wrong in another: a spec that puts it where its life is longer or shorter
    /// has a finding. A node that keeps both is [`Scoped`](rspp_operators::scoped::Scoped), and of the session.
    pub fn keeping(self, state: StateClass) -> Self {
        Self { keeps: Some(state), ..self }
    }

    /// It does not take everything at once: [`Node::accepts`] says when it takes more, and what comes meanwhile waits in a
    /// buffer before each of its inputs.
    pub fn paced(self) -> Self {
        Self { paced: true, ..self }
    }
}

/// The node types that a compiler knows beside the built-in ones.
#[derive(Clone, Default)]
pub struct Registry {
    types: BTreeMap<String, NodeType>,
}

impl Registry {
    /// With the built-in types alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a type. The names of built-in types can't be taken: they are looked up first.
    pub fn with(mut self, name: &str, node_type: NodeType) -> Self {
        self.types.insert(name.to_owned(), node_type);
        self
    }

    /// Whether a type is registered and takes this config: what a replay has to know before it starts.
    ///
    /// # Errors
    /// `None` if there is no such type, else what the type says of the config.
    pub fn check(&self, name: &str, config: &Value) -> Result<(), Option<String>> {
        let node_type = self.get(name).ok_or(None)?;
        (node_type.make)(config).map(|_| ()).map_err(Some)
    }

    /// A type by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&NodeType> {
        self.types.get(name)
    }

    /// The names of all registered types.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }
}
