//! Honest clients that retry, crash and resend, against logs that refuse, lose answers and lie
//! about what they have; and files about what the clients signed.
//!
//! A client's rule is short: number and payload are durable before the signature exists; without an
//! answer it sends the same bytes; after a refusal it takes a new number. It crashes between any
//! two steps and goes on from what was durable.

use std::collections::BTreeMap;

use exchange::evidence::statement_fork;
use exchange::predicate::{Intent, Withdrawal, WithdrawalCode};
use exchange::{Common, Envelope, Predicate, Statement, StatementId};
use tlog::evidence::{Accused, Evidence, Kind, KnownKeys, Role};
use tlog::{KeyKind, KeyName, SigningKey, TreeHead};

use super::random::Random;
use super::{FILES, Tried};
use crate::log::{ORIGIN, key, seeded};

const LAB: &str = "lab-a.example";

/// What a client has on its disk for one log and exchange.
#[derive(Clone, Default)]
struct Durable {
    number: u64,
    previous: Option<StatementId>,
    pending: Option<Vec<u8>>,
}

type Place = (KeyName, Option<StatementId>);

struct Client {
    key: SigningKey,
    disk: BTreeMap<Place, Durable>,
    /// Everything that ever left the machine.
    sent: Vec<Envelope>,
}

impl Client {
    /// One step of its life in a place: say something new, or send again what is pending.
    fn step(&mut self, place: &Place, random: &mut Random) {
        let mut scope = self.disk.get(place).cloned().unwrap_or_default();
        if scope.pending.is_none() {
            scope.number += random.between(1, 2);
            scope.pending = Some(payload(&self.key, place, &scope, random));
            if random.once_in(8) {
                return; // A crash before anything is durable: nothing was signed.
            }
            self.disk.insert(place.clone(), scope.clone());
        }
        if random.once_in(8) {
            return; // A crash before it is signed.
        }
        let payload = scope.pending.clone().unwrap_or_default();
        let envelope = Envelope::sign(&payload, &self.key).unwrap();
        if random.once_in(8) {
            return; // A crash before it is sent.
        }
        let id = envelope.id();
        self.sent.push(envelope);
        match random.below(4) {
            0 => return,               // No answer: whether it was logged is unknown.
            1 => scope.pending = None, // Refused: the number is burnt.
            _ => {
                scope.pending = None;
                scope.previous = Some(id);
            }
        }
        if random.once_in(8) {
            return; // A crash before the answer is durable: it is sent again.
        }
        self.disk.insert(place.clone(), scope);
    }
}

fn payload(key: &SigningKey, place: &Place, scope: &Durable, random: &mut Random) -> Vec<u8> {
    let common = Common {
        origin: place.0.clone(),
        exchange: place.1,
        signer: key.name().clone(),
        number: scope.number,
        previous: scope.previous,
        seen: TreeHead::EMPTY,
    };
    let predicate = if random.once_in(2) {
        Predicate::Intent(Intent { run: random.between(1, 9), nonce: *random.hash().as_bytes() })
    } else {
        let intent = StatementId::new(*random.hash().as_bytes());
        Predicate::Withdrawal(Withdrawal { intent, code: WithdrawalCode::Crash })
    };
    Statement::new(common, predicate).unwrap().to_payload()
}

thread_local! {
    static KEYS: ([SigningKey; 4], KnownKeys) = {
        // The party, the key to which it rotates, a namesake of the liar's, another party.
        let keys = [
            key(LAB),
            seeded(LAB, "rotated"),
            seeded(LAB, "a thief"),
            key("lab-b.example"),
        ];
        let honest = [&keys[0], &keys[1], &keys[3]];
        let known = honest.iter().fold(KnownKeys::default(), |known, key| {
            known.with(Role::Party, key.verifier(KeyKind::Ed25519))
        });
        (keys, known)
    };
}

pub(super) fn history(random: &mut Random, tried: &mut Tried) {
    KEYS.with(|(keys, known)| {
        let name = |text| KeyName::parse(text).unwrap();
        let agreement = StatementId::new(*random.hash().as_bytes());
        let places = [
            (name(ORIGIN), None),
            (name(ORIGIN), Some(agreement)),
            (name("log.example/other"), None),
        ];
        let mut client = Client { key: keys[0].clone(), disk: BTreeMap::new(), sent: Vec::new() };
        let mut peer = Client { key: keys[3].clone(), disk: BTreeMap::new(), sent: Vec::new() };
        for step in 0..random.between(4, 9) {
            if step == 5 {
                // A rotation changes the key and no number.
                client.key = keys[1].clone();
            }
            client.step(&places[random.below(places.len())], random);
            if random.once_in(3) {
                peer.step(&places[random.below(places.len())], random);
            }
        }
        let mut all: Vec<&Envelope> = client.sent.iter().chain(&peer.sent).collect();
        let Some(last) = all.last().copied() else { return };
        // The liar signs what it likes with a key of that name, and puts the party's own key id on
        // it, or another statement's signature.
        let forged = Envelope::sign(last.payload(), &keys[2]).unwrap();
        let renumbered = renumbered(last, &keys[2], random);
        let grafted = grafted(&renumbered, last);
        all.extend([&forged, &renumbered, &grafted]);
        for (place, a) in all.iter().enumerate() {
            for b in &all[place..] {
                tried.made("what honest clients sent", statement_fork(known, a, b));
            }
        }
        for _ in 0..FILES {
            let (mut a, b) = (*random.pick(&all), *random.pick(&all));
            if random.once_in(2) {
                // What the liar would like most: one genuine, one forged, in one place.
                a = last;
            }
            let (a, b) = if random.once_in(2) { (a, b) } else { (b, a) };
            let accused = random.pick(&keys[..]).verifier(KeyKind::Ed25519);
            let accused = Accused::new(Role::Party, accused).into_iter().collect();
            let parts =
                [("envelope-a", a.as_bytes().to_vec()), ("envelope-b", b.as_bytes().to_vec())];
            let file = Evidence::new(Kind::StatementFork, accused, Vec::new(), parts).unwrap();
            let mut bytes = file.to_bytes();
            tried.judge("what honest clients sent", &bytes, known);
            random.damage(&mut bytes);
            tried.judge("damaged", &bytes, known);
        }
    });
}

/// Another statement in the same place under the same number, signed by the liar.
fn renumbered(of: &Envelope, liar: &SigningKey, random: &mut Random) -> Envelope {
    let statement = Statement::parse(of.payload()).unwrap();
    let nonce = *random.hash().as_bytes();
    let predicate = Predicate::Intent(Intent { run: 1, nonce });
    let forged = Statement::new(statement.common().clone(), predicate).unwrap();
    Envelope::sign(&forged.to_payload(), liar).unwrap()
}

/// The liar's payload under the genuine key id and signature.
fn grafted(forged: &Envelope, genuine: &Envelope) -> Envelope {
    let text = |envelope: &Envelope| String::from_utf8(envelope.as_bytes().to_vec()).unwrap();
    let (forged, genuine) = (text(forged), text(genuine));
    let split = |text: &str| text.find("\",\"payloadType\"").unwrap();
    let grafted = format!("{}{}", &forged[..split(&forged)], &genuine[split(&genuine)..]);
    Envelope::parse(grafted.as_bytes()).unwrap()
}
