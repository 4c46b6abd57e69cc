//! Golden calls as recordings.

use rspp::adapters::recording::{RecordingWriter, head};
use rspp::trace::Traced;
use tempfile::TempDir;

use crate::golden::traced;

/// The recording of a call.
pub(crate) fn record(traced: &Traced) -> Vec<u8> {
    let mut writer = RecordingWriter::new(Vec::new(), head("test", &traced.plan, 0)).expect("memory takes everything");
    traced.records.iter().for_each(|record| writer.append(record).expect("the record is within its limits"));
    writer.finish().expect("memory takes everything")
}

/// A folder with the recordings of golden calls.
pub(crate) fn calls(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for name in names {
        let path = folder.path().join(name).with_extension("rspp");
        std::fs::write(path, record(&traced(name))).expect("the file can be written");
    }
    folder
}
