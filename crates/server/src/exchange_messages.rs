//! Exchanges as messages of `ExchangeService`.

use api::v1::{self, exchange_run::End};
use bytes::Bytes;
use exchange::{
    Awaits, EndedExchange, ExchangeState, ExchangeView, Obligation, RunEnd, RunView, Side, State,
    StatementId, Status as Outcome,
};
use tlog::{Hash, KeyName};
use tonic::Status;
use transport::status;

/// Exchanges on one page of a list.
const PAGE: usize = 100;

/// Exchanges that are looked at for one page: the writer waits meanwhile.
const LOOKED_AT: usize = 1_000;

/// An exchange's id in a request.
pub(crate) fn id_of(bytes: &[u8]) -> Result<StatementId, Status> {
    let hash = Hash::from_slice(bytes).map_err(|_| {
        status::bad_field("id", "must be the 32 bytes of the agreement's statement id")
    })?;
    Ok(StatementId::new(*hash.as_bytes()))
}

fn bytes_of(id: &StatementId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

/// An exchange that goes on. Every artifact that decides an obligation counts as at hand: this
/// server admits no statement without those that it names.
pub fn open_exchange(view: &ExchangeView<'_>) -> v1::Exchange {
    let agreement = view.agreement();
    let schedule = view.schedule();
    let party = |side: Side| v1::ExchangeParty {
        name: view.party(side).to_string(),
        budget: agreement.runs.budget,
        runs: view.runs(side).map(|run| run_of(&run)).collect(),
        record: view.counted(side).map(|(id, ..)| bytes_of(&id)).unwrap_or_default(),
    };
    v1::Exchange {
        id: bytes_of(&view.id()),
        stage: stage(view.state()).into(),
        index: view.index(),
        time: view.time(),
        neutral: view.is_neutral(),
        parties: Side::BOTH.map(party).into(),
        auditors: agreement.auditors.iter().map(|keys| keys.name.to_string()).collect(),
        schedule: Some(v1::ExchangeSchedule {
            accept_by: schedule.accept_by.unix(),
            commit_by: schedule.commit_by.unix(),
            reveal_by: schedule.reveal_by.unix(),
            audit_by: schedule.audit_by.map(|time| time.unix()),
            step: schedule.step,
        }),
        obligations: view.obligations(&|_| true).iter().map(obligation).collect(),
        breaches: view.breaches().iter().map(ToString::to_string).collect(),
        awaited: view.awaits().iter().map(awaited).collect(),
        next_deadline: view.next_deadline(),
        ended_at: None,
    }
}

/// An exchange that is over. `index` is its agreement's entry.
pub(crate) fn ended_exchange(report: &EndedExchange, index: u64) -> v1::Exchange {
    let parties = report.parties.iter().zip(&report.records).map(|(name, record)| {
        let record = record.as_ref().map(bytes_of).unwrap_or_default();
        v1::ExchangeParty { name: name.to_string(), record, ..v1::ExchangeParty::default() }
    });
    v1::Exchange {
        id: bytes_of(&report.id),
        stage: stage(report.state).into(),
        index,
        time: report.time,
        parties: parties.collect(),
        auditors: report.auditors.iter().map(ToString::to_string).collect(),
        obligations: report.obligations.iter().map(obligation).collect(),
        breaches: report.breaches.iter().map(ToString::to_string).collect(),
        ended_at: Some(report.index),
        ..v1::Exchange::default()
    }
}

fn summary(view: &ExchangeView<'_>) -> v1::ExchangeSummary {
    v1::ExchangeSummary {
        id: bytes_of(&view.id()),
        stage: stage(view.state()).into(),
        index: view.index(),
        parties: Side::BOTH.map(|side| view.party(side).to_string()).into(),
        next_deadline: view.next_deadline(),
    }
}

pub(crate) fn ended_summary(report: &EndedExchange, index: u64) -> v1::ExchangeSummary {
    v1::ExchangeSummary {
        id: bytes_of(&report.id),
        stage: stage(report.state).into(),
        index,
        parties: report.parties.iter().map(ToString::to_string).collect(),
        next_deadline: None,
    }
}

fn stage(state: ExchangeState) -> v1::ExchangeStage {
    match state {
        ExchangeState::Proposed => v1::ExchangeStage::Proposed,
        ExchangeState::Agreed => v1::ExchangeStage::Agreed,
        ExchangeState::Committed => v1::ExchangeStage::Committed,
        ExchangeState::Revealed => v1::ExchangeStage::Revealed,
        ExchangeState::Expired => v1::ExchangeStage::Expired,
        ExchangeState::Ended => v1::ExchangeStage::Ended,
        ExchangeState::Closed => v1::ExchangeStage::Closed,
    }
}

fn run_of(run: &RunView) -> v1::ExchangeRun {
    let end = match run.end {
        RunEnd::Open => None,
        RunEnd::Recorded(record) => Some(End::Record(bytes_of(&record))),
        RunEnd::Withdrawn(code) => Some(End::Withdrawn(code.to_string())),
    };
    v1::ExchangeRun { number: run.run, intent: bytes_of(&run.intent), end, overdue: run.overdue }
}

fn obligation(duty: &Obligation) -> v1::Obligation {
    let status = match duty.status {
        Outcome::Open => v1::ObligationStatus::Open,
        Outcome::Met => v1::ObligationStatus::Met,
        Outcome::Waived => v1::ObligationStatus::Waived,
        Outcome::Unmet => v1::ObligationStatus::Unmet,
        Outcome::Unknown => v1::ObligationStatus::Unknown,
        Outcome::Contested => v1::ObligationStatus::Contested,
        Outcome::Lapsed => v1::ObligationStatus::Lapsed,
    };
    v1::Obligation {
        name: duty.name.as_str().to_owned(),
        holder: duty.holder.to_string(),
        due: duty.due,
        status: status.into(),
    }
}

fn awaited(step: &Awaits) -> v1::AwaitedStep {
    v1::AwaitedStep {
        what: step.what.to_string(),
        of: step.of.as_ref().map(ToString::to_string).unwrap_or_default(),
        due: step.due,
    }
}

/// What a request for a page asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paging {
    size: usize,
    after: Option<StatementId>,
}

impl Paging {
    /// `INVALID_ARGUMENT` for a token that is none of ours.
    pub(crate) fn of(request: &v1::ListExchangesRequest) -> Result<Self, Status> {
        let after = match request.page_token.as_ref() {
            [] => None,
            token => {
                let hash = Hash::from_slice(token).map_err(|_| {
                    status::bad_field("page_token", "must be the next_page_token of a page")
                })?;
                Some(StatementId::new(*hash.as_bytes()))
            }
        };
        let size = usize::try_from(request.page_size).unwrap_or(PAGE);
        Ok(Self { size: if size == 0 { PAGE } else { size.min(PAGE) }, after })
    }

    /// Where the page begins.
    pub(crate) fn after(&self) -> Option<StatementId> {
        self.after
    }

    /// A page of what comes, in order; `tell` says nothing about what the caller may not see.
    pub(crate) fn page<T>(
        &self,
        mut all: impl Iterator<Item = T>,
        mut tell: impl FnMut(&T) -> Option<v1::ExchangeSummary>,
        id: impl Fn(&T) -> StatementId,
    ) -> v1::ListExchangesResponse {
        let mut exchanges = Vec::new();
        for looked_at in 1.. {
            let Some(one) = all.next() else { break };
            exchanges.extend(tell(&one));
            if exchanges.len() >= self.size || looked_at >= LOOKED_AT {
                let more = all.next().is_some();
                let next_page_token = if more { bytes_of(&id(&one)) } else { Bytes::new() };
                return v1::ListExchangesResponse { exchanges, next_page_token };
            }
        }
        v1::ListExchangesResponse { exchanges, next_page_token: Bytes::new() }
    }
}

/// A page of the exchanges that go on.
pub(crate) fn open_page(
    state: &State,
    paging: &Paging,
    may_see: impl Fn(&dyn Fn(&KeyName) -> bool) -> bool,
) -> v1::ListExchangesResponse {
    let tell =
        |view: &ExchangeView<'_>| may_see(&|name| view.is_member(name)).then(|| summary(view));
    paging.page(state.exchanges_after(paging.after()), tell, ExchangeView::id)
}

/// The answer to `ListExchanges` for somebody who may see all of them.
pub fn list_exchanges(
    state: &State,
    request: &v1::ListExchangesRequest,
) -> Result<v1::ListExchangesResponse, Status> {
    Ok(open_page(state, &Paging::of(request)?, |_| true))
}

/// The exchange that a request names, if it goes on.
pub fn find_exchange<'a>(
    state: &'a State,
    request: &v1::GetExchangeRequest,
) -> Result<Option<ExchangeView<'a>>, Status> {
    Ok(state.exchange(&id_of(&request.id)?))
}
