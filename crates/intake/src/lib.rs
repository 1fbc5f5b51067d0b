//! Readers of evaluation logs: bytes in, a checked evaluation out.
