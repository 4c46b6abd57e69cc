//! What listeners say to make a speaker go on: "uh-huh" is no interruption.

use rspp_specs::plan::UtteranceParams;

/// What was heard over an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody wants to say something.
    Words,
    /// So far, only what makes a speaker go on, or too few words to be more.
    Backchannel,
}

/// The plan's list of what makes a speaker go on, in words.
#[derive(Debug)]
pub(crate) struct Backchannels {
    phrases: Vec<Vec<String>>,
    confirm_words: usize,
}

impl Backchannels {
    pub(crate) fn new(params: &UtteranceParams) -> Self {
        let phrases = params.backchannels.iter().map(|phrase| words(phrase)).filter(|phrase| !phrase.is_empty());
        Self { phrases: phrases.collect(), confirm_words: params.confirm_words as usize }
    }

    /// What a transcript says. One that may still grow is judged as kindly as it can end: "uh" may become "uh-huh".
    pub(crate) fn judge(&self, text: &str, is_final: bool) -> Heard {
        if self.phrases.is_empty() && self.confirm_words <= 1 {
            return Heard::Words;
        }
        let words = words(text);
        if words.len() < self.confirm_words || self.are_phrases(&words, is_final) {
            Heard::Backchannel
        } else {
            Heard::Words
        }
    }

    /// Whether the words are a row of phrases, the last of them perhaps not complete yet.
    fn are_phrases(&self, words: &[String], is_final: bool) -> bool {
        // Of each number of words: whether the first so many are a row of whole phrases.
        let mut whole = vec![false; words.len() + 1];
        whole[0] = true;
        for end in 1..=words.len() {
            whole[end] = self.phrases.iter().any(|phrase| {
                end.checked_sub(phrase.len()).is_some_and(|start| whole[start] && words[start..end] == phrase[..])
            });
        }
        let begun = |start: usize| self.phrases.iter().any(|phrase| begins(phrase, &words[start..]));
        whole[words.len()] || (!is_final && (0..words.len()).any(|start| whole[start] && begun(start)))
    }
}

/// Whether `phrase` may still come of these words, of which the last may grow.
fn begins(phrase: &[String], words: &[String]) -> bool {
    let Some((last, before)) = words.split_last() else { return true };
    phrase.len() >= words.len() && phrase[..before.len()] == *before && phrase[before.len()].starts_with(last.as_str())
}

/// Lower-case words, without what stands between them.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(confirm_words: u32, text: &str, is_final: bool, expect: Heard) {
        let backchannels = ["uh-huh", "mm-hmm", "yeah", "go on"].map(str::to_owned).to_vec();
        let backchannels = Backchannels::new(&UtteranceParams { backchannels, confirm_words, ..Default::default() });
        assert_eq!(backchannels.judge(text, is_final), expect, "{text:?}, final: {is_final}, of {confirm_words}");
    }

    #[test]
    fn only_what_makes_a_speaker_go_on_does_not_interrupt() {
        check(1, "Uh-huh.", true, Heard::Backchannel);
        check(1, "mm hmm, yeah", true, Heard::Backchannel);
        check(1, "yeah but no", true, Heard::Words);
        check(1, "go", true, Heard::Words);
        check(1, "go on", true, Heard::Backchannel);
    }

    #[test]
    fn what_may_still_become_one_is_given_the_time() {
        check(1, "uh", false, Heard::Backchannel);
        check(1, "yeah go", false, Heard::Backchannel);
        check(1, "uh", true, Heard::Words);
        check(1, "stop", false, Heard::Words);
    }

    #[test]
    fn a_policy_can_ask_for_several_words() {
        check(2, "stop", true, Heard::Backchannel);
        check(2, "stop it", true, Heard::Words);
    }
}
