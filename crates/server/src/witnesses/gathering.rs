//! The beat: one head at a time, shown once a quorum has cosigned it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tlog::{NoteSignature, SignedCheckpoint, VerifierKey};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::asking::{Cosignature, Round, ask_on};
use super::{Cosigning, Shown, Witnesses};
use crate::service::unix_now;
use crate::{Service, ticks};

/// Cosignatures that came for one head.
struct Gathered {
    round: Arc<Round>,
    began: Instant,
    /// The latest of each witness. Those of an earlier round over the same head still hold.
    lines: BTreeMap<VerifierKey, (u64, NoteSignature)>,
    /// Whether this round has brought a quorum.
    met: bool,
}

impl Gathered {
    /// The next round begins once this one has its quorum, or has had its time.
    fn settled(&self, witnesses: &Witnesses) -> bool {
        self.met || self.began.elapsed() >= witnesses.pace().deadline
    }

    /// The checkpoint with all lines, and the quorum's time.
    fn shown(&self, witnesses: &Witnesses) -> Shown {
        let mut checkpoint = self.round.checkpoint.clone();
        for (witness, (_, line)) in &self.lines {
            // It was verified over this very text; what does not fit any more is left out.
            checkpoint = checkpoint.with_cosignature(line.clone(), witness).unwrap_or(checkpoint);
        }
        let quorum = witnesses.quorum_time(|key| self.lines.get(key).map(|(time, _)| *time));
        let latest = self.lines.values().map(|(time, _)| *time).max().unwrap_or(0);
        Shown { checkpoint, quorum, latest }
    }
}

/// Gathers cosignatures for as long as the service lives.
pub(crate) async fn gather(service: Arc<Service>) {
    let Some(cosigning) = service.cosigning() else { return };
    let Cosigning { witnesses, shown, log, .. } = &**cosigning;
    let pace = witnesses.pace();
    let (rounds, _) = watch::channel(None);
    // Each witness has one answer on its way.
    let (sender, mut cosignatures) = mpsc::channel(witnesses.asked.len().max(1));
    let mut asking = JoinSet::new();
    for asked in &witnesses.asked {
        let (service, asked) = (Arc::clone(&service), asked.clone());
        asking.spawn(ask_on(service, asked, pace, rounds.subscribe(), sender.clone()));
    }
    let mut beat = tokio::time::interval(pace.beat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gathered: Option<Gathered> = None;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let awaited = is_awaited(&service, gathered.as_ref()).await;
                if let Some(next) = next_round(&service, witnesses, log, gathered.as_ref(), awaited)
                {
                    rounds.send_replace(Some(Arc::clone(&next.round)));
                    show(shown, next.shown(witnesses));
                    gathered = Some(next);
                }
            }
            Some(cosignature) = cosignatures.recv() => {
                let Cosignature { round, witness, time, line } = cosignature;
                let current = gathered.as_mut();
                let current = current.filter(|g| g.round.checkpoint == round.checkpoint);
                // Too late for its head, or the head is shown: what came in time is enough.
                let Some(current) = current else { continue };
                current.lines.insert(witness, (time, line));
                let next = current.shown(witnesses);
                if next.quorum.is_some() && !current.met {
                    current.met = true;
                    service.metrics().witnessed(current.began.elapsed());
                }
                show(shown, next);
            }
        }
    }
}

/// True if an exchange waits for this very head to be cosigned once more, since a time has passed.
/// Not asked where a round begins anyway.
async fn is_awaited(service: &Service, current: Option<&Gathered>) -> bool {
    let Some(current) = current else { return false };
    let head = current.round.checkpoint.head();
    let unchanged = *head == service.reader().head();
    unchanged && current.met && ticks::is_awaited(service, unix_now(), head.size).await
}

/// The round to begin now, if there is one: the head has changed, lacks its quorum, or was last
/// cosigned a while ago or before what an exchange waits for.
fn next_round(
    service: &Service,
    witnesses: &Witnesses,
    log: &VerifierKey,
    current: Option<&Gathered>,
    awaited: bool,
) -> Option<Gathered> {
    let snapshot = service.reader().snapshot();
    let mut lines = BTreeMap::new();
    if let Some(current) = current {
        if !current.settled(witnesses) {
            return None;
        }
        let unchanged = *current.round.checkpoint.head() == snapshot.head();
        let fresh = current.met && current.began.elapsed() < witnesses.pace().refresh;
        if unchanged && fresh && !awaited {
            return None;
        }
        if unchanged {
            lines.clone_from(&current.lines);
        }
    }
    match SignedCheckpoint::open(&snapshot.checkpoint(), log) {
        Ok(checkpoint) => {
            let round = Arc::new(Round { snapshot, checkpoint });
            Some(Gathered { round, began: Instant::now(), lines, met: false })
        }
        Err(error) => {
            tracing::error!(%error, "the log's own checkpoint does not open");
            None
        }
    }
}

/// Once a quorum has cosigned anything, only what a quorum cosigned is shown.
fn show(shown: &watch::Sender<Option<Arc<Shown>>>, next: Shown) {
    let before = shown.borrow().as_ref().is_some_and(|shown| shown.quorum.is_some());
    if next.quorum.is_some() || !before {
        shown.send_replace(Some(Arc::new(next)));
    }
}
