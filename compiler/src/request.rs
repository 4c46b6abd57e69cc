//! What a compilation is asked for, and what it comes to.

use std::collections::BTreeMap;

use rspp_specs::plan::Plan;

use crate::compat::Day;
use crate::document::Document;
use crate::finding::{Collector, Findings};
use crate::registry::Registry;
use crate::resolve::{Resolved, resolve};
use crate::sources::{Sources, looks_secret};
use crate::tree::Tree;
use crate::{compat, fan_in, graph, layers, modules, template, tree};

/// Where the documents are that a spec names: the compiler reads no files itself.
pub trait Files {
    /// The text of a document, by its path from the spec's folder.
    ///
    /// # Errors
    /// Why it can't be read, in words.
    fn read(&self, path: &str) -> Result<String, String>;
}

/// No files at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<String, String> {
        Err("here, a spec has no files beside it".to_owned())
    }
}

/// A document and its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its name in findings: a path, usually.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A spec to be compiled, with what is laid over it.
pub struct Request<'a> {
    /// The spec.
    pub spec: Named,
    /// Providers that nodes are bound to instead of those that all documents say, by the nodes' names.
    pub bindings: BTreeMap<String, String>,
    /// Documents of kind `ConfigLayer`, in any order.
    pub layers: Vec<Named>,
    /// Documents of kind `PolicyOverlay`, in the order in which they apply.
    pub policies: Vec<Named>,
    /// What is known of the call: `tenant`, `language`, `region`, `cost_tier`.
    pub circumstances: BTreeMap<String, String>,
    /// Which day it is: what is deprecated is told by it. Without a day, nothing is.
    pub today: Option<Day>,
    /// A document of kind `CompatibilityPolicy` in the place of the program's own.
    pub compatibility: Option<Named>,
    /// The program's version in the place of its own, for bundles.
    pub runtime: Option<String>,
    /// Where modules are.
    pub files: &'a dyn Files,
}

impl Request<'static> {
    /// A spec alone.
    pub fn new(name: &str, text: &str) -> Self {
        Self {
            spec: Named { name: name.to_owned(), text: text.to_owned() },
            bindings: BTreeMap::new(),
            layers: Vec::new(),
            policies: Vec::new(),
            circumstances: BTreeMap::new(),
            today: None,
            compatibility: None,
            runtime: None,
            files: &NoFiles,
        }
    }
}

impl<'a> Request<'a> {
    /// The same with files beside it.
    pub fn with_files<'b>(self, files: &'b dyn Files) -> Request<'b> {
        let Self { spec, bindings, layers, policies, circumstances, today, compatibility, runtime, files: _ } = self;
        Request { spec, bindings, layers, policies, circumstances, today, compatibility, runtime, files }
    }

    /// Checks and compiles: everything that is wrong at once, and warnings.
    pub fn check(&self, registry: &Registry) -> Checked {
        self.checked(registry, true)
    }

    /// The same; where every effective field comes from is looked up for who asks.
    pub(crate) fn checked(&self, registry: &Registry, resolves: bool) -> Checked {
        let mut sources = Sources::default();
        let file = sources.add(&self.spec.name, &self.spec.text);
        let mut findings = Collector::new(&mut sources);
        let (plan, resolved) = self.plan(&mut findings, file, registry, resolves).unwrap_or_default();
        Checked { plan, resolved, findings: findings.finish() }
    }

    /// Compiles; what should be changed and need not be is passed over.
    ///
    /// # Errors
    /// All findings, in the order of the text.
    pub fn compile(&self, registry: &Registry) -> Result<Plan, Findings> {
        let Checked { plan, findings, .. } = self.checked(registry, false);
        plan.filter(|_| !findings.has_errors()).ok_or(findings)
    }

    fn plan(
        &self,
        findings: &mut Collector<'_>,
        file: u16,
        registry: &Registry,
        resolves: bool,
    ) -> Option<(Option<Plan>, Option<Resolved>)> {
        let tree = tree::read(findings, file)?;
        check_secrets(findings, file, &tree);
        compat::deprecated(findings, "PipelineSpec", &tree, self);
        let document = Document::read(findings, &tree)?;
        let mut draft = template::apply(findings, &tree, &document);
        modules::expand(findings, &tree, &mut draft, self.files);
        layers::layers(findings, &mut draft, self);
        layers::check_inserts(findings, &tree, &draft);
        let caps = layers::policies(findings, &tree, &mut draft, self);
        fan_in::place_fallbacks(findings, &mut draft);
        template::bind(findings, &mut draft, &self.bindings);
        layers::profile(findings, &tree, &document, &mut draft);
        caps.iter().for_each(|(caps, place)| layers::cap(&mut draft, caps, *place));
        findings.tree = Some(draft.tree(&tree));
        let plan = graph::plan(findings, &document, &draft, registry);
        let resolved = plan.as_ref().filter(|_| resolves).map(|plan| resolve(findings, &document, &tree, &draft, plan));
        Some((plan, resolved))
    }
}

/// What a spec came to.
#[derive(Debug)]
pub struct Checked {
    /// The plan, unless something is wrong.
    pub plan: Option<Plan>,
    /// Every effective field with its source, unless something is wrong.
    pub resolved: Option<Resolved>,
    /// What is wrong, and what should be changed.
    pub findings: Findings,
}

/// Looks for secrets, so that no finding shows one, and tells those that a binding's own check does not.
pub(crate) fn check_secrets(findings: &mut Collector<'_>, file: u16, tree: &Tree) {
    findings.sources().search(file, tree);
    let mut places = Vec::new();
    tree.scalars(&mut |text, place| {
        if looks_secret(text) && rspp_specs::binding::check_secrets(text).is_ok() {
            places.push(place);
        }
    });
    for place in places {
        let hint = "refer to it by `env:NAME` or `file:PATH`; if it was committed or sent anywhere, have it replaced";
        findings.report_at("RSPP0049", place, "", "this looks like a secret", hint);
    }
}

/// What a document says, without places, order of fields, comments or form.
///
/// # Errors
/// It can't be read.
pub fn content(name: &str, text: &str) -> Result<serde_json::Value, Findings> {
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let mut findings = Collector::new(&mut sources);
    match tree::read(&mut findings, file) {
        Some(tree) => Ok(tree.value()),
        None => Err(findings.finish()),
    }
}

/// The paths of the modules that a spec imports, as it gives them.
pub fn imported(text: &str) -> Vec<String> {
    let imports = content("", text).ok().and_then(|spec| spec.get("imports")?.as_object().cloned()).unwrap_or_default();
    imports.values().filter_map(|import| Some(import.get("module")?.as_str()?.to_owned())).collect()
}
