//! What stands inside of an exchange.
//!
//! Known gap: no exchange is kept yet. When they are, each will be a state of its own under the id
//! of its agreement, and the checks of this module stand where it is looked up.

use crate::predicate::Kind;
use crate::reason::{Reason, Refusal};
use crate::statement::Statement;

/// `UNKNOWN_EXCHANGE`, for now of every statement that makes an exchange or belongs to one.
pub(super) fn check(statement: &Statement) -> Result<(), Refusal> {
    let exchange = statement.common().exchange;
    if exchange.is_none() && statement.kind() != Kind::Agreement {
        return Ok(());
    }
    let message = "this log keeps no exchanges yet, only parties, ticks and standalone runs";
    let refusal = Refusal::new(Reason::UnknownExchange, message);
    Err(if exchange.is_some() { refusal.at("/predicate/exchange") } else { refusal })
}
