//! Reading what was sealed to oneself, or shown to everybody. That an envelope decrypts proves
//! nothing: all that is in it is checked against the record's commitments before any of it is used.

use exchange::predicate::{OpenedItems, Opening, Predicate, Reveal, RevealContent, SealedEnvelope};
use exchange::sealed::{self, OpenError, OpenedEnvelope, SealingSecret};
use exchange::{Kind, SignedStatement, StatementId, Word};
use record::context::Context;
use record::header::Header;
use record::items::ItemKey;
use record::opening::{Against, Body, BodyError, Disclosure, OpeningError, Proved, Scope};
use tlog::{KeyName, PublicKey};

use super::{Seat, SeatError, evaluation_of};
use crate::Entropy;
use crate::connection::CallError;
use crate::replica::Placed;

/// The largest envelope: 65 MiB of padded plain text, and what frames it.
const MAX_ENVELOPE: usize = (65 << 20) + (8 << 10);

/// Why something that was shown can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The log does not hand it out.
    #[error("the log does not hand out its envelope")]
    Absent,
    /// It is not the envelope, not for this key, or not signed by its sender.
    #[error(transparent)]
    Envelope(#[from] OpenError),
    /// What is in it is no opening.
    #[error("it holds no opening: {0}")]
    Body(#[from] BodyError),
    /// The opening does not hold, or is not what the statement declares.
    #[error("the opening does not hold: {0}")]
    Opening(#[from] OpeningError),
    /// The record that it is about is not one that can be opened.
    #[error("its record is not known")]
    Record,
}

impl Unreadable {
    /// True if the fault is in what was sent, so that disputing it as `unopenable` is right.
    pub fn is_senders(&self) -> bool {
        !matches!(self, Self::Absent | Self::Record | Self::Envelope(OpenError::OtherKey))
    }
}

/// Something that was shown to this member, and what it proves.
#[derive(Debug)]
pub struct Received {
    /// The statement.
    pub statement: StatementId,
    /// Which leaf it is.
    pub index: u64,
    /// Who showed it.
    pub by: KeyName,
    /// `reveal` or `opening`.
    pub kind: Kind,
    /// The rule, for reveals.
    pub rule: Option<Word>,
    /// The record that it is about.
    pub record: StatementId,
    /// True if everybody sees it.
    pub public: bool,
    /// What it proves, or why it can't be used.
    pub proved: Result<Proved, Unreadable>,
    /// The envelope's content and its sender's signature, for those who must show it to others.
    pub envelope: Option<OpenedEnvelope>,
}

impl<E: Entropy> Seat<'_, E> {
    /// Everything in this exchange that was sealed to this member or shown to everybody, by
    /// others, each checked against the record that it is about.
    pub async fn received(&mut self) -> Result<Vec<Received>, SeatError> {
        let mut all = Vec::new();
        let placed: Vec<Placed> = self.replica.of_exchange(&self.exchange).collect();
        for placed in placed {
            let by = placed.statement().common().signer.clone();
            if by == *self.name() {
                continue;
            }
            let found = match placed.statement().predicate() {
                Predicate::Reveal(reveal) => self.read_reveal(&placed, reveal).await?,
                Predicate::Opening(opening) => self.read_opening(&placed, opening).await?,
                _ => None,
            };
            all.extend(found);
        }
        Ok(all)
    }

    async fn read_reveal(
        &mut self,
        placed: &Placed,
        reveal: &Reveal,
    ) -> Result<Option<Received>, SeatError> {
        // What an auditor released was sealed to it first; it declares the same.
        let side = self
            .sides()
            .find(|side| self.counted(*side).is_some_and(|record| record.id() == reveal.record));
        let rule = reveal.rule.as_ref().and_then(|id| self.rule(id));
        let declared = match (side, &rule) {
            (Some(side), Some(rule)) => Some(self.declared(rule, side)),
            _ => None,
        };
        let (public, opened) = match &reveal.content {
            RevealContent::Open { totals, subjects } => {
                let body = exchange::clear_body(reveal.record.hash(), totals, subjects);
                (true, Ok((body, None)))
            }
            RevealContent::Envelope(envelope) if envelope.reader == *self.name() => {
                (false, self.unseal(placed, &reveal.record, envelope).await?)
            }
            RevealContent::Envelope(_) => return Ok(None),
        };
        let (proved, envelope) = self.prove(&reveal.record, declared.as_ref(), opened);
        Ok(Some(Received {
            statement: placed.id(),
            index: placed.index,
            by: placed.statement().common().signer.clone(),
            kind: Kind::Reveal,
            rule: reveal.rule.clone(),
            record: reveal.record,
            public,
            proved,
            envelope,
        }))
    }

    async fn read_opening(
        &mut self,
        placed: &Placed,
        opening: &Opening,
    ) -> Result<Option<Received>, SeatError> {
        if opening.envelope.reader != *self.name() {
            return Ok(None);
        }
        let declared = match &opening.items {
            OpenedItems::Ranges(ranges) => Some(Disclosure {
                items: ranges.iter().flat_map(|range| range.first..=range.last).collect(),
                fields: opening.fields.iter().map(ToString::to_string).collect(),
                ..Disclosure::default()
            }),
            // Which items a sample is, its coins say.
            OpenedItems::Sample { .. } => None,
        };
        let opened = self.unseal(placed, &opening.record, &opening.envelope).await?;
        let (proved, envelope) = self.prove(&opening.record, declared.as_ref(), opened);
        Ok(Some(Received {
            statement: placed.id(),
            index: placed.index,
            by: placed.statement().common().signer.clone(),
            kind: Kind::Opening,
            rule: None,
            record: opening.record,
            public: false,
            proved,
            envelope,
        }))
    }

    fn sides(&self) -> impl Iterator<Item = exchange::Side> + use<E> {
        exchange::Side::BOTH.into_iter()
    }

    /// Fetches and opens an envelope. The inner error is about what was sent.
    async fn unseal(
        &mut self,
        placed: &Placed,
        about: &StatementId,
        envelope: &SealedEnvelope,
    ) -> Result<Result<(Body, Option<OpenedEnvelope>), Unreadable>, SeatError> {
        let opened = match self.unsealed(&placed.signed, about, envelope).await? {
            Ok(opened) => opened,
            Err(unreadable) => return Ok(Err(unreadable)),
        };
        Ok(match Body::parse(&opened.body) {
            Ok(body) => Ok((body, Some(opened))),
            Err(error) => Err(error.into()),
        })
    }

    pub(super) async fn unsealed(
        &mut self,
        signed: &SignedStatement,
        about: &StatementId,
        envelope: &SealedEnvelope,
    ) -> Result<Result<OpenedEnvelope, Unreadable>, SeatError> {
        let found = self.session.connection().artifact(&envelope.digest, MAX_ENVELOPE).await;
        let artifact = match found {
            Ok(Some(artifact)) => artifact,
            Ok(None) => return Ok(Err(Unreadable::Absent)),
            Err(CallError::Denied(denied)) if denied.reason == "NOT_THE_READER" => {
                return Ok(Err(Unreadable::Absent));
            }
            Err(error) => return Err(error.into()),
        };
        let common = signed.statement().common();
        let secret = SealingSecret::X25519(self.session.vault().party()?.sealing);
        let keys = self.keys_of(&common.signer);
        let opened = sealed::open(common, about, envelope, &artifact, &secret, &keys);
        Ok(opened.map_err(Unreadable::from))
    }

    /// Every key that was this member's at some time: its place in the log decided whether a
    /// statement counts, and the signature inside was made with the same key.
    pub(super) fn keys_of(&self, name: &KeyName) -> Vec<PublicKey> {
        let party = self.replica.state().registry().party(name);
        let held = party.map(|party| party.keys().to_vec()).unwrap_or_default();
        held.into_iter().map(|held| held.public).collect()
    }

    /// Header and context of a record of this exchange.
    pub(super) fn record_parts(&self, record: &StatementId) -> Option<(Header, Context)> {
        let placed = self.replica.statement(record)?;
        let evaluation = evaluation_of(&placed)?;
        let intent = self.replica.statement(&evaluation.intent)?;
        let Predicate::Intent(intent) = intent.statement().predicate() else { return None };
        let common = placed.statement().common();
        let exchange = self.exchange.hash();
        let (origin, signer) = (common.origin.as_str(), common.signer.as_str());
        let context = Context::new(origin, Some(&exchange), signer, &intent.nonce).ok()?;
        Some((evaluation.header().ok()?, context))
    }

    fn prove(
        &self,
        record: &StatementId,
        declared: Option<&Disclosure>,
        opened: Result<(Body, Option<OpenedEnvelope>), Unreadable>,
    ) -> (Result<Proved, Unreadable>, Option<OpenedEnvelope>) {
        let (body, envelope) = match opened {
            Ok(opened) => opened,
            Err(unreadable) => return (Err(unreadable), None),
        };
        let Some((header, context)) = self.record_parts(record) else {
            return (Err(Unreadable::Record), envelope);
        };
        let item_key = self.kept().ok().map(|kept| ItemKey::new(*kept.item_key));
        let against = Against {
            record: &record.hash(),
            header: &header,
            context: &context,
            item_key: item_key.as_ref(),
            scope: declared.map_or(Scope::Anything, Scope::Exactly),
        };
        (body.verify(&against).map_err(Unreadable::from), envelope)
    }
}
