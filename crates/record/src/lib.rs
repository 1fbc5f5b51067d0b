//! The record of one evaluation: commitments to items and scores, and their openings.
