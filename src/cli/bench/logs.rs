//! Evaluation logs of any number of items, as harnesses write them: what imports are measured
//! with. Beside the texts that a record commits to, an item of an Inspect log has the messages and
//! events that its reader has to go through and keeps nothing of.

use std::fs::File;
use std::io::{BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};

use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sha2::{Digest as _, Sha256};

use crate::cli::output::Failure;

/// Which harness wrote the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Inspect's archive, one zstd member for each sample.
    Eval,
    /// Inspect's single document.
    EvalJson,
    /// Results and samples of lm-evaluation-harness.
    LmEval,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Eval, Self::EvalJson, Self::LmEval];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Eval => "Inspect .eval",
            Self::EvalJson => "Inspect .json",
            Self::LmEval => "lm-eval .jsonl",
        }
    }
}

/// A log on disk.
pub(super) struct Written {
    /// What `countersign import` is given.
    pub(super) path: PathBuf,
    /// Bytes of all files together.
    pub(super) bytes: u64,
    /// One item as its format has it, unpacked.
    pub(super) item: Vec<u8>,
    /// The same as the file has it.
    pub(super) packed: Vec<u8>,
}

/// Writes a log of so many items into a folder of its own.
pub(super) fn write(kind: Kind, folder: &Path, items: u64) -> Result<Written, Failure> {
    match kind {
        Kind::Eval => eval(folder, items),
        Kind::EvalJson => eval_json(folder, items),
        Kind::LmEval => lm_eval(folder, items),
    }
}

/// One item's texts. All of them are ASCII without anything to escape.
struct Item {
    id: String,
    input: String,
    target: String,
    output: String,
    explanation: String,
    correct: bool,
}

impl Item {
    fn new(index: u64) -> Self {
        Self {
            id: format!("q-{index:06}"),
            input: format!("{index}: {}", prose(index, 290)),
            target: "42.".to_owned(),
            output: prose(index + 1, 400),
            explanation: prose(index + 2, 200),
            correct: correct(index),
        }
    }

    fn value(&self) -> char {
        if self.correct { 'C' } else { 'I' }
    }

    fn sample(&self) -> String {
        let Self { id, input, target, output, explanation, .. } = self;
        let value = self.value();
        let messages = format!(
            r#"[{{"id":"{id}-1","content":"Answer briefly.","role":"system"}},{{"id":"{id}-2","content":"{input}","source":"input","role":"user"}}"#
        );
        let answer = format!(
            r#"{{"id":"{id}-3","content":"{output}","source":"generate","role":"assistant","model":"bench/model"}}"#
        );
        let usage = r#"{"input_tokens":80,"output_tokens":95,"total_tokens":175}"#;
        let event = |kind: &str, more: &str| {
            format!(
                r#"{{"uuid":"{id}-{kind}","span_id":"{id}","timestamp":"2026-11-23T19:45:49.593047+00:00","working_start":7000.865076645,"event":"{kind}"{more}}}"#
            )
        };
        let call = format!(
            r#","model":"bench/model","input":{messages}],"tools":[],"tool_choice":"none","config":{{"max_tokens":512}},"output":{{"model":"bench/model","choices":[{{"message":{answer},"stop_reason":"stop"}}],"usage":{usage},"time":1.25}},"call":{{"request":{{"messages":{messages}]}},"response":{{"content":"{output}"}}}}"#
        );
        let events = [
            event("span_begin", r#","type":"solvers","name":"solvers""#),
            event("model", &call),
            event("score", &format!(r#","score":{{"value":"{value}","answer":"42."}}"#)),
            event("span_end", ""),
        ];
        format!(
            r#"{{"id":"{id}","epoch":1,"input":"{input}","target":"{target}","messages":{messages},{answer}],"output":{{"model":"bench/model","choices":[{{"message":{answer},"stop_reason":"stop"}}],"completion":"{output}","usage":{usage},"time":1.25}},"scores":{{"match":{{"value":"{value}","answer":"42.","explanation":"{explanation}"}}}},"metadata":{{"topic":"sums"}},"store":{{}},"events":[{}],"model_usage":{{"bench/model":{usage}}},"started_at":"2026-11-23T19:45:49.594407+00:00","completed_at":"2026-11-23T19:45:50.840849+00:00","total_time":1.246,"working_time":1.246,"uuid":"{id}-u","error_retries":[],"attachments":{{}}}}"#,
            events.join(",")
        )
    }

    fn summary(&self) -> String {
        let Self { id, input, target, .. } = self;
        let (value, input) = (self.value(), &input[..50]);
        format!(
            r#"{{"id":"{id}","epoch":1,"input":"{input}","target":"{target}","scores":{{"match":{{"value":"{value}","answer":"42."}}}},"completed":true}}"#
        )
    }

    fn reduction(&self) -> String {
        let value = if self.correct { "1.0" } else { "0.0" };
        format!(r#"{{"value":{value},"answer":"42.","sample_id":"{}"}}"#, self.id)
    }

    /// A row of a samples file, and the digits of the hashes in it.
    fn row(&self, index: u64) -> (String, String) {
        let Self { id, input, target, output, .. } = self;
        let value = if self.correct { "1.0" } else { "0.0" };
        // As Python's json.dumps with an indent of two writes it: that is what is hashed.
        let indented = format!(
            "{{\n  \"id\": \"{id}\",\n  \"input\": \"{input}\",\n  \"target\": \"{target}\"\n}}"
        );
        let prompt = format!("Question: {input}\nAnswer:");
        let [doc, prompt, of_target] =
            [&indented, &prompt, target].map(|text| hex::encode(Sha256::digest(text)));
        let row = format!(
            r#"{{"doc_id":{index},"doc":{{"id":"{id}","input":"{input}","target":"{target}"}},"target":"{target}","arguments":{{"gen_args_0":{{"arg_0":"Question: {input}\nAnswer:","arg_1":{{"until":["\n"],"max_gen_toks":512}}}}}},"resps":[["{output}"]],"filtered_resps":["{output}"],"filter":"none","metrics":["exact_match"],"doc_hash":"{doc}","prompt_hash":"{prompt}","target_hash":"{of_target}","exact_match":{value}}}"#
        );
        (row, doc + &prompt + &of_target)
    }
}

fn correct(index: u64) -> bool {
    !index.is_multiple_of(3)
}

fn accuracy(items: u64) -> f64 {
    (0..items).filter(|index| correct(*index)).count() as f64 / items as f64
}

/// Words that look like a language to a compressor.
fn prose(seed: u64, length: usize) -> String {
    const WORDS: [&str; 32] = [
        "the",
        "train",
        "leaves",
        "at",
        "seven",
        "and",
        "carries",
        "forty",
        "two",
        "people",
        "of",
        "whom",
        "half",
        "get",
        "off",
        "before",
        "river",
        "bridge",
        "how",
        "many",
        "are",
        "left",
        "when",
        "it",
        "reaches",
        "a",
        "station",
        "because",
        "answer",
        "therefore",
        "is",
        "not",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(length + 12);
    while text.len() < length {
        // xorshift64: any sequence without short cycles does.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(WORDS[(state % 32) as usize]);
        text.push(if state >> 32 & 7 == 0 { '.' } else { ' ' });
    }
    text.truncate(length);
    text
}

/// The members of an Inspect header up to `results`, without the closing brace.
fn header(items: u64) -> String {
    let ids: Vec<String> = (0..items).map(|index| format!(r#""q-{index:06}""#)).collect();
    format!(
        r#"{{"version":2,"status":"success","eval":{{"eval_id":"e1","run_id":"r1","created":"2026-11-23T19:45:49+00:00","task":"bench","task_id":"t1","task_version":"1","dataset":{{"name":"bench","samples":{items},"sample_ids":[{}],"shuffled":false}},"model":"bench/model","model_args":{{}},"config":{{"epochs":1}},"packages":{{"inspect_ai":"0.3.285"}}}},"plan":{{"name":"plan","steps":[{{"solver":"generate","params":{{}}}}],"config":{{}}}},"results":{{"total_samples":{items},"completed_samples":{items},"scores":[{{"name":"match","scorer":"match","scored_samples":{items},"params":{{}},"metrics":{{"accuracy":{{"name":"accuracy","value":{:?},"params":{{}}}}}}}}]}},"stats":{{"started_at":"2026-11-23T19:45:49+00:00","completed_at":"2026-11-23T19:50:49+00:00"}}"#,
        ids.join(","),
        accuracy(items)
    )
}

/// A JSON array of what `each` says about every item.
fn array(out: &mut impl Write, items: u64, each: fn(&Item) -> String) -> std::io::Result<()> {
    for index in 0..items {
        out.write_all(if index == 0 { b"[" } else { b"," })?;
        out.write_all(each(&Item::new(index)).as_bytes())?;
    }
    out.write_all(b"]")
}

fn eval(folder: &Path, items: u64) -> Result<Written, Failure> {
    let path = folder.join("bench.eval");
    let mut archive = Archive::create(&path)?;
    for index in 0..items {
        let item = Item::new(index);
        let name = format!("samples/{}_epoch_1.json", item.id);
        archive.member(&name, item.sample().as_bytes())?;
    }
    let list = |each| -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        array(&mut bytes, items, each)?;
        Ok(bytes)
    };
    archive.member("summaries.json", &list(Item::summary)?)?;
    let reductions = [br#"[{"scorer":"match","samples":"#.to_vec(), list(Item::reduction)?];
    archive.member("reductions.json", &[&reductions.concat()[..], b"}]"].concat())?;
    archive.member("header.json", format!("{}}}", header(items)).as_bytes())?;
    let bytes = archive.finish()?;
    let item = Item::new(0).sample().into_bytes();
    let packed = compress_to_vec(&*item, CompressionLevel::Fastest);
    Ok(Written { path, bytes, item, packed })
}

fn eval_json(folder: &Path, items: u64) -> Result<Written, Failure> {
    let path = folder.join("bench.json");
    let mut out = BufWriter::new(File::create(&path)?);
    write!(out, "{},\"samples\":", header(items))?;
    array(&mut out, items, Item::sample)?;
    out.write_all(br#","reductions":[{"scorer":"match","samples":"#)?;
    array(&mut out, items, Item::reduction)?;
    out.write_all(b"}]}")?;
    let bytes = out.stream_position()?;
    out.flush()?;
    let item = Item::new(0).sample().into_bytes();
    Ok(Written { path, bytes, packed: item.clone(), item })
}

fn lm_eval(folder: &Path, items: u64) -> Result<Written, Failure> {
    const STAMP: &str = "2026-11-23T19-45-57.749505";
    let mut out =
        BufWriter::new(File::create(folder.join(format!("samples_bench_{STAMP}.jsonl")))?);
    let mut sha = Sha256::new();
    for index in 0..items {
        let (row, hashes) = Item::new(index).row(index);
        sha.update(hashes);
        writeln!(out, "{row}")?;
    }
    let bytes = out.stream_position()?;
    out.flush()?;
    let hash = hex::encode(sha.finalize());
    let results = format!(
        r#"{{"results":{{"bench":{{"alias":"bench","exact_match,none":{:?}}}}},"group_subtasks":{{}},"configs":{{"bench":{{"task":"bench","metric_list":[{{"metric":"exact_match","aggregation":"mean","higher_is_better":true}}]}}}},"versions":{{"bench":1.0}},"n-shot":{{"bench":0}},"higher_is_better":{{"bench":{{"exact_match":true}}}},"n-samples":{{"bench":{{"original":{items},"effective":{items}}}}},"config":{{"model":"bench"}},"date":1795463157.5,"lm_eval_version":"0.4.13","task_hashes":{{"bench":"{hash}"}},"model_name":"bench"}}"#,
        accuracy(items)
    );
    let path = folder.join(format!("results_{STAMP}.json"));
    std::fs::write(&path, &results)?;
    let item = Item::new(0).row(0).0.into_bytes();
    Ok(Written { path, bytes: bytes + results.len() as u64, packed: item.clone(), item })
}

/// A ZIP archive being written (APPNOTE.TXT 6.3.10), every member one zstd frame.
struct Archive {
    out: BufWriter<File>,
    directory: Vec<u8>,
    members: u64,
}

impl Archive {
    fn create(path: &Path) -> Result<Self, Failure> {
        let out = BufWriter::new(File::create(path)?);
        Ok(Self { out, directory: Vec::new(), members: 0 })
    }

    fn member(&mut self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let too_large = |_| Failure::new("the log to be written is larger than 4 GiB");
        let packed = compress_to_vec(content, CompressionLevel::Fastest);
        let offset = u32::try_from(self.out.stream_position()?).map_err(too_large)?;
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut sizes = Vec::new();
        sizes.extend(crc.sum().to_le_bytes());
        sizes.extend(u32::try_from(packed.len()).map_err(too_large)?.to_le_bytes());
        sizes.extend(u32::try_from(content.len()).map_err(too_large)?.to_le_bytes());
        sizes.extend((name.len() as u16).to_le_bytes());
        // Version 6.3, no flags, method 93, no time, then as in section 4.3.7 and 4.3.12.
        let fields = b"\x3f\x00\x00\x00\x5d\x00\x00\x00\x00\x00";
        self.out.write_all(&[b"PK\x03\x04", &fields[..], &sizes, &[0; 2]].concat())?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&packed)?;
        let central = [b"PK\x01\x02\x3f\x00", &fields[..], &sizes, &[0; 12]];
        self.directory.extend(central.concat());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.members += 1;
        Ok(())
    }

    /// Writes the directory and returns the length of the file. The ZIP64 records of sections
    /// 4.3.14 and 4.3.15 are there whatever the number of members, as readers must take it.
    fn finish(mut self) -> Result<u64, Failure> {
        let at = self.out.stream_position()?;
        let length = self.directory.len() as u64;
        self.out.write_all(&self.directory)?;
        let mut end = b"PK\x06\x06".to_vec();
        end.extend(44_u64.to_le_bytes());
        end.extend(b"\x3f\x00\x3f\x00\x00\x00\x00\x00\x00\x00\x00\x00");
        for number in [self.members, self.members, length, at] {
            end.extend(number.to_le_bytes());
        }
        end.extend(b"PK\x06\x07\x00\x00\x00\x00");
        end.extend((at + length).to_le_bytes());
        end.extend(1_u32.to_le_bytes());
        end.extend(b"PK\x05\x06\x00\x00\x00\x00");
        end.extend([0xff; 12]);
        end.extend([0; 2]);
        self.out.write_all(&end)?;
        let bytes = self.out.stream_position()?;
        self.out.flush()?;
        Ok(bytes)
    }
}
