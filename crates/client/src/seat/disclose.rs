//! Showing: totals and counts by rules, fields of items by rules, sealed to their readers.

use exchange::predicate::{
    Audience, Decline, DeclineCode, ItemRange, Opened, OpenedItems, OpenedTotal, Opening,
    Predicate, Reveal, RevealContent, Rule, SealedEnvelope, What,
};
use exchange::sealed::seal;
use exchange::{
    ColumnName, ExchangeState, Field, Obligation, Side, StatementId, Status, Subject, Word,
};
use record::opening::{Body, Disclosure};
use tlog::{KeyKind, KeyName, Note, VerifierKey};
use zeroize::Zeroizing;

use super::{Seat, SeatError};
use crate::Entropy;
use crate::entropy::Generator;
use crate::replica::Standing;
use crate::session::Logged;

/// What was revealed under one rule.
#[derive(Debug, Clone)]
pub struct Revealed {
    /// The rule.
    pub rule: Word,
    /// What it is about.
    pub what: What,
    /// Who reads it; everybody if none.
    pub reader: Option<KeyName>,
    /// The statement.
    pub logged: Logged,
}

/// Fields of items that were opened to somebody.
#[derive(Debug, Clone)]
pub struct OpenedTo {
    /// Who reads it.
    pub reader: KeyName,
    /// Indices.
    pub items: Vec<u64>,
    /// Fields of each.
    pub fields: Vec<Field>,
    /// The statement.
    pub logged: Logged,
}

/// The reader that a rule names for what `side` shows; none for everybody.
pub(super) fn reader_of<'a>(
    rule: &'a Rule,
    parties: [&'a KeyName; 2],
    side: Side,
) -> Option<&'a KeyName> {
    match &rule.to {
        Audience::Public => None,
        Audience::Peer => Some(parties[side.peer().place()]),
        Audience::Auditor(name) => Some(name),
    }
}

impl<E: Entropy> Seat<'_, E> {
    pub(super) fn names(&self) -> [&KeyName; 2] {
        Side::BOTH.map(|side| self.name_of(side))
    }

    /// Exactly what a reveal of this side under this rule holds.
    pub(super) fn declared(&self, rule: &Rule, side: Side) -> Disclosure {
        let mut declared = Disclosure::default();
        let subjects = |wanted: fn(Subject) -> bool| {
            Subject::all().filter(|s| wanted(*s)).map(|s| s.as_str().to_owned()).collect()
        };
        match &rule.what {
            What::Totals => {
                let columns = self.agreement.evaluation.columns.iter();
                declared.totals = columns.map(|scale| scale.name.as_str().to_owned()).collect();
                // A difference is proved by whoever learns both totals, and needs this count too.
                let reader = reader_of(rule, self.names(), side);
                let difference = self.agreement.claims.iter().any(|claim| {
                    claim.bound.is_difference()
                        && claim.by != *self.name_of(side)
                        && reader.is_none_or(|reader| *reader == claim.by)
                });
                if difference {
                    declared.subjects.push("count:scored".to_owned());
                }
            }
            What::Counts => declared.subjects = subjects(Subject::is_count),
            What::Flags => declared.subjects = subjects(|s| s.is_number() && !s.is_count()),
            What::Claim | What::Field(_) | What::Score(_) => {}
        }
        declared
    }

    /// Rules under which something is owed that this party has not shown yet.
    pub fn owed_rules(&self) -> Result<Vec<Word>, SeatError> {
        let side = self.party()?;
        let Standing::Open(view) = self.standing() else { return Ok(Vec::new()) };
        let begin = format!("reveal:{}:", self.name_of(side));
        let open = |duty: &Obligation| duty.status == Status::Open;
        let owed = view.obligations(&|_| true).into_iter().filter(open);
        let rules =
            owed.filter_map(|duty| Word::parse(duty.name.as_str().strip_prefix(&begin)?).ok());
        Ok(rules.collect())
    }

    /// Refuses unless the party's own witness, if the agreement names one, has cosigned a head that
    /// covers both records: a split view could not show them to it alone.
    pub async fn demand_own_witness(&mut self) -> Result<(), SeatError> {
        let side = self.party()?;
        let Some(witness) = self.agreement.parties[side.place()].witness.clone() else {
            return Ok(());
        };
        let last = Side::BOTH.into_iter().filter_map(|side| self.counted(side));
        let Some(last) = last.map(|placed| placed.index).max() else { return Ok(()) };
        if self.is_cosigned(&witness, last) {
            return Ok(());
        }
        let cosigned = self.session.connection().cosigned_by(&witness).await?;
        match cosigned {
            Some(head) if head.size > last && self.replica.root(head.size) == Some(head.root) => {
                Ok(())
            }
            _ => Err(SeatError::NotWitnessed { witness: witness.name().clone() }),
        }
    }

    /// True if a tick in the log carries this witness's cosignature on a head beyond `index`.
    fn is_cosigned(&self, witness: &VerifierKey, index: u64) -> bool {
        (index..self.replica.size()).filter_map(|at| self.replica.at(at)).any(|placed| {
            let Predicate::Tick(tick) = placed.statement().predicate() else { return false };
            tick.head().size > index
                && Note::parse(tick.note().as_bytes())
                    .is_ok_and(|note| has_cosignature(&note, witness))
        })
    }

    /// Reveals under rules: those that are named, or all under which something is owed.
    pub async fn reveal(&mut self, named: &[Word]) -> Result<Vec<Revealed>, SeatError> {
        let side = self.party()?;
        self.refresh().await?;
        if let Standing::Over(ended) = self.standing() {
            return Err(SeatError::Over(ended.state));
        }
        let wanted = if named.is_empty() { self.owed_rules()? } else { named.to_vec() };
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.demand_own_witness().await?;
        let record = self.own_record().await?;
        let mut revealed = Vec::new();
        for id in wanted {
            let unknown = || SeatError::Unknown { what: "rule", name: id.to_string() };
            let rule = self.rule(&id).ok_or_else(unknown)?;
            let reader = reader_of(&rule, self.names(), side).cloned();
            if !rule.what.is_revealed() || !rule.by.covers(self.name()) {
                let to = reader.as_ref().map_or("everybody", |name| name.as_str()).to_owned();
                let what = rule.what.to_string();
                return Err(SeatError::NoRule { by: self.name().clone(), what, to });
            }
            let body = record.open(&self.declared(&rule, side))?;
            let (content, artifact) = match &reader {
                None => (in_the_clear(&body), None),
                Some(reader) => {
                    let (envelope, artifact) = self.sealed(&record.id, reader, &body)?;
                    (RevealContent::Envelope(envelope), Some(artifact))
                }
            };
            let reveal = Reveal {
                record: record.id,
                rule: Some(id.clone()),
                content,
                answers: None,
                items_proofs: Vec::new(),
                releases: None,
            };
            let artifacts: Vec<&[u8]> = artifact.iter().map(Vec::as_slice).collect();
            let logged = self.say_with(Predicate::Reveal(Box::new(reveal)), &artifacts).await?;
            revealed.push(Revealed { rule: id, what: rule.what, reader, logged });
        }
        Ok(revealed)
    }

    /// Opens fields of items of one's own record to a reader, as rules allow. A score brings its
    /// item's status with it.
    pub async fn open_items(
        &mut self,
        reader: &KeyName,
        items: &[u64],
        fields: &[Field],
    ) -> Result<OpenedTo, SeatError> {
        self.party()?;
        self.refresh().await?;
        let record = self.own_record().await?;
        let mut fields: Vec<Field> = fields.to_vec();
        fields.sort_by_key(ToString::to_string);
        fields.dedup();
        let disclosure = Disclosure {
            items: items.to_vec(),
            fields: fields.iter().map(ToString::to_string).collect(),
            ..Disclosure::default()
        };
        let body = record.open(&disclosure)?;
        let (envelope, artifact) = self.sealed(&record.id, reader, &body)?;
        let opening = Opening {
            record: record.id,
            items: OpenedItems::Ranges(ranges(items)),
            fields: fields.clone(),
            envelope,
            answers: None,
        };
        let logged =
            self.say_with(Predicate::Opening(Box::new(opening)), &[artifact.as_slice()]).await?;
        Ok(OpenedTo { reader: reader.clone(), items: items.to_vec(), fields, logged })
    }

    /// Says that an agreed claim will not be made.
    pub async fn decline(&mut self, claim: &Word, code: DeclineCode) -> Result<Logged, SeatError> {
        self.refresh().await?;
        if !self.agreement.claims.iter().any(|agreed| agreed.id == *claim) {
            return Err(SeatError::Unknown { what: "claim", name: claim.to_string() });
        }
        self.say(Predicate::Decline(Decline { claim: claim.clone(), code })).await
    }

    /// Claims that are still owed by this party.
    pub fn owed_claims(&self) -> Vec<Word> {
        let Standing::Open(view) = self.standing() else { return Vec::new() };
        let owed = view.obligations(&|_| true).into_iter();
        let owed = owed.filter(|duty| duty.status == Status::Open && duty.holder == *self.name());
        owed.filter_map(|duty| Word::parse(duty.name.as_str().strip_prefix("claim:")?).ok())
            .collect()
    }

    pub(super) fn sealed(
        &mut self,
        about: &StatementId,
        reader: &KeyName,
        body: &Body,
    ) -> Result<(SealedEnvelope, Vec<u8>), SeatError> {
        let bytes = Zeroizing::new(body.to_bytes()?);
        self.sealed_bytes(about, reader, &bytes)
    }

    pub(super) fn sealed_bytes(
        &mut self,
        about: &StatementId,
        reader: &KeyName,
        body: &[u8],
    ) -> Result<(SealedEnvelope, Vec<u8>), SeatError> {
        let unknown = || SeatError::Unknown { what: "reader", name: reader.to_string() };
        let party = self.replica.state().registry().party(reader).ok_or_else(unknown)?;
        let key = party.sealing().clone();
        let common = self.session.common_in(Some(self.exchange))?;
        let signer = self.session.key();
        let mut generator = Generator(self.session.entropy());
        let sealed = seal(&common, about, (reader, &key), body, signer, &mut generator)?;
        Ok((sealed.envelope, sealed.artifact))
    }

    /// What stops revealing now, for a message; none in the right stage.
    pub fn too_early_to_reveal(&self) -> Option<ExchangeState> {
        let state = self.state();
        matches!(state, ExchangeState::Proposed | ExchangeState::Agreed).then_some(state)
    }
}

/// True if the note carries a valid cosignature of this witness.
pub(crate) fn has_cosignature(note: &Note, witness: &VerifierKey) -> bool {
    let valid = note.verify(&[witness]).is_ok_and(|verified| !verified.is_empty());
    witness.kind() == KeyKind::Cosignature && valid
}

fn in_the_clear(body: &Body) -> RevealContent {
    let totals = body.totals.iter().filter_map(|total| {
        let column = ColumnName::parse(&total.column).ok()?;
        Some(OpenedTotal { column, total: total.total, blind: total.blind })
    });
    let subjects = body.subjects.iter().filter_map(|subject| {
        let name = Subject::parse(&subject.name).ok()?;
        Some(Opened { name, value: subject.value.clone(), salt: subject.salt })
    });
    RevealContent::Open { totals: totals.collect(), subjects: subjects.collect() }
}

/// Ascending indices as ranges that neither overlap nor touch.
fn ranges(items: &[u64]) -> Vec<ItemRange> {
    let mut ranges: Vec<ItemRange> = Vec::new();
    for index in items {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == *index => range.last = *index,
            _ => ranges.push(ItemRange { first: *index, last: *index }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn neighbours_are_one_range() {
        let found: Vec<(u64, u64)> =
            ranges(&[0, 1, 2, 5, 7, 8]).iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(found, [(0, 2), (5, 5), (7, 8)]);
        assert!(ranges(&[]).is_empty());
    }
}
