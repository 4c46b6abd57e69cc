//! `rspp timeline`.

use std::path::PathBuf;

use clap::Args;
use rspp_specs::ids::TurnId;

use super::outcome::{Failure, Outcome};
use super::recorded::{good, told};
use super::run::json_of;
use crate::drawing::{Story, svg_timeline, timeline};
use crate::screen::Screen;

/// Draw what happened in a recorded call: who spoke, who worked, what was cancelled, dropped or late.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp timeline call.rspp\n  \
    rspp timeline call.rspp --turn 2         one turn, from its utterance on\n  \
    rspp timeline call.rspp --svg > call.svg\n\n\
    Exit code 1: the recording is damaged; what stands before the damage is drawn.")]
pub(super) struct Timeline {
    /// The recording.
    recording: PathBuf,
    /// This turn alone.
    #[arg(long, value_name = "N")]
    turn: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Print the picture as SVG.
    #[arg(long, conflicts_with = "json")]
    svg: bool,
}

impl Timeline {
    pub(super) fn run(&self) -> Outcome {
        let (recording, damage) = good(&self.recording)?;
        let story = self.part(Story::of(&recording.records))?;
        let text = if self.json {
            json_of(&crate::timeline::Timeline::of(&story))?
        } else if self.svg {
            svg_timeline(&story)
        } else {
            let mut screen = Screen::stdout();
            let lines = timeline(&story, screen.canvas());
            screen.lines(&lines);
            if lines.is_empty() { "nothing happened in this call\n".to_owned() } else { String::new() }
        };
        told(&self.recording, text, damage)
    }

    fn part(&self, story: Story) -> Result<Story, Failure> {
        let Some(turn) = self.turn else { return Ok(story) };
        let turns = story.turns.iter().map(|turn| turn.turn.0.to_string()).collect::<Vec<_>>().join(", ");
        let has = if turns.is_empty() { "it has no turn".to_owned() } else { format!("its turns are {turns}") };
        let unknown = format!("{} has no turn {turn}: {has}", self.recording.display());
        story.of_turn(TurnId(turn)).ok_or(Failure::Input(unknown))
    }
}
