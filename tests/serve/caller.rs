#![allow(dead_code, reason = "each test that has it uses a part of it")]

//! A caller who plays each sample as it comes, throws away nothing but what it is told to, and notices a gap, or something
//! that comes twice. It may speak, too: a frame for each that it hears, and samples that can be told from their neighbours.

use serde_json::{Value, json};

use super::client::{Client, Seen};

/// What is asked for: an answer of a few seconds.
pub(crate) const ASK: &str = r#"{"type":"text","text":"what are your opening hours"}"#;

/// What a caller has heard of the first turn, sample by sample, and what it has said.
#[derive(Default)]
pub(crate) struct Caller {
    pub(crate) heard: Vec<i16>,
    pub(crate) last_seq: u64,
    /// Where it is in what it says; `None`, its microphone is off.
    pub(crate) spoken: Option<u64>,
    pub(crate) committed: bool,
}

impl Caller {
    /// Plays what comes, until `is` says that it is enough; `false` if nothing came any more.
    pub(crate) fn listens(&mut self, client: &mut Client, mut is: impl FnMut(&Seen, &Self) -> bool) -> bool {
        while let Some(seen) = client.next() {
            match &seen {
                Seen::Audio { from_sample, samples, .. } => {
                    assert_eq!(*from_sample, self.heard.len() as u64, "a gap, or something twice");
                    self.heard.extend(samples);
                    self.speak(client);
                }
                Seen::Told(told) => self.on_told(client, told),
            }
            if is(&seen, self) {
                return true;
            }
        }
        false
    }

    fn on_told(&mut self, client: &mut Client, told: &Value) {
        if let Some(seq) = told["seq"].as_u64() {
            assert_eq!(seq, self.last_seq + 1, "messages are told once, in order: {told}");
            self.last_seq = seq;
        }
        self.committed |= told["type"] == "turn" && told["state"] == "committed";
        if told["type"] == "clear" {
            let ack = json!({
                "type": "playout", "turn": 1, "heard_samples": self.heard.len(), "occasion": "cleared"
            });
            client.say(&ack.to_string());
        }
    }

    /// Says 20 ms more. A network that is gone takes them, and loses them.
    fn speak(&mut self, client: &mut Client) {
        let Some(from) = &mut self.spoken else { return };
        let bytes: Vec<u8> = (*from..*from + 320).flat_map(|at| Self::says(at).to_le_bytes()).collect();
        *from += 320;
        let _ = client.send(tungstenite::Message::binary(bytes));
    }

    /// The sample at this place of what it says: too quiet for any detector.
    pub(crate) fn says(at: u64) -> i16 {
        (at % 251) as i16 - 125
    }

    /// With what it comes back.
    pub(crate) fn hello(&self, secret: &Value) -> String {
        json!({"type": "hello", "version": 1, "resume": {
            "secret": secret, "last_seq": self.last_seq,
            "played": {"turn": 1, "heard_samples": self.heard.len()}
        }})
        .to_string()
    }
}
