//! Documents that mean harm: each is refused with one clear finding, in bounded time and memory.

use rspp_compiler::{Registry, Request};

fn first(text: &str) -> String {
    let checked = Request::new("spec.yaml", text).check(&Registry::new());
    assert!(checked.plan.is_none());
    checked.findings.0.first().expect("it has a finding").in_a_line()
}

fn refused(text: &str, message: &str) {
    let found = first(text);
    assert!(found.contains("RSPP0001") && found.contains(message), "{found}");
}

const HEAD: &str = "kind: PipelineSpec\nname: x\nversion: 1\n";

#[test]
fn nesting_is_bounded() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[[{a: [", "")] {
        let found = first(&format!("{HEAD}metadata: {{}}\nx: {}{}", open.repeat(200_000), close.repeat(1_000)));
        assert!(found.contains("RSPP0001"), "{open}: {found}");
    }
    refused(&format!("{HEAD}metadata:\n  a: {}{}\n", "[".repeat(80), "]".repeat(80)), "nested more than 64 deep");
}

#[test]
fn aliases_do_not_explode() {
    let mut bomb = format!("{HEAD}metadata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("  a{level}: &a{level} [{before}]\n");
    }
    refused(&bomb, "more than 100000 values");
    let long = "y".repeat(400_000);
    let copies = vec!["*a"; 1_000].join(", ");
    refused(&format!("{HEAD}metadata:\n  a: &a {long}\n  b: [{copies}]\n"), "its aliases written out");
    refused(&format!("{HEAD}metadata: &a [*a]\n"), "an alias of itself");
    assert!(first(&format!("{HEAD}metadata: *nobody\n")).contains("RSPP0001"));
}

#[test]
fn size_is_bounded() {
    refused(&"a".repeat(100_000_000), "larger than 1048576 bytes");
    let many: String = (0..200_000).map(|_| "- \n").collect();
    refused(&format!("{HEAD}edges:\n{many}"), "more than 100000 values");
    // A million unknown fields are a hundred findings and a number.
    let fields: String = (0..20_000).map(|field| format!("f{field}: 1\n")).collect();
    let checked = Request::new("spec.yaml", &format!("{HEAD}{fields}")).check(&Registry::new());
    assert_eq!(checked.findings.0.len(), 101);
    assert!(checked.findings.0[100].message.contains("more findings are not told"));
}

#[test]
fn odd_bytes_and_second_documents_are_told() {
    for text in
        ["\0", "\u{1b}[31m", "%YAML 9.9\n---\n", "--- &a *a", "a: b: c", "\t- x", "!!!x", "'", "\"\\x", "? {}: y"]
    {
        assert!(first(text).contains("RSPP0"), "{text:?}");
    }
    refused(&format!("{HEAD}---\nkind: PipelineSpec\n"), "a second document begins here");
    refused(&format!("{HEAD}? [a]\n: b\n"), "a key is no single word");
    refused("[]", "no map of fields");
}

#[test]
fn no_secret_is_shown() {
    let key = "sk-canary0123456789abcdef";
    for field in ["prompt", "template", "profile", "kind", "versoin", "turn", key] {
        for text in [
            format!("{HEAD}template: voice-assistant\nbind: {{stt: a, llm: b, tts: c}}\n{field}: {key}\n"),
            format!(
                "{HEAD}bind: {{stt: \"https://a/v1?key={key}\", x: {{y: \"Bearer {key}\"}}}}\nnodes: {{a: {{type: {key}}}}}\n{field}: [\"{key}\n"
            ),
        ] {
            let checked = Request::new("spec.yaml", &text).check(&Registry::new());
            let shown = checked.findings.drawn(false) + &checked.findings.in_lines();
            assert!(!shown.contains("canary"), "{field}: {shown}");
        }
    }
}

#[test]
fn a_finding_is_drawn_with_its_line() {
    let text = format!(
        "{HEAD}template: voice-assistant\nbind: {{stt: a, llm: b, tts: c}}\nnodes:\n  vad: {{hangover: 600}}\n"
    );
    let checked = Request::new("mine.yaml", &text).check(&Registry::new());
    let expected = "error[RSPP0008]: a node of type vad has no field hangover\n --> mine.yaml:7:9\n  |\n7 |   vad: {hangover: 600}\n  \
                    |         ^^^^^^^^\n  |\n  = at: nodes.vad.hangover\n  = help: did you mean `hangover_ms`?\n\n1 error; \
                    docs/errors has a page for each code";
    assert_eq!(checked.findings.drawn(false), expected);
}
