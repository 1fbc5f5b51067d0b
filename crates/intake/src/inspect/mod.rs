//! Logs of Inspect: the `.eval` archive and the single `.json` document, read to one
//! evaluation, so that a run gives the same in both.
//!
//! An archive has `header.json` (absent after a crash, then `_journal/start.json` has to do),
//! one member for each sample, `summaries.json` with a short row for each, and
//! `reductions.json` with the value of each id that metrics were made of. Inspect's own reader
//! never compares these with each other; this one does.

mod check;
mod header;
mod sample;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use json::{Reader, Value};

use crate::container::{Archive, Member};
use crate::draft::{Draft, Settled, check_ids, flag_items};
use crate::fault::{Fault, LimitPassed};
use crate::stream::{Meter, Metered};
use crate::{Code, Evaluation, Finding, Format, Harness, Limits, Options, recompute};

use check::{Reduction, Summaries};
use header::Header;

const HEADER: &str = "header.json";
const START: &str = "_journal/start.json";
const REDUCTIONS: &str = "reductions.json";
const SUMMARIES: &str = "summaries.json";
const JOURNALED: &str = "_journal/summaries/";

/// Refuses any version of the log but the one known here.
pub(crate) fn check_version(version: &Value) -> Result<(), Fault> {
    header::check_version(Some(version))
}

/// A fault, with the evaluation's name as far as it is known.
pub(crate) type Named<T> = Result<T, (Fault, Option<String>)>;

/// Runs `parse` over a whole member; a failure of the archive comes before one of the JSON that
/// it caused.
fn with_member<R: Read + Seek, T>(
    archive: &mut Archive<R>,
    at: usize,
    limits: &Limits,
    parse: impl FnOnce(&mut Reader<&mut Member<'_, R>>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let name = archive.entries()[at].name.clone();
    let mut member = archive.member(at)?;
    let mut reader = Reader::new(&mut member, limits.rules());
    let parsed = parse(&mut reader);
    let parsed = parsed.and_then(|value| Ok(reader.end().map(|()| value)?));
    drop(reader);
    // Also after an error: what is not JSON because its CRC-32 is wrong is a broken archive.
    member.finish()?;
    parsed.map_err(|fault| fault.in_member(&name))
}

fn read_document<R: Read + Seek>(
    archive: &mut Archive<R>,
    name: &str,
    limits: &Limits,
) -> Result<Option<Value>, Fault> {
    let Some(at) = find_document(archive, name, limits)? else { return Ok(None) };
    let value = with_member(archive, at, limits, |reader| {
        let value = reader.value()?;
        header::check_finite(&value)?;
        Ok(value)
    })?;
    Ok(Some(value))
}

/// The place of a member that is held whole, if there is one.
fn find_document<R: Read + Seek>(
    archive: &Archive<R>,
    name: &str,
    limits: &Limits,
) -> Result<Option<usize>, Fault> {
    let at = archive.find(name);
    if at.is_some_and(|at| archive.entries()[at].size > limits.document) {
        return Err(Fault::from(LimitPassed::Document(limits.document)).in_member(name));
    }
    Ok(at)
}

/// Reads an archive.
pub(crate) fn read_eval<R: Read + Seek>(input: R, options: &Options) -> Named<Evaluation> {
    let unnamed = |fault: Fault| (fault, None);
    let limits = &options.limits;
    let mut archive = Archive::open(input, limits, options.allow_superseded).map_err(unnamed)?;
    let final_header = read_document(&mut archive, HEADER, limits).map_err(unnamed)?;
    let start = read_document(&mut archive, START, limits).map_err(unnamed)?;
    let place = if final_header.is_some() { HEADER } else { START };
    let Some(value) = final_header.as_ref().or(start.as_ref()) else {
        let message = "the archive has neither a header nor a journal";
        return Err(unnamed(Fault::new(Code::LogFormat, message)));
    };
    let header = Header::parse(value, limits).map_err(|fault| unnamed(fault.in_member(place)))?;
    let name = header.name.clone();
    let log = Log {
        format: Format::InspectEval,
        complete: final_header.is_some(),
        place: Some(place),
        header,
    };
    let starts_differ = final_header.as_ref().zip(start.as_ref()).is_some_and(|(end, start)| {
        let pairs = Header::run(end).into_iter().zip(Header::run(start));
        pairs.into_iter().any(|((_, end), (_, start))| {
            matches!((end, start), (Some(end), Some(start)) if end != start)
        })
    });
    let mut read = || -> Result<Evaluation, Fault> {
        let mut draft = Draft::new(*limits);
        draft.findings.set(Code::ContainerDuplicateMember, archive.superseded);
        draft.findings.set(Code::ContainerDeadBytes, archive.dead_bytes);
        if starts_differ {
            let message = "header and journal name different runs";
            draft.findings.add(Finding::new(Code::CrossStart, message).in_member(START));
        }
        read_samples(&mut archive, &mut draft, limits)?;
        let settled = log.settle(&mut draft)?;
        let index = check_ids(&settled.items, &mut draft.findings);

        let mut reductions = Vec::new();
        if let Some(at) = find_document(&archive, REDUCTIONS, limits)? {
            reductions = with_member(&mut archive, at, limits, |reader| {
                check::read_reductions(reader, limits)
            })?;
        }
        let last_counts = archive.superseded > 0;
        let summaries = Summaries { settled: &settled, index: &index, limits, last_counts };
        read_summaries(&mut archive, &summaries, log.complete, &mut draft, limits)?;
        read_others(&mut archive, &mut draft)?;
        log.evaluation(draft, settled, &reductions, REDUCTIONS)
    };
    read().map_err(|fault| (fault, Some(name)))
}

fn is_sample(name: &str) -> bool {
    name.starts_with("samples/") && name.ends_with(".json")
}

fn read_samples<R: Read + Seek>(
    archive: &mut Archive<R>,
    draft: &mut Draft,
    limits: &Limits,
) -> Result<(), Fault> {
    for at in 0..archive.entries().len() {
        if !is_sample(&archive.entries()[at].name) {
            continue;
        }
        let item = with_member(archive, at, limits, |reader| sample::read(reader, draft, limits))?;
        let name = &archive.entries()[at].name;
        let own = format!("samples/{}_epoch_{}.json", item.item.id.as_text(), item.item.epoch);
        if *name != own {
            let message = "the member's name is not that of the item inside";
            let finding = Finding::new(Code::ItemsName, message).in_member(name);
            draft.findings.add(finding.of_item(item.item.key()));
        }
        let name = name.clone();
        draft.push(item).map_err(|fault| fault.in_member(&name))?;
    }
    Ok(())
}

/// Compares `summaries.json`, and the journal's pieces taken together, with the items.
fn read_summaries<R: Read + Seek>(
    archive: &mut Archive<R>,
    summaries: &Summaries<'_>,
    complete: bool,
    draft: &mut Draft,
    limits: &Limits,
) -> Result<(), Fault> {
    let names = |journaled: bool, archive: &Archive<R>| -> Vec<usize> {
        let entries = archive.entries().iter().enumerate();
        let mut pieces: Vec<(u64, usize)> = entries
            .filter_map(|(at, entry)| match entry.name.strip_prefix(JOURNALED) {
                Some(number) if journaled => {
                    let number = number.strip_suffix(".json").and_then(|n| n.parse().ok());
                    Some((number.unwrap_or(u64::MAX), at))
                }
                None if !journaled && entry.name == SUMMARIES => Some((0, at)),
                _ => None,
            })
            .collect();
        pieces.sort_unstable();
        pieces.into_iter().map(|(_, at)| at).collect()
    };
    for (journaled, place) in [(false, SUMMARIES), (true, "_journal/summaries")] {
        let pieces = names(journaled, archive);
        if pieces.is_empty() {
            continue;
        }
        let mut seen = BTreeMap::new();
        for at in pieces {
            let name = archive.entries()[at].name.clone();
            with_member(archive, at, limits, |reader| {
                summaries.read(reader, &name, &mut seen, &mut draft.findings)
            })?;
        }
        summaries.report(&seen, complete, place, &mut draft.findings);
    }
    Ok(())
}

/// Checks size and CRC-32 of members that nothing else reads.
fn read_others<R: Read + Seek>(archive: &mut Archive<R>, draft: &mut Draft) -> Result<(), Fault> {
    for at in 0..archive.entries().len() {
        let name = archive.entries()[at].name.clone();
        let read = is_sample(&name)
            || name.starts_with(JOURNALED)
            || [HEADER, START, REDUCTIONS, SUMMARIES].contains(&name.as_str());
        if read {
            continue;
        }
        archive.member(at)?.finish()?;
        if !name.starts_with("_journal/") {
            let message = "a member that the format does not know";
            let finding = Finding::new(Code::ContainerUnknownMember, message);
            draft.findings.add(finding.in_member(&name));
        }
    }
    Ok(())
}

/// A `.json` log while its members come in; the reader of documents feeds it.
pub(crate) struct JsonLog {
    draft: Draft,
    header: json::Object,
    reductions: Vec<Reduction>,
    has_samples: bool,
}

impl JsonLog {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            draft: Draft::new(*limits),
            header: json::Object::default(),
            reductions: Vec::new(),
            has_samples: false,
        }
    }

    /// Reads a member that only an Inspect log has, at its top level. False if it is not one,
    /// and then nothing is read.
    pub(crate) fn member<R: Read>(
        &mut self,
        name: &str,
        reader: &mut Reader<Metered<R>>,
        meter: &Meter,
        limits: &Limits,
    ) -> Result<bool, Fault> {
        match name {
            "samples" if reader.at_array()? => {
                self.has_samples = true;
                reader.array(|reader| -> Result<(), Fault> {
                    meter.allow(limits.member, LimitPassed::Member(limits.member));
                    let item = sample::read(reader, &mut self.draft, limits)?;
                    self.draft.push(item)
                })?;
            }
            "reductions" => {
                meter.allow(limits.document, LimitPassed::Document(limits.document));
                self.reductions = check::read_reductions(reader, limits)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes another member of the top level.
    pub(crate) fn take(&mut self, name: &str, value: Value) {
        self.header.insert(name, value);
    }

    /// The members taken so far.
    pub(crate) fn header(&self) -> &json::Object {
        &self.header
    }

    /// The members taken, for a document that turned out to be no Inspect log.
    pub(crate) fn into_header(self) -> json::Object {
        self.header
    }

    /// The evaluation, once all members are in.
    pub(crate) fn finish(mut self, limits: &Limits) -> Named<Evaluation> {
        let unnamed = |fault: Fault| (fault, None);
        for (name, value) in self.header.iter() {
            header::check_member_finite(name, value).map_err(unnamed)?;
        }
        let old = self.header.get("results").and_then(|r| r.get("sample_reductions"));
        if let Some(old) = old.filter(|old| !old.is_null()) {
            let old = check::old_reductions(old, limits);
            self.reductions
                .extend(old.map_err(|fault| unnamed(fault.at("/results/sample_reductions")))?);
        }
        let header = Header::parse(&Value::Object(self.header), limits).map_err(unnamed)?;
        let name = header.name.clone();
        let log = Log { format: Format::InspectJson, complete: true, place: None, header };
        let mut draft = self.draft;
        let read = || {
            let settled = log.settle(&mut draft)?;
            check_ids(&settled.items, &mut draft.findings);
            log.evaluation(draft, settled, &self.reductions, "reductions")
        };
        read().map_err(|fault| (fault, Some(name)))
    }
}

/// What both containers have in common.
struct Log {
    format: Format,
    /// True if there is a final header.
    complete: bool,
    /// The member with the header.
    place: Option<&'static str>,
    header: Header,
}

impl Log {
    fn settle(&self, draft: &mut Draft) -> Result<Settled, Fault> {
        if draft.items.is_empty() {
            return Err(Fault::new(Code::LogNoItems, "the log has no items"));
        }
        let first = self.header.scores.first();
        draft.rename(sample::UNNAMED, first.map_or("score", |score| &score.scorer));
        let mut columns = Vec::new();
        for score in &self.header.scores {
            let key = check::reported_column(score, |key| draft.has(key));
            draft.column(key.clone())?;
            columns.push(key);
        }
        Ok(draft.settle(&columns, &self.header.declared_ids))
    }

    fn evaluation(
        &self,
        draft: Draft,
        settled: Settled,
        reductions: &[Reduction],
        reductions_place: &str,
    ) -> Result<Evaluation, Fault> {
        let header = &self.header;
        let mut findings = draft.findings;
        let groups = recompute::groups(&settled.items);
        check::reductions(reductions, &settled, &groups, reductions_place, &mut findings);
        let metrics = check::metrics(header, &settled, &groups, self.place, &mut findings);

        for item in &settled.items {
            let known =
                header.declared_ids.is_empty() || header.declared_ids.contains_key(&item.id);
            let in_epochs = header.epochs.is_none_or(|epochs| item.epoch <= epochs);
            if !known || !in_epochs {
                let message = if known { "more epochs than declared" } else { "id not declared" };
                findings.add(Finding::new(Code::ItemsUnexpected, message).of_item(item.key()));
            }
        }
        let items = settled.items.len() as u64;
        for (declared, pointer, message) in [
            (header.declared, "/eval/dataset/sample_ids", "ids × epochs are not the items"),
            (header.total, "/results/total_samples", "total_samples is not the items"),
        ] {
            if declared.is_some_and(|declared| declared != items) {
                let finding = Finding::new(Code::ItemsCount, message).at(pointer);
                findings.add(Finding { member: self.place.map(str::to_owned), ..finding });
            }
        }
        flag_items(&settled.items, &mut findings);
        let invalidated = settled.items.iter().filter(|item| item.invalidated).count() as u64;
        let whole = u64::from(header.invalidated);
        findings.set(Code::LogInvalidated, invalidated.max(whole));
        findings.set(Code::LogUpdated, header.updates);
        findings.set(Code::LogStatus, u64::from(!self.complete || !header.success));
        findings.set(Code::LogNoHeader, u64::from(!self.complete));
        findings.set(Code::LogNoResults, u64::from(header.scores.is_empty()));

        Ok(Evaluation {
            format: self.format,
            harness: Harness { name: "inspect_ai", version: header.harness_version.clone() },
            name: header.name.clone(),
            version: header.task_version.clone(),
            keys: header.keys.clone(),
            model: header.model.clone(),
            elicitation: header.elicitation.clone(),
            environment: header.environment.clone(),
            started: header.started,
            ended: header.ended,
            columns: settled.columns,
            items: settled.items,
            epochs: header.epochs,
            declared: header.declared.max(header.total),
            metrics,
            flags: findings.flags,
            findings: findings.list,
        })
    }
}
