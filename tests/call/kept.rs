//! Files that tests keep: what a program gave once, was looked at, and is to give again.

use std::path::Path;

/// Compares with the file of this name; `RSPP_UPDATE_GOLDEN=1` writes it.
pub(crate) fn check_kept(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("RSPP_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, now).expect("the file can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept == now {
        return;
    }
    let place = kept.lines().zip(now.lines()).position(|(kept, now)| kept != now);
    let place = place.unwrap_or_else(|| kept.lines().count().min(now.lines().count()));
    let line = |text: &str| text.lines().nth(place).unwrap_or("(the end)").to_owned();
    panic!(
        "{name}:{}:\n  kept: {}\n  now:  {}\n(RSPP_UPDATE_GOLDEN=1 keeps what it is now)",
        place + 1,
        line(&kept),
        line(now)
    );
}
