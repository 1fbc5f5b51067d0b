//! What reading logs costs: `cargo bench -p countersign-intake`. The logs are genuine ones, of 200
//! items; how long ones do is measured by `countersign bench import`.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput};
use intake::{Import, Options, import};

fn evaldata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/evaldata").join(name)
}

/// The files of one folder, not below it.
fn folder(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).expect("the folder is in the repository");
    let files = entries.map(|entry| entry.expect("the folder can be listed").path());
    let named = files.filter(|path| path.is_file()).map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, fs::read(&path).expect("the file can be read"))
    });
    named.collect()
}

fn imports(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("import of 200 items");
    group.sample_size(20);
    for log in ["rivals/lab-a.eval", "rivals/lab-a.json", "rivals/lab-b-lm-eval"] {
        let path = evaldata(log);
        let beside = folder(if path.is_dir() { &path } else { path.parent().unwrap_or(&path) });
        let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let results = || beside.keys().find(|name| name.starts_with("results_")).cloned();
        let name = if path.is_dir() { results().expect("a run has results") } else { own };
        let bytes = &beside[&name];
        let read = || -> Import {
            import(Cursor::new(black_box(bytes)), &name, &beside, &Options::default())
        };
        assert_eq!(read().exit(), 0, "{log} imports");
        let samples = beside.iter().filter(|(other, _)| path.is_dir() || **other == name);
        group.throughput(Throughput::Bytes(samples.map(|(_, bytes)| bytes.len() as u64).sum()));
        group.bench_function(log, |b| b.iter(read));
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    imports(&mut criterion);
    criterion.final_summary();
}
