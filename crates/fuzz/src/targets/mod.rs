//! All targets.

mod bundle;
mod drafts;
mod evidence;
mod json_reader;
mod keys;
mod logs;
mod notes;
mod openings;
mod proofs;
mod records;
mod sealed;
mod statements;
mod tiles;
mod vault;
mod wire;
mod witness;

use std::sync::OnceLock;

use crate::Target;

/// Every parser of outside bytes.
pub fn targets() -> &'static [Target] {
    static TARGETS: OnceLock<Vec<Target>> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let groups = [
            json_reader::targets(),
            notes::targets(),
            tiles::targets(),
            proofs::targets(),
            statements::targets(),
            drafts::targets(),
            records::targets(),
            openings::targets(),
            bundle::targets(),
            evidence::targets(),
            sealed::targets(),
            keys::targets(),
            vault::targets(),
            logs::targets(),
            wire::targets(),
            witness::targets(),
        ];
        groups.into_iter().flatten().collect()
    })
}

/// True for about one input in eight, always the same ones: for checks that cost more than what
/// they check.
fn one_in_eight(input: &[u8]) -> bool {
    input.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte)) >= 224
}
