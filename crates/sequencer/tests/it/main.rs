//! The sequencer against naive oracles, faults at every durable step, and its own stores.

// Functions that several tests share are tests too.
#![allow(clippy::unwrap_used)]

mod crashes;
mod damage;
mod fsck;
mod growth;
mod reading;
mod shell;
mod speed;
mod steps;
mod stores;
mod support;
