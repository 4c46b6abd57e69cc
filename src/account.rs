//! What a recorded call came to: its turns, what was heard and what was not, where time went, and what it cost.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use rspp_specs::time::Micros;
use rspp_specs::timeline::{Entry, Input, Record};
use serde::Serialize;

use crate::drawing::{Amount, Ending, Invocation, Lane, Part, Story, Turn};
use crate::percentile::{Percentile, Samples};
use crate::prices::{Cost, PriceList};
use crate::summary::{Counts, Summary};
use crate::timeline::ms;

/// A call in numbers and words; what `rspp summary --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Account {
    /// The session's name.
    pub session: String,
    /// Its pipeline.
    pub pipeline: Pipeline,
    /// From its first record to its last.
    pub lasted_ms: f64,
    /// Its turns.
    pub turns: Vec<TurnAccount>,
    /// Speech over answers.
    pub interruptions: Interruptions,
    /// Words that were spoken and heard.
    pub words: Words,
    /// Sound.
    pub audio: Audio,
    /// What each provider did.
    pub providers: Vec<ProviderAccount>,
    /// What went through.
    pub counts: Counts,
    /// What it is estimated to have cost; nothing without a list of prices.
    pub cost: Option<Cost>,
}

/// Which pipeline held the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Its profile.
    pub profile: String,
    /// The plan's hash.
    pub plan_hash: String,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TurnAccount {
    /// Its number.
    pub turn: u32,
    /// `commit`, `abort`, or `open` if the recording ends before it.
    pub terminal: &'static str,
    /// Why it was cut.
    pub reason: Option<&'static str>,
    /// What the caller said.
    pub user_text: String,
    /// Nobody said anything: the agent speaks of its own accord.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unasked: bool,
    /// What was to be said.
    pub agent_text: String,
    /// What the caller heard of it.
    pub heard_text: String,
    /// The rest.
    pub unheard_text: String,
    /// From the caller's last word to the first sound, by who was waited for.
    pub latency: Option<Latency>,
}

/// How long the caller waited, and for whom. Without the transport the parts add up to `first_audio_ms`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// From the caller's last speech frame to the first frame past egress.
    pub first_audio_ms: f64,
    /// Until it was certain that the caller had finished.
    pub endpointing_ms: f64,
    /// RSPP itself.
    pub runtime_ms: f64,
    /// From egress to the caller's ear, as far as the transport says.
    pub transport_ms: Option<f64>,
    /// Each provider, in the order in which they were waited for.
    pub providers: Vec<Awaited>,
}

/// A provider that was waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Awaited {
    /// `recogniser`, `model` or `voice`.
    pub part: &'static str,
    /// Whom.
    pub binding: String,
    /// How long.
    pub ms: f64,
}

/// Speech over answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interruptions {
    /// Playout stopped for it.
    pub holds: u32,
    /// It was an interruption.
    pub confirmed: u32,
    /// It was none.
    pub dismissed: u32,
}

/// Words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Words {
    /// The caller's.
    pub said: u64,
    /// The agent's that were heard.
    pub heard: u64,
    /// The agent's that were to be said and never were heard.
    pub unheard: u64,
}

/// Sound, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Audio {
    /// That came from the caller.
    pub caller_seconds: f64,
    /// That voices made.
    pub spoken_seconds: f64,
    /// That was heard of it.
    pub heard_seconds: f64,
}

/// What one provider did for one kind of work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProviderAccount {
    /// `stt`, `llm`, `tts` or `tools`.
    pub kind: &'static str,
    /// Whom.
    pub binding: String,
    /// How often it was asked.
    pub invocations: u32,
    /// Nobody waited any more.
    pub cancelled: u32,
    /// How the others ended.
    pub outcomes: BTreeMap<&'static str, u32>,
    /// Until its first result.
    pub first_result: Option<Percentile>,
    /// The time that it worked.
    pub busy_ms: f64,
    /// Characters that it was given.
    pub chars_in: u64,
    /// Characters that it gave.
    pub chars_out: u64,
    /// The same in tokens, estimated by characters: models that count do not say so in a recording.
    pub tokens_in_estimate: u64,
    /// As `tokens_in_estimate`.
    pub tokens_out_estimate: u64,
    /// Audio that it was given.
    pub audio_in_seconds: f64,
    /// Audio that it gave.
    pub audio_out_seconds: f64,
    /// What that is estimated to cost.
    pub cost: Option<f64>,
}

/// A token where no list of prices says otherwise.
const CHARS_A_TOKEN: f64 = 4.0;

impl Account {
    /// Of a recording's records.
    pub fn of(records: &[Record], prices: Option<&PriceList>) -> Self {
        let story = Story::of(records);
        let mut summary = Summary::default();
        summary.take(records);
        let turns: Vec<TurnAccount> = story.turns.iter().map(|turn| turn_account(turn, &story)).collect();
        let providers = providers(&story.invocations, prices);
        Self {
            session: story.session.clone(),
            pipeline: pipeline(records),
            lasted_ms: ms(story.until.since(records.first().map_or(Micros(0), |first| first.at))),
            interruptions: interruptions(&story),
            words: words(&turns),
            audio: audio(records, &story),
            cost: prices.map(|prices| cost(prices, &providers)),
            counts: summary.counts,
            turns,
            providers,
        }
    }
}

fn pipeline(records: &[Record]) -> Pipeline {
    let plan = crate::replay::plan_of(records);
    plan.map_or_else(Pipeline::default, |plan| Pipeline {
        name: plan.name().to_owned(),
        version: plan.version(),
        profile: plan.profile().to_owned(),
        plan_hash: plan.hash().to_string(),
    })
}

fn turn_account(turn: &Turn, story: &Story) -> TurnAccount {
    let (terminal, reason) = match turn.ended {
        Some((_, Ending::Committed)) => ("commit", None),
        Some((_, Ending::Cut(reason))) => ("abort", Some(reason)),
        None => ("open", None),
    };
    let heard = turn.heard.clone().unwrap_or_default();
    TurnAccount {
        turn: turn.turn.0,
        terminal,
        reason,
        user_text: turn.said.clone(),
        unasked: turn.unasked,
        agent_text: turn.answer.clone(),
        unheard_text: match &turn.heard {
            Some(_) => turn.unheard().unwrap_or_default().to_owned(),
            None => turn.answer.clone(),
        },
        heard_text: heard,
        latency: latency(turn, story),
    }
}

fn latency(turn: &Turn, story: &Story) -> Option<Latency> {
    let waits = turn.waits?;
    let asked = |lane: Lane| {
        let mut all = story.invocations.iter().filter(|it| it.lane == lane && it.from <= waits.to);
        match lane {
            Lane::Stt => all.rfind(|it| it.from <= turn.opened),
            _ => all.find(|it| it.turn == Some(turn.turn)),
        }
    };
    let parts = [(Part::Recogniser, Lane::Stt), (Part::Model, Lane::Llm), (Part::Voice, Lane::Tts)];
    let awaited = parts.into_iter().filter_map(|(part, lane)| {
        let invocation = asked(lane)?;
        Some(Awaited { part: part.name(), binding: invocation.binding.clone(), ms: ms(waits.part(part)) })
    });
    Some(Latency {
        first_audio_ms: ms(waits.total()),
        endpointing_ms: ms(waits.part(Part::Endpointing)),
        runtime_ms: ms(waits.part(Part::Runtime)),
        transport_ms: turn.started.map(|started| ms(started.since(waits.to))),
        providers: awaited.collect(),
    })
}

fn interruptions(story: &Story) -> Interruptions {
    let count = |of: fn(&crate::drawing::Hold) -> bool| story.holds.iter().filter(|hold| of(hold)).count() as u32;
    Interruptions {
        holds: story.holds.len() as u32,
        confirmed: count(|hold| hold.confirmed_by.is_some()),
        dismissed: count(|hold| hold.to.is_some() && hold.confirmed_by.is_none()),
    }
}

fn words(turns: &[TurnAccount]) -> Words {
    let count = |text: &str| text.split_whitespace().count() as u64;
    let sum = |of: fn(&TurnAccount) -> &str| turns.iter().map(|turn| count(of(turn))).sum();
    Words {
        said: sum(|turn| &turn.user_text),
        heard: sum(|turn| &turn.heard_text),
        unheard: sum(|turn| &turn.unheard_text),
    }
}

fn audio(records: &[Record], story: &Story) -> Audio {
    let seconds = |time: Micros| time.0 as f64 / 1e6;
    let caller = records.iter().filter_map(|record| match &record.entry {
        Entry::Input(_, Input::CallerAudio(frame)) => Some(frame.duration()),
        _ => None,
    });
    let sum = |times: &mut dyn Iterator<Item = Micros>| seconds(times.fold(Micros(0), |sum, time| sum + time));
    Audio {
        caller_seconds: sum(&mut caller.into_iter()),
        spoken_seconds: sum(&mut story.turns.iter().map(|turn| turn.spoken)),
        heard_seconds: sum(&mut story.turns.iter().map(|turn| turn.played)),
    }
}

fn providers(invocations: &[Invocation], prices: Option<&PriceList>) -> Vec<ProviderAccount> {
    let mut by_provider: BTreeMap<(Lane, &str), Vec<&Invocation>> = BTreeMap::new();
    for invocation in invocations {
        by_provider.entry((invocation.lane, &invocation.binding)).or_default().push(invocation);
    }
    by_provider.into_iter().map(|((lane, binding), of)| provider(lane, binding, &of, prices)).collect()
}

fn provider(lane: Lane, binding: &str, of: &[&Invocation], prices: Option<&PriceList>) -> ProviderAccount {
    let mut outcomes = BTreeMap::new();
    let (mut first, mut busy, mut sum) = (Samples::default(), Micros(0), Amount::default());
    for invocation in of {
        if let Some(outcome) = invocation.outcome.filter(|_| !invocation.cancelled) {
            *outcomes.entry(outcome.name()).or_default() += 1;
        }
        if let Some(at) = invocation.first {
            first.push(at.since(invocation.from));
        }
        busy = busy + invocation.to.map_or(Micros(0), |to| to.since(invocation.from));
        sum.chars_in += invocation.amount.chars_in;
        sum.chars_out += invocation.amount.chars_out;
        sum.audio_in = sum.audio_in + invocation.amount.audio_in;
        sum.audio_out = sum.audio_out + invocation.amount.audio_out;
    }
    let chars_a_token = prices.map_or(CHARS_A_TOKEN, |prices| prices.chars_a_token);
    let tokens = |chars: u64| if lane == Lane::Llm { (chars as f64 / chars_a_token).ceil() as u64 } else { 0 };
    let costs: Option<Vec<f64>> = prices.and_then(|prices| of.iter().map(|it| prices.cost(it)).collect());
    ProviderAccount {
        kind: lane.name(),
        binding: binding.to_owned(),
        invocations: of.len() as u32,
        cancelled: of.iter().filter(|it| it.cancelled).count() as u32,
        outcomes,
        first_result: first.percentile(50),
        busy_ms: ms(busy),
        chars_in: sum.chars_in,
        chars_out: sum.chars_out,
        tokens_in_estimate: tokens(sum.chars_in),
        tokens_out_estimate: tokens(sum.chars_out),
        audio_in_seconds: sum.audio_in.0 as f64 / 1e6,
        audio_out_seconds: sum.audio_out.0 as f64 / 1e6,
        cost: costs.map(|costs| costs.iter().sum()),
    }
}

fn cost(prices: &PriceList, providers: &[ProviderAccount]) -> Cost {
    let without = providers.iter().filter(|provider| provider.cost.is_none());
    Cost {
        currency: prices.currency.clone(),
        total: providers.iter().filter_map(|provider| provider.cost).sum(),
        without_price: without.map(|provider| provider.binding.clone()).collect(),
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pipeline { name, version, profile, .. } = &self.pipeline;
        let seconds = self.lasted_ms / 1_000.0;
        writeln!(f, "{}: {seconds:.1} s, held by {name} version {version} ({profile})\n", self.session)?;
        self.turns.iter().try_for_each(|turn| write!(f, "{}", told(turn)))?;
        let Interruptions { holds, confirmed, dismissed } = self.interruptions;
        let Words { said, heard, unheard } = self.words;
        writeln!(f, "turns          {}", self.turns.len())?;
        writeln!(f, "interruptions  {confirmed}, and {dismissed} that were none, of {holds} holds")?;
        writeln!(f, "words          {said} said by the caller, {heard} heard of the answers, {unheard} never heard")?;
        let Audio { caller_seconds, spoken_seconds, heard_seconds } = self.audio;
        writeln!(
            f,
            "sound          {caller_seconds:.1} s from the caller, {heard_seconds:.1} s heard of {spoken_seconds:.1} s spoken"
        )?;
        let Counts { fenced, drops, .. } = self.counts;
        writeln!(f, "stopped        {fenced} late results and frames; {drops} dropped by a rule\n")?;
        writeln!(f, "{}", table(&self.providers))?;
        match &self.cost {
            None => writeln!(f, "\ncost           no prices: give a list with --prices"),
            Some(Cost { currency, total, without_price }) if without_price.is_empty() => {
                writeln!(f, "\ncost           {total:.4} {currency}, estimated")
            }
            Some(Cost { currency, total, without_price }) => {
                writeln!(f, "\ncost           {total:.4} {currency}, estimated, without {}", without_price.join(", "))
            }
        }
    }
}

/// What stands for a turn's words of the caller.
pub(crate) fn caller_words(said: &str, unasked: bool) -> &str {
    match said {
        "" if unasked => "(nothing: the agent speaks unasked)",
        "" => "(not understood)",
        said => said,
    }
}

fn told(turn: &TurnAccount) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "turn {}  caller   {}", turn.turn, caller_words(&turn.user_text, turn.unasked));
    let _ =
        writeln!(text, "        heard    {}", if turn.heard_text.is_empty() { "(nothing)" } else { &turn.heard_text });
    if !turn.unheard_text.is_empty() {
        let _ = writeln!(text, "        unheard  {}", turn.unheard_text);
    }
    let reason = turn.reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let _ = writeln!(text, "        {}{reason}", turn.terminal);
    if let Some(latency) = &turn.latency {
        let parts = latency.providers.iter().map(|it| format!("{} {} ({})", it.part, it.ms, it.binding));
        let transport = latency.transport_ms.map_or("not told".to_owned(), |ms| ms.to_string());
        let _ = writeln!(
            text,
            "        first sound after {} ms: endpointing {}, {}, runtime {}; then transport {transport}",
            latency.first_audio_ms,
            latency.endpointing_ms,
            parts.collect::<Vec<_>>().join(", "),
            latency.runtime_ms,
        );
    }
    text.push('\n');
    text
}

fn table(providers: &[ProviderAccount]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["provider", "asked", "ended", "first result", "in", "out", "cost"]);
    for it in providers {
        let mut ended: Vec<String> = it.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        if it.cancelled > 0 {
            ended.push(format!("{} cancelled", it.cancelled));
        }
        let (into, out) = match it.kind {
            "stt" => (format!("{:.1} s", it.audio_in_seconds), format!("{} characters", it.chars_out)),
            "tts" => (format!("{} characters", it.chars_in), format!("{:.1} s", it.audio_out_seconds)),
            "llm" => (format!("~{} tokens", it.tokens_in_estimate), format!("~{} tokens", it.tokens_out_estimate)),
            _ => (format!("{} characters", it.chars_in), format!("{} characters", it.chars_out)),
        };
        table.add_row([
            format!("{} {}", it.kind, it.binding),
            it.invocations.to_string(),
            ended.join(", "),
            it.first_result.map_or("-".to_owned(), |first| format!("{} ms", first.ms)),
            into,
            out,
            it.cost.map_or("-".to_owned(), |cost| format!("{cost:.4}")),
        ]);
    }
    table
}
