//! No honest material accuses anybody: random histories of honest logs, witnesses and parties,
//! and what a liar can make of them without their keys, kind by kind.
//!
//! Each history is its own: trees, checkpoints, cosignatures and statements are made anew from a
//! seed. From each come a file that a builder would make (it must refuse) and files written by hand,
//! then damaged, exchanged and spliced. *Failure* is a guilty key, and nothing else; files that
//! don't parse or prove nothing are what is expected.
//!
//! ```text
//! cargo test -p countersign-exchange honest                               a short run of each kind
//! COUNTERSIGN_HISTORIES=1000000 cargo test --release -p countersign-exchange --test it \
//!     -- --ignored --nocapture honest_histories_of_every_kind
//! ```

mod clients;
mod logs;
mod openings;
mod random;

use std::thread;
use std::time::Instant;

use exchange::evidence::judge;
use tlog::evidence::{Evidence, Kind, KnownKeys};

use random::Random;

/// Files written by hand from each history; each is judged as it is and damaged.
const FILES: usize = 1;

/// What was tried.
#[derive(Debug, Default, Clone, Copy)]
struct Tried {
    /// Honest histories.
    histories: u64,
    /// Files that parsed and were judged.
    judged: u64,
    /// Files that were refused before that.
    malformed: u64,
}

impl Tried {
    /// Judges a file, and panics if it convicts anybody.
    fn judge(&mut self, what: &str, file: &[u8], known: &KnownKeys) {
        let Ok(evidence) = Evidence::parse(file) else {
            self.malformed += 1;
            return;
        };
        self.judged += 1;
        if let Ok(judgement) = judge(&evidence, known) {
            let guilty = judgement.guilty().count();
            assert_eq!(guilty, 0, "{what}: {judgement}\n{}", String::from_utf8_lossy(file));
        }
    }

    /// A file that a builder made: there must be none.
    fn made<E: std::fmt::Debug>(&mut self, what: &str, made: Result<Option<Evidence>, E>) {
        self.judged += 1;
        if let Ok(Some(evidence)) = made {
            panic!("{what}: accused\n{}", String::from_utf8_lossy(&evidence.to_bytes()));
        }
    }
}

/// One honest history of a kind, and what can be made of it.
fn history(kind: Kind, random: &mut Random, tried: &mut Tried) {
    tried.histories += 1;
    match kind {
        Kind::StatementFork => clients::history(random, tried),
        Kind::FalseOpening | Kind::WeakSalt => openings::history(kind, random, tried),
        Kind::LateStatement => {}
        kind => logs::history(kind, random, tried),
    }
}

/// Seeded by kind and number, so that a failure can be had again.
fn run(kind: Kind, numbers: impl Iterator<Item = u64>) -> Tried {
    let mut tried = Tried::default();
    for number in numbers {
        let mut random = Random::new(kind.word(), number);
        history(kind, &mut random, &mut tried);
    }
    tried
}

/// Kinds that honest material could be made to look like. Late statements accuse nobody, and an
/// honest party's may well be late.
const KINDS: [Kind; 8] = [
    Kind::TwoHeads,
    Kind::PrefixConflict,
    Kind::LeafConflict,
    Kind::WitnessDoubleSign,
    Kind::WitnessRollback,
    Kind::StatementFork,
    Kind::FalseOpening,
    Kind::WeakSalt,
];

#[test]
fn honest_histories_accuse_nobody_in_a_short_run() {
    for kind in KINDS {
        let tried = run(kind, 0..450);
        assert!(tried.judged > 450, "{kind}: {tried:?}");
    }
}

#[test]
#[ignore = "takes a quarter of an hour; its figures are in docs/reliability.md"]
fn honest_histories_of_every_kind() {
    let wanted = std::env::var("COUNTERSIGN_HISTORIES").ok();
    let wanted: u64 = wanted.map_or(1_000_000, |n| n.parse().expect("a number of histories"));
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    println!("| kind | histories | files judged | malformed | accusations | seconds |");
    println!("|---|--:|--:|--:|--:|--:|");
    for kind in KINDS {
        let begin = Instant::now();
        let parts: Vec<Tried> = thread::scope(|scope| {
            let each = |thread| {
                let numbers = (thread..wanted).step_by(threads as usize);
                scope.spawn(move || run(kind, numbers))
            };
            let running: Vec<_> = (0..threads).map(each).collect();
            running.into_iter().map(|part| part.join().expect("an accusation")).collect()
        });
        let sum = |of: fn(&Tried) -> u64| parts.iter().map(of).sum::<u64>();
        let (histories, judged) = (sum(|t| t.histories), sum(|t| t.judged));
        let malformed = sum(|t| t.malformed);
        let seconds = begin.elapsed().as_secs();
        println!("| `{kind}` | {histories} | {judged} | {malformed} | 0 | {seconds} |");
        assert_eq!(histories, wanted);
    }
}
