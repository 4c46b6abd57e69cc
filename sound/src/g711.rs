//! G.711: a byte a sample, 8,000 samples a second, as telephones speak it.

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

/// Which of its two scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// North America and Japan: `audio/x-mulaw`, PCMU.
    Mu,
    /// Everywhere else: `audio/x-alaw`, PCMA.
    A,
}

impl Law {
    /// Appends the samples of these bytes. Every byte is one.
    pub fn decode(self, bytes: &[u8], samples: &mut Vec<i16>) {
        match self {
            Law::Mu => samples.extend(bytes.iter().map(|byte| decode_ulaw(*byte))),
            Law::A => samples.extend(bytes.iter().map(|byte| decode_alaw(*byte))),
        }
    }

    /// Appends the bytes of these samples.
    pub fn encode(self, samples: &[i16], bytes: &mut Vec<u8>) {
        match self {
            Law::Mu => bytes.extend(samples.iter().map(|sample| encode_ulaw(*sample))),
            Law::A => bytes.extend(samples.iter().map(|sample| encode_alaw(*sample))),
        }
    }

    /// Moves samples to where the scale has a step: a telephone's wire carries them without loss then.
    pub fn settle(self, samples: &mut [i16]) {
        let step = |sample: i16| match self {
            Law::Mu => decode_ulaw(encode_ulaw(sample)),
            Law::A => decode_alaw(encode_alaw(sample)),
        };
        samples.iter_mut().for_each(|sample| *sample = step(*sample));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(law: Law, samples: &[i16]) -> Vec<i16> {
        let (mut bytes, mut back) = (Vec::new(), Vec::new());
        law.encode(samples, &mut bytes);
        law.decode(&bytes, &mut back);
        back
    }

    #[test]
    fn every_byte_comes_back_as_itself() {
        let all: Vec<u8> = (0..=255).collect();
        for law in [Law::Mu, Law::A] {
            let (mut samples, mut bytes) = (Vec::new(), Vec::new());
            law.decode(&all, &mut samples);
            law.encode(&samples, &mut bytes);
            // Of the two zeros of mu-law one is written.
            let same = bytes.iter().zip(&all).filter(|(found, wanted)| found == wanted).count();
            assert!(same >= 255, "{law:?}: {same}");
        }
    }

    #[test]
    fn no_sample_moves_further_than_its_step() {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        for (law, floor) in [(Law::Mu, 8), (Law::A, 16)] {
            for (sample, back) in samples.iter().zip(through(law, &samples)) {
                let level = i32::from(*sample).abs();
                let moved = (i32::from(*sample) - i32::from(back)).abs();
                // The loudest samples are clipped to the top of the scale.
                assert!(moved <= floor.max(level / 16).max(level - 32_124), "{law:?}: {sample} became {back}");
            }
        }
    }

    #[test]
    fn what_has_settled_is_carried_without_loss() {
        let mut samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        for law in [Law::Mu, Law::A] {
            law.settle(&mut samples);
            assert_eq!(through(law, &samples), samples, "{law:?}");
        }
    }

    #[test]
    fn the_recommendation_has_these_values() {
        // ITU-T G.711, tables 2a and 1a: silence, and the ends of the scale, in 16 bits.
        let mut samples = Vec::new();
        Law::Mu.decode(&[0xff, 0x7f, 0x80, 0x00], &mut samples);
        assert_eq!(samples, [0, 0, 32_124, -32_124]);
        samples.clear();
        Law::A.decode(&[0xd5, 0x55, 0xaa, 0x2a], &mut samples);
        assert_eq!(samples, [8, -8, 32_256, -32_256]);
    }
}
