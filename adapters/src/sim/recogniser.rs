//! A simulated recogniser: it knows what the caller meant, and hears some of it.

use rspp_specs::event::{ProviderResult, Transcript, Understanding};
use rspp_specs::ids::UtteranceId;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;

use super::caller::Meaning;
use super::draws::{Concern, Draws, Origin};
use super::providers::{Answer, Fate};

/// One call's recogniser.
#[derive(Debug)]
pub(super) struct Recogniser {
    draws: Draws,
    /// Whether it takes "uh-huh" for words.
    hears_backchannels: bool,
    /// Partials come behind so much new audio; not every recogniser has them.
    partials: Option<Micros>,
}

const BACKCHANNEL: &str = "uh-huh";

impl Recogniser {
    pub(super) fn new(origin: Origin) -> Self {
        let mut draws = Draws::new(origin, Concern::Recogniser);
        let hears_backchannels = draws.chance(500);
        let partials = draws.chance(800).then(|| draws.ms(200, 700));
        Self { draws, hears_backchannels, partials }
    }

    pub(super) fn draws(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// How it ends before the caller does, if that is its fate.
    pub(super) fn early_end(&mut self, fate: Fate) -> Option<(Micros, ProviderResult)> {
        match fate {
            Fate::Refuses(outcome) => Some((self.draws.ms(5, 200), ProviderResult::End(outcome))),
            Fate::Disconnects => Some((self.draws.ms(50, 3_000), ProviderResult::End(Outcome::Disconnected))),
            _ => None,
        }
    }

    pub(super) fn partial_every(&self, fate: Fate) -> Micros {
        let all = Micros(u64::MAX);
        match fate {
            Fate::FallsSilent => all,
            Fate::Dribbles => Micros::from_ms(40),
            _ => self.partials.unwrap_or(all),
        }
    }

    /// What it makes of the audio so far.
    pub(super) fn partial(&mut self, meaning: &Meaning, fed_until: Micros) -> Option<(Micros, ProviderResult)> {
        let after = self.draws.ms(30, 150);
        let words = self.words(meaning)?;
        let end = words.find(' ').unwrap_or(words.len());
        let watermark = fed_until.since(Micros::from_ms(100));
        Some((after, transcript(Understanding::Partial, &words[..end], watermark)))
    }

    /// What it makes of all of it.
    pub(super) fn answer(&mut self, meaning: &Meaning, fed_until: Micros) -> Answer {
        let after = self.draws.ms(30, 500);
        let (understanding, words) = match (self.words(meaning), self.draws.below(100)) {
            (Some(_), 0..4) => (Understanding::Rejected, String::new()),
            (Some(words), _) => (Understanding::Words, words),
            (None, 0..30) => (Understanding::Rejected, String::new()),
            (None, _) => (Understanding::Empty, String::new()),
        };
        vec![(after, transcript(understanding, &words, fed_until))]
    }

    fn words(&self, meaning: &Meaning) -> Option<String> {
        match meaning {
            Meaning::Sentence(sentence) => Some(sentence.to_string()),
            Meaning::Backchannel => self.hears_backchannels.then(|| BACKCHANNEL.to_owned()),
            Meaning::Noise => None,
        }
    }
}

fn transcript(understanding: Understanding, text: &str, watermark: Micros) -> ProviderResult {
    let (utterance, text) = (UtteranceId(0), text.into());
    ProviderResult::Transcript(Transcript { utterance, understanding, text, watermark })
}
