//! The rules that look at one file at a time.

use crate::source::{Source, has_word, is_word, words};
use crate::{CORE, Finding};

const MAX_FUNCTION_LINES: usize = 60;
const MAX_TEST_FUNCTION_LINES: usize = 80;
const MAX_FILE_LINES: usize = 700;

const BANNED_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "manager", "common", "service", "misc"];

const NOT_IN_THE_CORE: [&str; 13] = [
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::net",
    "std::env",
    "std::fs",
    "std::process",
    "HashMap",
    "HashSet",
    "RandomState",
    "thread_rng",
    "rand::",
    "tokio",
];

const MINTS: [&str; 2] = ["engine/src/fence.rs", "operators/src/harness.rs"];

/// In two pieces, so that this file passes its own rule.
const MACHINE_PATHS: [&str; 5] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/tm", "p/"), concat!("/Us", "ers/")];

const REGISTRY_HOSTS: [&str; 8] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("proxy.", "golang.org"),
    concat!("registry.", "npmjs."),
    concat!("pypi.", "org"),
    concat!("python", "hosted.org"),
    concat!("art", "ifactory"),
    concat!("cratesio-", "mirror"),
];

const UNFINISHED_MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
const UNFINISHED_WORDS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];

pub(crate) type Rule = fn(&Source, &mut Vec<Finding>);

pub(crate) const RULES: [Rule; 9] = [
    function_length,
    file_length,
    names,
    mint,
    determinism,
    machine_paths,
    registry_hosts,
    unfinished,
    requirement_ids,
];

fn function_length(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_generated() {
        return;
    }
    for function in source.functions() {
        let most = if function.test { MAX_TEST_FUNCTION_LINES } else { MAX_FUNCTION_LINES };
        if function.lines > most {
            let says = format!("`{}` is {} lines long, over {most}; split it", function.name, function.lines);
            findings.push(Finding::new(source, function.line, "function-length", says));
        }
    }
}

fn file_length(source: &Source, findings: &mut Vec<Finding>) {
    let lines = source.text.lines().count();
    if source.is_rust() && !source.is_generated() && lines > MAX_FILE_LINES {
        let says = format!("{lines} lines, over {MAX_FILE_LINES}; find the second idea in it and give it a file");
        findings.push(Finding::new(source, 1, "file-length", says));
    }
}

fn names(source: &Source, findings: &mut Vec<Finding>) {
    let mut judge = |line: usize, name: &str| {
        if let Some(word) = words_of(name).into_iter().find(|word| BANNED_NAMES.contains(&word.as_str())) {
            let says = format!("`{name}`: \"{word}\" says nothing; name it by what it is or does");
            findings.push(Finding::new(source, line, "names", says));
        }
    };
    if [".rs", ".py", ".sh", ".js"].iter().any(|extension| source.path.ends_with(extension)) {
        source.path.split('/').for_each(|part| judge(1, part));
    }
    if source.is_generated() {
        return;
    }
    for (line, code) in source.code_lines() {
        let names: Vec<&str> = words(code).map(|(_, word)| word).collect();
        for pair in names.windows(2) {
            if ["mod", "struct", "enum", "trait", "type", "union"].contains(&pair[0]) {
                judge(line, pair[1]);
            }
        }
    }
}

/// `HttpService`, `http_service` and `http-service.rs` are made of "http" and "service".
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c.is_uppercase() || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("there was one from the start").extend(c.to_lowercase());
        }
    }
    words
}

fn mint(source: &Source, findings: &mut Vec<Finding>) {
    if MINTS.contains(&source.path.as_str()) {
        return;
    }
    for (line, code) in source.code_lines() {
        if has_word(code, "::mint") && !source.in_test(line) {
            let says = "only the fence mints a capability, or revoking means nothing; be handed one".to_owned();
            findings.push(Finding::new(source, line, "mint", says));
        }
    }
}

fn determinism(source: &Source, findings: &mut Vec<Finding>) {
    if !CORE.iter().any(|name| source.path.starts_with(&format!("{name}/src/"))) {
        return;
    }
    for (line, code) in source.code_lines() {
        for word in NOT_IN_THE_CORE.iter().filter(|word| has_word(code, word)) {
            let says =
                format!("`{word}` in the core; it must come in as an input or stay in adapters (maps: BTreeMap)");
            findings.push(Finding::new(source, line, "determinism", says));
        }
    }
}

fn machine_paths(source: &Source, findings: &mut Vec<Finding>) {
    for (line, text) in source.text_lines() {
        for path in MACHINE_PATHS {
            let absolute = |at: usize| !text[..at].ends_with(|c| is_word(c) || "./-$})*~".contains(c));
            if text.match_indices(path).any(|(at, _)| absolute(at)) {
                let says = format!("a path under {path} is one machine's; write it relative to the repository");
                findings.push(Finding::new(source, line, "machine-paths", says));
            }
        }
    }
}

fn registry_hosts(source: &Source, findings: &mut Vec<Finding>) {
    for (line, text) in source.text_lines() {
        for host in REGISTRY_HOSTS.iter().filter(|host| text.contains(**host)) {
            let says = format!("{host} is for the machine's configuration to name; leave it to the package manager");
            findings.push(Finding::new(source, line, "registry-hosts", says));
        }
    }
}

fn unfinished(source: &Source, findings: &mut Vec<Finding>) {
    let mut judge = |line: usize, word: &str| {
        let says = format!("`{word}` marks unfinished work; finish it, or take it out");
        findings.push(Finding::new(source, line, "unfinished", says));
    };
    for (line, code) in source.code_lines() {
        UNFINISHED_MACROS.iter().filter(|word| has_word(code, word)).for_each(|word| judge(line, word));
    }
    for (line, text) in source.text_lines() {
        UNFINISHED_WORDS.iter().filter(|word| has_word(text, word)).for_each(|word| judge(line, word));
    }
}

fn requirement_ids(source: &Source, findings: &mut Vec<Finding>) {
    let mut judge = |line: usize, name: &str| {
        if is_requirement(name) {
            let says = format!("`{name}` is a requirement's number; name it by what is required");
            findings.push(Finding::new(source, line, "requirement-ids", says));
        }
    };
    if source.is_rust() {
        source.path.split('/').for_each(|part| judge(1, part.trim_end_matches(".rs")));
    }
    for (line, code) in source.code_lines() {
        // What begins with a digit is a number, `0x7fff_f000` among them.
        let names = words(code).filter(|(_, word)| !word.starts_with(|c: char| c.is_ascii_digit()));
        names.for_each(|(_, word)| judge(line, word));
    }
}

/// `f_123`, `nf019` or `test_F_123_holds`. They have three digits; so has one type, which is none.
fn is_requirement(name: &str) -> bool {
    let lower = name.to_lowercase().replace('-', "_");
    let parts: Vec<&str> = lower.split('_').collect();
    let number = |text: &str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let apart = parts.windows(2).any(|pair| ["f", "nf"].contains(&pair[0]) && number(pair[1]));
    let joined = |part: &&str| part.strip_prefix("nf").or_else(|| part.strip_prefix('f')).is_some_and(number);
    name != "f128" && (apart || parts.iter().any(joined))
}
