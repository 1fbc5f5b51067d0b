//! Statements and the state machine that replays them.
