//! The house rules that the compiler, rustfmt and clippy can't keep, kept by a program. `cargo test --test tidy`
//! tells everything that it finds at once, each with its place, its rule and what to do. There is no way to switch
//! a rule off in place: an exception is a word in a table here, where a reviewer sees it.
//!
//! - `imports`: a crate of ours imports only what its row of the import table names, of ours and, in the core and
//!   the checker, of others. Imports by tests are free, but for crates of ours. A dependency goes by its own name.
//! - `function-length`: no function has more than 60 lines of code, in tests 80; half of them have at most 12.
//! - `file-length`: no Rust file has more than 700 lines.
//! - `names`: no file, folder, module or type is called by a word that fits everything, such as `utils` or `manager`.
//! - `mint`: outside tests, the capability of a turn is minted by the fence only, and by the harness of node tests.
//! - `determinism`: the core's code has no clock, thread, socket, file, environment, random source or hash order.
//! - `clippy`: each core crate bans the same things in its `clippy.toml`, so that the one text is the rule.
//! - `machine-paths`: no file names a path of the machine that it was written on.
//! - `registry-hosts`: no file names a package registry's host; lock files are cargo's own and are not looked at.
//! - `unfinished`: nothing is left to be done by a macro that panics or by a word in a comment.
//! - `lints`: every crate is under the workspace's lints.
//! - `crate-docs`: every crate begins with what it is and where to start reading.
//! - `coverage`: `docs/coverage.csv` has every requirement once, with a state and, where it works, a test that is there;
//!   the README says how many there are of each.
//! - `requirement-ids`: a requirement's number is no name; `turn_closes_once` is one.
//!
//! Generated files, which say `@generated` at their top, are free of the rules on length and names. The rules on
//! code look past comments and literals.

use std::fmt;
use std::path::Path;
use std::process::Command;

#[path = "tidy/coverage.rs"]
mod coverage;
#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use source::{Function, Source};

/// The crates between the door and the effects.
const CORE: [&str; 5] = ["specs", "sound", "operators", "compiler", "engine"];

const MAX_MEDIAN_LINES: usize = 12;

struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    says: String,
}

impl Finding {
    fn new(source: &Source, line: usize, rule: &'static str, says: String) -> Self {
        Self { path: source.path.clone(), line, rule, says }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.says)
    }
}

/// Every text file that is, or could be, committed. Lock files are cargo's own.
struct Repository {
    files: Vec<Source>,
}

impl Repository {
    fn read(root: &Path) -> Self {
        let mut paths = listed_by_git(root).unwrap_or_else(|| walked(root));
        paths.sort();
        paths.dedup();
        // What is no UTF-8 is a recording or a picture; what is listed and gone is about to be committed as gone.
        let text = |path: &String| std::fs::read_to_string(root.join(path)).ok();
        let files = paths.iter().filter(|path| !path.ends_with(".lock"));
        Self { files: files.filter_map(|path| Some(Source::new(path, text(path)?))).collect() }
    }

    fn file(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|file| file.path == path)
    }

    fn manifests(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.path.split('/').next_back() == Some("Cargo.toml"))
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for file in &self.files {
            rules::RULES.iter().for_each(|rule| rule(file, &mut findings));
        }
        manifest::imports(self, &mut findings);
        manifest::lints(self, &mut findings);
        manifest::crate_docs(self, &mut findings);
        coverage::coverage(self, &mut findings);
        findings
    }
}

/// `None` outside a git checkout, also where an unpacked archive lies within one.
fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let mut git = Command::new("git");
    let git = git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    let paths: Vec<String> =
        String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect();
    paths.iter().any(|path| path == "Cargo.toml").then_some(paths)
}

fn walked(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder was listed").map(|entry| entry.expect("so was this"))
        {
            let (path, name) = (entry.path(), entry.file_name());
            if !path.is_dir() {
                let path = path.strip_prefix(root).expect("it was found under the root");
                paths.push(path.to_string_lossy().replace('\\', "/"));
            } else if name == ".ci" || name != "target" && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            }
        }
    }
    paths
}

fn repository() -> Repository {
    Repository::read(Path::new(env!("CARGO_MANIFEST_DIR")))
}

#[test]
fn the_repository_is_tidy() {
    let repository = repository();
    assert!(repository.files.len() > 50, "only {} files were found", repository.files.len());
    let findings: Vec<String> = repository.findings().iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn half_of_the_functions_are_short() {
    let repository = repository();
    let written = repository.files.iter().filter(|file| !file.is_generated());
    let functions: Vec<Function> = written.flat_map(Source::functions).filter(|function| !function.test).collect();
    let mut lines: Vec<usize> = functions.iter().map(|function| function.lines).collect();
    lines.sort_unstable();
    let at = |percent: usize| lines[(lines.len() - 1) * percent / 100];
    eprintln!("{} functions; lines: median {}, 90% {}, longest {}", lines.len(), at(50), at(90), at(100));
    assert!(at(50) <= MAX_MEDIAN_LINES, "the median function has {} lines, over {MAX_MEDIAN_LINES}", at(50));
}

#[test]
fn the_core_crates_ban_the_same() {
    let repository = repository();
    let text = |name: &str| repository.file(&format!("{name}/clippy.toml")).map(|file| file.text.as_str());
    for name in CORE {
        assert!(text(name).is_some(), "{name}/clippy.toml is missing; copy {}/clippy.toml", CORE[0]);
        assert!(text(name) == text(CORE[0]), "{name}/clippy.toml is not {}/clippy.toml; make them equal", CORE[0]);
    }
}

/// The rules that fire on one file, each with its line.
fn check(path: &str, text: &str, expected: &[(usize, &str)]) {
    let repository = Repository { files: vec![Source::new(path, text.to_owned())] };
    let findings = repository.findings();
    let found: Vec<(usize, &str)> = findings.iter().map(|finding| (finding.line, finding.rule)).collect();
    assert_eq!(found, expected, "{path}: {text}");
}

#[test]
fn rules_on_code_fire_and_look_past_comments_and_literals() {
    let core = "engine/src/a.rs";
    check(core, "fn a() {\n    Instant::now()\n}", &[(2, "determinism")]);
    check(core, "// Instant::now\nfn a() -> &str {\n    \"HashMap\"\n}", &[]);
    check(core, "use std::collections::{BTreeMap, HashMap};", &[(1, "determinism")]);
    check("adapters/src/a.rs", "use std::thread;", &[]);
    check("adapters/src/a.rs", "fn a() {\n    TurnCapability::mint(b)\n}", &[(2, "mint")]);
    check("engine/src/fence.rs", "fn a() {\n    TurnCapability::mint(b)\n}", &[]);
    let tested = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn a() {\n        TurnCapability::mint(b)\n    }\n}\n";
    check("adapters/src/a.rs", tested, &[]);
    check("adapters/src/a.rs", &format!("{tested}fn c() {{ TurnCapability::mint(b) }}"), &[(8, "mint")]);
    check("src/a.rs", "fn a() {\n    todo!()\n}", &[(2, "unfinished")]);
    check("src/a.rs", "// todo! is no macro here", &[]);
    check("src/a.rs", "struct HttpManager;\nstruct Managers;", &[(1, "names")]);
    check("src/string_utils.rs", "", &[(1, "names")]);
    check("deploy/service.yaml", "", &[]);
    check(
        "src/a.rs",
        "fn f_123() {}\nfn NF019() {}\nfn a(b: f32, c: f128, d: x_f_12) {\n    0x7fff_f000\n}",
        &[(1, "requirement-ids"), (2, "requirement-ids")],
    );
}

#[test]
fn rules_on_text_fire_in_any_file() {
    let path = |name: &str| format!("a /{name}/b and {{folder}}/{name}/b and x/{name}/c");
    check("README.md", &path("target"), &[]);
    check("README.md", &path(concat!("ro", "ot")), &[(1, "machine-paths")]);
    check("README.md", concat!("see {folder}/ho", "me/b, x/tm", "p/c and https://a.b/wo", "rk/"), &[]);
    check("ci/a", concat!("curl https://index.", "crates.io/a"), &[(1, "registry-hosts")]);
    check("ci/a", concat!("# FIX", "ME\nmktemp XX", "XXXX"), &[(1, "unfinished")]);
}

#[test]
fn long_functions_and_files_are_found() {
    let body = |lines: usize| format!("fn a(b: [u8; 2]) {{\n{}}}\n", "    b;\n\n    // c\n".repeat(lines - 2));
    check("src/a.rs", &body(60), &[]);
    check("src/a.rs", &body(61), &[(1, "function-length")]);
    check("tests/a.rs", &body(80), &[]);
    check("tests/checker/src/a.rs", &body(80), &[(1, "function-length")]);
    check("src/a.rs", &format!("// {}generated\n{}", '@', body(61)), &[]);
    check("src/a.rs", &"\n".repeat(701), &[(1, "file-length")]);
}

#[test]
fn manifests_are_held_to_the_import_table() {
    let check = |name: &str, rest: &str, expected: &[(usize, &str)]| {
        check("a/Cargo.toml", &format!("lints.workspace = true\n[package]\nname = \"{name}\"\n{rest}"), expected);
    };
    check("rspp-engine", "[dependencies]\ntimely.workspace = true\nrspp-specs = { path = \"b\" }", &[]);
    check("rspp-engine", "[dependencies]\nrspp-compiler.workspace = true", &[(5, "imports")]);
    check("rspp-engine", "[dependencies.tokio]\nversion = \"1\"", &[(4, "imports")]);
    check("rspp-engine", "[target.'cfg(unix)'.dependencies]\nrand = \"1\"", &[(5, "imports")]);
    check("rspp-engine", "[dev-dependencies]\nproptest = \"1\"\nrspp-checker.workspace = true", &[]);
    check("rspp-engine", "[dev-dependencies]\nrspp-adapters.workspace = true", &[(5, "imports")]);
    check("rspp-engine", "[dependencies]\ntimely = { package = \"rand\" }", &[(5, "imports")]);
    check("rspp-adapters", "[dependencies]\ntokio = \"1\"", &[]);
    check("rspp-other", "", &[(1, "imports")]);
}

#[test]
fn every_crate_is_under_the_lints() {
    check("a/Cargo.toml", "[package]\nname = \"rspp-engine\"", &[(1, "lints")]);
    check("a/Cargo.toml", "[package]\nname = \"rspp-engine\"\n[lints]\nworkspace = true", &[]);
}

#[test]
fn literals_and_comments_are_blanked_and_lines_stay() {
    let code = |text: &str| Source::new("a.rs", text.to_owned()).code.replace(' ', "");
    assert_eq!(code("a /* b /* c */\n d */ e // f\n g"), "a\ne\ng");
    assert_eq!(code(r##"a "b\"c" d r#"e"f"# g br"\" h r#type"##), "adghr#type");
    assert_eq!(code(r"a<'b> '{' '\'' b'}' '\u{e9}' 'é' c"), "a<'b>c");
    assert_eq!(code("\"a\nb\" \"//\" é"), "\né");
}
