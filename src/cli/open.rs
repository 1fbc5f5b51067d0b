//! `countersign open`: show part of a record.

use std::path::PathBuf;

use client::{Vault, files, item_values};
use exchange::bundle::{Bundle, MAX_BUNDLE};
use exchange::predicate::{Evaluation, Predicate};
use exchange::{SignedStatement, StatementId};
use record::column::{Column, Layout};
use record::context::Context;
use record::items::{ItemKey, ItemsFile};
use record::opening::{OpeningBuilder, RecordParts};
use record::secret::RecordSecret;
use record::total::TotalOpening;
use tlog::KeyName;

use super::output::{Failure, Report};
use super::party::PartyArguments;

/// Show part of a record: fields of chosen items, totals, or hidden facts of the header.
///
/// Writes a file that anyone who has the bundle can check. What is shown can't be taken back and
/// can be passed on. A score comes with its item's status; the rest of the item stays hidden.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign open run.countersign --items 3,17 --field \
    score:match --key lab-a.key --no-agreement --out scores.opening\n  \
    countersign open run.countersign --total match --subject count:scored --key lab-a.key \
    --no-agreement --out total.opening")]
pub(super) struct Arguments {
    /// The bundle that `commit` wrote.
    bundle: PathBuf,
    #[command(flatten)]
    party: PartyArguments,
    /// Disclose outside of any agreement: no rule says who may see this.
    #[arg(long, required = true)]
    no_agreement: bool,
    /// Which record, if the bundle holds several of yours.
    #[arg(long, value_name = "ID")]
    record: Option<String>,
    /// Items by their index in the record, as a list with ranges (3,17,40-49), or `all`.
    #[arg(long, value_name = "LIST")]
    items: Option<String>,
    /// An item by its id in the items file; all its epochs. Repeat for each.
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// A field of these items: input, target, output, explanation, metadata, status or
    /// score:COLUMN. Repeat for each.
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// The total of a column. Repeat for each.
    #[arg(long = "total", value_name = "COLUMN")]
    totals: Vec<String>,
    /// A hidden fact of the header, such as model, count:scored or flag:items.errored.
    #[arg(long = "subject", value_name = "NAME")]
    subjects: Vec<String>,
    /// Where to write the opening.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let file = arguments.bundle.display();
    let bytes = files::read(&arguments.bundle, MAX_BUNDLE as u64)?;
    let bundle = Bundle::parse(&bytes).map_err(|e| Failure::new(format!("{file}: {e}")))?;
    let (key, vault) = arguments.party.open()?;
    let (id, evaluation) = own_record(&bundle, key.name(), arguments.record.as_deref())?;
    let Some(kept) = vault.record(&id.hash())? else {
        return Err(absent(&vault, &id)?);
    };

    let header = &evaluation.header().map_err(|e| Failure::new(format!("{file}: {e}")))?;
    let columns: Vec<Column> = header.layout().columns().to_vec();
    let wrong = |e: &dyn std::fmt::Display| Failure::new(format!("record {id}: {e}"));
    let context = Context::new(kept.origin.as_str(), None, kept.party.as_str(), &kept.nonce)
        .map_err(|e| wrong(&e))?;
    let secret = RecordSecret::new(*kept.secret);
    let items_file = ItemsFile::parse(kept.items_file.as_bytes()).map_err(|e| wrong(&e))?;
    let agreed =
        items_file.agree(&ItemKey::new(*kept.item_key), kept.epochs).map_err(|e| wrong(&e))?;
    let vector = bundle.artifacts.get(header.vector()).ok_or_else(|| {
        Failure::new(format!("{file} lacks the commitment vector of record {id}"))
            .next("use the bundle that commit wrote")
    })?;
    let indices = indices(arguments, header.layout(), &items_file, &agreed)?;
    let fields = fields(&arguments.fields);
    if indices.is_empty() && arguments.totals.is_empty() && arguments.subjects.is_empty() {
        return Err(
            Failure::new("nothing to open").next("name --items with --field, --total or --subject")
        );
    }
    if !indices.is_empty() && fields.is_empty() {
        return Err(Failure::new("no field of these items is to be opened")
            .next("name one with --field, score:COLUMN for example"));
    }

    let values: Vec<_> = kept.items.iter().map(|item| item_values(item, &columns)).collect();
    let parts = RecordParts {
        id: id.hash(),
        header,
        context: &context,
        secret: &secret,
        vector,
        items: &agreed,
    };
    let mut builder = OpeningBuilder::new(parts).map_err(|e| wrong(&e))?;
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    for index in &indices {
        let at = usize::try_from(*index).map_err(|e| wrong(&e))?;
        let item = values.get(at).ok_or_else(|| wrong(&"the vault has fewer items"))?;
        builder.item(*index, item.as_ref(), &names, None).map_err(|e| wrong(&e))?;
    }
    for name in &arguments.totals {
        let opening = total(name, &values, &secret, header.layout())?;
        builder.total(name, &opening).map_err(|e| wrong(&e))?;
    }
    for name in &arguments.subjects {
        let value = kept.subjects.iter().find(|(known, _)| known == name);
        let (_, value) = value.ok_or_else(|| wrong(&format!("there is no subject {name:?}")))?;
        let value = value.as_deref().ok_or_else(|| wrong(&format!("{name} is absent")))?;
        builder.subject(name, value).map_err(|e| wrong(&e))?;
    }
    let body = builder.finish().map_err(|e| wrong(&e))?.to_bytes().map_err(|e| wrong(&e))?;
    files::write_new(&arguments.out, &body, files::Access::Private)?;

    let out = arguments.out.display();
    let shown = if indices.is_empty() {
        String::new()
    } else {
        format!("{} of {} items; ", fields.join(", "), indices.len())
    };
    let text = format!(
        "{out} opens of record {id}: {shown}{} totals, {} facts of the header.\n\
         Whoever gets the file can pass it on.\n\
         next: send it to its reader, who runs\n      countersign verify {file} {out} --log-key log.vkey",
        arguments.totals.len(),
        arguments.subjects.len()
    );
    let json = json::object([
        ("record", id.to_string().into()),
        ("items", json::array(indices)),
        ("fields", json::array(fields)),
        ("totals", json::array(arguments.totals.iter().map(String::as_str))),
        ("subjects", json::array(arguments.subjects.iter().map(String::as_str))),
        ("out", out.to_string().into()),
    ]);
    Ok(Report::good(text, json))
}

/// Why the vault doesn't open this record.
fn absent(vault: &Vault, id: &StatementId) -> Result<Failure, Failure> {
    let shredded = vault.shredded()?;
    Ok(match shredded.iter().find(|note| note.record == Some(id.hash())) {
        Some(note) => super::vault::gone(vault, note),
        None => Failure::new(format!("the vault has nothing on record {id}"))
            .next("use the vault of the machine that committed it"),
    })
}

/// The party's own record in the bundle.
fn own_record(
    bundle: &Bundle,
    party: &KeyName,
    wanted: Option<&str>,
) -> Result<(StatementId, Evaluation), Failure> {
    let wanted = wanted
        .map(StatementId::from_hex)
        .transpose()
        .map_err(|e| Failure::new(format!("--record: {e}")))?;
    let mut records = bundle.leaves.iter().filter_map(|leaf| {
        let signed = SignedStatement::parse(&leaf.envelope).ok()?;
        let id = signed.id();
        let own = signed.statement().common().signer == *party;
        match signed.statement().predicate() {
            Predicate::Evaluation(evaluation) if own && wanted.is_none_or(|w| w == id) => {
                Some((id, evaluation.as_ref().clone()))
            }
            _ => None,
        }
    });
    let first = records.next().ok_or_else(|| {
        Failure::new(format!("the bundle holds no such record of {party}"))
            .next("use the bundle that your own commit wrote")
    })?;
    if records.next().is_some() {
        return Err(
            Failure::new("the bundle holds several of your records").next("name one with --record")
        );
    }
    Ok(first)
}

/// Indices of all items asked for, ascending, each once.
fn indices(
    arguments: &Arguments,
    layout: &Layout,
    file: &ItemsFile,
    agreed: &record::items::AgreedItems,
) -> Result<Vec<u64>, Failure> {
    let mut indices = std::collections::BTreeSet::new();
    if let Some(list) = &arguments.items {
        let wrong = |part: &str| {
            Failure::new(format!("--items: {part:?} is no index below {}", layout.items()))
                .next("write a list such as 3,17,40-49, or all")
        };
        for part in list.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = match (part, part.split_once('-')) {
                ("all", _) => (0, layout.items() - 1),
                (_, Some((first, last))) => (
                    first.parse().map_err(|_| wrong(part))?,
                    last.parse().map_err(|_| wrong(part))?,
                ),
                (single, None) => {
                    let index: u64 = single.parse().map_err(|_| wrong(part))?;
                    (index, index)
                }
            };
            if first > last || last >= layout.items() {
                return Err(wrong(part));
            }
            indices.extend(first..=last);
        }
    }
    for id in &arguments.ids {
        let row = file.rows().iter().position(|row| row.id() == id).ok_or_else(|| {
            Failure::new(format!("--id: no row of the items file is called {id:?}"))
        })?;
        let of_row = (0..).zip(agreed.items()).filter(|(_, item)| item.row == row);
        indices.extend(of_row.map(|(index, _): (u64, _)| index));
    }
    Ok(indices.into_iter().collect())
}

/// A score says nothing without its item's status, so that comes with it.
fn fields(asked: &[String]) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let needs_status = asked.iter().any(|field| field.starts_with("score:"));
    for field in asked.iter().cloned().chain(needs_status.then(|| "status".to_owned())) {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    fields
}

fn total(
    name: &str,
    values: &[Option<record::commit::ItemValues>],
    secret: &RecordSecret,
    layout: &Layout,
) -> Result<TotalOpening, Failure> {
    let place = layout.column(name).ok_or_else(|| {
        let names: Vec<&str> = layout.columns().iter().map(Column::name).collect();
        Failure::new(format!("--total: there is no column {name:?}"))
            .next(format!("choose one of: {}", names.join(", ")))
    })?;
    let values = values.iter().map(Option::as_ref);
    TotalOpening::from_items(secret, layout, place, values).map_err(Failure::new)
}
