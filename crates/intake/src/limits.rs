//! How much a log may ask of the machine that reads it, and what the user may decide.

/// Limits, checked before memory is taken and while a member inflates. Depth, strings and
/// widths of JSON are limited by [`json::Rules::LOG`] besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file: u64,
    /// Members of an archive.
    pub members: u64,
    /// Uncompressed bytes of one member, or of one item of a JSON log.
    pub member: u64,
    /// Uncompressed bytes of all members.
    pub total: u64,
    /// Bytes of a document that is held whole: headers, results, HELM's files.
    pub document: u64,
    /// Uncompressed over compressed size of a member of more than 1 MiB.
    pub ratio: u64,
    /// Bytes that a zstd frame may ask to look back.
    pub zstd_window: u64,
    /// Bytes of a member's name.
    pub name: u64,
    /// Objects and arrays within each other.
    pub depth: usize,
    /// Bytes of a line of JSONL.
    pub line: u64,
    /// Items of one evaluation.
    pub items: u64,
    /// Score columns of one evaluation.
    pub columns: u64,
    /// Bytes of an id.
    pub id: u64,
}

impl Default for Limits {
    /// The largest public log known has 3,168 items and 15.5 MB, the largest ratio seen is 18.
    fn default() -> Self {
        Self {
            file: 4 << 30,
            members: 200_000,
            member: 1 << 30,
            total: 16 << 30,
            document: 256 << 20,
            ratio: 200,
            zstd_window: 128 << 20,
            name: 1_024,
            depth: 128,
            line: 64 << 20,
            items: 1_000_000,
            columns: 256,
            id: 4 << 10,
        }
    }
}

impl Limits {
    /// The same limits with the one of this name at another value; `None` if there is none.
    /// Depth is not for users to raise: each level takes stack.
    pub fn with(mut self, name: &str, value: u64) -> Option<Self> {
        let limit = match name {
            "file" => &mut self.file,
            "members" => &mut self.members,
            "member" => &mut self.member,
            "total" => &mut self.total,
            "document" => &mut self.document,
            "ratio" => &mut self.ratio,
            "zstd_window" => &mut self.zstd_window,
            "name" => &mut self.name,
            "line" => &mut self.line,
            "items" => &mut self.items,
            "columns" => &mut self.columns,
            "id" => &mut self.id,
            _ => return None,
        };
        *limit = value;
        Some(self)
    }

    /// The rules under which every document of a log is read.
    pub(crate) fn rules(&self) -> json::Rules {
        json::Rules { depth: self.depth, ..json::Rules::LOG }
    }
}

/// The members of an lm-evaluation-harness `doc` that make a row of the items file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMembers {
    /// The row's id.
    pub id: String,
    /// The row's input.
    pub input: String,
    /// The row's target.
    pub target: String,
}

impl Default for RowMembers {
    fn default() -> Self {
        Self { id: "id".to_owned(), input: "input".to_owned(), target: "target".to_owned() }
    }
}

/// What the user decides.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Limits; the defaults fit every log known.
    pub limits: Limits,
    /// Record a disagreement in figures, number of items or task hash as a flag: it still is
    /// reported, but does not fail the import.
    pub flag_mismatch: bool,
    /// Of several members of one name, take the last and flag how many were superseded.
    pub allow_superseded: bool,
    /// Where lm-evaluation-harness documents have the row of the items file.
    pub row_members: RowMembers,
}
