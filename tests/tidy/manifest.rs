//! Which crate may import what, and what else every manifest says.

use crate::source::Source;
use crate::{Finding, Repository};

/// One row of the import table.
struct Imports {
    name: &'static str,
    ours: &'static [&'static str],
    /// `None`: anything.
    others: Option<&'static [&'static str]>,
}

/// The core is deterministic because it can't reach what is not: no runtime, no random source, no queue. A new
/// crate, or a new dependency of a core crate, is a new word here, and wants its reason in the review.
const TABLE: &[Imports] = &[
    Imports {
        name: "rspp-specs",
        ours: &[],
        others: Some(&["blake3", "prost", "schemars", "serde", "serde_json", "thiserror"]),
    },
    Imports {
        name: "rspp-sound",
        ours: &["rspp-specs"],
        others: Some(&["audio-codec-algorithms", "libm", "thiserror"]),
    },
    Imports { name: "rspp-operators", ours: &["rspp-specs", "rspp-sound"], others: Some(&["earshot", "timely"]) },
    Imports {
        name: "rspp-compiler",
        ours: &["rspp-specs", "rspp-operators"],
        others: Some(&[
            "annotate-snippets",
            "blake3",
            "granit-parser",
            "petgraph",
            "schemars",
            "serde",
            "serde_json",
            "thiserror",
            "timely",
        ]),
    },
    Imports { name: "rspp-engine", ours: &["rspp-specs"], others: Some(&["thiserror", "timely"]) },
    Imports { name: "rspp-adapters", ours: &["rspp-specs", "rspp-sound", "rspp-engine"], others: None },
    Imports { name: "rspp-livekit", ours: &["rspp-specs", "rspp-adapters"], others: None },
    Imports { name: "rspp-controlplane", ours: &["rspp-specs"], others: None },
    Imports { name: "rspp-telemetry", ours: &["rspp-specs", "rspp-adapters"], others: None },
    Imports { name: "rspp-checker", ours: &["rspp-specs"], others: Some(&[]) },
    Imports {
        name: "rspp",
        ours: &[
            "rspp-specs",
            "rspp-operators",
            "rspp-compiler",
            "rspp-engine",
            "rspp-adapters",
            "rspp-livekit",
            "rspp-controlplane",
            "rspp-telemetry",
            "rspp-checker",
        ],
        others: None,
    },
    Imports { name: "rspp-fuzz", ours: &["rspp"], others: None },
    Imports { name: "rspp-floor", ours: &["rspp-specs"], others: None },
    // Somebody's own program needs nothing of ours but the library.
    Imports { name: "custom-node", ours: &["rspp"], others: None },
];

/// Any crate's tests may be judged by the checker.
const FOR_TESTS: &str = "rspp-checker";

/// A line `key = value`, under its `[section]`.
struct Entry {
    line: usize,
    section: String,
    key: String,
    value: String,
}

/// `[dependencies.x]` is an entry `x` of `[dependencies]`. What is inside an array over several lines is passed by.
fn entries(manifest: &str) -> Vec<Entry> {
    let mut section = String::new();
    let mut entries = Vec::new();
    for (index, text) in manifest.lines().enumerate() {
        let (line, text) = (index + 1, text.trim());
        if let Some(header) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = header.trim_matches(['[', ']', ' ']).to_owned();
            if let Some((parent, key)) = section.rsplit_once('.').filter(|(parent, _)| parent.ends_with("dependencies"))
            {
                let (section, key) = (parent.to_owned(), key.to_owned());
                entries.push(Entry { line, section, key, value: String::new() });
            }
        } else if let Some((key, value)) = text.split_once('=') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            if key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                entries.push(Entry { line, section: section.clone(), key, value });
            }
        }
    }
    entries
}

pub(crate) fn imports(repository: &Repository, findings: &mut Vec<Finding>) {
    for manifest in repository.manifests() {
        let entries = entries(&manifest.text);
        let name = entries.iter().find(|entry| entry.section == "package" && entry.key == "name");
        let Some(name) = name.map(|entry| entry.value.trim_matches('"')) else { continue };
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            let says = format!("`{name}` has no row in the import table; add one to tests/tidy/manifest.rs");
            findings.push(Finding::new(manifest, 1, "imports", says));
            continue;
        };
        for entry in entries.iter().filter(|entry| entry.section.ends_with("dependencies")) {
            if let Some(says) = complaint(row, entry) {
                findings.push(Finding::new(manifest, entry.line, "imports", says));
            }
        }
    }
}

fn complaint(row: &Imports, entry: &Entry) -> Option<String> {
    if entry.value.contains("package =") {
        return Some(format!("`{}` hides another crate's name; depend on it under its own", entry.key));
    }
    if entry.section == "workspace.dependencies" {
        return None;
    }
    let import = entry.key.split('.').next().unwrap_or_default();
    let for_tests = entry.section.ends_with("dev-dependencies");
    if import.starts_with("rspp") {
        let allowed = row.ours.contains(&import) || for_tests && import == FOR_TESTS;
        let may = row.ours.join(", ");
        return (!allowed).then(|| {
            format!("{} must not import {import} (of ours, it may: {may}); turn the dependency round", row.name)
        });
    }
    let allowed = for_tests || row.others.is_none_or(|others| others.contains(&import));
    (!allowed).then(|| {
        format!("{} must not import {import}; do this in adapters, or argue for a word in the import table", row.name)
    })
}

pub(crate) fn lints(repository: &Repository, findings: &mut Vec<Finding>) {
    for manifest in repository.manifests() {
        let inherits = |entry: &Entry| {
            let dotted = entry.section.is_empty() && entry.key == "lints.workspace";
            (dotted || entry.section == "lints" && entry.key == "workspace") && entry.value == "true"
        };
        if !entries(&manifest.text).iter().any(inherits) {
            let says = "the workspace's lints are not in force; add `[lints]` with `workspace = true`".to_owned();
            findings.push(Finding::new(manifest, 1, "lints", says));
        }
    }
}

pub(crate) fn crate_docs(repository: &Repository, findings: &mut Vec<Finding>) {
    for manifest in repository.manifests() {
        let folder = manifest.path.strip_suffix("Cargo.toml").unwrap_or_default();
        let roots: Vec<&Source> = ["src/lib.rs", "src/main.rs"]
            .iter()
            .filter_map(|root| repository.file(&format!("{folder}{root}")))
            .collect();
        for root in roots {
            if !root.text.starts_with("//!") {
                let says = "the crate does not say what it is; begin with `//!` and where to start reading".to_owned();
                findings.push(Finding::new(root, 1, "crate-docs", says));
            }
        }
    }
}
