//! Who is in the room, and whom of them the agent listens to.

use std::collections::BTreeMap;

use livekit_protocol::participant_info::{Kind, State};
use livekit_protocol::{ParticipantInfo, TrackInfo, TrackSource, TrackType};

use crate::joining::Whom;

/// Participants that are remembered; a room of a voice agent has a few.
const MAX_PEOPLE: usize = 1_024;

/// The participants but ourselves.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// The only one who is listened to, where it is known.
    expected: Option<String>,
    whom: Whom,
    present: BTreeMap<String, ParticipantInfo>,
    caller: Option<Caller>,
}

/// Who is listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) identity: String,
    /// The track of its voice, once there is one.
    pub(crate) voice: Option<String>,
    pub(crate) muted: bool,
}

/// What has changed of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// There is one.
    Came,
    /// Its voice has a track, another than before.
    Voice(String),
    /// Its microphone.
    Muted(bool),
    /// It has left.
    Left,
}

impl People {
    pub(crate) fn new(expected: Option<String>, whom: Whom) -> Self {
        Self { expected, whom, ..Self::default() }
    }

    pub(crate) fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// What is known of these is anew.
    pub(crate) fn update(&mut self, infos: Vec<ParticipantInfo>) -> Vec<Change> {
        for info in infos {
            if info.state() == State::Disconnected {
                // Somebody who is back already has another id.
                if self.present.get(&info.identity).is_some_and(|present| present.sid == info.sid) {
                    self.present.remove(&info.identity);
                }
            } else if self.present.len() < MAX_PEOPLE || self.present.contains_key(&info.identity) {
                self.present.insert(info.identity.clone(), info);
            }
        }
        self.look()
    }

    fn look(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let before = self.caller.take();
        let still = before.as_ref().and_then(|caller| self.present.get(&caller.identity));
        let info = match (&before, still) {
            (Some(_), None) => return vec![Change::Left],
            (_, Some(info)) => Some(info),
            (None, None) => self.choose(),
        };
        let Some(info) = info else { return changes };
        let voice = voice(info);
        let caller = Caller {
            identity: info.identity.clone(),
            voice: voice.map(|track| track.sid.clone()),
            muted: voice.is_some_and(|track| track.muted),
        };
        if before.is_none() {
            changes.push(Change::Came);
        }
        let (had, was_muted) = before.map_or((None, false), |before| (before.voice, before.muted));
        if let Some(voice) = caller.voice.clone().filter(|voice| had.as_ref() != Some(voice)) {
            changes.push(Change::Voice(voice));
        }
        if caller.muted != was_muted {
            changes.push(Change::Muted(caller.muted));
        }
        self.caller = Some(caller);
        changes
    }

    /// The one who is expected, or who came first of those that can be a caller.
    fn choose(&self) -> Option<&ParticipantInfo> {
        let speaks = |info: &&ParticipantInfo| match self.whom {
            Whom::Callers => !matches!(info.kind(), Kind::Agent | Kind::Egress),
            Whom::Agents => info.kind() == Kind::Agent,
        };
        let expected = |info: &&ParticipantInfo| self.expected.as_ref().is_none_or(|name| *name == info.identity);
        self.present.values().filter(speaks).filter(expected).min_by_key(|info| (info.joined_at_ms, info.joined_at))
    }
}

/// The track of somebody's voice: of the microphone if one is, else any of audio.
fn voice(info: &ParticipantInfo) -> Option<&TrackInfo> {
    let audio = || info.tracks.iter().filter(|track| track.r#type() == TrackType::Audio);
    audio().find(|track| track.source() == TrackSource::Microphone).or_else(|| audio().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(identity: &str, joined_at: i64, kind: Kind, tracks: &[(&str, bool)]) -> ParticipantInfo {
        let tracks = tracks.iter().map(|(sid, muted)| TrackInfo {
            sid: (*sid).to_owned(),
            r#type: TrackType::Audio.into(),
            source: TrackSource::Microphone.into(),
            muted: *muted,
            ..TrackInfo::default()
        });
        ParticipantInfo {
            sid: format!("PA_{identity}"),
            identity: identity.to_owned(),
            joined_at_ms: joined_at,
            kind: kind.into(),
            state: State::Active.into(),
            tracks: tracks.collect(),
            ..ParticipantInfo::default()
        }
    }

    fn gone(identity: &str) -> ParticipantInfo {
        ParticipantInfo { state: State::Disconnected.into(), ..somebody(identity, 0, Kind::Standard, &[]) }
    }

    #[test]
    fn the_first_who_can_be_a_caller_is_listened_to_until_it_leaves() {
        let mut people = People::new(None, Whom::Callers);
        assert_eq!(people.update(vec![somebody("agent", 0, Kind::Agent, &[("TR_0", false)])]), []);
        assert_eq!(people.update(vec![somebody("ann", 2, Kind::Standard, &[])]), [Change::Came]);
        assert_eq!(people.update(vec![somebody("bob", 1, Kind::Standard, &[("TR_1", false)])]), []);
        let ann = |muted| somebody("ann", 2, Kind::Standard, &[("TR_2", muted)]);
        assert_eq!(people.update(vec![ann(false)]), [Change::Voice("TR_2".to_owned())]);
        assert_eq!(people.update(vec![ann(true)]), [Change::Muted(true)]);
        assert_eq!(people.update(vec![gone("ann")]), [Change::Left]);
        assert_eq!(people.update(vec![]), [Change::Came, Change::Voice("TR_1".to_owned())]);
    }

    #[test]
    fn only_who_is_expected_is_a_caller() {
        let mut people = People::new(Some("bob".to_owned()), Whom::Callers);
        assert_eq!(people.update(vec![somebody("ann", 1, Kind::Standard, &[])]), []);
        assert_eq!(people.update(vec![somebody("bob", 2, Kind::Sip, &[])]), [Change::Came]);
        assert_eq!(people.caller().map(|caller| caller.identity.as_str()), Some("bob"));
    }

    #[test]
    fn who_came_back_with_another_id_has_not_left() {
        let mut people = People::new(None, Whom::Callers);
        people.update(vec![somebody("ann", 1, Kind::Standard, &[])]);
        let back = ParticipantInfo { sid: "PA_other".to_owned(), ..somebody("ann", 5, Kind::Standard, &[]) };
        assert_eq!(people.update(vec![back]), []);
        assert_eq!(people.update(vec![gone("ann")]), []);
    }
}
