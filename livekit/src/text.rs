//! Streams of text as LiveKit's clients have them: a header, chunks and a trailer, each a packet of data.

use std::collections::{BTreeMap, HashMap};

use livekit_protocol::data_packet::Value;
use livekit_protocol::data_stream::header::ContentHeader;
use livekit_protocol::data_stream::{Chunk, Header, TextHeader, Trailer};
use livekit_protocol::{DataPacket, UserPacket};

use crate::words::{Finality, FromRoom, Transcript, Whose};

/// The topic on which front ends expect transcripts.
const TRANSCRIPTION: &str = "lk.transcription";
/// The topic on which they send what is typed.
const CHAT: &str = "lk.chat";
/// A chunk has at most so much: a packet of data has to fit into a message of a data channel.
const MAX_CHUNK_BYTES: usize = 15_000;
/// Streams of others that are being read.
const MAX_OPEN_STREAMS: usize = 8;
/// What others may write in one stream.
const MAX_STREAM_BYTES: usize = 64 * 1024;

/// Who is who in a room, for a transcript's attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// What streams of this participant begin with.
    pub(crate) prefix: &'a str,
    pub(crate) agent: &'a str,
    pub(crate) agent_track: Option<&'a str>,
    pub(crate) caller: Option<&'a str>,
    pub(crate) caller_track: Option<&'a str>,
}

/// Writes transcripts.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// How many chunks the streams that are open have: readers count.
    chunks: BTreeMap<u64, u64>,
}

impl Writer {
    /// The packets of a piece of a transcript, at this time of the Unix epoch in milliseconds.
    pub(crate) fn packets(&mut self, piece: &Transcript, names: Names<'_>, now_ms: i64) -> Vec<DataPacket> {
        let (identity, track) = match piece.who {
            Whose::Agent => (Some(names.agent), names.agent_track),
            Whose::Caller => (names.caller, names.caller_track),
        };
        let stream_id = format!("{}-{}", names.prefix, piece.stream);
        let mut values = Vec::new();
        if piece.opens {
            values.push(Value::StreamHeader(header(piece, stream_id.clone(), track, now_ms)));
        }
        let next = self.chunks.entry(piece.stream).or_default();
        for text in chunks(&piece.text) {
            let (stream_id, content, chunk_index) = (stream_id.clone(), text.as_bytes().to_vec(), *next);
            values.push(Value::StreamChunk(Chunk { stream_id, chunk_index, content, ..Chunk::default() }));
            *next += 1;
        }
        if let Some(finality) = piece.closes {
            self.chunks.remove(&piece.stream);
            let attributes = attributes([(FINAL, flag(finality))]);
            values.push(Value::StreamTrailer(Trailer { stream_id, attributes, ..Trailer::default() }));
        }
        let packet = |value| DataPacket {
            participant_identity: identity.unwrap_or_default().to_owned(),
            value: Some(value),
            ..DataPacket::default()
        };
        values.into_iter().map(packet).collect()
    }
}

const FINAL: &str = "lk.transcription_final";

fn flag(finality: Finality) -> &'static str {
    if finality == Finality::Final { "true" } else { "false" }
}

fn header(piece: &Transcript, stream_id: String, track: Option<&str>, timestamp: i64) -> Header {
    let finality = piece.closes.unwrap_or(Finality::Interim);
    let mut attributes = attributes([("lk.segment_id", piece.segment.as_str()), (FINAL, flag(finality))]);
    if let Some(track) = track {
        attributes.insert("lk.transcribed_track_id".to_owned(), track.to_owned());
    }
    Header {
        stream_id,
        timestamp,
        topic: TRANSCRIPTION.to_owned(),
        mime_type: "text/plain".to_owned(),
        attributes,
        content_header: Some(ContentHeader::TextHeader(TextHeader::default())),
        ..Header::default()
    }
}

fn attributes<const N: usize>(pairs: [(&str, &str); N]) -> HashMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Pieces that fit, cut between characters.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.floor_char_boundary(MAX_CHUNK_BYTES.min(rest.len()));
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Reads what others send.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    open: BTreeMap<String, Vec<u8>>,
}

impl Reader {
    /// What the caller says by this packet, if it is of the caller and says anything.
    pub(crate) fn read(&mut self, packet: DataPacket, caller: Option<&str>) -> Option<FromRoom> {
        if caller.is_none_or(|caller| caller != packet.participant_identity) {
            return None;
        }
        match packet.value? {
            Value::StreamHeader(header) => self.open(header),
            Value::StreamChunk(chunk) => self.add(&chunk),
            Value::StreamTrailer(trailer) => return self.close(&trailer),
            Value::ChatMessage(chat) if !chat.deleted && !chat.generated => {
                return Some(FromRoom::Text { text: chat.message });
            }
            Value::User(UserPacket { payload, topic, .. }) if topic.as_deref() == Some(CHAT) => {
                return String::from_utf8(payload).ok().map(|text| FromRoom::Text { text });
            }
            Value::SipDtmf(key) => return Some(FromRoom::Key { key: key.digit }),
            _ => {}
        }
        None
    }

    fn open(&mut self, header: Header) {
        let is_text = matches!(header.content_header, Some(ContentHeader::TextHeader(_)));
        if header.topic == CHAT && is_text && self.open.len() < MAX_OPEN_STREAMS {
            self.open.insert(header.stream_id, Vec::new());
        }
    }

    fn add(&mut self, chunk: &Chunk) {
        let Some(content) = self.open.get_mut(&chunk.stream_id) else { return };
        if content.len() + chunk.content.len() > MAX_STREAM_BYTES {
            self.open.remove(&chunk.stream_id);
            return;
        }
        content.extend_from_slice(&chunk.content);
    }

    fn close(&mut self, trailer: &Trailer) -> Option<FromRoom> {
        let content = self.open.remove(&trailer.stream_id)?;
        String::from_utf8(content).ok().map(|text| FromRoom::Text { text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names {
        prefix: "PA_1",
        agent: "agent-1",
        agent_track: Some("TR_a"),
        caller: Some("ann"),
        caller_track: Some("TR_c"),
    };

    fn piece(who: Whose, stream: u64, opens: bool, text: &str, closes: Option<Finality>) -> Transcript {
        Transcript { segment: "turn-1".to_owned(), who, stream, opens, text: text.to_owned(), closes }
    }

    /// What the packets are, in a word each.
    fn check(writer: &mut Writer, piece: &Transcript, expected: &[&str]) {
        let words = writer.packets(piece, NAMES, 7).into_iter().map(|packet| {
            let who = packet.participant_identity;
            match packet.value {
                Some(Value::StreamHeader(header)) => {
                    let of = |name: &str| header.attributes.get(name).cloned().unwrap_or_default();
                    format!("{who} opens {} {} {}", header.stream_id, of("lk.transcribed_track_id"), of(FINAL))
                }
                Some(Value::StreamChunk(chunk)) => {
                    format!("{who} {} {}", chunk.chunk_index, String::from_utf8_lossy(&chunk.content))
                }
                Some(Value::StreamTrailer(trailer)) => format!("{who} closes {}", trailer.attributes[FINAL]),
                other => format!("{other:?}"),
            }
        });
        assert_eq!(words.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_stream_is_a_header_numbered_chunks_and_a_trailer() {
        let mut writer = Writer::default();
        check(
            &mut writer,
            &piece(Whose::Agent, 1, true, "We", None),
            &["agent-1 opens PA_1-1 TR_a false", "agent-1 0 We"],
        );
        check(&mut writer, &piece(Whose::Agent, 1, false, " open", None), &["agent-1 1  open"]);
        let heard = piece(Whose::Caller, 2, true, "wait", Some(Finality::Interim));
        check(&mut writer, &heard, &["ann opens PA_1-2 TR_c false", "ann 0 wait", "ann closes false"]);
        check(&mut writer, &piece(Whose::Agent, 1, false, "", Some(Finality::Final)), &["agent-1 closes true"]);
        assert!(writer.chunks.is_empty(), "nothing is kept of a stream that is closed");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let text = "é".repeat(MAX_CHUNK_BYTES);
        let pieces: Vec<&str> = chunks(&text).collect();
        assert!(pieces.iter().all(|piece| piece.len() <= MAX_CHUNK_BYTES));
        assert_eq!(pieces.concat(), text);
    }

    fn packet(who: &str, value: Value) -> DataPacket {
        DataPacket { participant_identity: who.to_owned(), value: Some(value), ..DataPacket::default() }
    }

    fn typed(who: &str, topic: &str, texts: &[&str]) -> Vec<DataPacket> {
        let stream_id = "s".to_owned();
        let header = Header {
            stream_id: stream_id.clone(),
            topic: topic.to_owned(),
            content_header: Some(ContentHeader::TextHeader(TextHeader::default())),
            ..Header::default()
        };
        let chunk =
            |text: &&str| Chunk { stream_id: stream_id.clone(), content: text.as_bytes().to_vec(), ..Chunk::default() };
        let mut packets = vec![packet(who, Value::StreamHeader(header))];
        packets.extend(texts.iter().map(|text| packet(who, Value::StreamChunk(chunk(text)))));
        packets.push(packet(who, Value::StreamTrailer(Trailer { stream_id, ..Trailer::default() })));
        packets
    }

    fn read(packets: Vec<DataPacket>) -> Vec<FromRoom> {
        let mut reader = Reader::default();
        packets.into_iter().filter_map(|packet| reader.read(packet, Some("ann"))).collect()
    }

    #[test]
    fn what_the_caller_types_is_read_and_nobody_elses() {
        let text = |text: &str| vec![FromRoom::Text { text: text.to_owned() }];
        assert_eq!(read(typed("ann", CHAT, &["a ta", "ble"])), text("a table"));
        assert_eq!(read(typed("bob", CHAT, &["a table"])), []);
        assert_eq!(read(typed("ann", "files", &["a table"])), []);
        assert_eq!(read(typed("ann", CHAT, &["x".repeat(MAX_STREAM_BYTES + 1).as_str()])), []);
    }
}
