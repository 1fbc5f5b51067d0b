//! Python's `json.dumps(value, indent=2, ensure_ascii=False)`, byte for byte: what
//! lm-evaluation-harness hashes. Numbers keep the spelling they were read with, which is
//! Python's own if Python wrote the log.

use json::Value;
use sha2::{Digest as _, Sha256};

/// The text.
pub(crate) fn indented(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

/// Lower-case hexadecimal SHA-256 of a text.
pub(crate) fn sha256_hex(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn write(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Array(elements) if !elements.is_empty() => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                line(at, depth + 1, out);
                write(element, depth + 1, out);
            }
            out.push('\n');
            indent(depth, out);
            out.push(']');
        }
        Value::Object(object) if !object.is_empty() => {
            out.push('{');
            for (at, (name, member)) in object.iter().enumerate() {
                line(at, depth + 1, out);
                out.push_str(&Value::from(name).to_text());
                out.push_str(": ");
                write(member, depth + 1, out);
            }
            out.push('\n');
            indent(depth, out);
            out.push('}');
        }
        // Strings are escaped alike by Python and by the writer of compact JSON.
        scalar_or_empty => out.push_str(&scalar_or_empty.to_text()),
    }
}

fn line(at: usize, depth: usize, out: &mut String) {
    out.push_str(if at > 0 { ",\n" } else { "\n" });
    indent(depth, out);
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_python_writes() {
        let text = r#"{"a":[1,2.50,{"b":null}],"é":"\u00e9\n\u007f\u001f","e":[],"o":{},"t":true}"#;
        let value = json::parse(text.as_bytes(), json::Rules::LOG).unwrap();
        let expected = "{\n  \"a\": [\n    1,\n    2.50,\n    {\n      \"b\": null\n    }\n  ],\n  \
                        \"é\": \"é\\n\u{7f}\\u001f\",\n  \"e\": [],\n  \"o\": {},\n  \"t\": true\n}";
        assert_eq!(indented(&value), expected);
    }
}
