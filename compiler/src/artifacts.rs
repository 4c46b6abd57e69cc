//! Checks of the documents around a spec: each by its schema, and by what a schema can't say.

use std::collections::BTreeMap;

use rspp_specs::artifact::{
    CompatibilityPolicy, ConfigLayer, ExecutionProfile, ExtensionManifest, ExtensionPoint, PipelineBundle,
    PipelineModule, PolicyOverlay, ReplayManifest, RolloutManifest, SchemaChange, TrustLevel,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bundle::digest_of;
use crate::compat::{Day, check_window, deprecated, gone_too_early, series};
use crate::document::HEADS;
use crate::finding::{Collector, Findings, meant};
use crate::layers::PROFILES;
use crate::nodes;
use crate::policy::{AdmissionDocument, TurnDocument};
use crate::recording::{RecordingDocument, RedactionDocument};
use crate::registry::Registry;
use crate::request::{Request, check_secrets};
use crate::shape::Shape;
use crate::sources::Sources;
use crate::tree::{self, Tree};

/// The kinds of documents that are checked here.
pub(crate) const KINDS: [&str; 10] = [
    "PipelineSpec",
    "ExecutionProfile",
    "PipelineModule",
    "ConfigLayer",
    "PolicyOverlay",
    "PipelineBundle",
    "RolloutManifest",
    "ExtensionManifest",
    "ReplayManifest",
    "CompatibilityPolicy",
];

/// Checks a document as what its `kind` says it is; the request's spec may be any document here. Gives the kind, if it
/// is one of ours.
pub fn lint(request: &Request<'_>, registry: &Registry) -> (Option<&'static str>, Findings) {
    let mut sources = Sources::default();
    let file = sources.add(&request.spec.name, &request.spec.text);
    let mut findings = Collector::new(&mut sources);
    let Some(tree) = tree::read(&mut findings, file) else { return (None, findings.finish()) };
    let given = tree.get("kind").and_then(Tree::as_text).unwrap_or_default();
    let kind = KINDS.into_iter().find(|kind| *kind == given);
    match kind {
        // A spec without a kind, or with a misspelt one, is told so by the spec's own check.
        Some("PipelineSpec") => return (kind, request.checked(registry, false).findings),
        None if given.is_empty() || meant(given, KINDS.into_iter(), "").starts_with("did you mean `PipelineSpec") => {
            return (None, request.checked(registry, false).findings);
        }
        None => {
            let place = tree.locate("kind").unwrap_or(tree.place);
            let message = format!("no kind of document is named {given}");
            findings.report_at("RSPP0002", place, "kind", message, meant(given, KINDS.into_iter(), "there are"));
        }
        Some(kind) => {
            check_secrets(&mut findings, file, &tree);
            findings.tree = Some(tree.clone());
            deprecated(&mut findings, kind, &tree, request);
            check(&mut findings, kind, &tree, request);
        }
    }
    (kind, findings.finish())
}

fn read<T: DeserializeOwned + JsonSchema>(findings: &mut Collector<'_>, kind: &str, tree: &Tree) -> Option<T> {
    Shape::of::<T>(&format!("a {kind}")).read(findings, "", tree)
}

fn check(findings: &mut Collector<'_>, kind: &str, tree: &Tree, request: &Request<'_>) {
    match kind {
        "ExecutionProfile" => {
            read::<ExecutionProfile>(findings, kind, tree);
            for field in tree.get("nodes").into_iter().flat_map(Tree::fields) {
                fields_of_type(findings, &field.key, field.key_place, &format!("nodes.{}", field.key), &field.value);
            }
            heads(findings, tree);
            unchanged_profile(findings, tree);
        }
        "PipelineModule" => {
            if let Some(module) = read::<PipelineModule>(findings, kind, tree) {
                check_module(findings, tree, &module);
            }
        }
        "ConfigLayer" => {
            read::<ConfigLayer>(findings, kind, tree);
            heads(findings, tree);
        }
        "PolicyOverlay" => drop(read::<PolicyOverlay>(findings, kind, tree)),
        "ReplayManifest" => drop(read::<ReplayManifest>(findings, kind, tree)),
        "PipelineBundle" => {
            if let Some(bundle) = read::<PipelineBundle>(findings, kind, tree) {
                check_bundle(findings, tree, &bundle);
                check_window(findings, tree, &bundle.compatibility, request);
            }
        }
        "RolloutManifest" => {
            if let Some(rollout) = read::<RolloutManifest>(findings, kind, tree) {
                check_rollout(findings, tree, &rollout);
            }
        }
        "ExtensionManifest" => {
            if let Some(extension) = read::<ExtensionManifest>(findings, kind, tree) {
                check_extension(findings, tree, &extension);
            }
        }
        _ => {
            if let Some(policy) = read::<CompatibilityPolicy>(findings, kind, tree) {
                check_compatibility(findings, tree, &policy, request);
            }
        }
    }
}

/// The parts of a spec's head that a profile and a layer may have, too.
fn heads(findings: &mut Collector<'_>, tree: &Tree) {
    for head in HEADS {
        let Some(given) = tree.get(head) else { continue };
        let shape = match head {
            "turn" => Shape::of::<TurnDocument>(head),
            "admission" => Shape::of::<AdmissionDocument>(head),
            "recording" => Shape::of::<RecordingDocument>(head),
            _ => Shape::of::<RedactionDocument>(head),
        };
        shape.check(findings, head, given);
    }
}

fn fields_of_type(
    findings: &mut Collector<'_>,
    type_name: &str,
    place: crate::finding::Place,
    path: &str,
    fields: &Tree,
) {
    match nodes::row(type_name) {
        Some(row) => {
            (row.shape)().called(&format!("a node of type {type_name}")).check(findings, path, fields);
        }
        None => {
            let hint = meant(type_name, nodes::TYPES.iter().map(|row| row.name), "there are");
            findings.report_at("RSPP0007", place, path, format!("no node type is named {type_name}"), hint);
        }
    }
}

/// A published profile never changes.
fn unchanged_profile(findings: &mut Collector<'_>, tree: &Tree) {
    let Some(name) = tree.get("name").and_then(Tree::as_text) else { return };
    let Some((_, text)) = PROFILES.iter().find(|(known, _)| *known == name) else { return };
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let published = tree::read(&mut Collector::new(&mut sources), file).map(|tree| tree.value());
    if published.is_some_and(|published| published != tree.value()) {
        let message = format!("the profile {name} is published, and this is another");
        findings.report(
            "RSPP0059",
            tree.place,
            "name",
            message,
            "give the changed profile a name with another version",
        );
    }
}

fn check_module(findings: &mut Collector<'_>, tree: &Tree, module: &PipelineModule) {
    for (list, ports) in [("inputs", &module.inputs), ("outputs", &module.outputs)] {
        for (name, end) in ports {
            let node = end.split('.').next().unwrap_or_default();
            if !module.nodes.contains_key(node) {
                let hint = meant(node, module.nodes.keys().map(String::as_str), "it has");
                let message = format!("the module has no node named {node}");
                findings.report("RSPP0012", tree.place, format!("{list}.{name}"), message, hint);
            }
        }
    }
    for (name, node) in &module.nodes {
        if !node.contains_key("type") {
            let message = format!("the node {name} has no type");
            findings.report("RSPP0047", tree.place, format!("nodes.{name}"), message, "add `type: ...`");
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn check_digest(findings: &mut Collector<'_>, tree: &Tree, path: &str, text: &str) {
    if !is_digest(text) {
        let hint = "64 hexadecimal digits, as `rspp bundle` writes them";
        findings.report("RSPP0060", tree.place, path, "this is no digest", hint);
    }
}

pub(crate) fn check_bundle(findings: &mut Collector<'_>, tree: &Tree, bundle: &PipelineBundle) {
    for (index, file) in bundle.files.iter().enumerate() {
        check_digest(findings, tree, &format!("files[{index}].blake3"), &file.blake3);
    }
    if bundle.digest != digest_of(bundle) {
        let hint = "a bundle is never edited: make it anew with `rspp bundle`";
        findings.report("RSPP0061", tree.place, "digest", "the bundle is not what its digest says", hint);
    }
}

fn check_rollout(findings: &mut Collector<'_>, tree: &Tree, rollout: &RolloutManifest) {
    check_digest(findings, tree, "bundle", &rollout.bundle);
    check_digest(findings, tree, "rollback", &rollout.rollback);
    if rollout.bundle == rollout.rollback {
        let hint = "name the bundle that runs now";
        findings.report("RSPP0062", tree.place, "rollback", "the way back leads to the same bundle", hint);
    }
    for (index, pair) in rollout.steps.windows(2).enumerate() {
        if pair[1].percent < pair[0].percent {
            let message = format!("{} percent come after {}", pair[1].percent, pair[0].percent);
            let hint = "a rollout goes on or goes back; it does not shrink";
            findings.report("RSPP0062", tree.place, format!("steps[{}].percent", index + 1), message, hint);
        }
    }
}

fn check_extension(findings: &mut Collector<'_>, tree: &Tree, extension: &ExtensionManifest) {
    if version_parts(&extension.version).is_none() {
        let message = format!("{} is no version", extension.version);
        findings.report("RSPP0021", tree.place, "version", message, "write `MAJOR.MINOR.PATCH`: `1.2.0`");
    }
    if let Some(digest) = &extension.digest {
        check_digest(findings, tree, "digest", digest);
    }
    let within = extension.extends != ExtensionPoint::ExternalNode;
    if extension.trust == TrustLevel::Untrusted && within {
        let hint = "make it an `external_node`, or have it reviewed";
        findings.report("RSPP0063", tree.place, "trust", "what is not trusted can't run within the program", hint);
    }
    if !within && extension.limits.is_none() {
        let hint = "add `limits: {memory_mib: ..., event_ms: ...}`";
        findings.report("RSPP0063", tree.place, "limits", "what runs outside has to have limits", hint);
    }
    if extension.trust != TrustLevel::FirstParty && extension.digest.is_none() {
        let hint = "add the BLAKE3 of the package that was looked at";
        findings.report("RSPP0063", tree.place, "digest", "what is somebody else's has to be pinned", hint);
    }
}

/// `1.2.0`.
fn version_parts(text: &str) -> Option<Vec<u32>> {
    let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| parts.len() == 3)
}

fn check_compatibility(findings: &mut Collector<'_>, tree: &Tree, policy: &CompatibilityPolicy, request: &Request<'_>) {
    use SchemaChange::{AddRequiredField, ChangeType, NarrowBounds, RemoveField, RemoveWord};
    let breaking = [AddRequiredField, RemoveField, ChangeType, RemoveWord, NarrowBounds];
    for (index, change) in policy.compatible.iter().enumerate().filter(|(_, change)| breaking.contains(change)) {
        let message = format!("{change:?} makes documents that are right today wrong");
        let hint = "only additions and wider bounds keep what there is";
        findings.report("RSPP0064", tree.place, format!("compatible[{index}]"), message, hint);
    }
    let mut seen = BTreeMap::new();
    for (index, deprecation) in policy.deprecations.iter().enumerate() {
        let path = format!("deprecations[{index}]");
        let (warned, refused) = (Day::parse(&deprecation.warned_from), Day::parse(&deprecation.refused_from));
        for (field, date) in [("warned_from", warned), ("refused_from", refused)] {
            if date.is_none() {
                findings.report(
                    "RSPP0065",
                    tree.place,
                    format!("{path}.{field}"),
                    "this is no day",
                    "write `2027-01-31`",
                );
            }
        }
        if let (Some(warned), Some(refused)) = (warned, refused)
            && warned >= refused
        {
            let hint = "first it is warned of, later it is refused";
            findings.report(
                "RSPP0065",
                tree.place,
                format!("{path}.refused_from"),
                "it is refused before anybody is warned",
                hint,
            );
        }
        if series(&deprecation.removed_in).is_none() {
            let at = format!("{path}.removed_in");
            findings.report("RSPP0065", tree.place, at, "this is no version of the program", "write `0.3`");
        }
        if let Some(early) = gone_too_early(deprecation, request) {
            let at = format!("{path}.removed_in");
            let hint = "a field goes only once it is refused: make it a later version, or wait";
            findings.report("RSPP0065", tree.place, at, early, hint);
        }
        if seen.insert(&deprecation.path, index).is_some() {
            let message = format!("{} is deprecated twice", deprecation.path);
            findings.report("RSPP0065", tree.place, format!("{path}.path"), message, "keep one of the two");
        }
    }
}
