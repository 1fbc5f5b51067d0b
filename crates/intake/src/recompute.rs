//! Figures from items: the reducers and metrics of Inspect, in the closed forms that its
//! documentation gives. What is not implemented here is "not recomputable", never "fine".

use std::collections::BTreeMap;

use json::Value;

use crate::{Item, RawKind, RawScore};

/// Figures agree within this, relative to those above 1: sums in another order differ more in
/// the last digits than any change of a score could.
const TOLERANCE: f64 = 1e-9;

/// True if two figures are the same up to rounding; `NaN` equals `NaN`.
pub(crate) fn agree(a: f64, b: f64) -> bool {
    let close = (a - b).abs() <= TOLERANCE * a.abs().max(1.0);
    close || a == b || (a.is_nan() && b.is_nan())
}

/// A score as a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Converted {
    /// By the rule.
    Known(f64),
    /// Text or structure that no rule fits: Inspect warns and takes 0.
    Unknown,
}

impl Converted {
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Known(value) => value,
            Self::Unknown => 0.0,
        }
    }
}

/// Inspect's `value_to_float`: C, I, P, N; numbers and truth values; yes, no, true, false in any
/// case; text that is a decimal number.
pub(crate) fn to_float(raw: &RawScore) -> Converted {
    let literal = raw.literal();
    match raw.kind() {
        RawKind::Bool => Converted::Known(f64::from(u8::from(literal == "true"))),
        RawKind::Number => Converted::Known(match literal {
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            // JSON's numbers and NaN are all that is left, and Rust reads these.
            number => number.parse().unwrap_or(f64::NAN),
        }),
        RawKind::Structured => Converted::Unknown,
        RawKind::Text => match literal {
            "C" => Converted::Known(1.0),
            "P" => Converted::Known(0.5),
            "I" | "N" => Converted::Known(0.0),
            text if ["yes", "true"].iter().any(|yes| text.eq_ignore_ascii_case(yes)) => {
                Converted::Known(1.0)
            }
            text if ["no", "false"].iter().any(|no| text.eq_ignore_ascii_case(no)) => {
                Converted::Known(0.0)
            }
            text => decimal(text).map_or(Converted::Unknown, Converted::Known),
        },
    }
}

/// Digits with sign, point and exponent, but none of the words that Rust's parser takes too.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let form = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    (digits && form).then(|| text.parse().ok())?
}

/// How the epochs of one id become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reducer {
    Mean,
    Median,
    Max,
    Mode,
    Majority,
    AtLeast(u64),
    PassAt(u64),
    PassAll(u64),
}

impl Reducer {
    /// By the name in the log; an absent one is the mean. Nothing for reducers unknown here.
    pub(crate) fn parse(name: Option<&str>) -> Option<Self> {
        Some(match name {
            None | Some("mean") => Self::Mean,
            Some("median") => Self::Median,
            Some("max") => Self::Max,
            Some("mode") => Self::Mode,
            Some("majority") => Self::Majority,
            Some(name) => {
                let (kind, k) = name.rsplit_once('_')?;
                let k = k.parse().ok().filter(|k| *k > 0)?;
                match kind {
                    "at_least" => Self::AtLeast(k),
                    "pass_at" => Self::PassAt(k),
                    "pass_k" => Self::PassAll(k),
                    _ => return None,
                }
            }
        })
    }

    /// One value of the epochs' values, in the order of epochs; nothing if all are `NaN`.
    pub(crate) fn reduce(self, values: &[&RawScore]) -> Option<RawScore> {
        let known: Vec<&RawScore> = values.iter().copied().filter(|raw| !raw.is_nan()).collect();
        let first = known.first()?;
        let floats: Vec<f64> = known.iter().map(|raw| to_float(raw).number()).collect();
        let count = floats.len() as u64;
        let passed = floats.iter().filter(|value| **value >= 1.0).count() as u64;
        let float = match self {
            Self::Mean => mean(&floats),
            Self::Median => {
                let mut sorted = floats;
                sorted.sort_by(f64::total_cmp);
                let middle = sorted.len() / 2;
                if sorted.len() % 2 == 1 {
                    sorted[middle]
                } else {
                    f64::midpoint(sorted[middle - 1], sorted[middle])
                }
            }
            Self::Max => {
                let mut best = (floats[0], *first);
                for (value, raw) in floats.iter().zip(&known) {
                    if *value > best.0 {
                        best = (*value, raw);
                    }
                }
                return Some(best.1.clone());
            }
            Self::Mode => return Some(most_frequent(&known).0.clone()),
            Self::Majority => {
                let (raw, times) = most_frequent(&known);
                return (2 * times > count).then(|| raw.clone());
            }
            Self::AtLeast(k) => f64::from(u8::from(passed >= k)),
            Self::PassAt(k) if count < k => return None,
            Self::PassAt(k) if count - passed < k => 1.0,
            Self::PassAt(k) => {
                let factors = (count - passed + 1..=count).map(|i| 1.0 - k as f64 / i as f64);
                1.0 - factors.product::<f64>()
            }
            Self::PassAll(k) if count < k => return None,
            // C(passed, k) / C(count, k)
            Self::PassAll(k) if passed < k => 0.0,
            Self::PassAll(k) => (0..k).map(|i| (passed - i) as f64 / (count - i) as f64).product(),
        };
        Some(RawScore::new(&float_literal(float), RawKind::Number))
    }
}

fn float_literal(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ => format!("{value:?}"),
    }
}

/// The value seen most often, the first of several; Python's `1`, `1.0` and `True` are equal.
fn most_frequent<'a>(values: &[&'a RawScore]) -> (&'a RawScore, u64) {
    let key = |raw: &'a RawScore| match raw.kind() {
        // Adding 0.0 makes one zero of the two.
        RawKind::Number | RawKind::Bool => ("", (to_float(raw).number() + 0.0).to_bits()),
        RawKind::Text | RawKind::Structured => (raw.literal(), u64::MAX),
    };
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    for value in values {
        *counts.entry(key(value)).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    let first = values.iter().find(|value| counts.get(&key(value)) == Some(&most));
    (first.expect("callers pass at least one value"), most)
}

/// Items of one id, in the order of epochs.
pub(crate) type Group = Vec<usize>;

/// Groups by the id's text, as Inspect does, in the order of the items.
pub(crate) fn groups(items: &[Item]) -> Vec<Group> {
    let mut by_text: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let group = *by_text.entry(item.id.as_text()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(at);
    }
    // Items come sorted by epoch, so every group is.
    groups
}

/// The reduced value of each group that has a score in the column; `None` within is `NaN`.
pub(crate) fn reduced(
    items: &[Item],
    groups: &[Group],
    column: usize,
    reducer: Reducer,
) -> Vec<(usize, Option<RawScore>)> {
    let mut reduced = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter().enumerate() {
        let values: Vec<&RawScore> =
            group.iter().filter_map(|item| items[*item].scores[column].as_deref()).collect();
        if !values.is_empty() {
            reduced.push((at, reducer.reduce(&values)));
        }
    }
    reduced
}

/// One figure of the log's, as Inspect's metrics define it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Figure {
    Mean,
    StandardError { cluster: Option<String> },
    StandardDeviation,
    Variance,
}

impl Figure {
    /// By name and parameters; nothing for those unknown here, and for known ones with
    /// parameters that change them in a way unknown here.
    pub(crate) fn parse(name: &str, params: Option<&Value>) -> Option<Self> {
        let empty = json::Object::default();
        let params = params.and_then(Value::as_object).unwrap_or(&empty);
        let mut given = params.iter().filter(|(_, value)| !value.is_null());
        if name == "stderr" {
            return match (given.next(), given.next()) {
                (None, _) => Some(Self::StandardError { cluster: None }),
                (Some(("cluster", Value::String(name))), None) => {
                    Some(Self::StandardError { cluster: Some(name.clone()) })
                }
                _ => None,
            };
        }
        if given.next().is_some() {
            return None;
        }
        match name {
            "accuracy" | "mean" => Some(Self::Mean),
            "std" => Some(Self::StandardDeviation),
            "var" => Some(Self::Variance),
            _ => None,
        }
    }

    /// The figure of `values`, whose clusters are `clusters` if the figure has any.
    pub(crate) fn of(&self, values: &[f64], clusters: &[String]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        let value = match self {
            Self::Mean => mean(values),
            Self::StandardError { cluster: None } => standard_error(values),
            Self::StandardError { cluster: Some(_) } => clustered_error(values, clusters),
            Self::StandardDeviation => variance(values).sqrt(),
            Self::Variance => variance(values),
        };
        value.is_finite().then_some(value)
    }
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// With n − 1; 0 for fewer than two values, as Inspect has it.
fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let center = mean(values);
    values.iter().map(|value| (value - center).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// Of the mean, by the central limit theorem.
pub(crate) fn standard_error(values: &[f64]) -> f64 {
    (variance(values) / values.len() as f64).sqrt()
}

/// sqrt(Σ_c (Σ_{i in c} (x_i − x̄))² · C/(C − 1)) / n, for C clusters.
fn clustered_error(values: &[f64], clusters: &[String]) -> f64 {
    let center = mean(values);
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (value, cluster) in values.iter().zip(clusters) {
        *sums.entry(cluster).or_default() += value - center;
    }
    let count = sums.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let squares: f64 = sums.values().map(|sum| sum * sum).sum();
    (squares * count / (count - 1.0)).sqrt() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawScore {
        let kind = if text.parse::<f64>().is_ok() { RawKind::Number } else { RawKind::Text };
        RawScore::new(text, kind)
    }

    fn reduce(reducer: &str, values: &[&str]) -> Option<String> {
        let values: Vec<RawScore> = values.iter().map(|text| raw(text)).collect();
        let reducer = Reducer::parse(Some(reducer)).unwrap();
        reducer.reduce(&values.iter().collect::<Vec<_>>()).map(|raw| raw.literal().to_owned())
    }

    #[test]
    fn converts_as_inspect_does() {
        for (text, value) in [
            ("C", 1.0),
            ("I", 0.0),
            ("P", 0.5),
            ("N", 0.0),
            ("Yes", 1.0),
            ("FALSE", 0.0),
            ("2.5", 2.5),
            ("-3", -3.0),
        ] {
            let raw = RawScore::new(text, RawKind::Text);
            assert_eq!(to_float(&raw), Converted::Known(value), "{text}");
        }
        for text in ["c", "", "NaN", "inf", "maybe", "-", "1.2.3", "e"] {
            let raw = RawScore::new(text, RawKind::Text);
            assert_eq!(to_float(&raw), Converted::Unknown, "{text}");
        }
    }

    #[test]
    fn reducers_follow_their_definitions() {
        assert_eq!(reduce("mean", &["C", "I", "NaN"]).unwrap(), "0.5");
        assert_eq!(reduce("mean", &["NaN"]), None);
        assert_eq!(reduce("median", &["1", "7", "3"]).unwrap(), "3.0");
        assert_eq!(reduce("median", &["1", "7", "3", "5"]).unwrap(), "4.0");
        assert_eq!(reduce("max", &["I", "P", "C", "C"]).unwrap(), "C");
        assert_eq!(reduce("mode", &["I", "C", "C", "I"]).unwrap(), "I");
        assert_eq!(reduce("mode", &["2", "1", "1.0"]).unwrap(), "1");
        assert_eq!(reduce("majority", &["I", "C", "C"]).unwrap(), "C");
        assert_eq!(reduce("majority", &["I", "C"]), None);
        assert_eq!(reduce("at_least_2", &["C", "I", "C"]).unwrap(), "1.0");
        assert_eq!(reduce("at_least_2", &["C", "I", "P"]).unwrap(), "0.0");
        // 1 − C(2, 2)/C(4, 2) for two passes of four.
        let pass_at: f64 = reduce("pass_at_2", &["C", "I", "C", "I"]).unwrap().parse().unwrap();
        assert!(agree(pass_at, 5.0 / 6.0), "{pass_at}");
        let pass_all: f64 = reduce("pass_k_2", &["C", "I", "C", "I"]).unwrap().parse().unwrap();
        assert!(agree(pass_all, 1.0 / 6.0), "{pass_all}");
        assert_eq!(reduce("pass_at_3", &["C", "C", "NaN"]), None);
        for unknown in ["collect", "at_least", "pass_at_0", "pass_at_x", "", "mean_2"] {
            assert_eq!(Reducer::parse(Some(unknown)), None, "{unknown}");
        }
    }

    #[test]
    fn figures_follow_their_definitions() {
        let values = [1.0, 0.0, 1.0, 1.0];
        let figure = |name: &str| Figure::parse(name, None).unwrap().of(&values, &[]).unwrap();
        assert!(agree(figure("accuracy"), 0.75));
        assert!(agree(figure("var"), 0.25));
        assert!(agree(figure("std"), 0.5));
        assert!(agree(figure("stderr"), 0.25));
        let params = json::object([("cluster", Value::from("group"))]);
        let clustered = Figure::parse("stderr", Some(&params)).unwrap();
        let clusters: Vec<String> = ["a", "a", "b", "b"].map(str::to_owned).to_vec();
        // Sums of residuals −0.5 and 0.5; sqrt((0.25 + 0.25) · 2) / 4.
        assert!(agree(clustered.of(&values, &clusters).unwrap(), 0.25));
        assert_eq!(
            Figure::parse("accuracy", Some(&json::object([("to_float", 1_u64.into())]))),
            None
        );
        assert_eq!(Figure::parse("bootstrap_stderr", None), None);
        assert_eq!(Figure::parse("stderr", None).unwrap().of(&[1.0], &[]), Some(0.0));
        assert_eq!(Figure::parse("mean", None).unwrap().of(&[], &[]), None);
    }

    #[test]
    fn tolerance_is_absolute_for_small_figures_and_relative_for_large() {
        assert!(agree(0.65, 0.65 + 0.9e-9) && !agree(0.65, 0.65 + 1.1e-9));
        assert!(agree(1e12, 1e12 + 1.0) && !agree(1e12, 1.001e12));
        assert!(agree(f64::NAN, f64::NAN) && !agree(f64::NAN, 0.0));
    }
}
