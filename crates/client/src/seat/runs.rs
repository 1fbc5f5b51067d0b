//! Runs: announced, recorded or withdrawn.

use exchange::predicate::{
    Audience, Intent, Opened, Predicate, SealedEnvelope, Stage, Withdrawal, WithdrawalCode,
};
use exchange::{RunEnd, RunView, StatementId, Subject};
use record::opening::{OpeningBuilder, RecordParts};
use record::secret::RecordSecret;
use record::total::TotalOpening;

use super::{Seat, SeatError};
use crate::Entropy;
use crate::own::OwnRecordError;
use crate::replica::Standing;
use crate::session::Logged;

/// A run that was announced.
#[derive(Debug, Clone)]
pub struct Announced {
    /// 1, 2, …
    pub run: u64,
    /// How many the agreement allows.
    pub budget: u64,
    /// The intent.
    pub logged: Logged,
}

impl<E: Entropy> Seat<'_, E> {
    /// One's own announced runs.
    pub fn own_runs(&self) -> Result<Vec<RunView>, SeatError> {
        let side = self.party()?;
        match self.standing() {
            Standing::Open(view) => Ok(view.runs(side).collect()),
            Standing::Over(ended) => Err(SeatError::Over(ended.state)),
        }
    }

    /// Announces the next run. Its nonce goes into every commitment of the record.
    pub async fn intend(&mut self) -> Result<Announced, SeatError> {
        self.refresh().await?;
        let run = self.own_runs()?.len() as u64 + 1;
        let nonce = self.session.entropy().bytes();
        let logged = self.say(Predicate::Intent(Intent { run, nonce })).await?;
        Ok(Announced { run, budget: self.agreement.runs.budget, logged })
    }

    /// The announced run that a record or a withdrawal belongs to, with its nonce: the one that is
    /// named by its number, or the only open one.
    pub fn open_run(&self, run: Option<u64>) -> Result<(RunView, [u8; 32]), SeatError> {
        let side = self.party()?;
        let open = self.own_runs()?.into_iter().filter(|view| view.end == RunEnd::Open);
        let mut wanted = open.filter(|view| run.is_none_or(|run| run == view.run));
        let found = wanted.next().ok_or(SeatError::NoIntent)?;
        if wanted.next().is_some() {
            return Err(SeatError::Unknown { what: "run", name: "several are open".to_owned() });
        }
        let Standing::Open(view) = self.standing() else { return Err(SeatError::NoIntent) };
        let nonce = view.nonce(side, &found.intent).ok_or(SeatError::NoIntent)?;
        Ok((found, nonce))
    }

    /// Ends an announced run without a record, with a reason that everybody sees.
    pub async fn withdraw(
        &mut self,
        run: Option<u64>,
        code: WithdrawalCode,
    ) -> Result<(RunView, Logged), SeatError> {
        self.refresh().await?;
        let (found, _) = self.open_run(run)?;
        let intent: StatementId = found.intent;
        let logged = self.say(Predicate::Withdrawal(Withdrawal { intent, code })).await?;
        Ok((found, logged))
    }

    /// Counts and flags that rules make public with the attestation itself. `values` are those of
    /// all subjects, in their order.
    pub fn opened_at_once(
        &self,
        secret: &RecordSecret,
        values: &[Option<String>],
    ) -> Result<Vec<Opened>, SeatError> {
        let side = self.party()?;
        let mut opened: Vec<Opened> = Vec::new();
        for rule in self.rules() {
            let at_once = rule.from == Stage::Agreed
                && rule.to == Audience::Public
                && rule.by.covers(self.name());
            if !at_once {
                continue;
            }
            let wanted = self.declared(&rule, side).subjects;
            for (name, value) in Subject::all().zip(values) {
                let known = opened.iter().any(|opened| opened.name == name);
                if !known && wanted.iter().any(|wanted| wanted == name.as_str()) {
                    let absent = || OwnRecordError::Subject(name.as_str().to_owned());
                    let value = value.clone().ok_or_else(absent)?;
                    let salt = *secret.subject_salt(name.as_str()).as_bytes();
                    opened.push(Opened { name, value, salt });
                }
            }
        }
        opened.sort_by_key(|opened| Subject::all().position(|name| name == opened.name));
        Ok(opened)
    }

    /// The reveal, sealed to the escrow's auditor; none if no escrow is agreed. `parts` name the
    /// record by zeros, since no statement can name its own id.
    pub fn escrow(
        &mut self,
        parts: RecordParts<'_>,
        totals: &[TotalOpening],
        values: &[Option<String>],
    ) -> Result<Option<(SealedEnvelope, Vec<u8>)>, SeatError> {
        let side = self.party()?;
        let Some(escrow) = self.agreement.escrow.clone() else { return Ok(None) };
        let columns = parts.header.layout().columns();
        let mut builder = OpeningBuilder::new(parts).map_err(OwnRecordError::from)?;
        let (mut shown_totals, mut shown_subjects) = (Vec::new(), Vec::new());
        for id in &escrow.rules {
            let unknown = || SeatError::Unknown { what: "rule", name: id.to_string() };
            let declared = self.declared(&self.rule(id).ok_or_else(unknown)?, side);
            shown_totals.extend(declared.totals);
            shown_subjects.extend(declared.subjects);
        }
        for (column, opening) in columns.iter().zip(totals) {
            if shown_totals.iter().any(|name| name == column.name()) {
                builder.total(column.name(), opening).map_err(OwnRecordError::from)?;
            }
        }
        for (name, value) in Subject::all().zip(values) {
            if let (true, Some(value)) = (shown_subjects.iter().any(|n| n == name.as_str()), value)
            {
                builder.subject(name.as_str(), value).map_err(OwnRecordError::from)?;
            }
        }
        let body = builder.finish().map_err(OwnRecordError::from)?;
        let sealed = self.sealed(&StatementId::ZERO, &escrow.auditor, &body)?;
        Ok(Some(sealed))
    }
}
