//! What a port carries: its type, and what more is said of it (`F-003`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::PortType;

/// A named, typed port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The name in the spec.
    pub name: String,
    /// What it carries.
    pub port_type: PortType,
    /// What more is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
}

impl Port {
    /// A port of which nothing more is said.
    pub fn new(name: &str, port_type: PortType) -> Self {
        Self { name: name.to_owned(), port_type, only: None }
    }

    /// The same with what more is said of it.
    pub fn with(self, only: Option<Only>) -> Self {
        Self { only, ..self }
    }

    /// What it carries, in words.
    pub fn carries(&self) -> String {
        carries(self.port_type, self.only.as_ref())
    }
}

/// What more than its type is said of what a port carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// Audio in one of these forms.
    Audio(Vec<AudioFormat>),
    /// Transcripts that are final, or that are not.
    Finality(Finality),
    /// A payload of somebody's own that has this schema.
    Schema(String),
}

/// A form of audio. A sample in the core always is a number of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AudioFormat {
    /// On which scale the samples stand.
    #[serde(default)]
    pub encoding: AudioEncoding,
    /// Samples a second.
    #[schemars(range(min = 8_000, max = 48_000))]
    pub rate_hz: u32,
}

impl AudioFormat {
    /// The form in which a caller's audio enters, whatever is on the wire.
    pub const CALLER: Self = Self { encoding: AudioEncoding::Pcm16, rate_hz: 16_000 };

    /// Whether what takes `to` takes this. Who takes every number of 16 bits takes those of a telephone's scale, too.
    pub fn fits(self, to: Self) -> bool {
        let encoding = self.encoding == to.encoding || to.encoding == AudioEncoding::Pcm16;
        encoding && self.rate_hz == to.rate_hz
    }

    /// `pcm16 at 16000 Hz`.
    pub fn in_words(self) -> String {
        format!("{} at {} Hz", self.encoding.name(), self.rate_hz)
    }
}

/// On which scale the samples of audio stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AudioEncoding {
    /// Every number of 16 bits.
    #[default]
    Pcm16,
    /// The steps of G.711's mu-law, which is what telephones in North America and Japan carry.
    Mulaw,
    /// The steps of G.711's A-law, which is what telephones elsewhere carry.
    Alaw,
}

impl AudioEncoding {
    /// The word in specs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            AudioEncoding::Pcm16 => "pcm16",
            AudioEncoding::Mulaw => "mulaw",
            AudioEncoding::Alaw => "alaw",
        }
    }
}

/// Whether a transcript may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// It may.
    Partial,
    /// It may not.
    Final,
}

impl Finality {
    /// The word in specs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Finality::Partial => "partial",
            Finality::Final => "final",
        }
    }
}

/// What of two ports does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Their types.
    Type,
    /// Their forms of audio.
    Audio,
    /// One gives what may still change, or what may not, and the other takes only the other.
    Finality,
    /// Their schemas.
    Schema,
}

/// What keeps an edge from running from one port to another. Audio of which no form is known fits everywhere, since frames
/// carry their rate; of transcripts and of payloads of somebody's own nothing is taken on trust.
pub fn misfit(given: (PortType, Option<&Only>), taken: (PortType, Option<&Only>)) -> Option<Misfit> {
    if !given.0.fits(taken.0) {
        return Some(Misfit::Type);
    }
    if given.0 == PortType::Any || taken.0 == PortType::Any {
        return None;
    }
    match (given.1, taken.1) {
        (Some(Only::Audio(given)), Some(Only::Audio(taken))) => {
            let fits = given.iter().all(|form| taken.iter().any(|wanted| form.fits(*wanted)));
            (!fits).then_some(Misfit::Audio)
        }
        (given, Some(Only::Finality(_))) => (given != taken.1).then_some(Misfit::Finality),
        (given, Some(Only::Schema(_))) => (given != taken.1).then_some(Misfit::Schema),
        _ => None,
    }
}

/// What a port carries, in words: `audio (pcm16 at 16000 Hz)`.
pub fn carries(port_type: PortType, only: Option<&Only>) -> String {
    let name = port_type.name();
    match only {
        None => name.to_owned(),
        Some(Only::Audio(forms)) => {
            let forms: Vec<String> = forms.iter().map(|form| form.in_words()).collect();
            format!("{name} ({})", forms.join(" or "))
        }
        Some(Only::Finality(finality)) => format!("{name} ({} only)", finality.name()),
        Some(Only::Schema(schema)) => format!("{name} ({schema})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(encoding: AudioEncoding, rate_hz: u32) -> AudioFormat {
        AudioFormat { encoding, rate_hz }
    }

    #[test]
    fn forms_fit_by_their_rate_and_their_scale() {
        use AudioEncoding::{Alaw, Mulaw, Pcm16};
        for (given, taken, fits) in [
            (form(Pcm16, 16_000), form(Pcm16, 16_000), true),
            (form(Pcm16, 16_000), form(Pcm16, 8_000), false),
            (form(Mulaw, 8_000), form(Pcm16, 8_000), true),
            (form(Pcm16, 8_000), form(Mulaw, 8_000), false),
            (form(Mulaw, 8_000), form(Alaw, 8_000), false),
        ] {
            let (given, taken) = (Only::Audio(vec![given]), Only::Audio(vec![taken]));
            let found = misfit((PortType::Audio, Some(&given)), (PortType::Audio, Some(&taken)));
            assert_eq!(found, (!fits).then_some(Misfit::Audio), "{given:?} {taken:?}");
        }
    }

    #[test]
    fn what_may_be_any_of_several_forms_fits_where_all_of_them_do() {
        let (low, high) = (form(AudioEncoding::Pcm16, 8_000), form(AudioEncoding::Pcm16, 16_000));
        let only = |forms: &[AudioFormat]| Only::Audio(forms.to_vec());
        let fits = |given: &Only, taken: Option<&Only>| {
            misfit((PortType::Audio, Some(given)), (PortType::Audio, taken)).is_none()
        };
        assert!(fits(&only(&[low]), Some(&only(&[low, high]))));
        assert!(!fits(&only(&[low, high]), Some(&only(&[low]))));
        assert!(fits(&only(&[low]), None));
        assert!(misfit((PortType::Audio, None), (PortType::Audio, Some(&only(&[low])))).is_none());
    }

    #[test]
    fn partials_finals_and_schemas_are_not_taken_on_trust() {
        let (finals, contact) = (Only::Finality(Finality::Final), Only::Schema("crm.contact/v1".to_owned()));
        let between = |given, taken, of| misfit((of, given), (of, taken));
        assert_eq!(between(None, Some(&finals), PortType::Transcript), Some(Misfit::Finality));
        assert_eq!(between(Some(&finals), Some(&finals), PortType::Transcript), None);
        assert_eq!(between(Some(&finals), None, PortType::Transcript), None);
        assert_eq!(between(None, Some(&contact), PortType::Custom), Some(Misfit::Schema));
        assert_eq!(between(Some(&contact), Some(&contact), PortType::Custom), None);
        assert_eq!(misfit((PortType::Any, None), (PortType::Custom, Some(&contact))), None);
    }
}
