use std::collections::BTreeSet;

use proptest::prelude::*;
use rspp_specs::event::{ContextEntry, ToolCall};

use super::*;

fn restaurant() -> Dialogue {
    Dialogue::parse(RESTAURANT).unwrap_or_else(|error| panic!("the bundled dialogue is good:\n{error}"))
}

fn user(text: &str) -> ContextEntry {
    ContextEntry::User { text: text.into(), understood: true }
}

/// The caller's turns, from the first on, separated by `/`, with answers and a tool's result between them.
fn context(turns: &str) -> Vec<ContextEntry> {
    let call = ToolCall { key: "1".into(), name: "note".into(), arguments: "{}".into() };
    let between = [
        ContextEntry::Agent { text: "I see.".into(), cut: true },
        ContextEntry::Tool { call, result: Some("ok".into()) },
    ];
    let mut entries = Vec::new();
    for turn in turns.split('/') {
        entries.extend(between.clone());
        entries.push(user(turn));
    }
    entries
}

/// `expect` is the intent, a colon, and a part of the answer; the intent is `-` when nothing is understood.
fn check(turns: &str, expect: &str) {
    let answer = restaurant().answer(&context(turns));
    let (intent, part) = expect.split_once(": ").expect("the expectation has a colon");
    assert_eq!(answer.intent.as_deref().unwrap_or("-"), intent, "{turns}");
    assert!(answer.text.contains(part), "{turns}: {}", answer.text);
}

#[test]
fn utterances_get_their_answers() {
    for (turns, expect) in [
        ("what time do you open on monday", "opens: closed on Mondays"),
        ("when do you open on tuesday", "opens: at noon for lunch"),
        ("When do you open on Wednesday?", "opens: half past eleven"),
        ("  what TIME do you open, on thursday ", "opens: half past five"),
        ("when do you open on friday", "opens: without a break"),
        ("when do you open on saturday", "opens: at five in the evening"),
        ("when do you open on sunday", "opens: ten in the morning"),
        ("when do you close on monday", "closes: closed all day"),
        ("what time do you close on tuesday", "closes: close at ten"),
        ("when do you close on saturday", "closes: one in the morning"),
        ("where are you", "place: beside the river"),
        ("Where are you?!", "place: beside the river"),
        ("what is your address", "address: twelve Bridge Street"),
        ("What\u{2019}s your address?", "address: twelve Bridge Street"),
        ("what is today's special", "special: sea bass"),
        ("what's the special today", "special: sea bass"),
        ("book a table for four at half past seven", "book: A table for four at half past seven is booked."),
        ("I would like a table for two at eight.", "book: A table for two at eight is booked."),
        ("i'd like a table for twelve at quarter past one", "book: for twelve at quarter past one"),
        ("book a table for one at seven thirty", "book: for one at seven thirty"),
        ("change my booking", "change: no booking in this call"),
        ("cancel my booking", "cancel: no booking in this call"),
        ("thank you", "thanks: very welcome"),
        ("thank you very much", "thanks: very welcome"),
        ("goodbye", "goodbye: see you soon"),
        ("Thank you, goodbye!", "goodbye: see you soon"),
        ("when do you open on holiday", "-: I did not understand"),
        ("when do you open", "-: I did not understand"),
        ("please when do you open on monday", "-: I did not understand"),
        ("book a table for thirteen at six", "-: I did not understand"),
        ("book a table for four at half past", "-: I did not understand"),
        ("book a table for four at half past seven thirty", "-: I did not understand"),
        ("thank you thank you", "-: I did not understand"),
        ("", "-: I did not understand"),
        ("...", "-: I did not understand"),
    ] {
        check(turns, expect);
    }
}

#[test]
fn what_was_said_before_changes_the_answer() {
    let book = "book a table for four at half past seven";
    for (turns, expect) in [
        (format!("{book}/change my booking"), "change: a table for four at half past seven."),
        (format!("{book}/where are you/nonsense/change my booking"), "change: a table for four"),
        (format!("{book}/book a table for two at six/change my booking"), "change: a table for two at six."),
        (format!("{book}/cancel my booking"), "cancel: Your table for four at half past seven is cancelled."),
        (format!("{book}/cancel my booking/cancel my booking"), "cancel: cancelled already"),
        (format!("{book}/cancel my booking/change my booking"), "change: That booking is cancelled."),
        (format!("{book}/cancel my booking/{book}/change my booking"), "change: a table for four"),
        (format!("{book}/goodbye"), "goodbye: seeing you at half past seven."),
        (format!("change my booking/{book}"), "book: for four at half past seven is booked"),
        (format!("{book}/nonsense"), "-: I did not understand"),
    ] {
        check(&turns, expect);
    }
}

#[test]
fn what_nobody_understood_is_not_answered() {
    let dialogue = restaurant();
    for context in [
        vec![ContextEntry::User { text: "".into(), understood: false }],
        vec![ContextEntry::User { text: "where are you".into(), understood: false }],
        vec![user("where are you"), ContextEntry::User { text: "".into(), understood: false }],
        vec![ContextEntry::Agent { text: "Hello.".into(), cut: false }],
        Vec::new(),
    ] {
        let answer = dialogue.answer(&context);
        assert!(answer.text.starts_with("I did not understand"), "{context:?}: {}", answer.text);
    }
    let unheard = ContextEntry::User { text: "book a table for two at six".into(), understood: false };
    assert!(dialogue.answer(&[unheard, user("change my booking")]).text.contains("no booking"));
}

#[test]
fn every_answer_takes_three_to_seven_seconds() {
    let dialogue = restaurant();
    let mut texts = BTreeSet::from([dialogue.answer(&[]).text]);
    for intent in &dialogue.intents {
        for n in 0..intent.say.count(&dialogue.rules) {
            let mut said = Vec::new();
            intent.say.say(n, &dialogue.rules, &mut said);
            let now = user(&said.join(" "));
            texts.insert(dialogue.answer(std::slice::from_ref(&now)).text);
            for next in ["change my booking", "cancel my booking", "goodbye"] {
                texts.insert(dialogue.answer(&[now.clone(), user(next)]).text);
            }
        }
    }
    assert!(texts.len() > 1_000, "{}", texts.len());
    for text in texts {
        assert!((45..=105).contains(&text.chars().count()), "{} characters: {text}", text.chars().count());
    }
}

#[test]
fn every_sample_phrase_is_understood_as_its_own_intent() {
    let dialogue = restaurant();
    let phrases: Vec<String> = dialogue.phrases().collect();
    assert_eq!(phrases, dialogue.phrases().collect::<Vec<_>>());
    assert_eq!(phrases.iter().collect::<BTreeSet<_>>().len(), phrases.len(), "none comes twice");
    let understood: Vec<_> = phrases.iter().map(|phrase| dialogue.answer(&[user(phrase)]).intent).collect();
    for intent in &dialogue.intents {
        let count = understood.iter().filter(|name| name.as_ref() == Some(&intent.name)).count() as u64;
        assert_eq!(count, intent.say.count(&dialogue.rules).min(MAX_INTENT_PHRASES), "{}", intent.name);
    }
    let words: BTreeSet<&str> = phrases.iter().flat_map(|phrase| phrase.split(' ')).collect();
    let spoken = dialogue.grammar();
    let spoken = spoken.lines().filter(|line| line.starts_with('<')).filter_map(|line| line.split_once('=')).flat_map(
        |(_, body)| body.split(|c: char| !(c.is_alphanumeric() || "'<>".contains(c))).filter(|word| !word.is_empty()),
    );
    let unspoken: Vec<&str> = spoken.filter(|word| !word.contains('<') && !words.contains(word)).collect();
    assert!(unspoken.is_empty(), "no sample says {unspoken:?}");
}

#[test]
fn the_grammar_is_jsgf() {
    let small = "
name: small
not_understood: What?
lists: {day: [monday, new year's day]}
intents:
  - {name: open, say: ['[please] open (now | on <day>)', open], answer: Yes.}
  - {name: bye, say: [bye], answer: Bye.}
";
    let grammar = Dialogue::parse(small).expect("the dialogue is good").grammar();
    let expect = "#JSGF V1.0;

grammar small;

public <utterance> = <open> | <bye>;

<open> = [please] open (now | on <day>) | open;
<bye> = bye;
<day> = monday | new year's day;
";
    assert_eq!(grammar, expect);
    assert!(restaurant().grammar().contains("<time> = <hour> [thirty] | (quarter | half) past <hour>;\n"));
}

#[test]
fn answers_stream_in_pieces_that_join_to_the_text() {
    let dialogue = restaurant();
    for phrase in dialogue.phrases() {
        let answer = dialogue.answer(&[user(&phrase)]);
        assert_eq!(dialogue.chunks(&answer).concat(), answer.text);
    }
    let answer = Answer { text: "On Wednesdays, naïvely; yes.".into(), intent: None };
    assert_eq!(dialogue.chunks(&answer), ["On", " Wedne", "sdays", ",", " naïvely", ";", " yes", "."]);
}

/// A small dialogue with one part replaced, and what is said of it.
fn check_findings(from: &str, to: &str, expect: &[&str]) {
    let good = "name: small
not_understood: What?
lists:
  day: [monday, tuesday]
rules:
  when: on <day>
tables:
  hours:
    of: day
    values: {monday: nine, tuesday: ten}
intents:
  - name: open
    say: [open <when>, do open <day>]
    answer: On {day} at {hours}.
    after: {open: 'Again on {day}.'}
";
    assert!(good.contains(from), "{from}");
    let error = Dialogue::parse(&good.replacen(from, to, 1)).err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(error.lines().collect::<Vec<_>>(), expect, "{from} -> {to}");
}

/// What is changed in a good file, into what, and what is said of it.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    ("", "", &[]),
    ("[monday, tuesday]", "[monday, tuesday", &["line 5, column 6: illegal placement of ':' indicator"]),
    (
        "not_understood",
        "misunderstood",
        &[
            "line 2, column 1: unknown field `misunderstood`, expected one of name, not_understood, lists, rules, tables, intents",
        ],
    ),
    ("rules:", "lists: {}\nrules:", &["line 5, column 1: duplicate mapping key: lists"]),
    ("name: small\n", "", &["line 10, column 1: missing field `name`"]),
    ("name: small", "name: [small]", &["line 1, column 7: expected string scalar"]),
    (
        "name: small",
        "name: Small Talk",
        &[
            "line 1, column 7: the dialogue cannot be called `Small Talk`: a name begins with a letter from a to z; letters, digits and `_` follow",
        ],
    ),
    ("What?", "'?'", &["line 2, column 17: there are no words to say here"]),
    (
        "[monday, tuesday]",
        "[Monday, tuesday, '', monday, monday]",
        &[
            "line 4, column 9: `Monday` is never heard like this: write `monday`",
            "line 4, column 26: `` is never heard like this",
            "line 4, column 38: `monday` is in the list `day` twice",
            "line 9, column 5: the table `hours` has no value for ``",
            "line 9, column 5: the table `hours` has no value for `Monday`",
        ],
    ),
    (
        "[monday, tuesday]",
        "[]",
        &[
            "line 4, column 8: the list `day` is empty",
            "line 10, column 22: `monday` is not in the list `day`",
            "line 10, column 37: `tuesday` is not in the list `day`",
        ],
    ),
    (
        "day: [monday, tuesday]",
        "when: [monday, tuesday]",
        &[
            "line 6, column 9: the rule `when` has a name that is taken: lists, rules, tables and intents share names",
            "line 6, column 9: there is no list or rule for `<day>`",
            "line 9, column 9: there is no list `day`: a table has a value for each of a list",
            "line 13, column 24: there is no list or rule for `<day>`",
            "line 14, column 13: there is no list, rule or table `day` for `{day}`",
            "line 15, column 19: there is no list, rule or table `day` for `{day}`",
        ],
    ),
    (
        "on <day>",
        "on <day",
        &["line 6, column 9: `<day` is no name in brackets: write it like `<weekday>` (at character 4 of the pattern)"],
    ),
    ("on <day>", "on <month> <year>", &["line 6, column 9: there is no list or rule for `<month>`, `<year>`"]),
    (
        "on <day>",
        "on <when>",
        &["line 6, column 9: the rule `when` has no end: it leads to itself, or through more than 16 rules"],
    ),
    (
        "of: day",
        "of: when",
        &[
            "line 9, column 9: there is no list `when`: a table has a value for each of a list",
            "line 14, column 13: `{hours}` needs `<when>`, and the patterns say only `day` every time",
        ],
    ),
    (
        "{monday: nine, tuesday: ten}",
        "{monday: 'ni{n}e', sunday: ten}",
        &[
            "line 9, column 5: the table `hours` has no value for `tuesday`",
            "line 10, column 22: braces are for answers: a table's values are said as they are",
            "line 10, column 40: `sunday` is not in the list `day`",
        ],
    ),
    (
        "hours:",
        "utterance:",
        &[
            "line 9, column 5: the table `utterance` has a name that is taken: lists, rules, tables and intents share names",
            "line 14, column 13: there is no list, rule or table `hours` for `{hours}`",
        ],
    ),
    (
        "name: open",
        "name: day",
        &[
            "line 12, column 11: the intent `day` has a name that is taken: lists, rules, tables and intents share names",
            "line 15, column 19: there is no intent `open` that this answer could come after",
        ],
    ),
    ("[open <when>, do open <day>]", "[]", &["line 13, column 10: there is no pattern to match here"]),
    (
        "[open <when>, do open <day>]",
        "['[open]', 'on <day>']",
        &["line 13, column 11: silence matches this pattern: at least one word must be needed"],
    ),
    (
        "[open <when>, do open <day>]",
        "['open [<day>]']",
        &[
            "line 14, column 13: `{day}` needs `<day>`, and the patterns say no list or rule every time",
            "line 14, column 13: `{hours}` needs `<day>`, and the patterns say no list or rule every time",
            "line 15, column 19: `{day}` needs `<day>`, and the patterns say no list or rule every time",
        ],
    ),
    ("On {day} at {hours}.", "On {when} at {noon", &["line 14, column 13: `{` in this answer has no `}` after it"]),
    (
        "On {day} at {hours}.",
        "On {when} at {noon}.",
        &[
            "line 14, column 13: `{when}` needs `<when>`, and the patterns say only `day` every time",
            "line 14, column 13: there is no list, rule or table `noon` for `{noon}`",
        ],
    ),
    (
        "{open: 'Again",
        "{close: 'Again",
        &["line 15, column 20: there is no intent `close` that this answer could come after"],
    ),
    (
        "do open <day>]",
        "do open <day>]\n    colour: red",
        &["line 14, column 5: unknown field `colour`, expected one of name, say, answer, after, tool"],
    ),
    ("answer: On {day} at {hours}.", "answer: ''", &["line 14, column 13: there are no words to say here"]),
];

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    for (from, to, expect) in MISTAKES {
        check_findings(from, to, expect);
    }
}

#[test]
fn a_file_that_would_grow_without_bounds_is_refused() {
    let doubling: String = (1..15).map(|n| format!("  r{n}: <r{0}> <r{0}>\n", n - 1)).collect();
    let text = format!(
        "name: big\nnot_understood: What?\nrules:\n  r0: a\n{doubling}intents:\n  - {{name: i, say: [a <r9>, b <r9> <r10>, <r14>], answer: Yes}}\n"
    );
    let error = Dialogue::parse(&text).expect_err("the rules double 14 times").to_string();
    let expect = "line 15, column 8: `r11` has more than 4096 parts when all its rules are written out
line 20, column 20: these patterns have 8191 parts when all rules are written out, at most 4096 are matched";
    assert_eq!(error, expect);
    let deep = |rules: u32| {
        let nested = |inner: String| format!("{}{inner}{}", "a [(b | ".repeat(8), ")]".repeat(8));
        let chain: String = (1..rules).map(|n| format!("  r{n}: {}\n", nested(format!("<r{}>", n - 1)))).collect();
        let head = "name: deep\nnot_understood: What?\nrules:\n  r0: a\n";
        let last = rules - 1;
        Dialogue::parse(&format!("{head}{chain}intents:\n  - {{name: i, say: [<r{last}>], answer: Yes}}\n"))
    };
    let error = deep(17).expect_err("the rules are too deep").to_string();
    assert_eq!(
        error,
        "line 20, column 8: the rule `r16` has no end: it leads to itself, or through more than 16 rules"
    );
    let deepest = deep(16).expect("the rules are as deep as they may be");
    assert_eq!(deepest.answer(&[user(&"a ".repeat(121))]).intent.as_deref(), Some("i"));
    assert!(deepest.phrases().count() > 10);
    let error = Dialogue::parse(&"#".repeat(2 << 20)).expect_err("the text is too long").to_string();
    assert_eq!(error, "line 1, column 1: the file has 2097152 bytes, and at most 1048576 are read");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c{}\\[\\]<>|:,'\\- \n]{0,60}", said in "\\PC{0,60}") {
        let _ = Dialogue::parse(&text);
        let dialogue = restaurant();
        let answer = dialogue.answer(&[user(&said)]);
        prop_assert_eq!(dialogue.chunks(&answer).concat(), answer.text);
        let odd = Answer { text: said.clone(), intent: None };
        prop_assert_eq!(dialogue.chunks(&odd).concat(), said);
    }

    #[test]
    fn no_damage_to_a_file_makes_it_panic(at in 0..RESTAURANT.len(), length in 0..20_usize, put in "[\\PC\n]{0,6}") {
        let mut text: Vec<char> = RESTAURANT.chars().collect();
        let end = (at + length).min(text.len());
        text.splice(at.min(end)..end, put.chars());
        if let Ok(dialogue) = Dialogue::parse(&text.into_iter().collect::<String>()) {
            let _ = (dialogue.grammar(), dialogue.phrases().count(), dialogue.answer(&context("goodbye/goodbye")));
        }
    }
}
