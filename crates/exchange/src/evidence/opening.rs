//! An opening that its signer's own attestation contradicts.
//!
//! Three things speak: the attestation with its commitments, the intent that it names (its nonce
//! is part of every commitment), and an opening, signed by the accused key. An opening names the
//! attestation by its id, which is a digest of all that it says; so what is compared is what the
//! accused key signed, whichever key signed the attestation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::context::Context;
use record::header::Header;
use record::opening::{Body, OpenedSubject};
use tlog::VerifierKey;
use tlog::evidence::{Accused, Evidence, Kind, KnownKeys, Role};

use super::{BuildError, Fault, accused, signed_by, signed_by_known, statement};
use crate::clear;
use crate::envelope::Envelope;
use crate::predicate::{Evaluation, Predicate, RevealContent};
use crate::sealed::{SealedFor, body_message};
use crate::statement::{Common, SignedStatement};
use crate::values::StatementId;

/// An opening with the signature of its sender.
#[derive(Debug, Clone, Copy)]
pub enum SignedOpening<'a> {
    /// In the clear in a statement: a reveal, a claim with the count that it rests on, or the
    /// attestation itself.
    Statement(&'a Envelope),
    /// What was found in a sealed envelope: its associated data, the body and the signature inside.
    Sealed {
        /// Associated data.
        aad: &'a [u8],
        /// The body, `countersign/openings/v1`.
        body: &'a [u8],
        /// By the sender's statement key.
        signature: &'a [u8; 64],
    },
}

/// Compares an opening with the attestation of its record and makes evidence if values were opened
/// that were not committed. `None` if they were. The file shows to everyone who gets it what the
/// opening shows: whoever has no right to pass that on must not make one.
pub fn false_opening(
    known: &KnownKeys,
    attestation: &Envelope,
    intent: &Envelope,
    opening: &SignedOpening<'_>,
) -> Result<Option<Evidence>, BuildError> {
    let parts = parts(attestation, intent, opening);
    let signer = attestation.key().name();
    let mut last = None;
    for key in known.of(Role::Party).iter().filter(|key| key.name() == signer) {
        let Some(accused) = Accused::new(Role::Party, key.clone()) else { continue };
        let evidence = Evidence::new(Kind::FalseOpening, vec![accused], Vec::new(), parts.clone())?;
        match judge(&evidence, known) {
            Ok(_) => return Ok(Some(evidence)),
            Err(Fault::Compatible) => return Ok(None),
            Err(fault) => last = Some(fault),
        }
    }
    let unknown = Fault::UnknownSigner { part: "attestation", signer: signer.clone() };
    Err(last.unwrap_or(unknown).into())
}

type Parts = Vec<(&'static str, Vec<u8>)>;

/// The parts of a file about an opening.
pub(super) fn parts(
    attestation: &Envelope,
    intent: &Envelope,
    opening: &SignedOpening<'_>,
) -> Parts {
    let line = |bytes: &[u8]| format!("{}\n", STANDARD.encode(bytes)).into_bytes();
    let mut parts = vec![
        ("attestation", attestation.as_bytes().to_vec()),
        ("intent", intent.as_bytes().to_vec()),
    ];
    match opening {
        SignedOpening::Statement(envelope) => {
            parts.push(("statement", envelope.as_bytes().to_vec()));
        }
        SignedOpening::Sealed { aad, body, signature } => {
            parts.push(("aad", line(aad)));
            parts.push(("body", body.to_vec()));
            parts.push(("signature", line(signature.as_slice())));
        }
    }
    parts
}

pub(super) fn judge(evidence: &Evidence, known: &KnownKeys) -> Result<String, Fault> {
    let key = accused(evidence)?;
    let record = Record::read(evidence, known, Some(key))?;
    let body = record.opening(evidence, [key]).map_err(|fault| match fault {
        Fault::UnknownSigner { part, .. } => Fault::NotSigned { part, key: key.keyid() },
        other => other,
    })?;
    let found = body.contradiction(&record.header, &record.context)?.ok_or(Fault::Compatible)?;
    Ok(format!("opened the record {} falsely: {found}", record.id))
}

/// A record as its attestation has it.
pub(super) struct Record {
    pub(super) id: StatementId,
    pub(super) header: Header,
    pub(super) context: Context,
    pub(super) common: Common,
    evaluation: Box<Evaluation>,
}

impl Record {
    /// The attestation, signed by a known key of its party or the accused one, and its intent.
    pub(super) fn read(
        evidence: &Evidence,
        known: &KnownKeys,
        accused: Option<&VerifierKey>,
    ) -> Result<Self, Fault> {
        let attestation = statement(evidence, "attestation")?;
        let not_attestation = Fault::Wrong { part: "attestation", expected: "an evaluation" };
        let Predicate::Evaluation(evaluation) = attestation.statement().predicate() else {
            return Err(not_attestation);
        };
        let intent = statement(evidence, "intent")?;
        let common = attestation.statement().common();
        let announced = intent.statement().common();
        // The id binds all that the intent says, whoever signed it; the rest is a matter of form.
        let same = intent.id() == evaluation.intent
            && announced.signer == common.signer
            && announced.origin == common.origin
            && announced.exchange == common.exchange;
        let Predicate::Intent(announcement) = intent.statement().predicate() else {
            return Err(Fault::Wrong { part: "intent", expected: "an intent" });
        };
        if !same {
            let expected = "the intent that the attestation names";
            return Err(Fault::Wrong { part: "intent", expected });
        }
        signed_by_known(known, accused, "attestation", &attestation)?;
        let agreement = common.exchange.map(|id| id.hash());
        let context = Context::new(
            common.origin.as_str(),
            agreement.as_ref(),
            common.signer.as_str(),
            &announcement.nonce,
        )
        .expect("names of at most 128 bytes fit a length prefix");
        Ok(Self {
            id: attestation.id(),
            header: evaluation.header()?,
            context,
            common: common.clone(),
            evaluation: evaluation.clone(),
        })
    }

    /// What is opened of this record, signed by one of these keys of its party.
    pub(super) fn opening<'k>(
        &self,
        evidence: &Evidence,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Body, Fault> {
        let own = keys.into_iter().filter(|key| *key.name() == self.common.signer);
        let unsigned = |part| Fault::UnknownSigner { part, signer: self.common.signer.clone() };
        if evidence.part("aad").is_empty() {
            let opening = statement(evidence, "statement")?;
            let body = self.in_the_clear(&opening)?;
            let mut own = own;
            let signed = own.any(|key| signed_by(key, "statement", &opening).is_ok());
            return if signed { Ok(body) } else { Err(unsigned("statement")) };
        }
        let aad = line(evidence, "aad")?;
        let sealed = SealedFor::parse(&aad)
            .ok_or(Fault::Wrong { part: "aad", expected: "an envelope's associated data" })?;
        let exchange = self.common.exchange.unwrap_or(StatementId::ZERO);
        let same = sealed.origin == self.common.origin
            && (sealed.exchange, sealed.record) == (exchange, self.id)
            && sealed.sender == self.common.signer;
        if !same {
            return Err(Fault::Wrong { part: "aad", expected: "about this record" });
        }
        let signature = line(evidence, "signature")?;
        let signature: &[u8; 64] = signature
            .as_slice()
            .try_into()
            .map_err(|_| Fault::Wrong { part: "signature", expected: "64 bytes" })?;
        let bytes = evidence.part("body");
        let message = body_message(&aad, bytes);
        let mut own = own;
        if !own.any(|key| key.public().verify(&message, signature).is_ok()) {
            return Err(unsigned("body"));
        }
        let body = Body::parse(bytes)?;
        if body.record != self.id.hash() {
            return Err(Fault::Wrong { part: "body", expected: "about this record" });
        }
        Ok(body)
    }

    /// What a statement of the record's party opens in the clear.
    fn in_the_clear(&self, opening: &SignedStatement) -> Result<Body, Fault> {
        let wrong = Fault::Wrong {
            part: "statement",
            expected: "an opening in the clear of this record by its party",
        };
        let common = opening.statement().common();
        let same = common.signer == self.common.signer
            && common.origin == self.common.origin
            && common.exchange == self.common.exchange;
        if !same {
            return Err(wrong);
        }
        let record = self.id.hash();
        match opening.statement().predicate() {
            // What an auditor releases is another's word.
            Predicate::Reveal(reveal) if reveal.record == self.id && reveal.releases.is_none() => {
                let RevealContent::Open { totals, subjects } = &reveal.content else {
                    return Err(wrong);
                };
                Ok(clear::clear_body(record, totals, subjects))
            }
            Predicate::Claim(claim) => {
                let place = claim.records.iter().position(|id| *id == self.id);
                let scored = place.and_then(|place| claim.scored.get(place)).ok_or(wrong)?;
                let opened = OpenedSubject {
                    name: "count:scored".to_owned(),
                    value: scored.value.to_string(),
                    salt: scored.salt,
                };
                Ok(Body { subjects: vec![opened], ..clear::clear_body(record, &[], &[]) })
            }
            Predicate::Evaluation(_) if opening.id() == self.id => {
                Ok(clear::clear_body(record, &[], &self.evaluation.opened))
            }
            _ => Err(wrong),
        }
    }
}

/// A part that is base64 and a newline.
fn line(evidence: &Evidence, part: &'static str) -> Result<Vec<u8>, Fault> {
    let text = std::str::from_utf8(evidence.part(part)).ok().and_then(|t| t.strip_suffix('\n'));
    let decoded = text.and_then(|text| STANDARD.decode(text).ok());
    decoded.ok_or(Fault::Wrong { part, expected: "padded base64 and a newline" })
}
