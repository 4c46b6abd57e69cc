//! Every code has a page in `docs/errors`, and the pages are true: the wrong example gives the code, the mended one
//! gives nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rspp_compiler::{Day, Files, Named, NodeType, Registry, Request, lint};
use rspp_operators::merge::Merge;
use rspp_specs::event::PortType;
use rspp_specs::plan::StateClass;
use rspp_specs::port::{Finality, Only};

/// Codes of which no document is an example: bugs of ours, the number of findings, what depends on the program's
/// version, and what it takes two documents for.
const WITHOUT_EXAMPLE: [&str; 5] = ["RSPP0020", "RSPP0043", "RSPP0044", "RSPP0069", "RSPP0071"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The codes that the sources of the compiler and of the program report.
fn reported() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut folders = vec![repository().join("compiler/src"), repository().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("the file can be read");
                let found = text.match_indices("\"RSPP").filter_map(|(at, _)| text.get(at + 1..at + 9));
                codes.extend(
                    found.filter(|code| code[4..].bytes().all(|byte| byte.is_ascii_digit())).map(str::to_owned),
                );
            }
        }
    }
    codes
}

fn pages() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(repository().join("docs/errors")).expect("the folder is there");
    let mut pages = BTreeMap::new();
    for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
        let name = path.file_stem().expect("a page has a name").to_string_lossy().into_owned();
        if name != "README" {
            pages.insert(name, std::fs::read_to_string(&path).expect("the page can be read"));
        }
    }
    pages
}

/// The example below a heading.
fn example<'p>(page: &'p str, heading: &str) -> Option<&'p str> {
    let (_, rest) = page.split_once(&format!("## {heading}\n\n```yaml\n"))?;
    rest.split_once("```").map(|(example, _)| example)
}

fn registry() -> Registry {
    let shout = NodeType::new(PortType::Text, PortType::Text, |config| match config.get("volume") {
        Some(_) => Ok(Box::new(Merge::new(1))),
        None => Err("volume is missing".to_owned()),
    });
    let of = |from: PortType, to: PortType| NodeType::new(from, to, |_| Ok(Box::new(Merge::new(1))));
    let schema = |name: &str| Only::Schema(name.to_owned());
    let minutes = of(PortType::Transcript, PortType::Text).with_only("in", &Only::Finality(Finality::Final));
    let tally = of(PortType::Audio, PortType::Audio).keeping(StateClass::TurnEphemeral);
    Registry::new()
        .with("tally", tally)
        .with("shout", shout)
        .with("minutes", minutes)
        .with("contact", of(PortType::Text, PortType::Custom).with_only("out", &schema("crm.contact/v1")))
        .with("dial", of(PortType::Custom, PortType::Text).with_only("in", &schema("crm.contact/v1")))
        .with("report", of(PortType::Custom, PortType::Text).with_only("in", &schema("crm.report/v1")))
}

/// The documents that examples import.
struct Beside;

impl Files for Beside {
    fn read(&self, path: &str) -> Result<String, String> {
        let path = repository().join("compiler/testdata/beside").join(path);
        std::fs::read_to_string(path).map_err(|_| "no such file".to_owned())
    }
}

fn codes_of(document: &str) -> Vec<&'static str> {
    let text = Beside.read("compatibility.yaml").expect("the policy is there");
    let request = Request {
        today: Day::parse("2026-06-15"),
        compatibility: Some(Named { name: "compatibility.yaml".to_owned(), text }),
        ..Request::new("example.yaml", document).with_files(&Beside)
    };
    let (_, findings) = lint(&request, &registry());
    findings.0.iter().map(|finding| finding.code).collect()
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let (reported, pages) = (reported(), pages());
    let paged: BTreeSet<String> = pages.keys().cloned().collect();
    assert!(reported.len() > 30, "{reported:?}");
    assert_eq!(reported, paged, "codes in the sources, and pages in docs/errors");
    let list = std::fs::read_to_string(repository().join("docs/errors/README.md")).expect("there is a list");
    for (code, page) in &pages {
        let title = page.lines().next().and_then(|line| line.strip_prefix(&format!("# {code}: ")));
        let title = title.unwrap_or_else(|| panic!("{code}.md begins with `# {code}: `"));
        assert!(list.contains(&format!("| [{code}]({code}.md) | {title} |\n")), "{code} is not in the list as it is");
        assert!(page.lines().nth(2).is_some_and(|line| line.len() > 20), "{code}.md says what it means");
    }
}

#[test]
fn the_examples_of_the_pages_are_true() {
    for (code, page) in pages() {
        let (wrong, mended) = (example(&page, "Wrong"), example(&page, "Mended"));
        let exempt = WITHOUT_EXAMPLE.contains(&code.as_str());
        assert!(exempt || wrong.is_some() && mended.is_some(), "{code}.md has no examples");
        if let (Some(wrong), Some(mended)) = (wrong, mended) {
            assert_eq!(codes_of(wrong), [code.as_str()], "{code}: the wrong example");
            assert_eq!(codes_of(mended), [""; 0], "{code}: the mended example");
        }
    }
}
