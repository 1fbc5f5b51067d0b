//! One sample of an Inspect log, read to its core projection: everything else (events, store,
//! attachments, messages, usage) is skipped while it streams by.

use std::io::Read;

use json::{Located, Object, Reader, Value};

use crate::draft::{Draft, DraftItem, item_id};
use crate::fault::Fault;
use crate::model::ItemRow;
use crate::stream::{finite, finite_but, finite_value, skip_finite, text_or_json};
use crate::{ItemId, Limits};

/// Scorer of a sample with the single unnamed `score` of Inspect's first versions. The NUL
/// keeps it apart from scorers' names until the header says which one it was.
pub(super) const UNNAMED: &str = "\0score";

/// The members that the core projection is made of, as they come.
#[derive(Default)]
struct Parts {
    id: Option<ItemId>,
    epoch: Option<u64>,
    input: Option<Value>,
    choices: Option<Value>,
    target: Option<Value>,
    output: Option<Box<str>>,
    scores: Vec<(String, Value)>,
    metadata: Option<Value>,
    error: Option<Value>,
    limit: Option<Value>,
    invalidation: Option<Value>,
    uuid: Option<Value>,
}

/// Reads the sample at which `reader` stands.
pub(super) fn read<R: Read>(
    reader: &mut Reader<R>,
    draft: &mut Draft,
    limits: &Limits,
) -> Result<DraftItem, Fault> {
    let mut parts = Parts::default();
    let finite_or_null = |reader: &mut Reader<R>| -> Result<Option<Value>, Fault> {
        Ok(Some(finite_value(reader)?).filter(|value| !value.is_null()))
    };
    reader.object(|name, reader| -> Result<(), Fault> {
        match name {
            "id" => parts.id = Some(item_id(&reader.value()?, limits)?),
            "epoch" => parts.epoch = Some(epoch(&finite_value(reader)?)?),
            "input" => parts.input = finite_or_null(reader)?,
            "choices" => parts.choices = finite_or_null(reader)?,
            "target" => parts.target = finite_or_null(reader)?,
            "output" => parts.output = output(reader)?,
            "scores" => parts.scores = scores(&reader.value()?)?,
            "score" => {
                let score = reader.value()?;
                if !score.is_null() {
                    parts.scores = scores(&json::object([(UNNAMED, score)]))?;
                }
            }
            "metadata" => parts.metadata = finite_or_null(reader)?,
            "error" => parts.error = finite_or_null(reader)?,
            "limit" => parts.limit = finite_or_null(reader)?,
            "invalidation" => parts.invalidation = finite_or_null(reader)?,
            "uuid" => parts.uuid = finite_or_null(reader)?,
            // These repeat scores and hold whatever models and tools returned: numbers in them
            // may be NaN, and nothing of them is kept.
            "events" | "events_data" | "attachments" | "store" | "messages" | "transcript"
            | "error_retries" | "timelines" => reader.skip()?,
            _ => skip_finite(reader)?,
        }
        Ok(())
    })?;
    assemble(parts, draft)
}

fn epoch(value: &Value) -> Result<u64, Fault> {
    value
        .as_number()
        .and_then(json::Number::as_u64)
        .filter(|epoch| *epoch > 0)
        .ok_or_else(|| Fault::shape("an epoch must be an integer from 1"))
}

/// The completion; older logs have only the message of the first choice.
fn output<R: Read>(reader: &mut Reader<R>) -> Result<Option<Box<str>>, Fault> {
    if !reader.at_object()? {
        return finite_value(reader).map(|value| text_or_json(&value));
    }
    let mut completion = None;
    let mut first_choice = None;
    reader.object(|name, reader| -> Result<(), Fault> {
        match name {
            "completion" => completion = text_or_json(&finite_value(reader)?),
            "choices" if reader.at_array()? => {
                let mut first = true;
                reader.array(|reader| -> Result<(), Fault> {
                    if !std::mem::take(&mut first) || !reader.at_object()? {
                        return Ok(reader.skip()?);
                    }
                    reader.object(|name, reader| -> Result<(), Fault> {
                        if name == "message" {
                            let message = reader.value()?;
                            first_choice = message.get("content").and_then(text_or_json);
                            return Ok(());
                        }
                        Ok(reader.skip()?)
                    })
                })?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(completion.or(first_choice))
}

/// Scores by scorer. Only a value, and former values in the history, may be non-finite.
fn scores(value: &Value) -> Result<Vec<(String, Value)>, Fault> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let object = value.as_object().ok_or_else(|| Fault::shape("scores must be an object"))?;
    let mut scores = Vec::with_capacity(object.len());
    for (scorer, score) in object.iter().filter(|(_, score)| !score.is_null()) {
        let check = || {
            finite_but(score, &|name| matches!(name, "value" | "history"))?;
            score.as_object().ok_or_else(|| Fault::shape("a score must be an object"))
        };
        check().map_err(|fault| fault.within(scorer))?;
        scores.push((scorer.to_owned(), score.clone()));
    }
    Ok(scores)
}

fn assemble(parts: Parts, draft: &mut Draft) -> Result<DraftItem, Fault> {
    let id = parts.id.ok_or_else(|| Fault::shape("a sample has no id"))?;
    let epoch = parts.epoch.ok_or_else(|| Fault::shape("a sample has no epoch"))?;
    let mut draft_item = DraftItem::new(id, epoch);

    let mut explanations = Object::default();
    for (scorer, score) in &parts.scores {
        let history = score.get("history").and_then(Value::as_array);
        draft_item.item.edited |= history.is_some_and(|edits| !edits.is_empty());
        if let Some(value) = score.get("value") {
            draft.score(&mut draft_item, scorer, value)?;
        }
        let kept = score.as_object().into_iter().flat_map(Object::iter).filter(|(name, value)| {
            let known = ["answer", "explanation", "reason", "metadata", "history"].contains(name);
            let empty = value.is_null() || value.as_array().is_some_and(<[Value]>::is_empty);
            known && !empty
        });
        let explanation = json::object(kept.map(|(name, value)| (name, value.clone())));
        if explanation.as_object().is_some_and(|object| !object.is_empty()) {
            let scorer = if scorer == UNNAMED { "score" } else { scorer };
            explanations.insert(scorer, explanation);
        }
    }

    let item = &mut draft_item.item;
    let plain = |part: &Option<Value>| part.as_ref().is_none_or(|value| value.as_str().is_some());
    item.row = ItemRow::Fields {
        plain_input: plain(&parts.input) && parts.choices.is_none(),
        plain_target: plain(&parts.target),
    };
    item.input = match (parts.input, parts.choices) {
        (Some(input), None) => text_or_json(&input),
        (Some(input), Some(choices)) => {
            text_or_json(&json::object([("input", input), ("choices", choices)]))
        }
        (None, _) => None,
    };
    item.target = parts.target.as_ref().and_then(text_or_json);
    item.output = parts.output;
    item.explanation =
        (!explanations.is_empty()).then(|| Value::Object(explanations).to_text().into_boxed_str());
    item.errored = parts.error.is_some();
    item.limited = parts.limit.is_some();
    item.invalidated = parts.invalidation.is_some();

    let mut metadata = Object::default();
    metadata.insert("id", id_value(&item.id));
    let message = parts.error.and_then(|mut error| match &mut error {
        Value::Object(object) => object.remove("message"),
        _ => Some(error),
    });
    let members = [
        ("uuid", parts.uuid),
        ("metadata", parts.metadata),
        ("error", message),
        ("limit", parts.limit),
        ("invalidation", parts.invalidation),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            metadata.insert(name, value);
        }
    }
    finite(metadata.get("metadata").unwrap_or(&Value::Null))?;
    item.metadata = Some(Value::Object(metadata).to_text().into_boxed_str());
    Ok(draft_item)
}

/// The id as it stands in the log.
fn id_value(id: &ItemId) -> Value {
    match id {
        ItemId::Text(text) => Value::from(&**text),
        ItemId::Integer(literal) => json::parse(literal.as_bytes(), json::Rules::LOG)
            .expect("an integer id is a literal that the reader took"),
    }
}
