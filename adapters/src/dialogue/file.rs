//! A dialogue's file: its form, and the checks that make a [`Dialogue`] of it. All that is wrong is told at once.

use std::collections::{BTreeMap, BTreeSet};

use rspp_specs::limits::MAX_SPEC_BYTES;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::pattern::{Expansion, Rules, is_name, words};
use super::template::Template;
use super::{Dialogue, DialogueError, Finding, Intent, ROOT, Table, Tool};

/// Parts of one intent's patterns, every rule written out: the work of matching one word is of this order.
const MAX_PATTERN_PARTS: u64 = 4_096;
/// Rules that lead to each other in a chain: matching them is as deep.
const MAX_RULE_DEPTH: usize = 16;
/// Intents of one dialogue.
const MAX_INTENTS: usize = 256;
/// One answer, or a part of one, as it stands in the file.
const MAX_TEMPLATE_BYTES: usize = 1_000;

type Tables = BTreeMap<String, Table>;
/// What each intent is said as.
type Says<'f> = BTreeMap<&'f str, Expansion>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DialogueFile {
    name: Spanned<String>,
    not_understood: Spanned<String>,
    #[serde(default)]
    lists: BTreeMap<String, Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    rules: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    tables: BTreeMap<String, Spanned<TableEntry>>,
    intents: Spanned<Vec<IntentEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableEntry {
    of: Spanned<String>,
    values: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentEntry {
    name: Spanned<String>,
    say: Spanned<Vec<Spanned<String>>>,
    answer: Spanned<String>,
    #[serde(default)]
    after: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    tool: Option<ToolEntry>,
}

/// A tool that is called before the answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolEntry {
    name: Spanned<String>,
    #[serde(default)]
    arguments: BTreeMap<String, Spanned<String>>,
}

/// Reads and checks a dialogue's text.
pub(super) fn read(text: &str) -> Result<Dialogue, DialogueError> {
    if text.len() > MAX_SPEC_BYTES {
        let message = format!("the file has {} bytes, and at most {MAX_SPEC_BYTES} are read", text.len());
        return Err(DialogueError { findings: vec![Finding { line: 1, column: 1, message }] });
    }
    let file: DialogueFile = serde_saphyr::from_str(text).map_err(|error| {
        let at = error.location().unwrap_or(Location::UNKNOWN);
        let message = error.without_snippet().to_string();
        // The place is told before the message, as for every finding, and nobody here can set the reader's options.
        let message = message.replace(&format!(" at line {}, column {}", at.line(), at.column()), "");
        let message = message.replace(", set DuplicateKeyPolicy in Options if acceptable", "");
        DialogueError { findings: vec![Finding { line: at.line(), column: at.column(), message }] }
    })?;
    let mut checker = Checker::default();
    let dialogue = checker.dialogue(&file);
    checker.findings.sort_by_key(|finding| (finding.line, finding.column));
    if checker.findings.is_empty() { Ok(dialogue) } else { Err(DialogueError { findings: checker.findings }) }
}

#[derive(Default)]
struct Checker {
    findings: Vec<Finding>,
    /// The names in use, of whatever kind: the first wins.
    names: BTreeSet<String>,
    /// The lists and rules that there are, good or not, so that one mistake is not told twice.
    known: BTreeSet<String>,
    /// Those that are good.
    rules: Rules,
    sizes: BTreeMap<String, u64>,
    /// Some pattern is broken: what the others leave unsaid is no finding then.
    unsure: bool,
}

impl Checker {
    fn dialogue(&mut self, file: &DialogueFile) -> Dialogue {
        self.name("the dialogue", &file.name.value, file.name.referenced);
        self.names = BTreeSet::from([ROOT.to_owned()]);
        self.known = file.lists.keys().chain(file.rules.keys()).cloned().collect();
        self.speakable(&file.not_understood);
        self.lists(file);
        self.rules(file);
        let says: Says<'_> =
            file.intents.value.iter().map(|intent| (intent.name.value.as_str(), self.say(intent))).collect();
        self.unsure = !self.findings.is_empty();
        let tables = file.tables.iter().map(|(name, entry)| (name.clone(), self.table(name, entry, file))).collect();
        if file.intents.value.is_empty() || file.intents.value.len() > MAX_INTENTS {
            self.find(file.intents.referenced, format!("a dialogue has 1 to {MAX_INTENTS} intents"));
        }
        let intents = file.intents.value.iter().map(|intent| self.intent(intent, &says, &tables)).collect();
        Dialogue {
            name: file.name.value.clone(),
            not_understood: file.not_understood.value.trim().to_owned(),
            rules: std::mem::take(&mut self.rules),
            tables,
            intents,
        }
    }

    fn find(&mut self, at: Location, message: String) {
        self.findings.push(Finding { line: at.line(), column: at.column(), message });
    }

    fn name(&mut self, kind: &str, name: &str, at: Location) {
        if !is_name(name) {
            let rule = "a name begins with a letter from a to z; letters, digits and `_` follow";
            self.find(at, format!("{kind} cannot be called `{name}`: {rule}"));
        } else if !self.names.insert(name.to_owned()) {
            self.find(
                at,
                format!("{kind} `{name}` has a name that is taken: lists, rules, tables and intents share names"),
            );
        }
    }

    fn speakable(&mut self, text: &Spanned<String>) {
        if words(&text.value).is_empty() {
            self.find(text.referenced, "there are no words to say here".to_owned());
        } else if text.value.len() > MAX_TEMPLATE_BYTES {
            let bytes = text.value.len();
            self.find(text.referenced, format!("this has {bytes} bytes, and at most {MAX_TEMPLATE_BYTES} are said"));
        }
    }

    fn lists(&mut self, file: &DialogueFile) {
        for (name, entries) in &file.lists {
            self.name("the list", name, entries.referenced);
            if entries.value.is_empty() {
                self.find(entries.referenced, format!("the list `{name}` is empty"));
            }
            let mut seen = BTreeSet::new();
            for entry in &entries.value {
                let heard = words(&entry.value).join(" ");
                if heard.is_empty() || heard != entry.value {
                    let hint = if heard.is_empty() { String::new() } else { format!(": write `{heard}`") };
                    self.find(entry.referenced, format!("`{}` is never heard like this{hint}", entry.value));
                } else if !seen.insert(heard) {
                    self.find(entry.referenced, format!("`{}` is in the list `{name}` twice", entry.value));
                }
            }
            let list =
                Expansion::choice_of(entries.value.iter().map(|entry| Expansion::phrase(&entry.value)).collect());
            self.sizes.insert(name.clone(), list.size(&BTreeMap::new()));
            self.rules.insert(name.clone(), list);
        }
    }

    fn rules(&mut self, file: &DialogueFile) {
        let mut open = Vec::new();
        for (name, text) in &file.rules {
            self.name("the rule", name, text.referenced);
            // A broken one is known all the same, as nothing that can be said.
            let rule = self.pattern(text).unwrap_or(Expansion::Choice(Vec::new()));
            open.push((name, text.referenced, rule));
        }
        // Whatever names only rules that are done is done in the next round; a circle never is.
        for _ in 0..MAX_RULE_DEPTH {
            let done: BTreeSet<String> = self.sizes.keys().cloned().collect();
            open.retain(|(name, _, rule)| {
                let waits = rule.rules().into_iter().any(|named| !done.contains(named));
                if !waits {
                    self.sizes.insert((*name).clone(), rule.size(&self.sizes));
                    self.rules.insert((*name).clone(), rule.clone());
                }
                waits
            });
        }
        for (name, at, _) in open {
            let chain = format!("it leads to itself, or through more than {MAX_RULE_DEPTH} rules");
            self.find(at, format!("the rule `{name}` has no end: {chain}"));
            self.sizes.insert(name.clone(), 0);
        }
        self.large(file);
    }

    /// Takes out the rules that are too large to match; only the first of a chain is a finding.
    fn large(&mut self, file: &DialogueFile) {
        let is_large = |name: &str| self.sizes.get(name).is_some_and(|size| *size > MAX_PATTERN_PARTS);
        let large: Vec<(String, bool)> = self
            .rules
            .iter()
            .filter(|(name, _)| is_large(name))
            .map(|(name, rule)| (name.clone(), !rule.rules().into_iter().any(is_large)))
            .collect();
        for (name, is_first) in large {
            let list = file.lists.get(&name).map(|list| list.referenced);
            let at = file.rules.get(&name).map(|rule| rule.referenced).or(list).unwrap_or(Location::UNKNOWN);
            if is_first {
                let parts = format!("more than {MAX_PATTERN_PARTS} parts when all its rules are written out");
                self.find(at, format!("`{name}` has {parts}"));
            }
            self.sizes.insert(name.clone(), 0);
            self.rules.remove(&name);
        }
    }

    /// A pattern that names nothing unknown.
    fn pattern(&mut self, text: &Spanned<String>) -> Option<Expansion> {
        let parsed = Expansion::parse(&text.value);
        let expansion = parsed.map_err(|error| self.find(text.referenced, error.to_string())).ok()?;
        let unknown: Vec<String> = expansion
            .rules()
            .into_iter()
            .filter(|name| !self.known.contains(*name))
            .map(|name| format!("`<{name}>`"))
            .collect();
        if unknown.is_empty() {
            return Some(expansion);
        }
        self.find(text.referenced, format!("there is no list or rule for {}", unknown.join(", ")));
        None
    }

    fn table(&mut self, name: &str, entry: &Spanned<TableEntry>, file: &DialogueFile) -> Table {
        self.name("the table", name, entry.referenced);
        let TableEntry { of, values } = &entry.value;
        let keys: BTreeSet<&str> = match file.lists.get(&of.value) {
            Some(list) => list.value.iter().map(|key| key.value.as_str()).collect(),
            None => {
                self.find(
                    of.referenced,
                    format!("there is no list `{}`: a table has a value for each of a list", of.value),
                );
                values.keys().map(String::as_str).collect()
            }
        };
        for missing in keys.iter().filter(|key| !values.contains_key(**key)) {
            self.find(entry.referenced, format!("the table `{name}` has no value for `{missing}`"));
        }
        for (key, value) in values {
            if !keys.contains(key.as_str()) {
                self.find(value.referenced, format!("`{key}` is not in the list `{}`", of.value));
            }
            self.speakable(value);
            if value.value.contains(['{', '}']) {
                self.find(value.referenced, "braces are for answers: a table's values are said as they are".to_owned());
            }
        }
        let values = values.iter().map(|(key, value)| (key.clone(), value.value.trim().to_owned())).collect();
        Table { of: of.value.clone(), values }
    }

    /// All the patterns of an intent as one.
    fn say(&mut self, intent: &IntentEntry) -> Expansion {
        self.name("the intent", &intent.name.value, intent.name.referenced);
        if intent.say.value.is_empty() {
            self.find(intent.say.referenced, "there is no pattern to match here".to_owned());
        }
        let patterns = intent.say.value.iter().filter_map(|text| self.pattern(text).map(|pattern| (text, pattern)));
        let patterns: Vec<_> = patterns.collect();
        let size = patterns.iter().fold(0_u64, |sum, (_, pattern)| sum.saturating_add(pattern.size(&self.sizes)));
        if size > MAX_PATTERN_PARTS {
            let parts = format!("{size} parts when all rules are written out");
            self.find(
                intent.say.referenced,
                format!("these patterns have {parts}, at most {MAX_PATTERN_PARTS} are matched"),
            );
            return Expansion::Choice(Vec::new());
        }
        for (text, pattern) in &patterns {
            if pattern.may_be_silent(&self.rules) {
                self.find(text.referenced, "silence matches this pattern: at least one word must be needed".to_owned());
            }
        }
        Expansion::choice_of(patterns.into_iter().map(|(_, pattern)| pattern).collect())
    }

    fn intent(&mut self, entry: &IntentEntry, says: &Says<'_>, tables: &Tables) -> Intent {
        let name = &entry.name.value;
        let say = says.get(name.as_str()).cloned().unwrap_or(Expansion::Choice(Vec::new()));
        let certain = say.certain(&self.rules);
        let answer = self.template(&entry.answer, &certain, tables);
        let mut after = BTreeMap::new();
        for (earlier, text) in &entry.after {
            let Some(before) = says.get(earlier.as_str()) else {
                self.find(text.referenced, format!("there is no intent `{earlier}` that this answer could come after"));
                continue;
            };
            let both = &certain | &before.certain(&self.rules);
            after.insert(earlier.clone(), self.template(text, &both, tables));
        }
        let tool = entry.tool.as_ref().map(|tool| {
            let arguments =
                tool.arguments.iter().map(|(name, text)| (name.clone(), self.template(text, &certain, tables)));
            Tool { name: tool.name.value.clone(), arguments: arguments.collect() }
        });
        Intent { name: name.clone(), say, answer, after, tool }
    }

    fn template(&mut self, text: &Spanned<String>, certain: &BTreeSet<String>, tables: &Tables) -> Template {
        let template = match Template::parse(text.value.trim()) {
            Ok(template) => template,
            Err(reason) => {
                self.find(text.referenced, reason);
                Template::default()
            }
        };
        self.speakable(text);
        for name in template.names() {
            let slot = tables.get(name).map_or(name, |table| table.of.as_str());
            if certain.contains(slot) {
                continue;
            }
            let known = self.known.contains(slot);
            if (known && self.unsure) || (!known && tables.contains_key(name)) {
                continue;
            }
            let said = certain.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let message = match (known, said.is_empty()) {
                (false, _) => format!("there is no list, rule or table `{name}` for `{{{name}}}`"),
                (true, true) => {
                    format!("`{{{name}}}` needs `<{slot}>`, and the patterns say no list or rule every time")
                }
                (true, false) => format!("`{{{name}}}` needs `<{slot}>`, and the patterns say only {said} every time"),
            };
            self.find(text.referenced, message);
        }
        template
    }
}
