//! The wire: code generated from `proto/countersign/v1`, and how refusals travel over it.
//!
//! Nothing here decides anything. What a message must look like beyond its protobuf shape is
//! checked by whoever takes it, with the parsers of `exchange` and `tlog`.

mod refusal;

pub use refusal::{DOMAIN, Denied, details, refusal_message, status, status_with};

/// Messages, clients and servers of the package `countersign.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::cast_lossless,
    clippy::use_self,
    clippy::or_fun_call
)]
pub mod v1 {
    tonic::include_proto!("countersign.v1");

    /// The package's descriptors, for server reflection.
    pub const DESCRIPTORS: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/countersign.v1.binpb"));
}
