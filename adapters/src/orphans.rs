//! What would outlive the program if it ended at this moment: engines in process groups of their own, and files that
//! are in nobody's way only while they are needed. Each is on a list as long as it is there; [`end`] ends them all.
//!
//! A child is started in a group of its own, so that Ctrl-C in a terminal reaches this program alone, which then ends
//! its calls before it ends its engines; and so that what an engine started ends with it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

static ORPHANS: Mutex<Orphans> = Mutex::new(Orphans { next: 0, all: BTreeMap::new() });

struct Orphans {
    next: u64,
    all: BTreeMap<u64, Orphan>,
}

enum Orphan {
    Group(u32),
    Path(PathBuf),
}

fn orphans() -> MutexGuard<'static, Orphans> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn adopt(orphan: Orphan) -> u64 {
    let mut orphans = orphans();
    orphans.next += 1;
    let key = orphans.next;
    orphans.all.insert(key, orphan);
    key
}

/// A child and all that it starts. Dropping it kills them all.
#[derive(Debug)]
pub struct Group {
    key: u64,
    leader: u32,
}

/// Starts a child as the first of a group of its own.
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let child = command.spawn()?;
    let group = Group::of(child.id());
    Ok((child, group))
}

impl Group {
    /// The group whose first process has this number.
    pub fn of(leader: u32) -> Self {
        Self { key: adopt(Orphan::Group(leader)), leader }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if orphans().all.remove(&self.key).is_some() {
            kill(self.leader);
        }
    }
}

/// Kills every process of a group; that there is none any more is fine.
fn kill(leader: u32) {
    #[cfg(unix)]
    if let Some(leader) = i32::try_from(leader).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
    }
    #[cfg(not(unix))]
    let _ = leader;
}

/// A file, or a folder with all that is in it, that goes if the program ends at once. Whoever has this removes it
/// otherwise.
#[derive(Debug)]
pub struct Passing(u64);

impl Passing {
    /// What is, or will be, at this path.
    pub fn new(path: &Path) -> Self {
        Self(adopt(Orphan::Path(path.to_owned())))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        orphans().all.remove(&self.0);
    }
}

/// Ends everything on the list. For the end of the program: nothing that is used further must be on it.
pub fn end() {
    let all = std::mem::take(&mut orphans().all);
    for orphan in all.into_values() {
        match orphan {
            Orphan::Group(leader) => kill(leader),
            // It may be gone, or half made; nobody is left to be told.
            Orphan::Path(path) if path.is_dir() => drop(std::fs::remove_dir_all(path)),
            Orphan::Path(path) => drop(std::fs::remove_file(path)),
        }
    }
}
