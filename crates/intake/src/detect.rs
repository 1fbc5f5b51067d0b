//! Which format a file has, by its content: names lie.

use std::io::{Read, Seek, SeekFrom};

use json::{Reader, Value};

use crate::fault::{Fault, LimitPassed};
use crate::inspect::{JsonLog, read_eval};
use crate::stream::Metered;
use crate::{Code, Folder, Import, Options, Outcome, helm, lm_eval};

/// The file of a HELM run folder that says what the run was.
pub(crate) const RUN_SPEC: &str = "run_spec.json";

/// Imports a file. `name` is its name without path, by which a results file of
/// lm-evaluation-harness finds its samples files in `siblings`; a HELM run is found by any of
/// its `run_spec.json`.
pub fn import<R: Read + Seek>(
    input: R,
    name: &str,
    siblings: &dyn Folder,
    options: &Options,
) -> Import {
    let outcomes = read(input, name, siblings, options)
        .unwrap_or_else(|fault| vec![Outcome::Refused(fault.refusal(None))]);
    Import { outcomes, flag_mismatch: options.flag_mismatch }
}

/// Imports a folder: a HELM run, or the one results file of lm-evaluation-harness in it.
pub fn import_folder(folder: &dyn Folder, options: &Options) -> Import {
    let outcomes = read_folder(folder, options)
        .unwrap_or_else(|fault| vec![Outcome::Refused(fault.refusal(None))]);
    Import { outcomes, flag_mismatch: options.flag_mismatch }
}

fn read_folder(folder: &dyn Folder, options: &Options) -> Result<Vec<Outcome>, Fault> {
    let names = folder.names();
    let mut results = names.iter().filter(|name| lm_eval::stamp(name).is_some());
    let name = match names.iter().find(|name| *name == RUN_SPEC) {
        Some(run_spec) => run_spec,
        None => match (results.next(), results.next()) {
            (Some(only), None) => only,
            (Some(_), Some(_)) => {
                let message = "the folder has several results files: name one";
                return Err(Fault::new(Code::LogFormat, message));
            }
            (None, _) => {
                let message = "the folder holds neither a HELM run nor a results file";
                return Err(Fault::new(Code::LogFormat, message));
            }
        },
    };
    let unreadable = || Fault::new(Code::LogUnreadable, "the file can't be opened");
    let input = folder.open(name).ok_or_else(unreadable)?;
    read_json(input, name, folder, options).map_err(|fault| fault.in_member(name))
}

fn read<R: Read + Seek>(
    mut input: R,
    name: &str,
    siblings: &dyn Folder,
    options: &Options,
) -> Result<Vec<Outcome>, Fault> {
    let unreadable = |_| Fault::new(Code::LogUnreadable, "the file can't be read");
    let mut first = Vec::with_capacity(4);
    input.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    input.by_ref().take(4).read_to_end(&mut first).map_err(unreadable)?;
    let length = input.seek(SeekFrom::End(0)).map_err(unreadable)?;
    input.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    if length > options.limits.file {
        return Err(LimitPassed::File(options.limits.file).into());
    }
    let archive = !first.is_empty()
        && (b"PK\x03\x04".starts_with(&first) || first.starts_with(b"PK\x05\x06"));
    if archive {
        return Ok(vec![match read_eval(input, options) {
            Ok(evaluation) => Outcome::Read(Box::new(evaluation)),
            Err((fault, name)) => Outcome::Refused(fault.refusal(name)),
        }]);
    }
    if first.first().is_some_and(|byte| !byte.is_ascii()) {
        let message = "the file begins with neither text nor a ZIP archive";
        return Err(Fault::new(Code::JsonEncoding, message));
    }
    read_json(input, name, siblings, options)
}

/// Reads a document whose format shows only in its members. Those that can be large (samples,
/// reductions) are projected while they stream; the others are held until all are known.
fn read_json(
    input: impl Read,
    name: &str,
    siblings: &dyn Folder,
    options: &Options,
) -> Result<Vec<Outcome>, Fault> {
    let limits = &options.limits;
    let (metered, meter) = Metered::new(input);
    let mut reader = Reader::new(metered, limits.rules());
    let mut log = JsonLog::new(limits);
    let document = LimitPassed::Document(limits.document);
    meter.allow(limits.document, document);

    let mut held = 0;
    let mut read = || -> Result<bool, Fault> {
        if !reader.at_object()? {
            reader.skip()?;
            reader.end()?;
            return Ok(false);
        }
        reader.object(|name, reader| -> Result<(), Fault> {
            if log.member(name, reader, &meter, limits)? {
                return Ok(());
            }
            meter.allow(limits.document.saturating_sub(held), document);
            let before = reader.offset();
            let value = reader.value()?;
            held += reader.offset() - before;
            if name == "version" {
                crate::inspect::check_version(&value)?;
            }
            log.take(name, value);
            Ok(())
        })?;
        meter.allow(limits.document, document);
        reader.end()?;
        Ok(true)
    };
    if !read().map_err(|fault| meter.explain(fault))? {
        return Err(Fault::new(Code::LogFormat, "the document is no object"));
    }

    let has = |name: &str| log.header().get(name).is_some();
    if has("eval") {
        return Ok(vec![match log.finish(limits) {
            Ok(evaluation) => Outcome::Read(Box::new(evaluation)),
            Err((fault, name)) => Outcome::Refused(fault.refusal(name)),
        }]);
    }
    if has("results") && ["configs", "versions", "n-shot"].iter().any(|name| has(name)) {
        return lm_eval::read(&Value::Object(log.into_header()), name, siblings, options);
    }
    if has("adapter_spec") && (has("scenario_spec") || has("metric_specs")) {
        let spec = Value::Object(log.into_header());
        return Ok(vec![helm::read(&spec, siblings, options)]);
    }
    if has("evaluation_results") || (has("schema_version") && has("evaluation_id")) {
        let message = "an aggregate of Every Eval Ever: figures without items";
        return Err(Fault::new(Code::LogNoItems, message));
    }
    Err(Fault::new(Code::LogFormat, "no known kind of evaluation log"))
}
