//! What the machine does: clocks, processor time, memory, the disk. Nothing here knows what is
//! measured.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use client::{Entropy as _, SystemEntropy};

/// One round of [`on_all_cores`]: long enough for a shared machine to be fair once.
const ROUND: Duration = Duration::from_millis(25);

/// Cores that this process may use.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Processor time of this process so far, all threads, user and system; `None` where there is no
/// `/proc`. Linux counts in hundredths of a second there, whatever its own clock.
pub(super) fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

/// What a process has in memory, in MiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// All of it.
    pub(super) resident: f64,
    /// What is in no file.
    pub(super) own: f64,
    /// Highest resident size so far.
    pub(super) peak: f64,
}

/// The memory of a process; `None` where there is no `/proc`.
pub(super) fn memory_of(process: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let mib = |name: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1_024.0)
    };
    Some(Memory { resident: mib("VmRSS:")?, own: mib("RssAnon:")?, peak: mib("VmHWM:")? })
}

/// Highest resident size of this process in MiB.
pub(super) fn peak_memory() -> Option<f64> {
    memory_of(std::process::id()).map(|memory| memory.peak)
}

/// The load average of the last minute, to judge by how much a machine was shared.
pub(super) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Median time in milliseconds to append 4 KiB to a file and make them durable. What a commit
/// costs at least: durable figures mean nothing without it.
pub(super) fn disk_sync(folder: &Path) -> io::Result<f64> {
    let mut file = File::create(folder.join("sync-probe"))?;
    let mut times = Vec::with_capacity(64);
    for _ in 0..64 {
        let start = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    drop(file);
    fs::remove_file(folder.join("sync-probe"))?;
    Ok(median(&mut times))
}

/// Microseconds of one call when all cores do the same: what the machine as a whole needs for it.
/// The median of five rounds.
pub(super) fn on_all_cores(work: impl Fn() + Sync) -> f64 {
    let mut rounds: Vec<f64> = (0..5).map(|_| round(&work)).collect();
    median(&mut rounds)
}

fn round(work: &(impl Fn() + Sync)) -> f64 {
    let start = Instant::now();
    let calls: u64 = thread::scope(|scope| {
        let until_the_end = || {
            let mut calls = 0;
            while start.elapsed() < ROUND {
                for _ in 0..32 {
                    work();
                }
                calls += 32;
            }
            calls
        };
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(until_the_end)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0_u64)).sum()
    });
    start.elapsed().as_secs_f64() * 1e6 / calls.max(1) as f64
}

/// Median time in microseconds of one call on this thread, out of as many as fit `budget`.
pub(super) fn repeated(budget: Duration, mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || (begin.elapsed() < budget && times.len() < 10_000) {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    median(&mut times)
}

/// The middle value; 0 of none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this part of all lies; 0 of none. Sorts them.
pub(super) fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values.get((part * last) as usize).copied().unwrap_or(0.0)
}

/// A new folder that goes away with this value.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it in `parent`.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        let name = format!("countersign-bench-{}", hex::encode(SystemEntropy.bytes::<6>()));
        let path = parent.join(name);
        fs::create_dir_all(parent)?;
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is in a folder for temporary files, under a name that says what it is.
        let _ = fs::remove_dir_all(&self.0);
    }
}
