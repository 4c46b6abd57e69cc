//! Recordings that somebody has been at.

/// A recording of which one record is not what was written: a bit of its payload is another one.
pub(crate) fn altered(recording: &[u8], record: usize) -> Vec<u8> {
    let mut altered = recording.to_vec();
    let mut frame = 8;
    // The head is the first frame; a frame is a length, a payload, a checksum and a link of the chain.
    for _ in 0..=record {
        frame += 4 + payload_bytes(recording, frame) + 4 + 16;
    }
    altered[frame + 4 + payload_bytes(recording, frame) - 1] ^= 1;
    altered
}

fn payload_bytes(recording: &[u8], frame: usize) -> usize {
    let length = recording[frame..].first_chunk().expect("the frame is there");
    u32::from_le_bytes(*length) as usize
}
