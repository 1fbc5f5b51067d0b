//! The reader: a pull parser over any stream, bounded in depth, in string length and in width.

use std::collections::BTreeSet;
use std::io::Read;

use crate::{Error, Located, Number, Object, Problem, Value};

/// What a document may hold. All limits are checked before the memory is taken.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Objects and arrays within each other.
    pub depth: usize,
    /// Bytes of one string after unescaping, or of one number.
    pub string: usize,
    /// Members or elements of one object or array that is held in memory.
    pub width: usize,
    /// True for what parties sign: no `null`, no floats, no number beyond ±(2^53 − 1), no `-0`.
    pub signed: bool,
    /// True where `NaN`, `Infinity` and `-Infinity` may stand for numbers.
    pub non_finite: bool,
}

impl Rules {
    /// For statements, envelopes, openings and bundles. Bytes are limited by the caller.
    pub const SIGNED: Self =
        Self { depth: 16, string: 1 << 28, width: 1 << 21, signed: true, non_finite: false };

    /// For evaluation logs, with the limits of their harnesses' readers.
    pub const LOG: Self =
        Self { depth: 128, string: 1 << 28, width: 1 << 21, signed: false, non_finite: true };
}

/// Reads a whole document that is in memory. White space may surround it, nothing else.
pub fn parse(bytes: &[u8], rules: Rules) -> Result<Value, Error> {
    // Short documents come by the million (the lines of a file), so they get a short buffer.
    let mut reader = Reader::with_buffer(bytes, rules, bytes.len().clamp(1, BUFFER));
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// 64 KiB: large enough that refills don't show, small beside one item of a log.
const BUFFER: usize = 64 << 10;

/// Reads a document piece by piece. After an error the position is unspecified.
pub struct Reader<R> {
    input: R,
    rules: Rules,
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
    /// Bytes consumed before the buffer's start.
    before: u64,
    depth: usize,
}

impl<R: Read> Reader<R> {
    /// A reader at the start of `input`.
    pub fn new(input: R, rules: Rules) -> Self {
        Self::with_buffer(input, rules, BUFFER)
    }

    fn with_buffer(input: R, rules: Rules, size: usize) -> Self {
        let buffer = vec![0; size].into_boxed_slice();
        Self { input, rules, buffer, at: 0, filled: 0, before: 0, depth: 0 }
    }

    /// Reads one value into memory.
    pub fn value(&mut self) -> Result<Value, Error> {
        match self.token_start()? {
            b'{' => {
                let mut members = Vec::new();
                self.object(|name, reader| -> Result<(), Error> {
                    reader.check_width(members.len())?;
                    members.push((name.to_owned(), reader.value()?));
                    Ok(())
                })?;
                Ok(Value::Object(Object::from_members(members)))
            }
            b'[' => {
                let mut elements = Vec::new();
                self.array(|reader| -> Result<(), Error> {
                    reader.check_width(elements.len())?;
                    elements.push(reader.value()?);
                    Ok(())
                })?;
                Ok(Value::Array(elements))
            }
            b'"' => Ok(Value::String(self.string()?)),
            _ => self.scalar(),
        }
    }

    /// Reads one value and forgets it; grammar, limits and duplicate members are still checked.
    pub fn skip(&mut self) -> Result<(), Error> {
        match self.token_start()? {
            b'{' => self.object(|_, reader| reader.skip()),
            b'[' => self.array(Self::skip),
            b'"' => self.string().map(drop),
            _ => self.scalar().map(drop),
        }
    }

    /// Reads an object: `each` gets every name and must read the value that follows.
    pub fn object<E: Located>(
        &mut self,
        mut each: impl FnMut(&str, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'{', "an object was expected")?;
        let mut names = BTreeSet::new();
        if self.token_start()? == b'}' {
            self.at += 1;
        } else {
            loop {
                if self.token_start()? != b'"' {
                    return Err(self.syntax("a member's name was expected").into());
                }
                let name = self.string()?;
                self.check_width(names.len())?;
                if names.contains(&name) {
                    return Err(self.problem(Problem::DuplicateKey(name)).into());
                }
                self.expect(b':', "a colon was expected")?;
                each(&name, self).map_err(|e| e.within(&name))?;
                names.insert(name);
                if !self.another(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array: `each` must read one element.
    pub fn array<E: Located>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'[', "an array was expected")?;
        if self.token_start()? == b']' {
            self.at += 1;
        } else {
            let mut index = 0_usize;
            loop {
                each(self).map_err(|e| e.within(&index.to_string()))?;
                index += 1;
                if !self.another(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// True if the next value is an object.
    pub fn at_object(&mut self) -> Result<bool, Error> {
        Ok(self.token_start()? == b'{')
    }

    /// True if the next value is an array.
    pub fn at_array(&mut self) -> Result<bool, Error> {
        Ok(self.token_start()? == b'[')
    }

    /// Makes anything but white space after the value an error.
    pub fn end(&mut self) -> Result<(), Error> {
        while let Some(byte) = self.peek()? {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Err(self.syntax("text after the end of the document"));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Bytes consumed so far.
    pub fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    fn enter(&mut self, open: u8, expected: &'static str) -> Result<(), Error> {
        self.expect(open, expected)?;
        self.depth += 1;
        if self.depth > self.rules.depth {
            let limit = self.rules.depth;
            return Err(self.problem(Problem::Limit { what: "levels of nesting", limit }));
        }
        Ok(())
    }

    /// After a member or element: true if a comma says that another follows.
    fn another(&mut self, close: u8) -> Result<bool, Error> {
        let byte = self.token_start()?;
        self.at += 1;
        match byte {
            b',' => Ok(true),
            _ if byte == close => Ok(false),
            _ => Err(self.syntax("a comma or the end of the object or array was expected")),
        }
    }

    fn scalar(&mut self) -> Result<Value, Error> {
        match self.token_start()? {
            b't' => self.word("true").map(|()| Value::Bool(true)),
            b'f' => self.word("false").map(|()| Value::Bool(false)),
            b'n' if self.rules.signed => Err(self.problem(Problem::NotSigned("null"))),
            b'n' => self.word("null").map(|()| Value::Null),
            b'N' => self.non_finite("NaN"),
            b'I' => self.non_finite("Infinity"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.syntax("a value was expected")),
        }
    }

    fn non_finite(&mut self, word: &'static str) -> Result<Value, Error> {
        if !self.rules.non_finite {
            return Err(self.problem(Problem::NonFinite(word)));
        }
        self.word(word)?;
        Ok(Value::Number(Number::from_literal(word.to_owned())))
    }

    fn word(&mut self, word: &'static str) -> Result<(), Error> {
        for expected in word.bytes() {
            if self.next()? != expected {
                return Err(self.syntax("an unknown word"));
            }
        }
        Ok(())
    }

    /// RFC 8259 section 6, after which the rules for signed documents apply.
    fn number(&mut self) -> Result<Value, Error> {
        let mut literal = String::new();
        if self.peek()? == Some(b'-') {
            self.take_into(&mut literal);
            if self.peek()? == Some(b'I') {
                self.non_finite("Infinity")?;
                return Ok(Value::Number(Number::from_literal("-Infinity".to_owned())));
            }
        }
        match self.peek()? {
            Some(b'0') => self.take_into(&mut literal),
            Some(b'1'..=b'9') => self.digits(&mut literal)?,
            _ => return Err(self.syntax("a digit was expected")),
        }
        let mut integer = true;
        if self.peek()? == Some(b'.') {
            integer = false;
            self.take_into(&mut literal);
            self.digits(&mut literal)?;
        }
        if matches!(self.peek()?, Some(b'e' | b'E')) {
            integer = false;
            self.take_into(&mut literal);
            if matches!(self.peek()?, Some(b'+' | b'-')) {
                self.take_into(&mut literal);
            }
            self.digits(&mut literal)?;
        }
        if self.rules.signed {
            let magnitude = literal.trim_start_matches('-').parse::<u64>();
            if !integer {
                return Err(self.problem(Problem::NotSigned("a number with fraction or exponent")));
            }
            if literal == "-0" {
                return Err(self.problem(Problem::NotSigned("-0")));
            }
            if magnitude.is_err() || magnitude.is_ok_and(|m| m >= 1 << 53) {
                return Err(self.problem(Problem::NotSigned("a number beyond 2^53 - 1")));
            }
        }
        Ok(Value::Number(Number::from_literal(literal)))
    }

    fn digits(&mut self, literal: &mut String) -> Result<(), Error> {
        let before = literal.len();
        while let Some(b'0'..=b'9') = self.peek()? {
            if literal.len() >= self.rules.string {
                return Err(self.string_limit());
            }
            self.take_into(literal);
        }
        if literal.len() == before {
            return Err(self.syntax("a digit was expected"));
        }
        Ok(())
    }

    fn take_into(&mut self, literal: &mut String) {
        literal.push(char::from(self.buffer[self.at]));
        self.at += 1;
    }

    fn string(&mut self) -> Result<String, Error> {
        self.expect(b'"', "a string was expected")?;
        let mut bytes = Vec::new();
        loop {
            if self.peek()?.is_none() {
                return Err(self.syntax("the document ends inside a string"));
            }
            let rest = &self.buffer[self.at..self.filled];
            let plain = rest
                .iter()
                .position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))
                .unwrap_or(rest.len());
            if bytes.len() + plain > self.rules.string {
                // Where the limit is passed, however the stream was cut into buffers.
                self.at += self.rules.string.saturating_sub(bytes.len());
                return Err(self.string_limit());
            }
            bytes.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek()? {
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(0..=0x1f) => {
                    return Err(self.syntax("a control character stands unescaped in a string"));
                }
                _ => {}
            }
        }
        String::from_utf8(bytes)
            .map_err(|_| self.problem(Problem::Encoding("a string is not UTF-8")))
    }

    fn escape(&mut self) -> Result<char, Error> {
        Ok(match self.next()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let lone = Problem::Encoding("half of a surrogate pair");
                let unit = self.hex4()?;
                match unit {
                    0xd800..=0xdbff => {
                        if self.next()? != b'\\' || self.next()? != b'u' {
                            return Err(self.problem(lone));
                        }
                        let low = self.hex4()?;
                        if !(0xdc00..=0xdfff).contains(&low) {
                            return Err(self.problem(lone));
                        }
                        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        char::from_u32(code).ok_or_else(|| self.problem(lone))?
                    }
                    _ => char::from_u32(unit).ok_or_else(|| self.problem(lone))?,
                }
            }
            _ => return Err(self.syntax("an unknown escape in a string")),
        })
    }

    fn hex4(&mut self) -> Result<u32, Error> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16);
            unit = unit << 4
                | digit.ok_or_else(|| self.syntax("four hexadecimal digits were expected"))?;
        }
        Ok(unit)
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Error> {
        if self.token_start()? != byte {
            return Err(self.syntax(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Skips white space and shows the byte that follows it.
    fn token_start(&mut self) -> Result<u8, Error> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(0xef) => {
                    return Err(self.problem(Problem::Encoding("a byte order mark or stray byte")));
                }
                Some(byte) => return Ok(byte),
                None => return Err(self.syntax("the document ends too early")),
            }
        }
    }

    fn next(&mut self) -> Result<u8, Error> {
        let byte = self.peek()?.ok_or_else(|| self.syntax("the document ends too early"))?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn peek(&mut self) -> Result<Option<u8>, Error> {
        if self.at == self.filled && !self.refill()? {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.at]))
    }

    fn refill(&mut self) -> Result<bool, Error> {
        self.before += self.filled as u64;
        self.at = 0;
        self.filled = 0;
        loop {
            match self.input.read(&mut self.buffer) {
                Ok(read) => {
                    self.filled = read;
                    return Ok(read > 0);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.problem(Problem::Io(e.to_string()))),
            }
        }
    }

    fn check_width(&self, held: usize) -> Result<(), Error> {
        if held < self.rules.width {
            return Ok(());
        }
        let limit = self.rules.width;
        Err(self.problem(Problem::Limit { what: "members or elements in one value", limit }))
    }

    fn string_limit(&self) -> Error {
        self.problem(Problem::Limit {
            what: "bytes in one string or number",
            limit: self.rules.string,
        })
    }

    fn syntax(&self, what: &'static str) -> Error {
        self.problem(Problem::Syntax(what))
    }

    fn problem(&self, problem: Problem) -> Error {
        Error::new(problem, self.offset())
    }
}
