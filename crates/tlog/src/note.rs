//! Signed notes (C2SP signed-note): a text and lines of signatures below it.
//!
//! ```text
//! text, ending in a newline
//! <empty line>
//! — <key name> <base64(key id[4] ‖ signature)>
//! ```
//!
//! Signatures by unknown keys, of whatever type and length, are kept and ignored; a known key
//! whose signature fails condemns the whole note. Nothing of a text may be believed before a
//! trusted signature verified: what is signed is only known to [`Note::verify`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{BadSignature, KeyId, KeyKind, KeyName, SigningKey, VerifierKey};

/// Largest note in bytes: 64 lines of 3.3 kB, as ML-DSA-44 makes them, fit with a text of 45 kB.
pub const MAX_NOTE: usize = 256 * 1024;

/// Most signature lines. C2SP demands at least 16.
pub const MAX_SIGNATURES: usize = 64;

const DASH: &str = "— ";

/// Why bytes are no note, or why a note is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Larger than [`MAX_NOTE`].
    #[error("note has {size} bytes, at most {MAX_NOTE} are allowed")]
    TooLarge {
        /// Bytes given.
        size: usize,
    },
    /// Not UTF-8.
    #[error("note is not UTF-8")]
    Encoding,
    /// A byte below 20 that is no newline: carriage returns and tabs too.
    #[error("note has a control character at byte {offset}")]
    ControlCharacter {
        /// Where it is.
        offset: usize,
    },
    /// A text ends in a newline.
    #[error("text of the note does not end in a newline")]
    UnendedText,
    /// No empty line parts a text from signatures.
    #[error("note has no empty line before its signatures")]
    NoEmptyLine,
    /// Nothing follows the empty line.
    #[error("note has no signature lines")]
    NoSignatures,
    /// More than [`MAX_SIGNATURES`] lines.
    #[error("note has more than {MAX_SIGNATURES} signature lines")]
    TooManySignatures,
    /// A line below the text that is not `— name base64` and a newline.
    #[error("signature line {line} is malformed")]
    MalformedLine {
        /// The line, counted from 1 below the empty line.
        line: usize,
    },
    /// A trusted key is named, and the signature is not its own.
    #[error("signature by the known key {name}+{id} does not verify")]
    BadSignature {
        /// Name of the key.
        name: KeyName,
        /// Its id.
        id: KeyId,
    },
    /// Two different trusted keys have one name and id.
    #[error("two known keys are called {name}+{id}")]
    AmbiguousKey {
        /// The name of both.
        name: KeyName,
        /// The id of both.
        id: KeyId,
    },
    /// No trusted key signed.
    #[error("no known key signed the note")]
    Unsigned,
}

/// One signature line. `Display` writes it with its newline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteSignature {
    name: Box<str>,
    id: KeyId,
    bytes: Box<[u8]>,
}

impl NoteSignature {
    /// The line of a key's signature.
    pub(crate) fn new(key: &VerifierKey, bytes: &[u8]) -> Self {
        Self { name: key.name().as_str().into(), id: key.id(), bytes: bytes.into() }
    }

    /// Name of the signer, as anyone may have written it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What follows the key id, at least one byte; its form depends on the type of the key.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True if the line says it is by this key. Only [`VerifierKey::check`] knows.
    pub fn names(&self, key: &VerifierKey) -> bool {
        *self.name == *key.name().as_str() && self.id == key.id()
    }

    /// Reads a line without its newline.
    fn parse(line: &str) -> Option<Self> {
        let (name, blob) = line.strip_prefix(DASH)?.split_once(' ')?;
        if name.is_empty() || name.contains(|c: char| c == '+' || c.is_whitespace()) {
            return None;
        }
        let blob = STANDARD.decode(blob).ok()?;
        let (id, bytes) = blob.split_first_chunk()?;
        if bytes.is_empty() {
            return None;
        }
        Some(Self { name: name.into(), id: KeyId::new(*id), bytes: bytes.into() })
    }

    /// Reads lines that come without a note, as a witness answers them. Newlines end them all.
    pub fn parse_lines(bytes: &[u8]) -> Result<Vec<Self>, NoteError> {
        parse_lines(check_text(bytes)?)
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [self.id.as_bytes().as_slice(), &self.bytes].concat();
        writeln!(f, "{DASH}{} {}", self.name, STANDARD.encode(blob))
    }
}

/// A text with signatures that nobody has checked yet. `Display` writes it byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    source: String,
    /// Length of the text, its last newline included.
    text_len: usize,
    signatures: Vec<NoteSignature>,
}

/// A signature of a note that verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'k> {
    /// Whose it is.
    pub key: &'k VerifierKey,
    /// Seconds since 1970 that a cosignature carries; the latest if a key cosigned repeatedly.
    pub time: Option<u64>,
}

impl Note {
    /// Reads a note. Text and signatures part at the last empty line.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let source = check_text(bytes)?;
        let split = source.rfind("\n\n").ok_or(NoteError::NoEmptyLine)?;
        let signatures = parse_lines(&source[split + 2..])?;
        Ok(Self { source: source.to_owned(), text_len: split + 1, signatures })
    }

    /// Signs a text with a key of type 01.
    pub fn sign(text: &str, key: &SigningKey) -> Result<Self, NoteError> {
        check_text(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::UnendedText);
        }
        let verifier = key.verifier(KeyKind::Ed25519);
        let signature = NoteSignature::new(&verifier, &key.sign(text.as_bytes()));
        let note = Self { source: format!("{text}\n"), text_len: text.len(), signatures: vec![] };
        note.with_signature(signature)
    }

    /// The note with one line more, which is not checked here; the same note if it has that line.
    pub fn with_signature(&self, signature: NoteSignature) -> Result<Self, NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(self.clone());
        }
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let source = format!("{}{signature}", self.source);
        if source.len() > MAX_NOTE {
            return Err(NoteError::TooLarge { size: source.len() });
        }
        let mut signatures = self.signatures.clone();
        signatures.push(signature);
        Ok(Self { source, text_len: self.text_len, signatures })
    }

    /// The note with the lines alone that name one of these keys, which are not checked here.
    pub(crate) fn with_lines_of(&self, keys: &[&VerifierKey]) -> Result<Self, NoteError> {
        self.retaining(|line| keys.iter().any(|key| line.names(key)))
    }

    /// The note with those of its lines that `keep` holds true for, none of which are checked
    /// here. A note has at least one.
    pub fn retaining(
        &self,
        mut keep: impl FnMut(&NoteSignature) -> bool,
    ) -> Result<Self, NoteError> {
        let text = &self.source[..=self.text_len];
        let bare = Self { source: text.to_owned(), text_len: self.text_len, signatures: vec![] };
        let mut kept = self.signatures.iter().filter(|signature| keep(signature)).peekable();
        kept.peek().ok_or(NoteError::Unsigned)?;
        kept.try_fold(bare, |note, signature| note.with_signature(signature.clone()))
    }

    /// The text with its last newline: what type 01 signs. Believe nothing of it unverified.
    pub fn text(&self) -> &str {
        &self.source[..self.text_len]
    }

    /// All signature lines in their order, unchecked.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The note, byte for byte.
    pub fn as_bytes(&self) -> &[u8] {
        self.source.as_bytes()
    }

    /// The signatures by these keys, each key once, in the order of their first lines. Every line
    /// that names one of them must verify, and there must be one.
    pub fn verify<'k>(&self, keys: &[&'k VerifierKey]) -> Result<Vec<Verified<'k>>, NoteError> {
        let mut verified: Vec<Verified<'k>> = Vec::new();
        for signature in &self.signatures {
            let mut named = keys.iter().copied().filter(|key| signature.names(key));
            let Some(key) = named.next() else { continue };
            let (name, id) = (|| key.name().clone(), key.id());
            if named.any(|other| other != key) {
                return Err(NoteError::AmbiguousKey { name: name(), id });
            }
            let time = key
                .check(self.text(), signature)
                .map_err(|BadSignature| NoteError::BadSignature { name: name(), id })?;
            match verified.iter_mut().find(|known| known.key == key) {
                Some(known) => known.time = known.time.max(time),
                None => verified.push(Verified { key, time }),
            }
        }
        if verified.is_empty() { Err(NoteError::Unsigned) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// UTF-8 within the limit and without control characters but newlines.
pub(crate) fn check_text(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > MAX_NOTE {
        return Err(NoteError::TooLarge { size: bytes.len() });
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte < 0x20 && *byte != b'\n') {
        return Err(NoteError::ControlCharacter { offset });
    }
    std::str::from_utf8(bytes).map_err(|_| NoteError::Encoding)
}

fn parse_lines(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    if lines.is_empty() {
        return Err(NoteError::NoSignatures);
    }
    let mut signatures = Vec::new();
    for (number, line) in lines.split_inclusive('\n').enumerate() {
        if number == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let signature = line.strip_suffix('\n').and_then(NoteSignature::parse);
        signatures.push(signature.ok_or(NoteError::MalformedLine { line: number + 1 })?);
    }
    Ok(signatures)
}
