//! What waits on one edge before a node that does not take everything at once (`F-043`, `F-044`, `F-143` to `F-148`).
//!
//! Plain state of one session: nothing here keeps a timely capability. What waits is handed to its node in the tick that
//! makes room, in the name of the turn that it came for. Everything that is dropped is said, and so is every passing of a
//! watermark; a producer that is told to stop is let go again after a bounded time.

use std::collections::VecDeque;
use std::sync::Arc;

use rspp_specs::buffer::{
    BufferSpec, Dropped, EdgeReport, EdgeSync, FLUSHED, Held, SYNC, Shed, WatermarkLevel, XonCause,
};
use rspp_specs::event::{Attributes, AudioFrame, Payload, Transcript};
use rspp_specs::ids::{PortIndex, RuntimeSequence, Scope};
use rspp_specs::limits::{MAX_FRAME_SAMPLES, MAX_MERGE_LINEAGE, MAX_TEXT_BYTES};
use rspp_specs::time::Micros;

use crate::node::Context;

/// One edge's buffer.
#[derive(Debug)]
pub(crate) struct EdgeBuffer {
    port: PortIndex,
    /// Its plan's: all sessions look at the same.
    spec: Arc<BufferSpec>,
    items: VecDeque<Item>,
    held: Held,
    /// The high watermark was passed, and the low one not since.
    filling: bool,
    /// The producer is blocked until then at the latest.
    blocked_until: Option<Micros>,
    /// Items that came while the buffer was filling.
    came_filling: u32,
    /// Groups of items that went on as one.
    groups: u32,
    /// What the producer may still give.
    credit: u32,
    sync: Option<EdgeSync>,
    /// What came last.
    latest: Key,
    /// What a rule has dropped and the group has not heard of.
    losses: Vec<Key>,
    /// What was dropped in another stream of the group before it came in this one.
    lost_elsewhere: VecDeque<Key>,
    gaps: u32,
    /// The gap before what is handed over next.
    gap: Option<u32>,
}

/// What belongs together in the streams of a group: what one input caused, in its order.
pub(crate) type Key = (RuntimeSequence, u32);

/// Losses of other streams that are remembered until what belongs to them comes.
const MAX_LOST_ELSEWHERE: usize = 256;

/// One item that waits. Of an answer that comes faster than it plays there are a thousand in each session: it is two lines of
/// the cache, and no more.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) scope: Scope,
    /// Of what its cause has caused, it is this one.
    nth: u32,
    pub(crate) cause: RuntimeSequence,
    pub(crate) attributes: Option<Arc<Attributes>>,
    pub(crate) payload: Payload,
    came: Micros,
    bytes: u64,
    queued: Micros,
    /// What caused the items that became this one, where there are several.
    merged: Box<[RuntimeSequence]>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Item>() <= 128);

impl Item {
    fn key(&self) -> Key {
        (self.cause, self.nth)
    }

    fn size(&self) -> Held {
        Held { items: 1, bytes: self.bytes, queued: self.queued }
    }

    fn is_mark(&self) -> bool {
        self.payload.is_mark()
    }
}

impl EdgeBuffer {
    pub(crate) fn new(port: PortIndex, spec: Arc<BufferSpec>, sync: Option<EdgeSync>) -> Self {
        let credit = spec.credit_window();
        Self {
            port,
            spec,
            items: VecDeque::new(),
            held: Held::default(),
            filling: false,
            blocked_until: None,
            came_filling: 0,
            groups: 0,
            credit,
            sync,
            latest: (RuntimeSequence(0), 0),
            losses: Vec::new(),
            lost_elsewhere: VecDeque::new(),
            gaps: 0,
            gap: None,
        }
    }

    /// Takes in what comes, as far as the bounds allow it.
    pub(crate) fn push(&mut self, cx: &mut Context<'_>, payload: Payload) {
        let (scope, cause, came) = (cx.origin.scope, cx.origin.cause, cx.origin.at);
        let (attributes, size) = (cx.attributes.clone(), Held::of(&payload));
        let is_mark = payload.is_mark();
        let key = if is_mark { self.latest } else { self.next_key(cause) };
        let (Held { bytes, queued, .. }, merged) = (size, Box::default());
        let item = Item { scope, nth: key.1, cause, attributes, payload, came, bytes, queued, merged };
        if is_mark {
            // Two of a kind in a row say no more than one.
            let kind = std::mem::discriminant(&item.payload);
            if !self.items.back().is_some_and(|last| std::mem::discriminant(&last.payload) == kind) {
                self.items.push_back(item);
            }
            return;
        }
        self.credit = self.credit.saturating_sub(1);
        if self.take_lost_elsewhere(key) {
            cx.report(self.port, EdgeReport::Dropped(Dropped::one(cause), SYNC));
        } else if self.is_sampled_out() {
            self.drop_one(cx, cause, self.spec.shed.name());
        } else if self.spec.allows(self.held.and(size)) {
            self.take_in(item);
        } else {
            self.shed(cx, item);
        }
        self.note_level(cx);
    }

    fn next_key(&mut self, cause: RuntimeSequence) -> Key {
        let nth = if self.latest.0 == cause { self.latest.1 + 1 } else { 0 };
        self.latest = (cause, nth);
        self.latest
    }

    fn take_lost_elsewhere(&mut self, key: Key) -> bool {
        while self.lost_elsewhere.front().is_some_and(|lost| *lost < key) {
            self.lost_elsewhere.pop_front();
        }
        self.lost_elsewhere.pop_front_if(|lost| *lost == key).is_some()
    }

    /// Since when the oldest of its items waits.
    pub(crate) fn waits_since(&self) -> Option<Micros> {
        self.items.iter().find(|item| !item.is_mark()).map(|item| item.came)
    }

    /// With which streams it plays together.
    pub(crate) fn sync(&self) -> Option<&EdgeSync> {
        self.sync.as_ref()
    }

    /// What a rule has dropped since the last look.
    pub(crate) fn take_losses(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.losses)
    }

    /// What was dropped in another stream of the group goes here, too. `false` if it has gone on already.
    pub(crate) fn lose(&mut self, cx: &mut Context<'_>, key: Key) -> bool {
        if let Some(place) = self.items.iter().position(|item| item.key() == key && !item.is_mark()) {
            let mut dropped = None;
            self.remove(place, &mut dropped);
            self.losses.clear();
            self.say_dropped(cx, dropped, SYNC);
            self.note_level(cx);
            return true;
        }
        let is_to_come = key > self.latest;
        if is_to_come && self.lost_elsewhere.len() < MAX_LOST_ELSEWHERE {
            let place = self.lost_elsewhere.partition_point(|lost| *lost < key);
            self.lost_elsewhere.insert(place, key);
        }
        is_to_come
    }

    /// Marks that something is missing before what is handed over next.
    pub(crate) fn mark_gap(&mut self, cx: &mut Context<'_>, losses: &[Key]) {
        let causes = losses.iter().map(|(cause, _)| Dropped::one(*cause));
        let Some(dropped) = causes.reduce(Dropped::with) else { return };
        self.gaps += 1;
        self.gap = Some(self.gaps);
        cx.report(self.port, EdgeReport::Discontinuity(self.gaps, dropped));
    }

    /// Whether this one of those that come while the buffer is filling is not kept.
    fn is_sampled_out(&mut self) -> bool {
        let Shed::Sample { every } = self.spec.shed else { return false };
        if !self.filling {
            self.came_filling = 0;
            return false;
        }
        self.came_filling = self.came_filling.wrapping_add(1);
        !self.came_filling.is_multiple_of(every)
    }

    fn take_in(&mut self, item: Item) {
        self.held = self.held.and(item.size());
        self.items.push_back(item);
    }

    /// What comes does not fit: the rule says what becomes of it, and of what waits.
    fn shed(&mut self, cx: &mut Context<'_>, item: Item) {
        let rule = self.spec.shed;
        if !self.spec.allows(item.size()) {
            return self.drop_one(cx, item.cause, "too_large");
        }
        match rule {
            Shed::DropNewest | Shed::Sample { .. } => self.drop_one(cx, item.cause, rule.name()),
            Shed::Merge => {
                if let Some(item) = self.merge(item) {
                    self.drop_one(cx, item.cause, "merge_impossible");
                }
            }
            Shed::DropOldest => {
                let mut dropped = None;
                while !self.spec.allows(self.held.and(item.size())) {
                    let Some(oldest) = self.items.iter().position(|item| !item.is_mark()) else { break };
                    self.remove(oldest, &mut dropped);
                }
                self.say_dropped(cx, dropped, rule.name());
                self.take_in(item);
            }
            Shed::LatestOnly => self.supersede(cx, item),
        }
    }

    /// Makes room by dropping what `item` supersedes.
    fn supersede(&mut self, cx: &mut Context<'_>, item: Item) {
        let mut dropped = None;
        self.remove_all(&mut dropped, |waits| is_interim(&waits.payload) || !is_final(&waits.payload));
        if is_final(&item.payload) && !self.spec.allows(self.held.and(item.size())) {
            self.remove_all(&mut dropped, |_| true);
        }
        self.say_dropped(cx, dropped, self.spec.shed.name());
        if self.spec.allows(self.held.and(item.size())) {
            self.take_in(item);
        } else {
            self.drop_one(cx, item.cause, self.spec.shed.name());
        }
    }

    fn remove_all(&mut self, dropped: &mut Option<Dropped>, superseded: impl Fn(&Item) -> bool) {
        let goes = |item: &Item| !item.is_mark() && superseded(item);
        while let Some(place) = self.items.iter().position(goes) {
            self.remove(place, dropped);
        }
    }

    fn remove(&mut self, place: usize, dropped: &mut Option<Dropped>) {
        if let Some(item) = self.items.remove(place) {
            self.held = self.held.without(item.size());
            self.losses.extend(self.sync.is_some().then_some(item.key()));
            note_dropped(dropped, &item);
        }
    }

    /// Makes one of `item` and the newest that waits; gives it back where that is impossible.
    fn merge(&mut self, item: Item) -> Option<Item> {
        let Some(newest) = self.items.back_mut() else { return Some(item) };
        let lineage = newest.merged.len().max(1) + 1;
        if lineage > MAX_MERGE_LINEAGE || newest.scope != item.scope {
            return Some(item);
        }
        let Some(payload) = merged(&newest.payload, &item.payload) else { return Some(item) };
        let size = Held::of(&payload);
        let held = self.held.without(newest.size()).and(size);
        if !self.spec.allows(held) {
            return Some(item);
        }
        let causes = if newest.merged.is_empty() { std::slice::from_ref(&newest.cause) } else { &newest.merged };
        newest.merged = causes.iter().copied().chain([item.cause]).collect();
        (newest.payload, newest.bytes, newest.queued, self.held) = (payload, size.bytes, size.queued, held);
        None
    }

    /// What has waited longest.
    pub(crate) fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    /// Whether anything waits that may become output.
    pub(crate) fn has_items(&self) -> bool {
        self.held.items > 0
    }

    /// Hands over what has waited longest.
    pub(crate) fn pop(&mut self, cx: &mut Context<'_>) -> Option<Item> {
        let mut item = self.items.pop_front()?;
        if !item.is_mark() {
            self.held = self.held.without(item.size());
        }
        if let Some(gap) = self.gap.take_if(|_| !item.is_mark()) {
            item.attributes = Some(Arc::new(with_gap(&item, gap)));
        }
        if !item.merged.is_empty() {
            self.groups += 1;
            item.attributes = Some(Arc::new(self.with_lineage(&item)));
            cx.report(self.port, EdgeReport::Merged(self.groups, std::mem::take(&mut item.merged).into_vec()));
        }
        self.note_level(cx);
        Some(item)
    }

    /// The attributes of what was merged: nodes and conditional edges can see that it was.
    fn with_lineage(&self, item: &Item) -> Attributes {
        let mut attributes = item.attributes.as_deref().cloned().unwrap_or_default();
        let merged: Vec<u64> = item.merged.iter().map(|cause| cause.0).collect();
        attributes.insert("merge_group".to_owned(), self.groups.into());
        attributes.insert("merged".to_owned(), merged.into());
        attributes
    }

    /// Says when a watermark is passed, stops the producer or lets it go on, and grants credit.
    fn note_level(&mut self, cx: &mut Context<'_>) {
        let percent = self.spec.percent(self.held);
        if !self.filling && percent >= self.spec.high_percent {
            self.filling = true;
            self.say_level(cx, WatermarkLevel::High, percent);
            self.block(cx);
        } else if self.filling && percent <= self.spec.low_percent {
            self.filling = false;
            self.say_level(cx, WatermarkLevel::Low, percent);
            self.unblock(cx, XonCause::Drained);
        }
        self.grant(cx);
    }

    fn say_level(&self, cx: &mut Context<'_>, level: WatermarkLevel, percent: u32) {
        cx.report(self.port, EdgeReport::Watermark { level, held: self.held, percent });
    }

    fn block(&mut self, cx: &mut Context<'_>) {
        let Some(max_block) = self.spec.max_block else { return };
        self.blocked_until = Some(cx.now() + max_block);
        if self.spec.flow.signals() {
            cx.report(self.port, EdgeReport::Xoff);
        }
    }

    fn unblock(&mut self, cx: &mut Context<'_>, cause: XonCause) {
        if self.blocked_until.take().is_some() && self.spec.flow.signals() {
            cx.report(self.port, EdgeReport::Xon(cause));
        }
    }

    /// Grants what there is room for, once it is worth a word: a quarter of the window.
    fn grant(&mut self, cx: &mut Context<'_>) {
        if self.spec.max_block.is_none() || !self.spec.flow.grants() || self.filling {
            return;
        }
        let window = self.spec.credit_window();
        let free = window.saturating_sub(self.held.items).saturating_sub(self.credit);
        if free >= (window / 4).max(1) {
            self.credit += free;
            cx.report(self.port, EdgeReport::Credit(free));
        }
    }

    /// When something has waited long enough, or has been blocked long enough.
    pub(crate) fn due(&self) -> Option<Micros> {
        let oldest = self.items.iter().find(|item| !item.is_mark()).map(|item| item.came);
        let expires = oldest.zip(self.spec.max_queue).map(|(came, max_queue)| came + max_queue);
        [expires, self.blocked_until].into_iter().flatten().min()
    }

    /// Drops what has waited too long, and lets a producer go that was blocked for long enough: from now on what does not
    /// fit is shed.
    pub(crate) fn on_time(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        if let Some(max_queue) = self.spec.max_queue {
            let mut dropped = None;
            self.remove_all(&mut dropped, |item| item.came + max_queue <= now);
            self.say_dropped(cx, dropped, "expired");
        }
        if self.blocked_until.is_some_and(|until| until <= now) {
            self.unblock(cx, XonCause::Expired);
            if self.spec.flow.grants() {
                let window = self.spec.credit_window();
                self.credit += window;
                cx.report(self.port, EdgeReport::Credit(window));
            }
        }
        self.note_level(cx);
    }

    /// Drops what waits in this scope, because it was revoked; gives what that was.
    pub(crate) fn flush(&mut self, scope: Scope) -> Option<Dropped> {
        let mut dropped = None;
        self.remove_all(&mut dropped, |item| item.scope == scope);
        self.items.retain(|item| item.scope != scope);
        self.losses.clear();
        self.lost_elsewhere.clear();
        if self.items.is_empty() {
            (self.filling, self.blocked_until, self.credit) = (false, None, self.spec.credit_window());
        }
        dropped
    }

    /// Drops all that waits, since the node that would take it is cancelled; the turn goes on, and what has ended has
    /// ended.
    pub(crate) fn clear(&mut self, cx: &mut Context<'_>) {
        let mut dropped = None;
        self.remove_all(&mut dropped, |_| true);
        self.losses.clear();
        self.say_dropped(cx, dropped, FLUSHED);
        self.note_level(cx);
    }

    /// What has just come is not kept.
    fn drop_one(&mut self, cx: &mut Context<'_>, cause: RuntimeSequence, reason: &'static str) {
        self.losses.extend(self.sync.is_some().then_some(self.latest));
        cx.report(self.port, EdgeReport::Dropped(Dropped::one(cause), reason));
    }

    fn say_dropped(&self, cx: &mut Context<'_>, dropped: Option<Dropped>, reason: &'static str) {
        if let Some(dropped) = dropped {
            cx.report(self.port, EdgeReport::Dropped(dropped, reason));
        }
    }
}

/// The attributes of what has a gap before it.
fn with_gap(item: &Item, gap: u32) -> Attributes {
    let mut attributes = item.attributes.as_deref().cloned().unwrap_or_default();
    attributes.insert("discontinuity".to_owned(), gap.into());
    attributes
}

fn note_dropped(dropped: &mut Option<Dropped>, item: &Item) {
    let causes = if item.merged.is_empty() { std::slice::from_ref(&item.cause) } else { &item.merged };
    for cause in causes {
        *dropped = Some(dropped.map_or(Dropped::one(*cause), |sum| sum.and(*cause)));
    }
}

/// What may still change.
fn is_interim(payload: &Payload) -> bool {
    matches!(payload, Payload::Transcript(transcript) if !transcript.is_final())
}

/// What a later item does not make worthless.
fn is_final(payload: &Payload) -> bool {
    matches!(payload, Payload::Transcript(transcript) if transcript.is_final())
}

/// Both in one, where that is the same to whoever takes it.
fn merged(first: &Payload, second: &Payload) -> Option<Payload> {
    match (first, second) {
        (Payload::Text(first), Payload::Text(second)) if first.len() + second.len() < MAX_TEXT_BYTES => {
            Some(Payload::text(joined(first, second)))
        }
        // The later word on an utterance says all that the earlier one said.
        (Payload::Transcript(Transcript { utterance, .. }), Payload::Transcript(later))
            if is_interim(first) && later.utterance == *utterance =>
        {
            Some(second.clone())
        }
        (Payload::Audio(first), Payload::Audio(second)) => longer_frame(first, second).map(Payload::Audio),
        _ => None,
    }
}

/// A sentence that is followed by another needs a space; a piece of a sentence brings its own.
fn joined(first: &str, second: &str) -> String {
    let ends = first.ends_with(['.', '!', '?', ';', ':']) && !second.starts_with(char::is_whitespace);
    if ends { format!("{first} {second}") } else { format!("{first}{second}") }
}

fn longer_frame(first: &AudioFrame, second: &AudioFrame) -> Option<AudioFrame> {
    let alike = first.rate_hz == second.rate_hz && first.spoken_by == second.spoken_by;
    if !alike || first.samples.len() + second.samples.len() > MAX_FRAME_SAMPLES {
        return None;
    }
    let samples = first.samples.iter().chain(second.samples.iter()).copied().collect();
    Some(AudioFrame { samples, ..first.clone() })
}
