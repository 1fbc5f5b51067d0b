//! Compiles `proto/` without protoc and keeps the descriptors for reflection.

use std::path::PathBuf;
use std::{env, error, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let files = ["artifact", "exchange", "log", "witness"];
    let files = files.map(|name| format!("countersign/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["../../proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("countersign.v1.binpb"), descriptors.encode_to_vec())?;
    // bytes("."): payloads are shared with the transport's buffers instead of copied.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
