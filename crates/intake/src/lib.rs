//! Readers of evaluation logs: bytes in, a checked evaluation out.
//!
//! Formats: Inspect's `.eval` archive and `.json` document, results and samples files of
//! lm-evaluation-harness, run folders of HELM. Aggregates of Every Eval Ever are recognised and
//! refused: they have no items. The crate opens no file, asks no clock and draws no numbers; the
//! caller hands in a stream, and the [`Folder`] beside it where a format has several files.
//!
//! None of these formats protects itself, and their own readers don't compare a log's parts
//! with each other. So every part that says the same thing twice is compared, every figure that
//! items can yield is recomputed, and everything found is reported at once: as flags, which a
//! record commits to, and as [`Finding`]s for people. See [`Code`] for what there is to find.
//!
//! # Bytes
//!
//! What a record commits to are these texts, in UTF-8, taken from the log without trimming or
//! normalisation. "Compact JSON" is the log's value without white space, members in the log's
//! order, numbers as spelled, strings with only the escapes that RFC 8259 demands. Members that
//! are absent or `null` are left out of the objects named here.
//!
//! | field | Inspect | lm-evaluation-harness | HELM |
//! |---|---|---|---|
//! | `input` | text of `input`; a message list as compact JSON; with choices `{"input","choices"}` | the prompt of a single request; else `arguments` | prompts |
//! | `target` | text of `target`; a list as compact JSON | `target` | references tagged `correct` |
//! | `output` | `output.completion`, or the content of the first choice's message | the only response; else `resps` | completions |
//! | `explanation` | `{scorer: {"answer","explanation","reason","metadata","history"}}` as far as not empty, in the log's order | `{filter: filtered_resps}` | – |
//! | `metadata` | `{"id","uuid","metadata","error","limit","invalidation"}`, `error` being the message | `{"doc_id","doc"}` | `{"id","split","references","output_mapping"}` |
//! | score | text without quotes; number as spelled; `true`, `false`; compact JSON | same | the stat's sum, or sum/count |
//!
//! Several texts of HELM are a compact JSON array, a single one is the text itself.
//!
//! | hidden value | Inspect (of `eval`, unless said) | lm-evaluation-harness | HELM |
//! |---|---|---|---|
//! | `model` | `model`, `model_args`, `model_base_url`, `model_generate_config`, `model_roles` | `model_source`, `model_name`, `chat_template_sha`, `max_length`; of `config`: `model`, `model_args`, `model_revision`, `model_sha`, `model_dtype` | `model`, `model_deployment` of the adapter |
//! | `elicitation` | `solver`, `solver_args`, `task_args`, `sandbox`, `approval`, `config`; `plan` of the header | `system_instruction`, `chat_template`, `fewshot_as_multiturn`; the task's `config`, `n_shot`, `version`; of `config`: `gen_kwargs`, `limit`, seeds, `bootstrap_iters` | `adapter_spec`, `data_augmenter_spec` |
//! | `environment` | `packages`, `revision` | `lm_eval_version`, `transformers_version`, `git_hash`, `pretty_env_info`; of `config`: `device`, `batch_size` | `{}` |
//!
//! # What is not checked
//!
//! Events, messages, stores, attachments and usage of Inspect's samples are dropped: their JSON
//! must be well-formed, but what they say is not compared with anything. Hashes in logs are
//! unsalted, so they prove nothing about who wrote them; they only have to agree.

mod container;
mod detect;
mod draft;
mod fault;
mod finding;
mod folder;
mod helm;
mod inspect;
mod limits;
mod lines;
mod lm_eval;
mod mapping;
mod model;
mod outcome;
mod python;
mod recompute;
mod report;
mod stream;
mod time;

#[doc(hidden)]
pub use container::unpack;
pub use detect::{import, import_folder};
pub use fault::LimitPassed;
pub use finding::{Code, Finding, Weight};
pub use folder::{Folder, NoFolder};
pub use limits::{Limits, Options, RowMembers};
pub use mapping::{
    Mapping, MappingError, MappingRule, MatchBy, Place, Row, map_rows, rows_from_log,
};
pub use model::{
    Column, ColumnValues, Evaluation, Format, Harness, Item, ItemId, Metric, Moment, RawKind,
    RawScore, Status,
};
pub use outcome::{Import, Outcome, Refusal};
