//! What is published never changes (`F-015`, `F-162`): a bundle next to the one that was published before it.

use std::collections::BTreeMap;

use rspp_specs::artifact::{PinnedFile, PipelineBundle};

use crate::artifacts::check_bundle;
use crate::compat::check_rollback;
use crate::difference::Bump;
use crate::finding::{Collector, Findings, Place};
use crate::layers::read_document;
use crate::request::{Named, Request};
use crate::shape::Shape;
use crate::sources::Sources;
use crate::tree::{self, Tree};

/// What keeps a bundle from being published after `previous`: the previous one was edited, is another pipeline's, or has a
/// version that this one would change. The request's spec is what `next` was made of.
pub fn publish(request: &Request<'_>, next: &PipelineBundle, previous: &Named) -> Findings {
    let mut sources = Sources::default();
    let file = sources.add(&previous.name, &previous.text);
    let mut findings = Collector::new(&mut sources);
    if let Some((tree, old)) = read(&mut findings, file) {
        findings.tree = Some(tree.clone());
        check_bundle(&mut findings, &tree, &old);
        check_rollback(&mut findings, &tree, &old.compatibility, request);
        let spec = findings.sources().add(&request.spec.name, &request.spec.text);
        findings.tree = tree::read(&mut findings, spec);
        check_succession(&mut findings, &old, next);
    }
    findings.finish()
}

fn read(findings: &mut Collector<'_>, file: u16) -> Option<(Tree, PipelineBundle)> {
    let tree = read_document(findings, file, "PipelineBundle")?;
    let bundle = Shape::of::<PipelineBundle>("a PipelineBundle").read(findings, "", &tree)?;
    Some((tree, bundle))
}

fn check_succession(findings: &mut Collector<'_>, old: &PipelineBundle, next: &PipelineBundle) {
    if old.name != next.name {
        let message = format!("this is {}, and the bundle before it is of {}", next.name, old.name);
        let hint = "name the bundle of this pipeline that was published last, or leave `--previous` out for the first";
        findings.report("RSPP0071", Place::default(), "name", message, hint);
        return;
    }
    if old.digest == next.digest {
        return;
    }
    let changes = changes(old, next);
    let bump = changes.iter().map(|(bump, _)| *bump).max().unwrap_or(Bump::None);
    if next.version > old.version {
        return;
    }
    let says: Vec<&str> = changes.iter().map(|(_, says)| says.as_str()).collect();
    let message = match next.version.cmp(&old.version) {
        std::cmp::Ordering::Less => {
            format!("version {} is older than {}, which is published", next.version, old.version)
        }
        _ => {
            format!("version {} is published and never changes, and this is another: {}", next.version, says.join("; "))
        }
    };
    let kind = match bump {
        Bump::None => "what a session does is the same, and the bytes are not".to_owned(),
        bump => format!("a {} change", bump.name()),
    };
    let hint = format!("{kind}: write `version: {}`, or take the change back", u64::from(old.version) + 1);
    findings.report("RSPP0071", Place::default(), "version", message, hint);
}

/// What is different between two bundles of one pipeline, and what each difference needs.
fn changes(old: &PipelineBundle, next: &PipelineBundle) -> Vec<(Bump, String)> {
    let mut changes = Vec::new();
    for gone in old.node_types.iter().filter(|name| !next.node_types.contains(name)) {
        changes.push((Bump::Major, format!("no node is of type {gone} any more")));
    }
    for new in next.node_types.iter().filter(|name| !old.node_types.contains(name)) {
        changes.push((Bump::Minor, format!("nodes of type {new} are new")));
    }
    if old.profile != next.profile {
        changes.push((Bump::Minor, format!("the profile was {}, and is {}", old.profile, next.profile)));
    }
    for (node, bump, says) in bindings(&old.bindings, &next.bindings) {
        changes.push((bump, format!("{node} {says}")));
    }
    if changes.is_empty() && old.plan != next.plan {
        changes.push((Bump::Patch, "the plan".to_owned()));
    }
    let of = |files: &[PinnedFile]| -> BTreeMap<String, PinnedFile> {
        files.iter().map(|file| (file.path.clone(), file.clone())).collect()
    };
    let (before, after) = (of(&old.files), of(&next.files));
    for path in before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))) {
        let says = match (before.get(path), after.get(path)) {
            (Some(a), Some(b)) if a.blake3 == b.blake3 => continue,
            (Some(_), Some(_)) => format!("{path} changed"),
            (Some(_), None) => format!("{path} is gone"),
            (None, _) => format!("{path} is new"),
        };
        let role = after.get(path).or_else(|| before.get(path)).map_or("", |file| file.role.as_str());
        // What of a spec and of its modules matters to a session is in the plan.
        let bump = if ["spec", "module"].contains(&role) { Bump::None } else { Bump::Patch };
        changes.push((bump, says));
    }
    if old.compatibility != next.compatibility {
        changes.push((Bump::None, "it is for another version of the program".to_owned()));
    }
    changes
}

fn bindings<'b>(
    old: &'b BTreeMap<String, String>,
    next: &'b BTreeMap<String, String>,
) -> impl Iterator<Item = (&'b String, Bump, String)> {
    let gone = old.keys().filter(|node| !next.contains_key(*node));
    let gone = gone.map(|node| (node, Bump::Major, "calls nobody any more".to_owned()));
    let other = next.iter().filter_map(|(node, binding)| match old.get(node) {
        Some(before) if before == binding => None,
        Some(before) => Some((node, Bump::Minor, format!("was bound to {before}, and is to {binding}"))),
        None => Some((node, Bump::Minor, format!("is bound to {binding}"))),
    });
    gone.chain(other)
}
