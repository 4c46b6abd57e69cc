//! JSGF expansions, without repetition: what a caller may say, as an expression over words.
//!
//! The same text goes to the recogniser as its grammar and is matched here against what was recognised, so that the
//! two never disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use thiserror::Error;

/// Nested brackets in one pattern.
const MAX_DEPTH: usize = 16;

/// What may be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expansion {
    Word(String),
    /// `<name>`.
    Rule(String),
    Sequence(Vec<Expansion>),
    /// `a | b`.
    Choice(Vec<Expansion>),
    /// `[a]`.
    Optional(Box<Expansion>),
}

/// Why a text is no pattern; `column` counts its characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason} (at character {column} of the pattern)")]
pub(super) struct PatternError {
    pub(super) reason: String,
    pub(super) column: usize,
}

/// The named parts that patterns refer to.
pub(super) type Rules = BTreeMap<String, Expansion>;

/// What an utterance said for each rule that it went through.
pub(super) type Slots = BTreeMap<String, String>;

/// An utterance's words as patterns are written: lower case, with an apostrophe only inside a word.
pub(super) fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace('\u{2019}', "'");
    let inside = |c: char| c.is_alphanumeric() || c == '\'';
    let words = lower.split(|c: char| !inside(c)).map(|word| word.trim_matches('\''));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

impl Expansion {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parser = Parser { tokens: tokens(text)?, next: 0 };
        let expansion = parser.choice(0)?;
        match parser.peek() {
            Some(token) => Err(parser.error(format!("{} closes nothing", token.name()))),
            None => Ok(expansion),
        }
    }

    /// Some words in a row.
    pub(super) fn phrase(text: &str) -> Self {
        Self::joined(words(text).into_iter().map(Expansion::Word).collect())
    }

    /// One of these; nothing can be said when there are none.
    pub(super) fn choice_of(branches: Vec<Expansion>) -> Self {
        let mut flat = Vec::new();
        for branch in branches {
            match branch {
                Expansion::Choice(inner) => flat.extend(inner),
                branch => flat.push(branch),
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { Expansion::Choice(flat) }
    }

    fn joined(mut parts: Vec<Expansion>) -> Self {
        match parts.len() {
            1 => parts.remove(0),
            _ => Expansion::Sequence(parts),
        }
    }

    /// The rules that it names itself.
    pub(super) fn rules(&self) -> BTreeSet<&str> {
        match self {
            Expansion::Word(_) => BTreeSet::new(),
            Expansion::Rule(name) => BTreeSet::from([name.as_str()]),
            Expansion::Sequence(parts) | Expansion::Choice(parts) => parts.iter().flat_map(Expansion::rules).collect(),
            Expansion::Optional(part) => part.rules(),
        }
    }

    /// The rules that every utterance of it goes through, those inside of rules included.
    pub(super) fn certain(&self, rules: &Rules) -> BTreeSet<String> {
        match self {
            Expansion::Word(_) | Expansion::Optional(_) => BTreeSet::new(),
            Expansion::Rule(name) => {
                let mut inner = rules.get(name).map(|rule| rule.certain(rules)).unwrap_or_default();
                inner.insert(name.clone());
                inner
            }
            Expansion::Sequence(parts) => parts.iter().flat_map(|part| part.certain(rules)).collect(),
            Expansion::Choice(branches) => {
                let sets = branches.iter().map(|branch| branch.certain(rules));
                sets.reduce(|both, next| &both & &next).unwrap_or_default()
            }
        }
    }

    /// Whether it may be said by saying nothing.
    pub(super) fn may_be_silent(&self, rules: &Rules) -> bool {
        match self {
            Expansion::Word(_) => false,
            Expansion::Optional(_) => true,
            Expansion::Rule(name) => rules.get(name).is_some_and(|rule| rule.may_be_silent(rules)),
            Expansion::Sequence(parts) => parts.iter().all(|part| part.may_be_silent(rules)),
            Expansion::Choice(branches) => branches.iter().any(|branch| branch.may_be_silent(rules)),
        }
    }

    /// How many parts it has with every rule written out; `sizes` has those of the rules.
    pub(super) fn size(&self, sizes: &BTreeMap<String, u64>) -> u64 {
        let all = |parts: &[Expansion]| parts.iter().fold(1_u64, |sum, part| sum.saturating_add(part.size(sizes)));
        match self {
            Expansion::Word(_) => 1,
            Expansion::Rule(name) => sizes.get(name).copied().unwrap_or(0).saturating_add(1),
            Expansion::Sequence(parts) | Expansion::Choice(parts) => all(parts),
            Expansion::Optional(part) => part.size(sizes).saturating_add(1),
        }
    }

    /// What each rule said, when the words as a whole are an utterance of this.
    pub(super) fn matches(&self, words: &[String], rules: &Rules) -> Option<Slots> {
        let start = Reached::from([(0, Path::default())]);
        let path = self.advance(&start, words, rules).remove(&words.len())?;
        Some(path.said.into_iter().map(|(name, range)| (name, words[range].join(" "))).collect())
    }

    /// All the places that can be reached from those given. One path is kept for each place, that of the branch
    /// written first, so that the work is bounded by parts times words: nothing is ever tried twice.
    fn advance(&self, from: &Reached, words: &[String], rules: &Rules) -> Reached {
        match self {
            Expansion::Word(word) => {
                let said = from.iter().filter(|(at, _)| words.get(**at) == Some(word));
                said.map(|(at, path)| (at + 1, path.clone())).collect()
            }
            Expansion::Rule(name) => match rules.get(name) {
                Some(rule) => {
                    rule.advance(&opened(from), words, rules).into_iter().map(|at| closed(at, name)).collect()
                }
                None => Reached::new(),
            },
            Expansion::Sequence(parts) => {
                parts.iter().fold(from.clone(), |reached, part| part.advance(&reached, words, rules))
            }
            Expansion::Choice(branches) => {
                branches.iter().fold(Reached::new(), |all, branch| first(all, branch.advance(from, words, rules)))
            }
            Expansion::Optional(part) => first(part.advance(from, words, rules), from.clone()),
        }
    }

    /// How many utterances it has, at most `u64::MAX`.
    pub(super) fn count(&self, rules: &Rules) -> u64 {
        match self {
            Expansion::Word(_) => 1,
            Expansion::Rule(name) => rules.get(name).map_or(0, |rule| rule.count(rules)),
            Expansion::Sequence(parts) => {
                parts.iter().fold(1, |product, part| product.saturating_mul(part.count(rules)))
            }
            Expansion::Choice(branches) => {
                branches.iter().fold(0, |sum, branch| sum.saturating_add(branch.count(rules)))
            }
            Expansion::Optional(part) => part.count(rules).saturating_add(1),
        }
    }

    /// Appends the words of its utterance number `index`, which is below `count`.
    pub(super) fn say(&self, index: u64, rules: &Rules, out: &mut Vec<String>) {
        match self {
            Expansion::Word(word) => out.push(word.clone()),
            Expansion::Rule(name) => {
                if let Some(rule) = rules.get(name) {
                    rule.say(index, rules, out);
                }
            }
            Expansion::Sequence(parts) => {
                let mut rest = index;
                for part in parts {
                    let count = part.count(rules).max(1);
                    part.say(rest % count, rules, out);
                    rest /= count;
                }
            }
            Expansion::Choice(branches) => {
                let mut rest = index;
                for branch in branches {
                    let count = branch.count(rules);
                    if rest < count {
                        return branch.say(rest, rules, out);
                    }
                    rest -= count;
                }
            }
            Expansion::Optional(part) => {
                if index > 0 {
                    part.say(index - 1, rules, out);
                }
            }
        }
    }
}

/// Places between words, and how each was reached.
type Reached = BTreeMap<usize, Path>;

#[derive(Clone, Default)]
struct Path {
    said: BTreeMap<String, Range<usize>>,
    /// Where the rules began that are not over yet.
    open: Vec<usize>,
}

fn opened(from: &Reached) -> Reached {
    let mut inside = from.clone();
    inside.iter_mut().for_each(|(at, path)| path.open.push(*at));
    inside
}

fn closed((at, mut path): (usize, Path), name: &str) -> (usize, Path) {
    if let Some(begin) = path.open.pop() {
        path.said.insert(name.to_owned(), begin..at);
    }
    (at, path)
}

fn first(mut preferred: Reached, other: Reached) -> Reached {
    for (at, path) in other {
        preferred.entry(at).or_insert(path);
    }
    preferred
}

/// As JSGF, which it was read from.
impl fmt::Display for Expansion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expansion::Word(word) => f.write_str(word),
            Expansion::Rule(name) => write!(f, "<{name}>"),
            Expansion::Sequence(parts) => {
                for (n, part) in parts.iter().enumerate() {
                    let space = if n > 0 { " " } else { "" };
                    match part {
                        Expansion::Choice(_) | Expansion::Sequence(_) => write!(f, "{space}({part})")?,
                        _ => write!(f, "{space}{part}")?,
                    }
                }
                Ok(())
            }
            Expansion::Choice(branches) => {
                for (n, branch) in branches.iter().enumerate() {
                    write!(f, "{}{branch}", if n > 0 { " | " } else { "" })?;
                }
                Ok(())
            }
            Expansion::Optional(part) => write!(f, "[{part}]"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Rule(String),
    Mark(char),
}

impl Token {
    fn name(&self) -> String {
        match self {
            Token::Word(word) => format!("the word `{word}`"),
            Token::Rule(name) => format!("`<{name}>`"),
            Token::Mark(mark) => format!("`{mark}`"),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, PatternError> {
    let mut tokens = Vec::new();
    let mut characters = text.chars().enumerate().peekable();
    while let Some((at, c)) = characters.next() {
        let error = |reason: String| Err(PatternError { reason, column: at + 1 });
        match c {
            ' ' | '\t' | '\n' => {}
            '(' | ')' | '[' | ']' | '|' => tokens.push((at, Token::Mark(c))),
            '<' => {
                let mut name = String::new();
                while let Some((_, c)) = characters.next_if(|(_, c)| *c != '>') {
                    name.push(c);
                }
                if characters.next().is_none() || !is_name(&name) {
                    return error(format!("`<{name}` is no name in brackets: write it like `<weekday>`"));
                }
                tokens.push((at, Token::Rule(name)));
            }
            '*' | '+' => return error(format!("`{c}` would repeat: write the repetitions out, as in `a [a]`")),
            '{' | '}' | '/' | ';' | '=' | '"' => return error(format!("`{c}`: tags, weights and quotes are not read")),
            _ => {
                let mut word = String::from(c);
                while let Some((_, c)) = characters.next_if(|(_, c)| c.is_alphanumeric() || *c == '\'') {
                    word.push(c);
                }
                if words(&word) != [word.as_str()] {
                    return error(format!(
                        "`{word}` is never heard like this: lower case, and letters and digits only"
                    ));
                }
                tokens.push((at, Token::Word(word)));
            }
        }
    }
    Ok(tokens)
}

/// A name that JSGF takes, too.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    /// An error at the next token, or after the last.
    fn error(&self, reason: String) -> PatternError {
        let end = self.tokens.last().map_or(0, |(at, _)| at + 1);
        PatternError { reason, column: self.tokens.get(self.next).map_or(end, |(at, _)| *at) + 1 }
    }

    fn choice(&mut self, depth: usize) -> Result<Expansion, PatternError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} brackets within each other")));
        }
        let mut branches = vec![self.sequence(depth)?];
        while self.peek() == Some(&Token::Mark('|')) {
            self.next += 1;
            branches.push(self.sequence(depth)?);
        }
        Ok(Expansion::choice_of(branches))
    }

    fn sequence(&mut self, depth: usize) -> Result<Expansion, PatternError> {
        let mut parts = Vec::new();
        loop {
            let part = match self.peek() {
                Some(Token::Word(word)) => Expansion::Word(word.clone()),
                Some(Token::Rule(name)) => Expansion::Rule(name.clone()),
                Some(Token::Mark(open @ ('(' | '['))) => {
                    let open = *open;
                    parts.push(self.bracket(open, depth)?);
                    continue;
                }
                _ if parts.is_empty() => return Err(self.error("a word is missing here".to_owned())),
                _ => return Ok(Expansion::joined(parts)),
            };
            self.next += 1;
            parts.push(part);
        }
    }

    fn bracket(&mut self, open: char, depth: usize) -> Result<Expansion, PatternError> {
        let begin = self.next;
        self.next += 1;
        let inner = self.choice(depth + 1)?;
        let close = if open == '(' { ')' } else { ']' };
        if self.peek() != Some(&Token::Mark(close)) {
            self.next = begin;
            return Err(self.error(format!("`{open}` has no `{close}`")));
        }
        self.next += 1;
        Ok(if open == '(' { inner } else { Expansion::Optional(Box::new(inner)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Expansion {
        Expansion::parse(text).expect("the pattern is good")
    }

    #[test]
    fn patterns_are_printed_as_they_were_read() {
        for text in ["a", "a b | c", "(a | b) [c d] <e>", "[[a] b]", "what's (today's | the [big]) special"] {
            assert_eq!(pattern(text).to_string(), text);
        }
        assert_eq!(pattern("((a)) (b  c)").to_string(), "a (b c)");
    }

    #[test]
    fn what_is_no_pattern_is_told_with_its_place() {
        for (text, expect) in [
            ("", "a word is missing here (at character 1 of the pattern)"),
            ("a | ", "a word is missing here (at character 4 of the pattern)"),
            ("a (b", "`(` has no `)` (at character 3 of the pattern)"),
            ("a (b]", "`(` has no `)` (at character 3 of the pattern)"),
            ("a ) b", "`)` closes nothing (at character 3 of the pattern)"),
            ("[]", "a word is missing here (at character 2 of the pattern)"),
            ("a <week day> b", "`<week day` is no name in brackets"),
            ("a <b", "`<b` is no name in brackets"),
            ("very* good", "`*` would repeat: write the repetitions out"),
            ("a {tag}", "`{`: tags, weights and quotes are not read"),
            ("on Monday", "`Monday` is never heard like this: lower case"),
            ("who?", "`?` is never heard like this"),
        ] {
            let found = Expansion::parse(text).map_err(|error| error.to_string());
            assert!(found.as_ref().is_err_and(|error| error.starts_with(expect)), "{text}: {found:?}");
        }
        assert!(Expansion::parse(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn the_whole_utterance_must_match_and_rules_tell_what_they_said() {
        let rules = Rules::from([
            ("hour".to_owned(), pattern("one | two | twenty one")),
            ("time".to_owned(), pattern("<hour> | half past <hour>")),
        ]);
        for (text, said, expect) in [
            ("[please] come at <time>", "come at half past two", Some("hour=two time=half past two")),
            ("[please] come at <time>", "Please, come at twenty-one!", Some("hour=twenty one time=twenty one")),
            ("[please] come at <time>", "come at half past", None),
            ("[please] come at <time>", "come at two please", None),
            ("[a] [a] a", "a a", Some("")),
            ("(a | a b) (c | b c)", "a b c", Some("")),
            ("<none> | a", "a", Some("")),
            ("a", "", None),
        ] {
            let found = pattern(text)
                .matches(&words(said), &rules)
                .map(|slots| slots.iter().map(|(name, words)| format!("{name}={words}")).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), expect, "{text}: {said}");
        }
    }

    #[test]
    fn only_what_every_utterance_says_is_certain() {
        let rules = Rules::from([("time".to_owned(), pattern("<hour> | half past <hour> [<day>]"))]);
        for (text, expect) in [("a <b> [<c>]", "b"), ("<a> | b", ""), ("<a> <b> | <b> c", "b"), ("<time>", "hour time")]
        {
            assert_eq!(pattern(text).certain(&rules).into_iter().collect::<Vec<_>>().join(" "), expect, "{text}");
        }
    }

    #[test]
    fn a_pattern_that_branches_without_end_is_matched_at_once() {
        let many = pattern(&"[a] ".repeat(400));
        assert!(many.matches(&vec!["a".to_owned(); 300], &Rules::new()).is_some());
        assert_eq!(many.count(&Rules::new()), u64::MAX);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ab<>()\\[\\]|*' {}é?]{0,30}", said in "\\PC{0,30}") {
            if let Ok(pattern) = Expansion::parse(&text) {
                let _ = pattern.matches(&words(&said), &Rules::new());
                prop_assert_eq!(Expansion::parse(&pattern.to_string()), Ok(pattern));
            }
        }

        #[test]
        fn whatever_it_says_it_understands(index in any::<u64>()) {
            let rules = Rules::from([("b".to_owned(), pattern("x [y] | (z | w) [x]"))]);
            let all = pattern("[a | c d] <b> (e | [f] <b>)");
            let mut said = Vec::new();
            all.say(index % all.count(&rules), &rules, &mut said);
            prop_assert!(all.matches(&said, &rules).is_some());
        }
    }
}
