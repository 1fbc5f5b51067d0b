//! The single writer of the log and its storage.
