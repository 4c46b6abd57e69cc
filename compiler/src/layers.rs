//! What is laid under and over a spec: the profile's defaults under it; the environment's, the tenant's and the
//! session's layers over it; then the rules of policies (`F-078`, `F-080`, `F-102`). Every value keeps its place, so
//! that `rspp resolve` can say where each comes from.

use rspp_specs::artifact::{Circumstances, ConfigLayer, CostCaps, LayerRank, PolicyOverlay};
use rspp_specs::plan::{ProviderPolicy, TurnBudgets};

use crate::document::{Document, EdgeRest, HEADS};
use crate::finding::{Collector, Place, meant};
use crate::request::Request;
use crate::shape::Shape;
use crate::template::{Draft, DraftEdge, same_arrow};
use crate::tree::{Content, Tree};

/// The profile of a spec that names none.
pub(crate) const DEFAULT_PROFILE: &str = "simple/v1";

/// The profiles' names and texts.
pub(crate) const PROFILES: [(&str, &str); 3] = [
    ("simple/v1", include_str!("../../specs/profiles/simple-v1.yaml")),
    ("low-latency/v1", include_str!("../../specs/profiles/low-latency-v1.yaml")),
    ("accuracy/v1", include_str!("../../specs/profiles/accuracy-v1.yaml")),
];

/// Lays the profile's defaults under the draft.
pub(crate) fn profile(findings: &mut Collector<'_>, tree: &Tree, document: &Document, draft: &mut Draft) {
    let name = document.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
    let place = tree.locate("profile").or_else(|| tree.locate("name")).unwrap_or(tree.place);
    let Some((_, text)) = PROFILES.iter().find(|(known, _)| *known == name) else {
        let hint = meant(name, PROFILES.iter().map(|(name, _)| *name), "there are");
        findings.report_at("RSPP0005", place, "profile", format!("no execution profile is named {name}"), hint);
        return;
    };
    let file = findings.sources().add_bundled(&format!("profile {name}"), text, place);
    let Some(profile) = crate::tree::read(findings, file) else { return };
    for (_, node) in draft.nodes.values_mut() {
        let of_type = node.get("type").and_then(Tree::as_text).and_then(|name| profile.get("nodes")?.get(name));
        if let Some(defaults) = of_type.cloned() {
            lay_under(node, defaults);
        }
    }
    if let Some(field) = profile.field("turn") {
        let mut turn = field.value.clone();
        if let Some(given) = draft.head.get("turn") {
            // What is no map is wrong, and stays to be told.
            if given.is_map() {
                turn.lay_over(given);
                // A budget that is given is given whole: what follows when it is spent is not the profile's.
                for budget in given.get("budgets").into_iter().flat_map(Tree::fields) {
                    turn.entry("budgets", budget.key_place).set(&budget.key, budget.key_place, budget.value.clone());
                }
            } else {
                turn = given.clone();
            }
        }
        let place = draft.head.field("turn").map_or(field.key_place, |given| given.key_place);
        draft.head.set("turn", place, turn);
    }
    for head in ["recording", "redaction"] {
        if let Some(field) = profile.field(head) {
            lay_under(draft.head.entry(head, field.key_place), field.value.clone());
        }
    }
}

/// Fields of a map that are not given, maps within it field by field.
fn lay_under(tree: &mut Tree, mut defaults: Tree) {
    if tree.is_map() {
        let place = tree.place;
        defaults.lay_over(tree);
        defaults.place = place;
        *tree = defaults;
    }
}

/// Lays the layers over the draft, the environment's first and the session's last.
pub(crate) fn layers(findings: &mut Collector<'_>, draft: &mut Draft, request: &Request<'_>) {
    let mut read: Vec<(LayerRank, Tree)> = Vec::new();
    for layer in &request.layers {
        let file = findings.sources().add(&layer.name, &layer.text);
        let Some(tree) = read_document(findings, file, "ConfigLayer") else { continue };
        if let Some(document) = Shape::of::<ConfigLayer>("a ConfigLayer").read::<ConfigLayer>(findings, "", &tree) {
            read.push((document.layer, tree));
        }
    }
    read.sort_by_key(|(rank, _)| *rank);
    for (_, tree) in &read {
        for field in tree.get("bind").into_iter().flat_map(Tree::fields) {
            if let Some(node) = node(findings, draft, "bind", &field.key, field.key_place) {
                node.set("bind", field.key_place, field.value.clone());
            }
        }
        nodes(findings, draft, tree.get("nodes"));
        for head in HEADS {
            if let Some(field) = tree.field(head) {
                draft.head.entry(head, field.key_place).lay_over(&field.value);
            }
        }
    }
}

/// Reads a document of a kind that the caller wants.
pub(crate) fn read_document(findings: &mut Collector<'_>, file: u16, kind: &str) -> Option<Tree> {
    let tree = crate::tree::read(findings, file)?;
    findings.sources().search(file, &tree);
    let given = tree.get("kind").and_then(Tree::as_text).unwrap_or("missing");
    if given == kind {
        return Some(tree);
    }
    let place = tree.locate("kind").unwrap_or(tree.place);
    let message = format!("kind is {given}, not {kind}");
    findings.report_at("RSPP0002", place, "kind", message, format!("write `kind: {kind}`"));
    None
}

/// Fields of nodes by the nodes' names.
fn nodes(findings: &mut Collector<'_>, draft: &mut Draft, tree: Option<&Tree>) {
    for field in tree.into_iter().flat_map(Tree::fields) {
        if let Some(known) = node(findings, draft, "nodes", &field.key, field.key_place) {
            known.lay_over(&field.value);
        }
    }
}

fn node<'d>(
    findings: &mut Collector<'_>,
    draft: &'d mut Draft,
    list: &str,
    name: &str,
    place: Place,
) -> Option<&'d mut Tree> {
    if !draft.nodes.contains_key(name) {
        let hint = meant(name, draft.nodes.keys().map(String::as_str), "the pipeline has");
        let message = format!("no node of the pipeline is named {name}");
        findings.report_at("RSPP0004", place, format!("{list}.{name}"), message, hint);
    }
    draft.nodes.get_mut(name).map(|(_, node)| node)
}

/// Applies the policies' rules for the call that the request is about. Gives the caps, each with its place: they count
/// when everything else is laid over and under.
pub(crate) fn policies(
    findings: &mut Collector<'_>,
    tree: &Tree,
    draft: &mut Draft,
    request: &Request<'_>,
) -> Vec<(CostCaps, Place)> {
    let mut caps = Vec::new();
    for policy in &request.policies {
        let file = findings.sources().add(&policy.name, &policy.text);
        let Some(overlay) = read_document(findings, file, "PolicyOverlay") else { continue };
        let shape = Shape::of::<PolicyOverlay>("a PolicyOverlay");
        let Some(document) = shape.read::<PolicyOverlay>(findings, "", &overlay) else { continue };
        let rules = |list: &str| overlay.get(list).map(|list| list.items().to_vec()).unwrap_or_default();
        let applies = |when: &Circumstances| when.hold(&request.circumstances);
        for (rule, tree) in document.providers.iter().zip(rules("providers")).filter(|(rule, _)| applies(&rule.when)) {
            let place = tree.locate("bind").unwrap_or(tree.place);
            let Some(node) = node(findings, draft, "providers", &rule.node, place) else { continue };
            node.set("bind", place, tree.get("bind").cloned().unwrap_or_else(|| Tree::text(place, &rule.bind)));
            if let Some(field) = tree.field("fallback") {
                node.entry("provider", field.key_place).set("fallback", field.key_place, field.value.clone());
            }
        }
        for (_, tree) in document.degrade.iter().zip(rules("degrade")).filter(|(rule, _)| applies(&rule.when)) {
            nodes(findings, draft, tree.get("nodes"));
        }
        for (rule, item) in document.inserts.iter().zip(rules("inserts")).filter(|(rule, _)| applies(&rule.when)) {
            let fields = item.get("node").cloned().unwrap_or_else(|| Tree::map(item.place));
            insert(findings, tree, draft, (&rule.at, &rule.name), &item, fields);
        }
        let place = overlay.locate("cost_caps").unwrap_or(overlay.place);
        caps.extend(document.cost_caps.map(|given| (given, place)));
    }
    caps
}

/// Puts a node into the edge that the spec opens under a name.
fn insert(
    findings: &mut Collector<'_>,
    spec: &Tree,
    draft: &mut Draft,
    (at, name): (&str, &str),
    item: &Tree,
    node: Tree,
) {
    let open = spec.get("inserts");
    let place = item.locate("at").unwrap_or(item.place);
    let Some(arrow) = open.and_then(|open| open.get(at)?.as_text()) else {
        let known: Vec<&str> = open.into_iter().flat_map(Tree::fields).map(|field| field.key.as_str()).collect();
        let message = format!("the pipeline opens no edge under the name {at}");
        let hint = if known.is_empty() {
            "its `inserts` are empty: no policy may put nodes into it".to_owned()
        } else {
            meant(at, known.into_iter(), "it opens")
        };
        findings.report_at("RSPP0055", place, "inserts", message, hint);
        return;
    };
    if draft.nodes.contains_key(name) {
        let message = format!("the pipeline has a node {name} already");
        findings.report_at("RSPP0055", place, "inserts", message, "give the new node another name");
        return;
    }
    let Some(index) = draft.edges.iter().position(|edge| same_arrow(&edge.arrow, arrow)) else { return };
    let edge = &mut draft.edges[index];
    let to = edge.arrow.split_once("->").map_or("", |(_, to)| to.trim()).to_owned();
    let from = edge.arrow.split_once("->").map_or("", |(from, _)| from.trim()).to_owned();
    edge.arrow = format!("{from} -> {name}");
    // What waits, waits before the same node as before; and the edges that end there keep their order.
    let when = edge.rest.when.take();
    let rest = std::mem::replace(&mut edge.rest, EdgeRest { when, ..EdgeRest::default() });
    let (path, arrow, fields) = ("inserts".to_owned(), format!("{name} -> {to}"), edge.fields.clone());
    draft.edges.insert(index + 1, DraftEdge { place, path, arrow, rest, fields });
    draft.nodes.insert(name.to_owned(), (place, node));
}

/// The edges that the spec opens have to be there.
pub(crate) fn check_inserts(findings: &mut Collector<'_>, tree: &Tree, draft: &Draft) {
    for field in tree.get("inserts").into_iter().flat_map(Tree::fields) {
        let Some(arrow) = field.value.as_text() else { continue };
        if !draft.edges.iter().any(|edge| same_arrow(&edge.arrow, arrow)) && !draft.has_broken_edges {
            let message = format!("there is no edge {arrow}");
            let hint = meant(arrow, draft.edges.iter().map(|edge| edge.arrow.as_str()), "there are");
            findings.report_at("RSPP0055", field.value.place, format!("inserts.{}", field.key), message, hint);
        }
    }
}

/// Lowers what goes beyond a cap.
pub(crate) fn cap(draft: &mut Draft, caps: &CostCaps, place: Place) {
    // What is not given is the default.
    let above = |tree: Option<&Tree>, default: u64, most: u64| {
        tree.and_then(|tree| tree.value().as_u64()).unwrap_or(default) > most
    };
    let default_attempts = u64::from(ProviderPolicy::default().attempts);
    let default_whole = TurnBudgets::default().whole.limit.as_ms();
    for (_, node) in draft.nodes.values_mut() {
        let calls = node.get("bind").is_some();
        if let Some(most) = caps.max_attempts.map(u64::from).filter(|_| calls) {
            let provider = node.entry("provider", place);
            if above(provider.get("attempts"), default_attempts, most) {
                provider.set("attempts", place, Tree::number(place, most));
            }
        }
        let fallback =
            node.get("provider").and_then(|provider| provider.get("fallback")).map(|list| list.items().to_vec());
        if let (Some(most), Some(mut list)) = (caps.max_fallbacks, fallback)
            && list.len() > most as usize
        {
            list.truncate(most as usize);
            node.entry("provider", place).set("fallback", place, Tree { place, content: Content::List(list) });
        }
    }
    if let Some(most) = caps.max_turn_ms {
        let whole = draft.head.entry("turn", place).entry("budgets", place).entry("whole", place);
        if above(whole.get("ms"), default_whole, most) {
            whole.set("ms", place, Tree::number(place, most));
            whole.set("then", place, Tree::text(place, "terminate"));
        }
    }
}

/// What a call is known by: the names that circumstances may ask for.
const CIRCUMSTANCES: [&str; 4] = ["tenant", "language", "region", "cost_tier"];

/// Reads `tenant=acme`.
///
/// # Errors
/// Which names there are.
pub fn circumstance(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if CIRCUMSTANCES.contains(&name.trim()) => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("write NAME=VALUE; names are {}", CIRCUMSTANCES.join(", "))),
    }
}
