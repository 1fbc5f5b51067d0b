//! `countersign commit`: an evaluation log becomes an attestation in a log.

mod agreed;
pub(super) mod columns;
mod items;
mod witnessed;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use client::{
    BundleMaker, CallError, Entropy as _, Inclusion, Logged, Prepared, Session, SessionError,
    SystemEntropy, VaultRecord, files, vault_item,
};
use exchange::predicate::{Evaluation as EvaluationPredicate, Intent, Predicate, Program};
use exchange::{StatementId, Timestamp, Word};
use intake::Evaluation;
use record::column::Column;
use record::commit::{Declared, ItemValues, Record, RecordBuilder};
use record::context::Context;
use record::items::{AgreedItems, ItemKey};
use record::secret::RecordSecret;
use record::subject::{Flags, SUBJECTS};
use tlog::{Hash, Policy, SigningKey};
use zeroize::Zeroizing;

use super::evaluation_log::{self, LogOptions};
use super::online::{Online, OnlineArguments};
use super::output::{Failure, Report};
use super::progress;
use items::{Items, MapArguments};
use witnessed::{WaitArguments, Witnessed};

/// Commit to an evaluation: import its log, record it in the vault, and put the attestation into
/// the log.
///
/// What leaves this machine are commitments: no item, output, score or count can be read from
/// them. Writes NAME.countersign (a bundle without secrets, for the other party) and
/// NAME.tlog-proof (the receipt) next to the log or to --out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign commit run.eval --key lab-a.example.key \
    --server http://127.0.0.1:7400 \\\n      --log-key log.vkey --no-agreement \\\n      --wait witnessed --policy trust.policy")]
pub(super) struct Arguments {
    /// The evaluation log: a file, or the folder of a run.
    file: PathBuf,
    #[command(flatten)]
    online: OnlineArguments,
    #[command(flatten)]
    wait: WaitArguments,
    /// Commit outside of any agreement: nobody else has promised anything.
    #[arg(long, required_unless_present = "agreement", conflicts_with = "agreement")]
    no_agreement: bool,
    /// Commit under this agreement, to the run that was announced: its id or how that begins.
    #[arg(long, value_name = "ID")]
    agreement: Option<String>,
    /// Which announced run, if several are open.
    #[arg(long, value_name = "N", requires = "agreement")]
    run: Option<u64>,
    /// Where the last run counts: there will be no further one.
    #[arg(long = "final", requires = "agreement")]
    is_final: bool,
    /// What the log calls an agreed column, if it has another name there. Repeat for each.
    #[arg(long = "score", value_name = "AGREED=NAME", requires = "agreement")]
    scores: Vec<String>,
    /// The items file that the evaluation is about. Without it, one is made from the log.
    #[arg(long, value_name = "ITEMS.jsonl", conflicts_with = "agreement")]
    items: Option<PathBuf>,
    #[command(flatten)]
    map: MapArguments,
    /// A score column and its scale: the largest integer, and the raw score that stands for it.
    /// Repeat for each. Without it, columns of 0/1, C/I and C/P/I are taken.
    #[arg(long = "column", value_name = "NAME:MAX[:RAW_MAX]", conflicts_with = "agreement")]
    columns: Vec<String>,
    /// Which task, if the log holds several.
    #[arg(long)]
    task: Option<String>,
    /// Commit a run that did not end well; its flags say so.
    #[arg(long)]
    incomplete: bool,
    /// Where to write the bundle; the receipt goes beside it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    options: LogOptions,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    super::block_on(commit(arguments))
}

async fn commit(arguments: &Arguments) -> Result<Report, Failure> {
    let options = arguments.options.options()?;
    let import = evaluation_log::read(&arguments.file, &options)?;
    let mut evaluation =
        evaluation_log::select(import, &arguments.file, arguments.task.as_deref())?;
    check_sound(arguments, &evaluation, options.flag_mismatch)?;
    let source = evaluation_log::source_digest(&arguments.file, &evaluation)?;
    let online = arguments.online.open()?;
    let policy = arguments.wait.policy(&online.trust)?;
    if arguments.agreement.is_some() {
        return agreed::commit(arguments, &online, policy, evaluation, source).await;
    }
    let (columns, left_out) = columns::choose(&arguments.columns, &evaluation)?;
    let names: Vec<String> = columns.iter().map(|column| column.name().to_owned()).collect();
    let items = Items::of(arguments.items.as_deref(), &arguments.map, &evaluation)?;
    items::check_scores(&evaluation, &columns, &names)?;

    let mut session = online.session().await?;
    session.register().await?;
    // The run is announced first; its nonce makes every commitment of the record its own.
    let nonce = session.entropy().bytes();
    let run = session.next_run()?;
    let intent = session.say(Predicate::Intent(Intent { run, nonce })).await?;
    let item_key = ItemKey::new(session.entropy().bytes());
    let plan = Plan { exchange: None, intent: intent.id, nonce, item_key, items, columns, names };
    let made = plan.make(&mut session, &mut evaluation, source)?;
    let predicate = predicate(&evaluation, intent.id, &made.record)?;
    let prepared = session.prepare(predicate).await?;
    let attested = attest(&mut session, &plan, made, prepared, &[]).await?;
    let statements = [session.registration()?, intent.id, attested.logged.id];
    finish(arguments, &online, &mut session, policy, &evaluation, attested, &statements, &left_out)
        .await
}

/// What a record is made of.
struct Plan {
    exchange: Option<StatementId>,
    intent: StatementId,
    nonce: [u8; 32],
    item_key: ItemKey,
    items: Items,
    columns: Vec<Column>,
    /// What the log calls these columns.
    names: Vec<String>,
}

/// A record, and what opens it.
struct Made {
    secret: RecordSecret,
    values: Vec<Option<ItemValues>>,
    record: Record,
    agreed: AgreedItems,
    context: Context,
}

impl Plan {
    fn make(
        &self,
        session: &mut Session<'_, SystemEntropy>,
        evaluation: &mut Evaluation,
        source: Hash,
    ) -> Result<Made, Failure> {
        let secret = RecordSecret::new(session.entropy().bytes());
        let proof_entropy = session.entropy().bytes();
        let exchange = self.exchange.map(|id| id.hash());
        let party = session.key().name().as_str();
        let origin = session.origin().as_str();
        let context =
            Context::new(origin, exchange.as_ref(), party, &self.nonce).map_err(Failure::new)?;
        let items = &self.items;
        let agreed = items.file.agree(&self.item_key, items.epochs).map_err(Failure::new)?;
        let declared = declared(evaluation, source, items.flags);
        let values = items.values(evaluation, &self.names, &agreed);
        let columns = self.columns.clone();
        let record = build(&context, &secret, &agreed, columns, &values, declared, &proof_entropy)?;
        Ok(Made { secret, values, record, agreed, context })
    }
}

/// A record that is in the log.
struct InLog {
    logged: Logged,
    record: Record,
}

/// Makes the record durable in the vault, stores what its statement names, and puts that into the
/// log.
async fn attest(
    session: &mut Session<'_, SystemEntropy>,
    plan: &Plan,
    made: Made,
    prepared: Prepared,
    artifacts: &[&[u8]],
) -> Result<InLog, Failure> {
    let record = made.record;
    // Whatever happens from here on, what was signed can be opened.
    let kept = VaultRecord {
        origin: session.origin().clone(),
        exchange: plan.exchange.unwrap_or(StatementId::ZERO).hash(),
        party: session.key().name().clone(),
        intent: plan.intent.hash(),
        nonce: plan.nonce,
        record: Some(prepared.id().hash()),
        secret: Zeroizing::new(*made.secret.as_bytes()),
        item_key: Zeroizing::new(*plan.item_key.as_bytes()),
        items_file: plan.items.file.to_jsonl(),
        epochs: plan.items.epochs,
        items: made.values.into_iter().map(|item| vault_item(item, &plan.columns)).collect(),
        subjects: SUBJECTS
            .iter()
            .map(|name| (*name).to_owned())
            .zip(record.subject_values().iter().cloned())
            .collect(),
        coins: Vec::new(),
    };
    session.vault().put_record(&kept, session.entropy())?;
    let bar = progress::bytes("sending commitments", record.vector().len() as u64);
    let moved = bar.clone();
    let sent = move |bytes| moved.set_position(bytes);
    session.connection().put_artifact_watched(record.vector(), sent).await?;
    bar.finish_and_clear();
    for artifact in artifacts {
        session.connection().put_artifact(artifact).await?;
    }
    let logged = session.send(prepared).await?;
    Ok(InLog { logged, record })
}

/// Waits for witnesses if that was asked for, writes bundle and receipt, and says what was done.
#[expect(clippy::too_many_arguments, reason = "the end of two ways that have little in common")]
async fn finish(
    arguments: &Arguments,
    online: &Online,
    session: &mut Session<'_, SystemEntropy>,
    policy: Option<Policy>,
    evaluation: &Evaluation,
    attested: InLog,
    statements: &[StatementId],
    left_out: &[String],
) -> Result<Report, Failure> {
    let InLog { mut logged, record } = attested;
    // The statement is in the log, whether witnesses come in time or not.
    let mut late = None;
    let witnessed = match policy {
        None => None,
        Some(policy) => {
            match session.witnessed(&logged, &policy, arguments.wait.patience()).await {
                Ok((inclusion, verified)) => {
                    logged.inclusion = inclusion;
                    Some(Witnessed { policy, verified })
                }
                Err(error) => {
                    late = Some(error);
                    None
                }
            }
        }
    };

    let bundle = BundleMaker::new(statements.iter().copied())
        .with_artifact(record.vector().to_vec())
        .with_policy(online.trust.policy_text(session.connection().key()))
        .collect(session.connection())
        .await?
        .to_bytes();
    let out = arguments.out.clone().unwrap_or_else(|| default_out(&arguments.file));
    let receipt = out.with_extension("tlog-proof");
    files::write(&out, &bundle, files::Access::Shared)?;
    files::write(&receipt, &logged.inclusion.receipt().to_bytes(), files::Access::Shared)?;
    if let Some(error) = late {
        if !matches!(error, SessionError::Call(CallError::NotWitnessed(_))) {
            return Err(error.into());
        }
        let index = logged.inclusion.index;
        let (out, receipt) = (out.display(), receipt.display());
        return Err(Failure::new(format!(
            "committed as entry {index}, but not witnessed: {error}; {out} and {receipt} are \
             written, without cosignatures"
        ))
        .next(
            "nothing has to be committed again; ask the log's operator which witnesses are silent",
        ));
    }
    let report =
        Reported { id: logged.id, inclusion: &logged.inclusion, out: &out, receipt: &receipt };
    Ok(report.report(&online.key, evaluation, &record, left_out, witnessed.as_ref()))
}

/// A log that contradicts itself is not committed to, unless the user has said so.
fn check_sound(
    arguments: &Arguments,
    evaluation: &Evaluation,
    flag_mismatch: bool,
) -> Result<(), Failure> {
    let file = arguments.file.display();
    if evaluation.exit(flag_mismatch) != 0 {
        let findings: Vec<String> =
            evaluation.findings.iter().take(5).map(|f| format!("\n  {f}")).collect();
        return Err(Failure::bad(format!(
            "{file} contradicts itself, so there is nothing to commit to:{}",
            findings.concat()
        ))
        .next(format!("see: countersign import {file}; or --flag-mismatch to record it")));
    }
    if evaluation.incomplete() && !arguments.incomplete {
        return Err(Failure::new(format!("{file} is of a run that did not end well"))
            .next("commit to it as it is with --incomplete, or finish the run"));
    }
    if evaluation.items.is_empty() {
        return Err(Failure::new(format!("{file} holds no items")));
    }
    Ok(())
}

fn declared(evaluation: &Evaluation, source: Hash, flags: Flags) -> Declared {
    Declared {
        model: Some(evaluation.model.clone()),
        elicitation: Some(evaluation.elicitation.clone()),
        environment: Some(evaluation.environment.clone()),
        source: Some(source),
        flags,
    }
}

fn build(
    context: &Context,
    secret: &RecordSecret,
    agreed: &AgreedItems,
    columns: Vec<Column>,
    values: &[Option<ItemValues>],
    declared: Declared,
    entropy: &[u8; 32],
) -> Result<Record, Failure> {
    let bar = progress::bar("committing to items", agreed.count());
    let advance = |done| bar.set_position(done);
    let wrong = |e: record::commit::CommitError| {
        Failure::new(format!("the record can't be made: {e}"))
            .next("give the column a scale that holds all its scores: --column NAME:MAX[:RAW_MAX]")
    };
    let mut builder = RecordBuilder::new(context, secret, agreed, columns)
        .map_err(wrong)?
        .with_progress(&advance);
    builder.extend(values.iter().cloned()).map_err(wrong)?;
    let record = builder.finish(declared, entropy).map_err(wrong)?;
    bar.finish_and_clear();
    Ok(record)
}

fn predicate(
    evaluation: &Evaluation,
    intent: StatementId,
    record: &Record,
) -> Result<Predicate, Failure> {
    let program = |name: &str, version: &str| -> Result<Program, Failure> {
        let version: String = version.chars().take_while(|c| !c.is_control()).take(16).collect();
        let name = Word::parse(name).map_err(Failure::new)?;
        Ok(Program { name, version })
    };
    let version = evaluation.harness.version.as_deref().unwrap_or("unknown");
    let started = evaluation.started.or(evaluation.ended).map(intake::Moment::unix);
    let ended = evaluation.ended.or(evaluation.started).map(intake::Moment::unix);
    let programs = [
        program(evaluation.harness.name, version)?,
        program("countersign", env!("CARGO_PKG_VERSION"))?,
    ];
    let times = [hour(started)?, hour(ended)?];
    let attestation = EvaluationPredicate::of_record(intent, programs, times, record.header());
    Ok(Predicate::Evaluation(Box::new(attestation)))
}

/// Rounded down to the hour: exact times tell something. A log without times was committed to
/// now, which is the one time that is known.
fn hour(unix: Option<i64>) -> Result<Timestamp, Failure> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let seconds = unix.and_then(|unix| u64::try_from(unix).ok()).unwrap_or_else(now);
    Timestamp::from_unix(seconds - seconds % 3_600).map_err(Failure::new)
}

fn default_out(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or(file.as_os_str());
    let mut name = stem.to_owned();
    name.push(".countersign");
    PathBuf::from(name)
}

/// What became of a record.
struct Reported<'a> {
    id: StatementId,
    inclusion: &'a Inclusion,
    out: &'a Path,
    receipt: &'a Path,
}

impl Reported<'_> {
    fn report(
        &self,
        key: &SigningKey,
        evaluation: &Evaluation,
        record: &Record,
        left_out: &[String],
        witnessed: Option<&Witnessed>,
    ) -> Report {
        let Self { id, inclusion, out, receipt } = self;
        let origin = inclusion.checkpoint.checkpoint().origin();
        let items = record.header().layout().items();
        let names: Vec<&str> =
            record.header().layout().columns().iter().map(Column::name).collect();
        let mut text = format!(
            "Committed: {} attests an evaluation of {items} items in {} as entry {} of {origin}.\n\
         record   {id}\ncolumns  {}\nbundle   {}\nreceipt  {}",
            key.name(),
            evaluation.name,
            inclusion.index,
            names.join(", "),
            out.display(),
            receipt.display()
        );
        if !left_out.is_empty() {
            text.push_str(&format!(
                "\nnot committed to, for want of a scale: {}",
                left_out.join(", ")
            ));
        }
        if let Some(witnessed) = witnessed {
            text.push_str(&witnessed.line());
        }
        text.push_str(&format!(
            "\nnext: send {} to the other party, who runs\n      countersign verify {} --log-key \
         log.vkey --party {}.vkey",
            out.display(),
            out.display(),
            key.name()
        ));
        let mut members = vec![
            ("record", id.to_string().into()),
            ("party", key.name().as_str().into()),
            ("origin", origin.into()),
            ("index", inclusion.index.into()),
            ("size", inclusion.checkpoint.head().size.into()),
            ("root", inclusion.checkpoint.head().root.to_string().into()),
            ("items", items.into()),
            ("columns", json::array(names)),
            ("not_committed", json::array(left_out.iter().map(String::as_str))),
            ("bundle", out.display().to_string().into()),
            ("receipt", receipt.display().to_string().into()),
        ];
        if let Some(witnessed) = witnessed {
            members.extend(witnessed.members());
        }
        Report::good(text, json::object(members))
    }
}
