//! `rspp trace`.

use std::path::{Path, PathBuf};

use clap::Args;
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::recording::{self, RecordingFile};
use rspp_compiler::Registry;

use super::outcome::{Failure, Outcome};
use crate::trace::{Traced, trace};

/// Run a scripted call in virtual time, and print all that entered and left.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp trace tests/golden/interruption.yaml                       a caller breaks in\n  \
    rspp trace tests/golden/plain-call.yaml --record call.rspp      and a recording of it")]
pub(super) struct Trace {
    /// The scenario, YAML or JSON.
    scenario: PathBuf,
    /// Also write a recording here.
    #[arg(long, value_name = "CALL.rspp")]
    record: Option<PathBuf>,
}

impl Trace {
    pub(super) fn run(&self, registry: &Registry, interrupt: &Interrupt) -> Outcome {
        let traced = trace(&self.scenario, registry).map_err(|error| Failure::Input(error.to_string()))?;
        if let Some(path) = &self.record {
            let _ending = interrupt.ending();
            write_recording(path, &traced)?;
            if let Some(signal) = interrupt.signal() {
                let message = format!("stopped: the recording {} is whole", path.display());
                return Err(Failure::Interrupted(signal, String::new(), message));
            }
        }
        Ok(traced.lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n"))
    }
}

fn write_recording(path: &Path, traced: &Traced) -> Result<(), Failure> {
    let fail = |error: recording::RecordingError| Failure::Run(error.to_string());
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut file = RecordingFile::create(path, recording::head(&name, &traced.plan, 0)).map_err(fail)?;
    // Tick by tick, as in a call: whatever happens, what is in the file is whole ticks.
    let mut ticks = traced.records.chunk_by(|earlier, later| earlier.tick == later.tick);
    ticks.try_for_each(|tick| file.append(tick)).map_err(fail)?;
    file.finish().map_err(fail)
}
