//! What the vault keeps of an item, and back.

use super::VaultItem;
use record::column::Column;
use record::commit::ItemValues;

/// The values of one item as the vault keeps them: text fields by name, and the marks that
/// decide its status. A missing item has the mark `missing` alone.
pub fn vault_item(values: Option<ItemValues>, columns: &[Column]) -> VaultItem {
    let Some(values) = values else { return vec![("missing".to_owned(), Vec::new())] };
    let marks = [
        ("invalidated", values.invalidated),
        ("errored", values.errored),
        ("limited", values.limited),
    ];
    let texts = [
        ("input", values.input),
        ("target", values.target),
        ("output", values.output),
        ("explanation", values.explanation),
        ("metadata", values.metadata),
    ];
    let scores = columns.iter().map(Column::field).zip(values.scores);
    let marks = marks.into_iter().filter(|(_, set)| *set).map(|(n, _)| (n.to_owned(), Vec::new()));
    let texts = texts.into_iter().map(|(name, text)| (name.to_owned(), text));
    marks
        .chain(texts.chain(scores).filter_map(|(name, text)| Some((name, text?.into_bytes()))))
        .collect()
}

/// The inverse of [`vault_item`]; `None` for a missing item.
pub fn item_values(item: &VaultItem, columns: &[Column]) -> Option<ItemValues> {
    let bytes = |name: &str| item.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes);
    let text = |name: &str| bytes(name).map(|b| String::from_utf8_lossy(b).into_owned());
    if bytes("missing").is_some() {
        return None;
    }
    Some(ItemValues {
        invalidated: bytes("invalidated").is_some(),
        errored: bytes("errored").is_some(),
        limited: bytes("limited").is_some(),
        input: text("input"),
        target: text("target"),
        output: text("output"),
        explanation: text("explanation"),
        metadata: text("metadata"),
        scores: columns.iter().map(|column| text(&column.field())).collect(),
    })
}
