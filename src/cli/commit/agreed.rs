//! Committing under an agreement: its items, its columns, and a run that was announced.

use client::{Seat, SystemEntropy};
use exchange::StatementId;
use exchange::predicate::Predicate;
use intake::Evaluation;
use record::items::{ItemKey, ItemsFile};
use record::opening::RecordParts;
use tlog::{Hash, Policy};

use super::items::{self, Items};
use super::{Arguments, Made, Plan, attest, columns, finish, predicate};
use crate::cli::online::Online;
use crate::cli::output::{Failure, Report};

pub(super) async fn commit(
    arguments: &Arguments,
    online: &Online,
    policy: Option<Policy>,
    mut evaluation: Evaluation,
    source: Hash,
) -> Result<Report, Failure> {
    let session = online.session().await?;
    let mut seat = Seat::take(session, arguments.agreement.as_deref()).await?;
    let (run, nonce) = seat.open_run(arguments.run)?;
    let kept = seat.kept()?;
    let file = ItemsFile::parse(kept.items_file.as_bytes())
        .map_err(|error| Failure::new(format!("the items file in the vault: {error}")))?;
    let scales = &seat.agreement().evaluation.columns;
    let (columns, names) = columns::agreed(scales, &arguments.scores, &evaluation)?;
    let items = Items::agreed(file, kept.epochs, &arguments.map, &evaluation)?;
    items::check_scores(&evaluation, &columns, &names)?;

    let item_key = ItemKey::new(*kept.item_key);
    let exchange = seat.exchange();
    let intent = run.intent;
    let plan = Plan { exchange: Some(exchange), intent, nonce, item_key, items, columns, names };
    let made = plan.make(seat.session(), &mut evaluation, source)?;
    let (predicate, escrow) = attestation(&mut seat, arguments, &evaluation, intent, &made)?;
    let prepared = seat.prepare(predicate).await?;
    let artifacts: Vec<&[u8]> = escrow.iter().map(Vec::as_slice).collect();
    let attested = attest(seat.session(), &plan, made, prepared, &artifacts).await?;

    let registration = seat.session().registration()?;
    let statements = [registration, exchange, intent, attested.logged.id];
    let session = seat.session();
    let report =
        finish(arguments, online, session, policy, &evaluation, attested, &statements, &[]).await?;
    let summary = plan.items.summary.as_deref().unwrap_or_default().replace('\n', "\n           ");
    let text = format!(
        "{}\nmapping    {summary}\n      then: countersign status --agreement {}",
        report.text,
        &exchange.to_string()[..12]
    );
    Ok(Report { text, ..report })
}

/// The evaluation statement: what rules make public at once is opened in it, and an agreed escrow
/// comes with it.
fn attestation(
    seat: &mut Seat<'_, SystemEntropy>,
    arguments: &Arguments,
    evaluation: &Evaluation,
    intent: StatementId,
    made: &Made,
) -> Result<(Predicate, Option<Vec<u8>>), Failure> {
    let Predicate::Evaluation(mut attestation) = predicate(evaluation, intent, &made.record)?
    else {
        return Err(Failure::new("the record makes no attestation"));
    };
    attestation.is_final = arguments.is_final;
    attestation.opened = seat.opened_at_once(&made.secret, made.record.subject_values())?;
    let parts = RecordParts {
        // No statement can name its own id.
        id: Hash::new([0; 32]),
        header: made.record.header(),
        context: &made.context,
        secret: &made.secret,
        vector: made.record.vector(),
        items: &made.agreed,
    };
    let escrow = seat.escrow(parts, made.record.totals(), made.record.subject_values())?;
    let artifact = escrow.map(|(envelope, artifact)| {
        attestation.escrow = Some(envelope);
        artifact
    });
    Ok((Predicate::Evaluation(attestation), artifact))
}
