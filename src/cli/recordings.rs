//! `rspp recordings`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use rspp_adapters::recording::{Archive, Kept, Retention, Shelf};
use serde_json::json;

use super::outcome::{Failure, Outcome};

/// A folder of recordings: what is in it, what has been kept long enough, what somebody wants gone.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp recordings list calls\n  \
    rspp recordings sweep calls --max-age 30d --max-size 10GB --dry-run\n  \
    rspp recordings delete calls --session call-7\n\n\
    What is removed is emptied first, and then its name goes. Exit code 1: something could not be removed.")]
pub(super) struct Recordings {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// What is kept, the oldest first.
    List {
        /// The folder.
        folder: PathBuf,
        /// Print one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Make recordings of what a server has left that was killed; the next server does it, too.
    Recover {
        /// The folder that it recorded into.
        folder: PathBuf,
    },
    /// Remove what is too old, and then the oldest until the rest has room.
    Sweep {
        /// The folder.
        folder: PathBuf,
        /// Keep nothing longer: 90m, 12h, 30d.
        #[arg(long, value_name = "AGE", value_parser = age, required_unless_present = "max_size")]
        max_age: Option<Duration>,
        /// Keep no more than this: 500MB, 10GB.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<u64>,
        /// Say what would go, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove everything of one session: its recording, and what of it a kill has left.
    Delete {
        /// The folder.
        folder: PathBuf,
        /// The session's name, as `list` shows it.
        #[arg(long, value_name = "NAME")]
        session: String,
    },
}

impl Recordings {
    pub(super) fn run(&self) -> Outcome {
        match &self.action {
            Action::List { folder, json } => {
                let kept = Shelf::new(folder).list().map_err(|error| unread(folder, &error))?;
                if Archive::is_left_behind(folder) {
                    eprintln!(
                        "note: more is in the logs of a server that runs or was killed: `rspp recordings recover`"
                    );
                }
                if *json { as_json(&kept) } else { Ok(as_table(&kept)) }
            }
            Action::Recover { folder } => recover(folder),
            Action::Sweep { folder, max_age, max_size, dry_run } => {
                let retention = Retention { max_age: *max_age, max_bytes: *max_size };
                let overdue = Shelf::new(folder).overdue(retention, SystemTime::now());
                let overdue = overdue.map_err(|error| unread(folder, &error))?;
                if *dry_run {
                    return Ok(tell("would go", &overdue));
                }
                remove(&overdue)
            }
            Action::Delete { folder, session } => {
                let of_session = Shelf::new(folder).of_session(session).map_err(|error| unread(folder, &error))?;
                if of_session.is_empty() {
                    let folder = folder.display();
                    return Err(Failure::Run(format!("{folder}: nothing is kept of the session {session:?}")));
                }
                remove(&of_session)
            }
        }
    }
}

fn recover(folder: &std::path::Path) -> Outcome {
    let refused = |error: rspp_adapters::recording::ArchiveError| Failure::Run(error.to_string());
    if !folder.is_dir() {
        return Err(Failure::Input(format!(
            "{}: no such folder; give the one that was recorded into",
            folder.display()
        )));
    }
    let recovered = Archive::open(folder).and_then(|archive| archive.recover()).map_err(refused)?;
    let lines = recovered.iter().map(|path| format!("recovered: {}\n", path.display()));
    Ok(lines.collect::<String>() + &format!("{} recordings\n", recovered.len()))
}

fn unread(folder: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::Input(format!("{}: {error}; give a folder of recordings", folder.display()))
}

fn remove(all: &[Kept]) -> Outcome {
    let failed = |kept: &Kept| kept.remove().err().map(|error| format!("{}: {error}", kept.path.display()));
    let failures: Vec<String> = all.iter().filter_map(failed).collect();
    if failures.is_empty() { Ok(tell("removed", all)) } else { Err(Failure::Run(failures.join("\n"))) }
}

fn tell(what: &str, all: &[Kept]) -> String {
    let bytes: u64 = all.iter().map(|kept| kept.bytes).sum();
    let lines = all.iter().map(|kept| format!("{what}: {}\n", kept.path.display()));
    lines.collect::<String>() + &format!("{} recordings, {}\n", all.len(), megabytes(bytes))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn as_table(all: &[Kept]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["session", "pipeline", "size", "age", "state", "file"]);
    let now = SystemTime::now();
    for kept in all {
        let age = now.duration_since(kept.modified).unwrap_or_default();
        table.add_row([
            kept.session.clone().unwrap_or_else(|| "(unreadable)".to_owned()),
            kept.pipeline.clone().unwrap_or_default(),
            megabytes(kept.bytes),
            format!("{:.1} h", age.as_secs_f64() / 3_600.0),
            if kept.is_whole { "whole" } else { "without an end" }.to_owned(),
            kept.path.display().to_string(),
        ]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines.concat()
}

fn as_json(all: &[Kept]) -> Outcome {
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let one = |kept: &Kept| {
        json!({
            "session": kept.session, "pipeline": kept.pipeline, "bytes": kept.bytes, "whole": kept.is_whole,
            "modified_unix_s": seconds(kept.modified), "path": kept.path,
        })
    };
    super::run::json_of(&all.iter().map(one).collect::<Vec<_>>())
}

fn age(text: &str) -> Result<Duration, &'static str> {
    let hint = "write a number and m, h or d: 90m, 12h, 30d";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(hint)?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(hint),
    };
    let number: u64 = number.parse().map_err(|_| hint)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or(hint)
}

fn size(text: &str) -> Result<u64, &'static str> {
    let hint = "write a number and MB or GB: 500MB, 10GB";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(2)).ok_or(hint)?;
    let bytes = match unit.to_ascii_uppercase().as_str() {
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(hint),
    };
    let number: u64 = number.parse().map_err(|_| hint)?;
    number.checked_mul(bytes).ok_or(hint)
}
