//! The header of a WAV file. Ours, because the registry's readers refuse the files that people have: a length left
//! open by a program that wrote to a pipe, odd chunks, 32-bit integers in the older form.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

/// Chunks before the samples; usual files have one to four.
const MAX_CHUNKS: usize = 256;
/// What is read of a form chunk; the rest is for other encodings.
const FORM_BYTES: usize = 40;
const EXTENSIBLE: u16 = 0xfffe;
/// What the extensible form's long name for an encoding ends with, after the old number.
const EXTENSIBLE_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Integers of so many bytes: one is unsigned, the others are signed.
    Integer(u16),
    /// Floats of four bytes.
    Float,
}

impl Encoding {
    /// Bytes of one sample of one channel.
    pub(super) fn bytes(self) -> u16 {
        match self {
            Encoding::Integer(bytes) => bytes,
            Encoding::Float => 4,
        }
    }
}

/// What the header says of the samples, which start where the source stands then.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) encoding: Encoding,
    pub(super) channels: u16,
    pub(super) rate_hz: u32,
    /// The length that the header promises.
    pub(super) data_bytes: u32,
}

/// Why there is no header.
#[derive(Debug)]
pub(super) enum Fault {
    Io(std::io::Error),
    /// The source ends inside it.
    Cut,
    NotWav(&'static str),
    /// Samples are stored in another way.
    Encoding(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::UnexpectedEof { Fault::Cut } else { Fault::Io(error) }
    }
}

/// Reads up to the first sample.
pub(super) fn header(source: &mut (impl Read + Seek)) -> Result<Header, Fault> {
    let start: [u8; 12] = bytes(source).map_err(|fault| match fault {
        Fault::Cut => Fault::NotWav("it is too short"),
        other => other,
    })?;
    if start[..4] != *b"RIFF" || start[8..] != *b"WAVE" {
        return Err(Fault::NotWav("it does not begin with RIFF and WAVE"));
    }
    let mut form = None;
    for _ in 0..MAX_CHUNKS {
        let [a, b, c, d, length @ ..] = bytes::<8>(source)?;
        let length = u32::from_le_bytes(length);
        match &[a, b, c, d] {
            b"fmt " => form = Some(read_form(source, length)?),
            b"data" => {
                let (encoding, channels, rate_hz) = form.ok_or(Fault::NotWav("its samples come before their form"))?;
                return Ok(Header { encoding, channels, rate_hz, data_bytes: length });
            }
            _ => skip(source, u64::from(length) + u64::from(length % 2))?,
        }
    }
    Err(Fault::NotWav("no samples follow its first 256 chunks"))
}

fn read_form(source: &mut (impl Read + Seek), length: u32) -> Result<(Encoding, u16, u32), Fault> {
    if length < 16 {
        return Err(Fault::NotWav("its form chunk is too short"));
    }
    let known = (length as usize).min(FORM_BYTES);
    let mut form = [0; FORM_BYTES];
    source.read_exact(&mut form[..known])?;
    skip(source, u64::from(length) + u64::from(length % 2) - known as u64)?;

    let short = |at: usize| u16::from_le_bytes([form[at], form[at + 1]]);
    let rate_hz = u32::from_le_bytes([form[4], form[5], form[6], form[7]]);
    let (channels, frame_bytes, bits) = (short(2), short(12), short(14));
    let extensible = short(0) == EXTENSIBLE && form[26..] == EXTENSIBLE_TAIL;
    let number = if extensible { short(24) } else { short(0) };
    let encoding = match (number, bits) {
        (1, 8 | 16 | 24 | 32) => Encoding::Integer(bits / 8),
        (3, 32) => Encoding::Float,
        _ => return Err(Fault::Encoding(encoding_name(number, bits))),
    };
    if channels == 0 {
        return Err(Fault::NotWav("it has no channels"));
    }
    if channels.checked_mul(encoding.bytes()) != Some(frame_bytes) {
        return Err(Fault::NotWav("the sizes in its form contradict each other"));
    }
    Ok((encoding, channels, rate_hz))
}

fn encoding_name(number: u16, bits: u16) -> String {
    match number {
        1 => format!("{bits}-bit integer"),
        2 | 0x11 => "ADPCM".to_owned(),
        3 => format!("{bits}-bit float"),
        6 => "A-law".to_owned(),
        7 => "mu-law".to_owned(),
        0x31 => "GSM 06.10".to_owned(),
        0x55 => "MP3".to_owned(),
        _ => format!("format number {number:#06x}"),
    }
}

fn bytes<const N: usize>(source: &mut impl Read) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Past the end, too: the next read says so.
fn skip(source: &mut impl Seek, bytes: u64) -> Result<(), Fault> {
    if bytes > 0 {
        source.seek(SeekFrom::Current(bytes as i64))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
        for (name, content) in chunks {
            bytes.extend_from_slice(*name);
            bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len() + content.len() % 2, 0);
        }
        bytes
    }

    fn form(number: u16, channels: u16, bits: u16, frame_bytes: u16, more: &[u8]) -> Vec<u8> {
        let mut form = Vec::new();
        form.extend(number.to_le_bytes());
        form.extend(channels.to_le_bytes());
        form.extend(16_000_u32.to_le_bytes());
        form.extend([0; 4]);
        form.extend(frame_bytes.to_le_bytes());
        form.extend(bits.to_le_bytes());
        form.extend(more);
        form
    }

    #[test]
    fn the_forms_that_people_have_are_read() {
        let mut extensible = vec![22, 0, 20, 0, 0, 0, 0, 0, 1, 0];
        extensible.extend(EXTENSIBLE_TAIL);
        for (form, expect) in [
            (form(1, 2, 16, 4, &[]), "Integer(2) x 2"),
            (form(1, 1, 32, 4, &[0, 0]), "Integer(4) x 1"),
            (form(3, 1, 32, 4, &[0, 0, 9]), "Float x 1"),
            (form(EXTENSIBLE, 1, 24, 3, &extensible), "Integer(3) x 1"),
            (form(6, 1, 8, 1, &[0, 0]), "Encoding(\"A-law\")"),
            (form(3, 1, 64, 8, &[]), "Encoding(\"64-bit float\")"),
            (form(EXTENSIBLE, 1, 24, 3, &[]), "Encoding(\"format number 0xfffe\")"),
            (form(1, 1, 24, 4, &[]), "NotWav(\"the sizes in its form contradict each other\")"),
            (form(1, 40_000, 32, 4, &[]), "NotWav(\"the sizes in its form contradict each other\")"),
            (form(1, 0, 16, 0, &[]), "NotWav(\"it has no channels\")"),
            (vec![0; 15], "NotWav(\"its form chunk is too short\")"),
        ] {
            let bytes = file(&[(b"LIST", b"odd"), (b"fmt ", &form), (b"fact", &[0; 7]), (b"data", &[0; 6])]);
            let mut source = Cursor::new(bytes);
            let found = match header(&mut source) {
                Ok(header) => {
                    assert_eq!((header.rate_hz, header.data_bytes), (16_000, 6));
                    assert_eq!(source.position() + 6, source.get_ref().len() as u64);
                    format!("{:?} x {}", header.encoding, header.channels)
                }
                Err(fault) => format!("{fault:?}"),
            };
            assert_eq!(found, expect);
        }
    }

    #[test]
    fn chunks_without_end_are_given_up() {
        let chunks = vec![(b"junk", &[][..]); 1_000];
        assert!(matches!(header(&mut Cursor::new(file(&chunks))), Err(Fault::NotWav(_))));
        let data_first = file(&[(b"data", &[0; 6])]);
        assert!(matches!(header(&mut Cursor::new(data_first)), Err(Fault::NotWav(_))));
    }
}
