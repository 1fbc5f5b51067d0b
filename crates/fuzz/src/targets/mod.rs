//! All targets.

mod bundle;
mod json_reader;
mod logs;
mod notes;
mod openings;
mod proofs;
mod records;
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
            records::targets(),
            openings::targets(),
            bundle::targets(),
            vault::targets(),
            logs::targets(),
            wire::targets(),
            witness::targets(),
        ];
        groups.into_iter().flatten().collect()
    })
}

/// Inputs of a short run: with some sixty targets on two cores they take four minutes.
const SHORT: u64 = 200_000;
