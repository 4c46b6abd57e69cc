//! How a caller is connected, told apart from what is seen of the line (`F-086`).
//!
//! Six conditions that peers mix up: *connected*, *reconnecting* (gone, and may come back), *stalled* (there, and takes
//! nothing), *silent* (there, and sends nothing), *muted* (there, and switched off by the caller), *ended*. What is worse
//! hides what is less bad: a line that is gone is not silent. The core is told each change once.

use rspp_specs::admission::ConnectionState;
use rspp_specs::time::Micros;

/// A transport that sends audio all the time is silent when none has come for so long.
pub const SILENT_AFTER: Micros = Micros::from_ms(1_000);

/// Watches one line.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Audio comes all the time.
    streams: bool,
    gone: bool,
    stalled: bool,
    muted: bool,
    ended: bool,
    last_audio: Option<Micros>,
    silent: bool,
    told: ConnectionState,
}

impl Connection {
    /// A line that has just been bound.
    pub fn new(streams: bool) -> Self {
        Self {
            streams,
            gone: false,
            stalled: false,
            muted: false,
            ended: false,
            last_audio: None,
            silent: false,
            told: ConnectionState::Connected,
        }
    }

    /// Audio came.
    pub fn on_audio(&mut self, now: Micros) {
        self.last_audio = Some(now);
        self.silent = false;
    }

    /// Time passes.
    pub fn on_time(&mut self, now: Micros) {
        if let Some(last) = self.last_audio.filter(|_| self.streams && !self.muted) {
            self.silent = now.since(last) >= SILENT_AFTER;
        }
    }

    /// The caller switches the microphone off or on.
    pub fn on_mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Nothing gets through any more, or everything has.
    pub fn on_stall(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    /// The connection is lost.
    pub fn on_lost(&mut self) {
        self.gone = true;
        self.last_audio = None;
    }

    /// The connection is there again.
    pub fn on_back(&mut self) {
        (self.gone, self.stalled, self.silent) = (false, false, false);
    }

    /// The caller hung up, or the session is over: nothing follows.
    pub fn on_end(&mut self) {
        self.ended = true;
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// How the caller is connected.
    pub fn state(&self) -> ConnectionState {
        match self {
            Self { gone: true, .. } | Self { ended: true, .. } => ConnectionState::Disconnected,
            Self { stalled: true, .. } => ConnectionState::Stalled,
            Self { muted: true, .. } => ConnectionState::Muted,
            Self { silent: true, .. } => ConnectionState::Silent,
            _ => ConnectionState::Connected,
        }
    }

    /// The state, if it is another than was told last. Of a line that has ended nothing is told: the session's end is.
    pub fn news(&mut self) -> Option<ConnectionState> {
        let state = self.state();
        (!self.ended && std::mem::replace(&mut self.told, state) != state).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word is what is seen of the line; after each stands what the core is told, if it is told anything.
    fn check(sees: &str, expected: &str) {
        let mut line = Connection::new(true);
        let mut now = Micros(0);
        let mut told = Vec::new();
        for word in sees.split_whitespace() {
            match word {
                "audio" => line.on_audio(now),
                "mute" | "unmute" => line.on_mute(word == "mute"),
                "full" | "drained" => line.on_stall(word == "full"),
                "lost" => line.on_lost(),
                "back" => line.on_back(),
                "end" => line.on_end(),
                ms => now = now + Micros::from_ms(ms.parse().expect("a word or milliseconds")),
            }
            line.on_time(now);
            told.extend(line.news().map(|state| format!("{word}:{state:?}").to_lowercase()));
        }
        assert_eq!(told.join(" "), expected, "{sees}");
    }

    #[test]
    fn conditions_of_a_line_are_told_apart() {
        check("audio 500 audio 999 audio", "");
        check("audio 1000 audio", "1000:silent audio:connected");
        check("audio mute 5000 unmute", "mute:muted unmute:silent");
        check("audio full drained", "full:stalled drained:connected");
        check("audio full lost back", "full:stalled lost:disconnected back:connected");
        check("audio lost 9000 mute back audio", "lost:disconnected back:muted");
        check("audio 1000 full mute", "1000:silent full:stalled");
        check("audio end lost 9000", "");
    }

    #[test]
    fn a_line_that_never_brought_audio_is_not_silent() {
        check("9000", "");
    }
}
