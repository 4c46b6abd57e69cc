//! What the program says of itself: the help of every command, its completions and its manual. `RSPP_UPDATE_GOLDEN=1
//! cargo test --test help` keeps what it says now.

#[path = "call/kept.rs"]
mod kept;

use std::process::{Command, Stdio};

use kept::check_kept;

/// What the program prints, with nothing of this machine's in it.
fn said(args: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command.args(args).stdin(Stdio::null());
    for name in ["COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().expect("cargo has built the program");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the program writes UTF-8")
}

const COMMANDS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["new"],
    &["lint"],
    &["fmt"],
    &["explain"],
    &["resolve"],
    &["diff-spec"],
    &["bundle"],
    &["docs"],
    &["trace"],
    &["sim"],
    &["run"],
    &["serve"],
    &["livekit-check"],
    &["livekit-token"],
    &["livekit-rooms"],
    &["livekit-dispatch"],
    &["control-plane"],
    &["worker"],
    &["publish"],
    &["rollout"],
    &["rollback"],
    &["sessions"],
    &["workers"],
    &["drain"],
    &["audit"],
    &["token"],
    &["replay"],
    &["diff"],
    &["timeline"],
    &["summary"],
    &["gates"],
    &["recordings"],
    &["recordings", "list"],
    &["recordings", "recover"],
    &["recordings", "sweep"],
    &["recordings", "delete"],
    &["engines"],
    &["engines", "list"],
    &["engines", "install"],
    &["engines", "check"],
    &["engines", "remove"],
    &["doctor"],
    &["completions"],
    &["man"],
];

#[test]
fn every_command_has_help_with_an_example() {
    let mut all = String::new();
    for &command in COMMANDS {
        let help = said(&[command, &["--help"]].concat(), &[]);
        let has_example = command.len() > 1 || help.contains("Example") || help.contains("Start here");
        assert!(has_example, "{command:?} has no example");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{command:?}: a line is too long");
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        all += &format!("$ rspp {}\n{}\n\n", [command, &["--help"]].concat().join(" "), lines.join("\n"));
    }
    check_kept("tests/help/help.txt", &all);
}

/// A command that is added here is added above, too.
#[test]
fn no_command_is_without_its_help() {
    let help = said(&["help"], &[]);
    let list = help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("there is a list");
    let commands = list
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?.split_whitespace().next());
    for command in commands.filter(|command| *command != "help") {
        assert!(COMMANDS.iter().any(|known| known.first() == Some(&command)), "{command} has no help in tests/help.rs");
    }
}

#[test]
fn help_has_colours_where_they_are_wanted_and_nowhere_else() {
    let coloured = |variables: &[(&str, &str)]| said(&["--help"], variables).contains('\u{1b}');
    assert!(!coloured(&[]), "a pipe gets none");
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!coloured(&[("TERM", "dumb")]));
}

#[test]
fn shells_and_man_get_what_they_want() {
    for (shell, part) in [
        ("bash", "complete -F _rspp"),
        ("zsh", "#compdef rspp"),
        ("fish", "complete -c rspp"),
        ("elvish", "rspp"),
        ("powershell", "rspp"),
    ] {
        let script = said(&["completions", shell], &[]);
        assert!(script.contains(part) && script.contains("demo") && script.contains("realtime"), "{shell}");
    }
    let page = said(&["man"], &[]);
    assert!(page.contains(".TH rspp 1") && page.contains("rspp\\-demo(1)"), "{page}");
    let folder = tempfile::tempdir().expect("a folder can be made");
    said(&["man", &folder.path().display().to_string()], &[]);
    let page = std::fs::read_to_string(folder.path().join("rspp-run.1")).expect("each command has a page");
    assert!(page.contains("\\-\\-realtime"), "{page}");
}
