//! Which of the engines that were found to bind, and what stands in where there is none.

use super::{Engine, Found, State};
use crate::provider::Kind;

/// The best bindings that can be had, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// For the recogniser; `None` where there is neither one nor a captions file in its place.
    pub stt: Option<String>,
    /// For the voice.
    pub tts: String,
    /// What was chosen and why: one sentence each, for people.
    pub notes: Vec<String>,
    /// In capital letters, what stands in for an engine that could not be had. To be shown wherever it is used.
    pub warning: Option<String>,
}

/// Chooses what to bind to `stt` and `tts`. What somebody has named (a Wyoming address) comes before what was found by
/// itself. Where no recogniser works, the captions of a call whose words are known stand in; where no voice does,
/// tones.
///
/// ```
/// use rspp_adapters::engines::{Found, choose};
///
/// let chosen = choose(&Found::default(), Some("call.captions.yaml"));
/// assert_eq!(chosen.stt.as_deref(), Some("captions:call.captions.yaml"));
/// assert_eq!(chosen.tts, "tone:");
/// assert!(chosen.warning.expect("nothing was found").starts_with("NO SPEECH ENGINE COULD BE HAD"));
/// ```
pub fn choose(found: &Found, captions: Option<&str>) -> Chosen {
    let mut notes = Vec::new();
    let recogniser = best(found, Kind::Recogniser, &mut notes);
    let voice = best(found, Kind::Voice, &mut notes);
    let warning = warning(recogniser.is_some(), voice.is_some(), captions.is_some());
    let captions = captions.map(|file| format!("captions:{file}"));
    Chosen {
        stt: recogniser.map(|engine| engine.binding.clone()).or(captions),
        tts: voice.map_or_else(|| "tone:".to_owned(), |engine| engine.binding.clone()),
        notes,
        warning,
    }
}

/// The first that works: they are in the order of preference.
fn best<'f>(found: &'f Found, kind: Kind, notes: &mut Vec<String>) -> Option<&'f Engine> {
    let word = if kind == Kind::Voice { "voice" } else { "recogniser" };
    let mut engines = found.engines.iter().filter(|engine| engine.kind == kind && !engine.binding.is_empty());
    let first = engines.clone().find(|engine| engine.works());
    for Engine { name, state, .. } in engines.by_ref().take_while(|engine| !engine.works()) {
        if let State::Fails { why, .. } = state {
            notes.push(format!("{word} {name} can't be used: {why}"));
        }
    }
    if let Some(Engine { name, version, binding, .. }) = first {
        let version = if version.is_empty() { String::new() } else { format!(" {version}") };
        notes.push(format!("{word}: {name}{version}, the first that works; binding `{binding}`"));
    }
    first
}

fn warning(recogniser: bool, voice: bool, captions: bool) -> Option<String> {
    let no_recogniser = if captions {
        "THE CALLER'S WORDS COME FROM A CAPTIONS FILE AND ARE NOT RECOGNISED"
    } else {
        "NOBODY UNDERSTANDS THE CALLER"
    };
    let no_voice = "THE AGENT'S VOICE IS TONES THAT NOBODY CAN UNDERSTAND";
    let (missing, instead) = match (recogniser, voice) {
        (true, true) => return None,
        (false, true) => ("RECOGNISER", no_recogniser.to_owned()),
        (true, false) => ("VOICE", no_voice.to_owned()),
        (false, false) => ("SPEECH ENGINE", format!("{no_recogniser}, AND {no_voice}")),
    };
    Some(format!("NO {missing} COULD BE HAD: {instead}. Get one with `rspp engines install`: no root, no key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(kind: Kind, name: &str, works: bool) -> Engine {
        let fails = State::Fails { why: "it is broken".to_owned(), remedy: "mend it".to_owned() };
        let binding = format!("bundled:{name}");
        let (name, version, place) = (name.to_owned(), "1".to_owned(), String::new());
        Engine { kind, name, binding, version, licence: "", place, state: if works { State::Works } else { fails } }
    }

    /// Recognisers and voices, `-` before one that fails; what is chosen, and how the warning begins.
    fn check(recognisers: &str, voices: &str, captions: Option<&str>, expected: (Option<&str>, &str, Option<&str>)) {
        let engines = |kind, list: &str| -> Vec<Engine> {
            let of = |name: &str| engine(kind, name.trim_start_matches('-'), !name.starts_with('-'));
            list.split_whitespace().map(of).collect()
        };
        let engines = [engines(Kind::Recogniser, recognisers), engines(Kind::Voice, voices)].concat();
        let count = engines.len();
        let chosen = choose(&Found { engines, pythons: Vec::new() }, captions);
        let (stt, tts, warning) = expected;
        assert_eq!((chosen.stt.as_deref(), chosen.tts.as_str()), (stt, tts));
        match (&chosen.warning, warning) {
            (None, None) => {}
            (Some(said), Some(begins)) => assert!(said.starts_with(begins), "{said}"),
            (said, expected) => panic!("{said:?} is not {expected:?}"),
        }
        assert!(chosen.notes.len() <= count, "{:?}", chosen.notes);
    }

    #[test]
    fn the_first_that_works_is_chosen() {
        let ps = Some("bundled:ps");
        check("ps", "espeak-ng flite", None, (ps, "bundled:espeak-ng", None));
        check("ps", "-espeak-ng flite", Some("c.yaml"), (ps, "bundled:flite", None));
        check("-whisper ps", "piper", None, (ps, "bundled:piper", None));
    }

    #[test]
    fn where_nothing_works_something_humble_stands_in_and_says_so() {
        let (captions, c) = (Some("captions:c.yaml"), Some("c.yaml"));
        check("", "-flite", c, (captions, "tone:", Some("NO SPEECH ENGINE COULD BE HAD: THE CALLER'S WORDS COME")));
        check("", "", None, (None, "tone:", Some("NO SPEECH ENGINE COULD BE HAD: NOBODY UNDERSTANDS")));
        check("-ps", "flite", c, (captions, "bundled:flite", Some("NO RECOGNISER COULD BE HAD: THE CALLER'S WORDS")));
        check("ps", "", c, (Some("bundled:ps"), "tone:", Some("NO VOICE COULD BE HAD: THE AGENT'S VOICE")));
    }

    #[test]
    fn notes_say_what_was_passed_over() {
        let engines = vec![engine(Kind::Voice, "espeak-ng", false), engine(Kind::Voice, "flite", true)];
        let chosen = choose(&Found { engines, pythons: Vec::new() }, None);
        let notes = [
            "voice espeak-ng can't be used: it is broken",
            "voice: flite 1, the first that works; binding `bundled:flite`",
        ];
        assert_eq!(chosen.notes, notes);
    }
}
