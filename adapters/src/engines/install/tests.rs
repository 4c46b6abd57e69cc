//! What of an installation needs neither an index nor a Python.

use super::*;

#[test]
fn the_engines_are_pinned_in_the_requirements() {
    let wanted = wanted();
    assert_eq!(wanted.len(), ENGINES.len(), "{wanted:?}");
    for package in wanted {
        let (name, version) = package.split_once("==").expect("it is pinned");
        assert!(ENGINES.contains(&name) && version.starts_with(|c: char| c.is_ascii_digit()), "{package}");
    }
}

#[test]
fn what_pip_says_leads_to_what_to_do() {
    let refused = "WARNING: Retrying after connection broken by 'NewConnectionError(Connection refused)'";
    let none = "ERROR: No matching distribution found for pocketsphinx==5.1.1";
    for (last, expected) in [
        (&[refused, none][..], "check the network"),
        (&[none], "nothing ready made for this Python"),
        (&["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"], "make room"),
        (&["ERROR: the index has no pip for Python 3.2"], "nothing ready made"),
        (&["Traceback"], "look into its output"),
        (&[], "look into its output"),
    ] {
        let last: Vec<String> = last.iter().map(|line| (*line).to_owned()).collect();
        assert!(remedy(&last).contains(expected), "{last:?}: {}", remedy(&last));
    }
}

#[test]
fn an_error_repeats_the_last_lines_of_its_own_step() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = folder.path().join("log");
    let lines: String = (0..20).map(|line| format!("line {line}\n\n")).collect();
    fs::write(&log, format!("before\n{lines}")).expect("there is room");
    let expected: Vec<String> = (14..20).map(|line| format!("line {line}")).collect();
    assert_eq!(last_lines(&log, 7).expect("it is there"), expected);
    fs::write(&log, "before\nafter\u{1b}[31m\n").expect("there is room");
    assert_eq!(last_lines(&log, 7).expect("it is there"), ["after [31m"]);
    let error = InstallError::Step { step: "a".into(), last: vec!["b".into()], remedy: "c", log: "d".into() };
    assert_eq!(error.to_string(), "a failed:\n    b\nc. All of its output is in d");
}

#[cfg(unix)]
#[test]
fn the_launcher_finds_the_packages_from_wherever_it_is() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let shell = folder.path().join("it's a shell");
    std::os::unix::fs::symlink("/bin/sh", &shell).expect("it is ours");
    let built = folder.path().join("built");
    launcher(&built, &shell.display().to_string()).expect("there is room");
    let moved = folder.path().join("moved here");
    fs::rename(&built, &moved).expect("it is ours");
    let mut command = Command::new(moved.join("bin/python"));
    let ran = run(command.args(["-c", "echo $PYTHONPATH $1", "sh", "hello"]).env_remove("PYTHONPATH"), PIP_ANSWERS);
    assert_eq!(ran.expect("there is a shell").stdout, format!("{}/bin/../site hello\n", moved.display()));
}
