//! Typed client that verifies everything it is told, and the vault.
