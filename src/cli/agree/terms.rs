//! The terms of an agreement in words and as JSON.

use exchange::predicate::{Agreement, Audience, Author, Benchmark, Keys, Rule};
use exchange::preview::{Preview, claim_text, has_neutral_clock};
use json::Value;
use tlog::Hash;

/// What an agreement says, line by line.
pub(super) fn lines(agreement: &Agreement) -> Vec<String> {
    let [first, second] = &agreement.parties;
    let mut lines =
        vec![format!("parties    {} proposes to {}", first.keys.name, second.keys.name)];
    for auditor in &agreement.auditors {
        lines.push(format!("auditor    {}", auditor.name));
    }
    let terms = &agreement.evaluation;
    let benchmark = match &terms.benchmark {
        Benchmark::Name(name) => name.to_string(),
        Benchmark::Commitment(_) => "hidden behind a commitment".to_owned(),
    };
    lines.push(format!("benchmark  {benchmark}"));
    lines.push(format!(
        "items      {} ({} epochs), root {}",
        terms.items, terms.epochs, terms.items_root
    ));
    lines.push(format!("harness    {} {}", terms.harness.name, terms.harness.version));
    for scale in &terms.columns {
        lines.push(format!(
            "column     {}: 0 to {}, {} stands for a raw score of {}, {} is better",
            scale.name,
            scale.max,
            scale.max,
            scale.raw_max,
            scale.better.as_str()
        ));
    }
    let runs = &agreement.runs;
    lines.push(format!(
        "runs       at most {} each, the {} counts",
        runs.budget,
        runs.counts.as_str()
    ));
    let schedule = &agreement.schedule;
    lines.push(format!(
        "schedule   accept by {}, commit by {}, reveal by {}, {} s for each answer",
        schedule.accept_by, schedule.commit_by, schedule.reveal_by, schedule.step
    ));
    if let Some(audit_by) = schedule.audit_by {
        lines.push(format!("           audit by {audit_by}"));
    }
    let neutral = match has_neutral_clock(agreement) {
        true => "no party's own witness is in it: a missed deadline names who missed it",
        false => "NOT NEUTRAL: a missed deadline will name nobody",
    };
    lines.push(format!("clock      {}; {neutral}", agreement.clock));
    for rule in &agreement.disclosure {
        lines.push(format!("rule       {}", rule_text(rule)));
    }
    for claim in &agreement.claims {
        lines.push(format!(
            "claim      {}: {} proves {}",
            claim.id,
            claim.by,
            claim_text(agreement, claim)
        ));
    }
    if let Some(plan) = &agreement.audit {
        lines.push(format!(
            "audit      by {}: {} to {} items of {}",
            plan.auditor, plan.first, plan.largest, plan.column
        ));
    }
    if let Some(escrow) = &agreement.escrow {
        let rules: Vec<String> = escrow.rules.iter().map(ToString::to_string).collect();
        lines.push(format!("escrow     with {}: {}", escrow.auditor, rules.join(", ")));
    }
    lines
}

fn rule_text(rule: &Rule) -> String {
    let by = match &rule.by {
        Author::Both => "each party".to_owned(),
        Author::Party(name) => name.to_string(),
    };
    let verb = if rule.owed { "shows" } else { "may show" };
    let items =
        if rule.items > 0 { format!(" of up to {} items", rule.items) } else { String::new() };
    let from = rule.from.as_str();
    let risk = rule.risk.as_str();
    format!(
        "{}: {by} {verb} {}{items} to {} once {from} (risk: {risk})",
        rule.id,
        rule.what,
        to(&rule.to)
    )
}

fn to(audience: &Audience) -> String {
    match audience {
        Audience::Public => "everybody".to_owned(),
        Audience::Peer => "the peer".to_owned(),
        Audience::Auditor(name) => name.to_string(),
    }
}

/// The terms for machines.
pub(super) fn json(agreement: &Agreement) -> Value {
    let member = |keys: &Keys| {
        json::object([
            ("name", Value::from(keys.name.as_str())),
            ("key", hex::encode(keys.key).into()),
        ])
    };
    let terms = &agreement.evaluation;
    let hash = |hash: &Hash| Value::from(hash.to_string());
    let columns = terms.columns.iter().map(|scale| {
        json::object([
            ("name", Value::from(scale.name.as_str())),
            ("max", scale.max.into()),
            ("raw_max", scale.raw_max.into()),
            ("better", scale.better.as_str().into()),
        ])
    });
    let rules = agreement.disclosure.iter().map(|rule| {
        json::object([
            ("id", Value::from(rule.id.as_str())),
            ("what", rule.what.to_string().into()),
            ("to", to(&rule.to).into()),
            ("from", rule.from.as_str().into()),
            ("items", rule.items.into()),
            ("risk", rule.risk.as_str().into()),
            ("owed", rule.owed.into()),
        ])
    });
    let claims = agreement.claims.iter().map(|claim| {
        json::object([
            ("id", Value::from(claim.id.as_str())),
            ("by", claim.by.as_str().into()),
            ("text", claim_text(agreement, claim).into()),
        ])
    });
    let schedule = &agreement.schedule;
    let mut times = vec![
        ("accept_by", Value::from(schedule.accept_by.to_string())),
        ("commit_by", schedule.commit_by.to_string().into()),
        ("reveal_by", schedule.reveal_by.to_string().into()),
        ("step", schedule.step.into()),
    ];
    times.extend(schedule.audit_by.map(|time| ("audit_by", time.to_string().into())));
    json::object([
        ("parties", json::array(agreement.parties.iter().map(|party| member(&party.keys)))),
        ("auditors", json::array(agreement.auditors.iter().map(member))),
        ("items", terms.items.into()),
        ("epochs", terms.epochs.into()),
        ("items_root", hash(&terms.items_root)),
        ("columns", json::array(columns)),
        ("budget", agreement.runs.budget.into()),
        ("counts", agreement.runs.counts.as_str().into()),
        ("schedule", json::object(times)),
        ("clock", agreement.clock.as_str().into()),
        ("neutral", has_neutral_clock(agreement).into()),
        ("rules", json::array(rules)),
        ("claims", json::array(claims)),
    ])
}

/// Who will be able to learn what, with warnings, line by line.
pub(in crate::cli) fn preview_lines(preview: &Preview) -> Vec<String> {
    let mut lines = Vec::new();
    let mut learner = None;
    for lesson in &preview.lessons {
        if learner.replace(&lesson.learner) != Some(&lesson.learner) {
            lines.push(format!("{}", lesson.learner));
        }
        let about = lesson.about.as_ref().map_or_else(String::new, |name| format!("of {name}: "));
        let rule = lesson.rule.as_ref().map_or_else(String::new, |rule| format!(" [{rule}]"));
        let must = if lesson.owed { "" } else { " (may be shown)" };
        lines.push(format!(
            "  {:<10} {:<11} {about}{}{must}{rule}",
            lesson.from.as_str(),
            lesson.risk.as_str(),
            lesson.what
        ));
    }
    for warning in &preview.warnings {
        lines.push(format!("warning    {} ({})", warning.message, warning.about));
    }
    lines
}

/// The same for machines.
pub(in crate::cli) fn lessons_json(preview: &Preview) -> Value {
    json::array(preview.lessons.iter().map(|lesson| {
        let mut members = vec![
            ("learner", Value::from(lesson.learner.to_string())),
            ("from", lesson.from.as_str().into()),
            ("what", lesson.what.as_str().into()),
            ("risk", lesson.risk.as_str().into()),
            ("owed", lesson.owed.into()),
        ];
        members.extend(lesson.about.as_ref().map(|name| ("about", name.as_str().into())));
        members.extend(lesson.rule.as_ref().map(|rule| ("rule", rule.as_str().into())));
        json::object(members)
    }))
}

/// Warnings for machines.
pub(in crate::cli) fn warnings_json(preview: &Preview) -> Value {
    json::array(preview.warnings.iter().map(|warning| {
        json::object([
            ("code", Value::from(warning.code.as_str())),
            ("about", warning.about.as_str().into()),
            ("text", warning.message.as_str().into()),
        ])
    }))
}
