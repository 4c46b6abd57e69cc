//! A telephone's keypad: its keys, and the tones of those that are dialled (ITU-T Q.23).

use std::fmt;

use rspp_specs::time::Micros;

/// Digits that are dialled in one go at most.
pub const MAX_DIALLED_DIGITS: usize = 64;
/// How long a key sounds, and how long it is quiet after it: twice what Q.24 asks a receiver to hear.
const TONE: Micros = Micros::from_ms(100);
const PAUSE: Micros = Micros::from_ms(60);
/// The peak of each of a key's two tones: together 6 dB below the loudest.
const PEAK: f64 = 8_000.0;
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
const ROWS_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS_HZ: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// One of the sixteen keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    row: usize,
    column: usize,
}

impl Digit {
    /// The key with this sign: 0 to 9, `*`, `#`, A to D.
    pub fn new(sign: char) -> Option<Self> {
        let sign = sign.to_ascii_uppercase();
        let at = |row: usize| KEYS[row].iter().position(|key| *key == sign).map(|column| Self { row, column });
        (0..KEYS.len()).find_map(at)
    }

    /// The key that a message names: one sign and nothing else.
    pub fn named(name: &str) -> Option<Self> {
        let mut signs = name.chars();
        signs.next().and_then(Self::new).filter(|_| signs.next().is_none())
    }

    /// Its sign.
    pub fn sign(self) -> char {
        KEYS[self.row][self.column]
    }

    /// Its two tones.
    pub fn tones_hz(self) -> [f64; 2] {
        [ROWS_HZ[self.row], COLUMNS_HZ[self.column]]
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.sign())
    }
}

/// The sound of these keys, one after the other: for lines that carry no keys beside the audio. Those over
/// [`MAX_DIALLED_DIGITS`] are not dialled.
pub fn dial(digits: &[Digit], rate_hz: u32) -> Vec<i16> {
    let (tone, pause) = (TONE.to_samples(rate_hz), PAUSE.to_samples(rate_hz) as usize);
    let mut samples = Vec::new();
    for digit in &digits[..digits.len().min(MAX_DIALLED_DIGITS)] {
        let [row, column] = digit.tones_hz().map(|hz| hz * std::f64::consts::TAU / f64::from(rate_hz));
        let at = |n: u64| (libm::sin(row * n as f64) + libm::sin(column * n as f64)) * PEAK;
        samples.extend((0..tone).map(|n| libm::round(at(n)) as i16));
        samples.resize(samples.len() + pause, 0);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Law;

    const ALL: &str = "1234567890*#ABCD";

    fn digits(signs: &str) -> Vec<Digit> {
        signs.chars().map(|sign| Digit::new(sign).expect("a key")).collect()
    }

    #[test]
    fn a_decoder_that_is_not_ours_hears_every_key_through_g711() {
        let (mut bytes, mut heard) = (Vec::new(), Vec::new());
        Law::Mu.encode(&dial(&digits(ALL), 8_000), &mut bytes);
        Law::Mu.decode(&bytes, &mut heard);
        let floats: Vec<f32> = heard.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
        let mut found = Vec::new();
        let mut decoder = dtmf::decoder::Decoder::new(8_000, |tone, state| {
            if state == dtmf::enums::State::On {
                found.push(format!("{tone:?}"));
            }
        });
        decoder.process(&floats);
        let names = ["One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Zero"];
        let names = names.into_iter().chain(["Asterisk", "Pound", "A", "B", "C", "D"]);
        assert_eq!(found, names.collect::<Vec<_>>());
    }

    #[test]
    fn a_name_is_one_sign() {
        assert_eq!(Digit::named("#").map(Digit::sign), Some('#'));
        assert_eq!(Digit::named("b").map(Digit::sign), Some('B'));
        for name in ["", "12", "x", "é", "1 "] {
            assert_eq!(Digit::named(name), None, "{name}");
        }
    }
}
