//! A fleet of workers with one authority: `rspp control-plane`, and those who ask it.
//!
//! [`host`] is the control plane as a process, [`client`] asks one, and this file is what the control plane is handed: the
//! compiler's judgement on what is to be published.

pub mod client;
pub mod host;
pub mod seat;
pub mod shelf;
pub mod worker;

use rspp_compiler::{Bump, Files, Finding, Registry, Request, Severity, content, difference, lint};
use rspp_controlplane::plane::{Judge, Judged, Newest, PIPELINE};
use rspp_controlplane::registry::Body;
use rspp_specs::plan::Plan;
use serde_json::Value;

/// A document's files, as the compiler reads them.
struct Within<'a>(&'a Body);

impl Files for Within<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        let text = self.0.files.get(path).cloned();
        text.ok_or_else(|| format!("{path} was not published with it"))
    }
}

/// Judges documents as `rspp lint` and `rspp diff-spec` do.
pub fn judge(registry: Registry) -> Judge {
    Box::new(move |body, newest| judged(body, newest, &registry))
}

fn judged(body: &Body, newest: &Newest<'_>, registry: &Registry) -> Result<Judged, Vec<String>> {
    let files = Within(body);
    let text = body.text().unwrap_or_default();
    let request = Request::new(&body.main, text).with_files(&files);
    let request = Request { today: Some(crate::spec::today()), ..request };
    let (kind, findings) = lint(&request, registry);
    let (errors, warnings): (Vec<&Finding>, Vec<&Finding>) =
        findings.0.iter().partition(|finding| finding.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(errors.into_iter().map(told).collect());
    }
    let document = content(&body.main, text).map_err(|findings| findings.0.iter().map(told).collect::<Vec<_>>())?;
    let name = document.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = document.get("version").and_then(Value::as_u64).unwrap_or(1);
    let kind = kind.unwrap_or(PIPELINE).to_owned();
    let warnings: Vec<String> = warnings.into_iter().map(told).collect();
    if kind == PIPELINE
        && let Some(old) = newest(&kind, &name)
    {
        check_version(body, &old, registry).map_err(|says| vec![says])?;
    }
    Ok(Judged { kind, name, version, warnings })
}

/// What does something else has a higher version than what it comes after.
fn check_version(new: &Body, old: &Body, registry: &Registry) -> Result<(), String> {
    let (Some(new), Some(old)) = (plan(new, registry), plan(old, registry)) else { return Ok(()) };
    let bump = difference(&old, &new).iter().map(|change| change.bump).max().unwrap_or(Bump::None);
    if bump > Bump::None && new.version() <= old.version() {
        return Err(format!(
            "{}: a {} change, and version {} is published: give it version {}; `rspp diff-spec` tells what differs",
            new.name(),
            bump.name(),
            old.version(),
            old.version() + 1
        ));
    }
    Ok(())
}

/// The plan of a published pipeline. What an older program took may be none to this one.
pub(crate) fn plan(body: &Body, registry: &Registry) -> Option<Plan> {
    let files = Within(body);
    Request::new(&body.main, body.text()?).with_files(&files).compile(registry).ok()
}

fn told(finding: &Finding) -> String {
    let place = format!("{}:{}:{}", finding.source, finding.line, finding.column);
    format!("{place}: [{}] {}; {}", finding.code, finding.message, finding.hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body { main: "mine.yaml".into(), files: [("mine.yaml".to_owned(), text.to_owned())].into() }
    }

    const SPEC: &str = "kind: PipelineSpec\nname: mine\nversion: 1\ntemplate: voice-assistant\n\
                        bind: {stt: a, llm: b, tts: c}\n";

    fn check(text: &str, published: Option<&str>, expected: Result<(&str, u64), &str>) {
        let newest = |_: &str, _: &str| published.map(body);
        match (judged(&body(text), &newest, &Registry::new()), expected) {
            (Ok(judged), Ok(expected)) => assert_eq!((judged.name.as_str(), judged.version), expected),
            (Err(says), Err(expected)) => assert!(says.join("\n").contains(expected), "{says:?}"),
            (judged, expected) => panic!("{judged:?}, and not {expected:?}"),
        }
    }

    #[test]
    fn what_is_published_is_what_the_compiler_takes_and_a_change_has_a_new_version() {
        check(SPEC, None, Ok(("mine", 1)));
        check(&SPEC.replace("voice-assistant", "none"), None, Err("mine.yaml:4:"));
        let other = SPEC.replace("tts: c", "tts: d");
        check(&other, Some(SPEC), Err("give it version 2"));
        check(&other.replace("version: 1", "version: 2"), Some(SPEC), Ok(("mine", 2)));
        check(SPEC, Some(SPEC), Ok(("mine", 1)));
        check("kind: PolicyOverlay\nname: voice\nversion: 3\n", None, Ok(("voice", 3)));
        check("kind: Nothing\n", None, Err("no kind of document"));
    }
}
