//! What follows when a provider fails: another attempt, another provider, or the end of the turn.

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// Another attempt follows a failure, of a call of which nothing was used; and it is made.
pub(crate) fn follows_a_failure(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let switched = row.signal() == Some("provider_switch") && row.text("cause") == Some("failed");
    if row.signal() == Some("provider_retry") {
        match scene.facts.invocation_of(row) {
            Some((name, invocation)) if invocation.used => {
                out.add(Rule::Recovery, row, format!("something of {}#{} was used already", name.kind, name.number));
            }
            Some((_, invocation)) if invocation.failed => {}
            _ => out.add(Rule::Recovery, row, "another attempt, and nothing has failed"),
        }
    } else if switched {
        if !scene.tick.before(row).any(|before| before.signal() == Some("provider_error")) {
            out.add(Rule::Recovery, row, "another provider, and none has failed");
        }
    } else {
        return;
    }
    if !scene.tick.after(row).any(|after| after.effect() == Some("invoke")) {
        out.add(Rule::Recovery, row, "another attempt is announced, and not made");
    }
}
