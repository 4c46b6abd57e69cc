//! `rspp demo`.

use std::path::{Path, PathBuf};

use clap::Args;
use rspp_adapters::engines::Machine;
use rspp_adapters::engines::install::install;
use rspp_adapters::interrupt::Interrupt;
use rspp_compiler::Registry;
use serde::Serialize;

use super::outcome::{Failure, Outcome};
use super::run::{STOPPED, failure, json_of};
use crate::demo::{Demo as Options, Engines, Prepared};
use crate::drawing::{Live, Role, Text, lanes, waits};
use crate::run::Held;
use crate::screen::Screen;
use crate::summary::Summary;

/// Hold a bundled call with an interruption, out loud where it can be, and draw it while it runs.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp demo                  in real time, out loud where there is a sound device\n  \
    rspp demo --fast           in virtual time: over in a few seconds\n  \
    rspp demo --output calls   leave answer.wav and call.rspp in another folder\n\n\
    Gets a speech recogniser and a voice (about 30 MB, no root, no key) if there is none; with --no-install, or without \
    a network, captions and tones stand in.")]
pub(super) struct Demo {
    /// Hold it in virtual time: as fast as the engines are, and silent.
    #[arg(long)]
    fast: bool,
    /// Use only the engines that are there.
    #[arg(long)]
    no_install: bool,
    /// Draw it, and play nothing.
    #[arg(long)]
    no_sound: bool,
    /// The folder for answer.wav and call.rspp.
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Print one JSON object, and draw nothing.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    engines: &'a Engines,
    /// The program that it was heard through.
    sound: Option<&'static str>,
    files: Left<'a>,
}

#[derive(Serialize)]
struct Left<'a> {
    answer: &'a Path,
    recording: &'a Path,
}

impl Demo {
    pub(super) fn run(self, registry: &Registry, interrupt: &Interrupt) -> Outcome {
        let mut screen = (!self.json).then(Screen::stdout);
        let engines = Engines::here(|machine| if self.no_install { Vec::new() } else { get(machine, screen.as_mut()) });
        let Self { fast, no_sound, output, .. } = self;
        let options = Options { output, fast, sound: !no_sound };
        let prepared = options.prepare(&engines, registry).map_err(|error| failure(&error))?;
        if let Some(screen) = &mut screen {
            screen.lines(
                &head(&prepared, &engines, &options)
                    .into_iter()
                    .flat_map(|line| wrapped(&line, screen))
                    .collect::<Vec<_>>(),
            );
        }
        let sound = prepared.sound.as_ref().and_then(|sound| sound.as_ref().ok()).map(|sound| sound.program());
        let (answer, recording) = (prepared.answer.clone(), prepared.recording.clone());
        let mut live = Live::default();
        let held = prepared.hold(registry, interrupt, |records| {
            let lines = live.take(records);
            if let Some(screen) = &mut screen {
                lines.iter().for_each(|line| screen.live(line));
            }
        });
        let held = held.map_err(|error| failure(&error))?;
        if let Some(screen) = &mut screen {
            draw_end(screen, &live, &answer, &recording);
        }
        let text = if self.json { json(&held, &engines, sound, &answer, &recording)? } else { String::new() };
        match held.interrupted_by {
            None => Ok(text),
            Some(signal) => Err(Failure::Interrupted(signal, text, STOPPED.to_owned())),
        }
    }
}

fn json(held: &Held, engines: &Engines, sound: Option<&'static str>, answer: &Path, recording: &Path) -> Outcome {
    json_of(&Report { summary: &held.summary, engines, sound, files: Left { answer, recording } })
}

/// Gets a recogniser and a voice; gives what there is to say about it.
fn get(machine: &Machine, mut screen: Option<&mut Screen>) -> Vec<String> {
    let mut tell = |text: String| {
        if let Some(screen) = &mut screen {
            screen.lines(&[Text::new(Role::Quiet, text)]);
        }
    };
    tell("Getting a speech recogniser and a voice, once: about 30 MB, no root, no key.".to_owned());
    match install(machine, &mut |step| tell(format!("  {} of {}: {}", step.number, step.of, step.says))) {
        Ok(installed) => {
            tell(String::new());
            installed.notes
        }
        Err(error) => {
            let note = format!("the engines could not be got: {error}");
            tell(format!("  {note}\n"));
            vec![note]
        }
    }
}

fn wrapped(line: &Text, screen: &Screen) -> Vec<Text> {
    line.wrapped(screen.canvas().columns, INDENT)
}

/// Columns before what a line of the head says.
const INDENT: usize = 12;

fn head(prepared: &Prepared, engines: &Engines, options: &Options) -> Vec<Text> {
    let row = |name: &str, text: &str| Text::new(Role::Strong, format!("{name:<INDENT$}")).and(Role::Plain, text);
    let mut lines = vec![
        Text::new(Role::Strong, "A restaurant's phone line: three questions, and one interruption."),
        Text::default(),
    ];
    lines.push(row("recogniser", &engines.stt));
    lines.push(row("model", "a dialogue file, which is no model and needs no key"));
    lines.push(row("voice", &engines.tts));
    lines.push(match (&prepared.sound, options.fast) {
        (_, true) => row("sound", "none in virtual time"),
        (None, _) => row("sound", "not wanted"),
        (Some(Err(error)), _) => row("sound", &format!("{error}: the call is drawn only")),
        (Some(Ok(sound)), _) if sound.is_live() => {
            row("sound", &format!("{}: the caller left, the agent right", sound.program()))
        }
        (Some(Ok(sound)), _) => row("sound", &format!("{}, when the call is over", sound.program())),
    });
    if !options.fast {
        lines.push(row("time", &format!("about {} s; Ctrl-C ends it properly", prepared.seconds() + 8)));
    }
    lines.extend(engines.warning.iter().map(|warning| Text::new(Role::Cut, format!("{:<INDENT$}{warning}", "note"))));
    lines.push(Text::default());
    lines
}

fn draw_end(screen: &mut Screen, live: &Live, answer: &Path, recording: &Path) {
    let canvas = screen.canvas();
    let mut lines = vec![Text::default()];
    lines.extend(lanes(live.story(), canvas));
    lines.push(Text::default());
    lines.extend(waits(live.story(), canvas));
    lines.push(Text::default());
    lines.extend(next(answer, recording).iter().flat_map(|line| wrapped(line, screen)));
    screen.lines(&lines);
}

/// What there is now, and what to do with it.
fn next(answer: &Path, recording: &Path) -> Vec<Text> {
    // Whoever runs it by cargo has no `rspp` to type.
    let rspp = if std::env::var_os("CARGO").is_some() { "cargo run --release --" } else { "rspp" };
    let shown = |path: &Path| path.strip_prefix(".").unwrap_or(path).display().to_string();
    let (answer, recording) = (shown(answer), shown(recording));
    let commands = [
        format!("  {rspp} replay {recording}"),
        format!("  {rspp} explain {recording}"),
        format!("  {rspp} run --help"),
    ];
    let wide = commands.iter().chain([&answer, &recording]).map(|left| left.chars().count()).max().unwrap_or(0);
    let row = |left: &str, right: &str| {
        Text::new(Role::Strong, format!("{left:<wide$}")).and(Role::Plain, format!("  {right}"))
    };
    vec![
        row(&answer, "the call: the caller left, the agent right"),
        row(&recording, "its recording: all that came in and went out"),
        Text::default(),
        Text::new(Role::Plain, "Next:"),
        row(&commands[0], "the same call again, compared byte by byte"),
        row(&commands[1], "the pipeline that held it, in words"),
        row(&commands[2], "calls of your own"),
    ]
}
