//! Evidence files: who is guilty, under the keys that the reader knows.

use json::Value;
use tlog::evidence::{Evidence, Role};

use super::{Line, Pinned};

/// Said with every conviction.
const OF_A_KEY: &str = "This convicts a key; who held it is for people to settle";

pub(super) fn check(place: &str, evidence: &Evidence, pinned: &Pinned) -> Line {
    let judgement = match exchange::evidence::judge(evidence, &pinned.known) {
        Ok(judgement) => judgement,
        Err(fault) => {
            let problem = format!("it proves nothing, against nobody: {fault}");
            return Line::bad(place, "evidence", &problem);
        }
    };
    let guilty: Vec<Value> = judgement
        .guilty()
        .map(|(accused, name)| {
            json::object([
                ("role", Value::from(accused.role().word())),
                ("name", name.as_str().into()),
                ("key", accused.key().to_string().into()),
            ])
        })
        .collect();
    let unknown: Vec<Value> = judgement
        .unknown()
        .map(|accused| {
            json::object([
                ("role", Value::from(accused.role().word())),
                ("key", accused.key().to_string().into()),
            ])
        })
        .collect();
    let nobody = guilty.is_empty();
    let members = vec![
        ("evidence", Value::from(judgement.kind().word())),
        ("accuses", judgement.kind().accuses().into()),
        ("guilty", json::array(guilty)),
        ("unknown", json::array(unknown)),
        ("account", judgement.account().into()),
    ];
    if !judgement.kind().accuses() {
        return Line::good(place, "evidence", &capital(&judgement.to_string()), members);
    }
    let strangers: Vec<String> = judgement.unknown().map(|a| a.key().keyid()).collect();
    if nobody {
        let roles: Vec<Role> = judgement.unknown().map(|accused| accused.role()).collect();
        let problem = format!(
            "the key {} {}, but you have not pinned it, so it is nobody's guilt (name it with {})",
            strangers.join(", "),
            judgement.account(),
            options(&roles)
        );
        return Line::unknown(place, "evidence", &problem, members);
    }
    let mut text = format!("{}. {OF_A_KEY}", capital(&judgement.to_string()));
    if !strangers.is_empty() {
        text = format!("{text}. Not known to you: {}", strangers.join(", "));
    }
    Line::good(place, "evidence", &text, members)
}

/// How to pin keys of these roles.
fn options(roles: &[Role]) -> String {
    let all = [(Role::Log, "--log-key"), (Role::Witness, "--witness"), (Role::Party, "--party")];
    let named = all.iter().filter(|(role, _)| roles.contains(role)).map(|(_, option)| *option);
    named.collect::<Vec<_>>().join(" or ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
