//! Asking a log's server to prove that all heads lie in one history, and its guilt if it can't.

use client::{Address, CallError, Connection, FalseAnswer, evidence};
use tlog::SignedCheckpoint;

use super::history::Histories;
use super::{Line, Pinned};
use crate::cli::output::Failure;

pub(super) async fn ask(
    address: &Address,
    pinned: &Pinned,
    histories: &Histories,
) -> Result<Line, Failure> {
    let (server, folder) = (address.url(), pinned.evidence.as_path());
    let log = pinned.trust.log()?;
    let mut connection = match Connection::open(address.clone(), log.clone(), None).await {
        Err(CallError::False(answer)) => {
            return Ok(Line::bad(server, "consistency", &answer.to_string()));
        }
        other => other.map_err(Failure::new)?,
    };
    connection.know(&pinned.known);
    let newest = connection.trusted().clone();
    let cosigned = match pinned.trust.check(newest.note(), pinned.newest) {
        Err(problem) => return Ok(Line::bad(server, "consistency", &problem)),
        Ok(cosigned) => cosigned,
    };
    let mut count = 0_usize;
    for seen in histories.seen_of(log) {
        count += 1;
        let (head, newest_head) = (seen.head, *newest.head());
        let shrank = head.size > newest_head.size;
        let (old, new) = if shrank { (&newest_head, &head) } else { (&head, &newest_head) };
        let answer = match connection.check_consistency(old, new).await {
            Ok(_) => continue,
            Err(CallError::False(answer @ FalseAnswer::NotAnExtension { .. })) => {
                answer.to_string()
            }
            Err(CallError::False(answer)) => {
                let problem = format!("the head in {} is not proved: {answer}", seen.place);
                return Ok(Line::bad(server, "consistency", &problem));
            }
            Err(CallError::Denied(denied)) if shrank => denied.to_string(),
            Err(error) => return Err(Failure::new(error)),
        };
        let problem = format!("the head in {} is not in its history: {answer}", seen.place);
        let Ok(held) = SignedCheckpoint::of_note(seen.note.clone(), log) else {
            return Ok(Line::bad(server, "consistency", &problem));
        };
        let conflict = connection.accuse(held, newest.clone()).await;
        return Ok(match conflict.evidence {
            Ok(made) => super::history::convicted(server, "consistency", &problem, &made, folder),
            Err(unproved) => {
                let kept = evidence::keep_checkpoint(folder, &conflict.shown);
                let kept = kept.map_or_else(
                    |e| format!("it could not be kept: {e}"),
                    |path| format!("it is kept in {}", path.display()),
                );
                let problem = format!(
                    "{problem}. No evidence yet: {unproved}. As for the head shown, {kept}"
                );
                Line::bad(server, "consistency", &problem)
            }
        });
    }
    let size = newest.head().size;
    let text = format!("{count} heads and the newest one (size {size}) lie in one history");
    let members = vec![("heads", count.into()), ("size", size.into())];
    let line = Line::good(server, "consistency", &text, members);
    Ok(match cosigned {
        Some(cosigned) => line.and(&cosigned.text(), cosigned.members()),
        None => line,
    })
}
