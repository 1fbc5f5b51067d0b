//! The race of the specification: A (size N) and B (size N + K) are asked for at once, and A must
//! never be the last word once B was.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use crate::support::{Book, Hands, Log, Running, logs};

const SIZES: u64 = 24;

#[test]
fn of_racing_requests_none_ever_takes_the_log_back() {
    let log = Log::new("log.example/one").grown(SIZES * 20, "a");
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), logs([&log]), &Hands::new());
    let book = Mutex::new(Book::default());
    let mut known = 0;
    for round in 0..12 {
        // All start from what is known, and each asks for another size.
        let barrier = Arc::new(Barrier::new(SIZES as usize));
        let taken = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for more in 0..SIZES {
                let (log, barrier, running) = (&log, Arc::clone(&barrier), &running);
                let (book, taken) = (&book, &taken);
                scope.spawn(move || {
                    let request = log.request(known, known + more);
                    barrier.wait();
                    let answer = running.add(&request);
                    match answer.status {
                        200 => {
                            taken.lock().unwrap().push(known + more);
                            book.lock().unwrap().note(log, known + more, &answer.body);
                        }
                        409 => {
                            let size: u64 = answer.body.trim_end().parse().unwrap();
                            assert!(size > known, "round {round}: {size} of {known}");
                        }
                        status => panic!("{status}: {answer:?}"),
                    }
                });
            }
        });
        // The same size again is no growth; of the others one won, and all later came too late.
        let mut taken = taken.into_inner().unwrap();
        taken.retain(|size| *size != known);
        assert_eq!(taken.len(), 1, "round {round} from {known}: {taken:?}");
        known = taken[0];
        let place = tlog::Hash::of(&[log.name().as_bytes()]);
        let published = running.get(&format!("/{place}/checkpoint"));
        assert!(published.body.starts_with(&format!("{}\n{known}\n", log.name())));
    }
    let book = book.into_inner().unwrap();
    assert!(book.len() >= 12);
    book.check(&[&log]);
    running.stop();
}

#[test]
fn of_two_branches_asked_for_at_once_one_alone_is_ever_cosigned() {
    for round in 0..6_u64 {
        let trunk = Log::new("log.example/one").grown(5, "a");
        let branches = [trunk.clone().grown(60, "left"), trunk.clone().grown(60, "right")];
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path(), logs([&trunk]), &Hands::new());
        let book = Mutex::new(Book::default());
        let threads = 8;
        let barrier = Barrier::new(threads);
        thread::scope(|scope| {
            for number in 0..threads {
                let (branch, running) = (&branches[number % 2], &running);
                let (book, barrier) = (&book, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let (mut old, mut step) = (0, 0);
                    while step < 30 {
                        step += 1;
                        let size = (old + 1 + (step + round + number as u64) % 4).clamp(6, 60);
                        let answer = running.add(&branch.request(old.min(size), size));
                        match answer.status {
                            200 => {
                                book.lock().unwrap().note(branch, size, &answer.body);
                                old = size;
                            }
                            409 => old = answer.body.trim_end().parse().unwrap(),
                            422 => {}
                            status => panic!("{status}: {answer:?}"),
                        }
                    }
                });
            }
        });
        let book = book.into_inner().unwrap();
        assert!(book.len() > 5, "something was cosigned");
        book.check(&[&branches[0], &branches[1]]);
        running.stop();
    }
}
