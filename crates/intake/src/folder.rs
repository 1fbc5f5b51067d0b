//! The files beside the one that is imported, as the caller shows them. Intake opens nothing.

use std::collections::BTreeMap;
use std::io::Read;

/// A folder of a run: results with their samples files, or HELM's documents.
pub trait Folder {
    /// Names of its files, without paths.
    fn names(&self) -> Vec<String>;

    /// The content of a file; nothing if there is none of that name, or it can't be opened.
    fn open(&self, name: &str) -> Option<Box<dyn Read + '_>>;
}

/// No files at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFolder;

impl Folder for NoFolder {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn open(&self, _: &str) -> Option<Box<dyn Read + '_>> {
        None
    }
}

/// Files in memory.
impl Folder for BTreeMap<String, Vec<u8>> {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn open(&self, name: &str) -> Option<Box<dyn Read + '_>> {
        self.get(name).map(|bytes| Box::new(bytes.as_slice()) as Box<dyn Read>)
    }
}
