//! Whole or not at all, and only for whom it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::files::{Access, read, read_private, write, write_new};

use crate::support::{files_below, folder, give_away, inode, mode, says, set_mode};

const LARGE: usize = 200_000;

#[test]
fn no_reader_and_no_rival_writer_meets_half_a_file() {
    let folder = folder();
    let path = folder.path().join("file");
    write(&path, &[0; LARGE], Access::Private).unwrap();
    let together = Barrier::new(6);
    let seen = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6_u8)
            .map(|writer| {
                let (path, together) = (&path, &together);
                scope.spawn(move || {
                    let write = |round| {
                        together.wait();
                        write(path, &[20 * writer + round; LARGE], Access::Private)
                    };
                    // Whoever stopped at an error would let the others wait.
                    (0..20).map(write).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut seen = 0;
        while writers.iter().any(|writer| !writer.is_finished()) {
            let bytes = read(&path, u64::MAX).unwrap();
            assert_eq!(bytes.len(), LARGE);
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "two writers in one file");
            seen += 1;
        }
        for writer in writers {
            writer.join().unwrap().into_iter().for_each(Result::unwrap);
        }
        seen
    });
    assert!(seen > 0);
    assert_eq!(files_below(folder.path()), [path], "temporary files are left");
}

#[test]
fn of_several_that_make_one_file_only_one_does() {
    let folder = folder();
    let path = folder.path().join("file");
    let (together, won) = (Barrier::new(6), AtomicUsize::new(0));
    let content = |writer: u8| vec![writer; LARGE];
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let (path, together, won) = (&path, &together, &won);
            scope.spawn(move || {
                together.wait();
                match write_new(path, &content(writer), Access::Private) {
                    Ok(()) => {
                        assert_eq!(won.fetch_add(1 + usize::from(writer), Ordering::SeqCst), 0)
                    }
                    Err(error) => says(&error, &["file: exists already and is not overwritten"]),
                }
            });
        }
    });
    let winner = u8::try_from(won.into_inner() - 1).unwrap();
    assert_eq!(read(&path, u64::MAX).unwrap(), content(winner));
    assert_eq!(files_below(folder.path()), [path]);
}

#[test]
fn what_a_killed_writer_left_is_replaced_and_its_mode_with_it() {
    let folder = folder();
    let (path, temporary) = (folder.path().join("file"), folder.path().join("file.tmp"));
    write(&path, b"old", Access::Private).unwrap();
    fs::write(&temporary, "half of the ne").unwrap();
    set_mode(&temporary, 0o666);
    assert_eq!(read_private(&path, 100).unwrap(), b"old", "a leftover is never read");
    write(&path, b"new", Access::Private).unwrap();
    assert_eq!((read_private(&path, 100).unwrap().as_slice(), mode(&path)), (&b"new"[..], 0o600));
    assert!(!temporary.exists());
    // A link in its place leads nowhere.
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "untouched").unwrap();
    symlink(&elsewhere, &temporary).unwrap();
    write(&path, b"newer", Access::Private).unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"untouched");
    assert_eq!(fs::read(&path).unwrap(), b"newer");
    assert!(!temporary.exists());
}

#[test]
fn a_write_that_fails_changes_nothing() {
    let folder = folder();
    let path = folder.path().join("file");
    write(&path, b"old", Access::Private).unwrap();
    let before = inode(&path);
    // The temporary name is taken by a folder, which is not ours to remove.
    fs::create_dir(folder.path().join("file.tmp")).unwrap();
    let error = write(&path, b"new", Access::Private).unwrap_err();
    says(&error, &["file.tmp"]);
    assert_eq!((fs::read(&path).unwrap().as_slice(), inode(&path)), (&b"old"[..], before));
    let absent = folder.path().join("absent/file");
    says(&write(&absent, b"x", Access::Shared).unwrap_err(), &["absent: there is no such folder"]);
}

#[test]
fn links_devices_and_folders_are_not_written_over() {
    let folder = folder();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, "untouched").unwrap();
    symlink(&target, &link).unwrap();
    says(&write(&link, b"new", Access::Shared).unwrap_err(), &["link: is a symbolic link"]);
    assert!(link.is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"untouched");
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    says(&write_new(&dangling, b"new", Access::Shared).unwrap_err(), &["exists already"]);
    assert!(dangling.is_symlink());
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    says(&write(&below, b"new", Access::Shared).unwrap_err(), &["below: is no regular file"]);
    says(&read(&below, 10).unwrap_err(), &["below: is a folder"]);
}

#[test]
fn a_secret_that_others_may_access_is_refused_with_the_remedy() {
    let folder = folder();
    let path = folder.path().join("secret");
    write(&path, b"canary-secret", Access::Private).unwrap();
    for foreign in [0o640, 0o604, 0o620, 0o602, 0o644, 0o660, 0o610, 0o601, 0o777] {
        set_mode(&path, foreign);
        let error = read_private(&path, 100).unwrap_err();
        let shown = path.display();
        says(&error, &[&format!("mode {foreign:03o}"), &format!("run: chmod 600 {shown}")]);
        assert!(!error.to_string().contains("canary"));
    }
    for own in [0o600, 0o400, 0o700] {
        set_mode(&path, own);
        assert_eq!(read_private(&path, 100).unwrap(), b"canary-secret");
    }
    set_mode(&path, 0o600);
    if give_away(&path) {
        let error = read_private(&path, 100).unwrap_err();
        says(&error, &["belongs to another user (id 12345)", "chown", "secret"]);
    }
}

#[test]
fn a_secret_behind_a_link_is_judged_by_the_file_itself() {
    let folder = folder();
    let (path, link) = (folder.path().join("secret"), folder.path().join("link"));
    write(&path, b"secret", Access::Private).unwrap();
    symlink(&path, &link).unwrap();
    assert_eq!(read_private(&link, 100).unwrap(), b"secret");
    set_mode(&path, 0o644);
    says(&read_private(&link, 100).unwrap_err(), &["link", "mode 644"]);
}

#[test]
fn files_are_read_up_to_their_limit_and_no_further() {
    let folder = folder();
    let path = folder.path().join("file");
    write(&path, &[7; 100], Access::Shared).unwrap();
    assert_eq!(read(&path, 100).unwrap(), [7; 100]);
    says(&read(&path, 99).unwrap_err(), &["file: is larger than 99 bytes"]);
    says(&read(&folder.path().join("none"), 9).unwrap_err(), &["none: No such file"]);
    // An endless file is no reason to wait, nor to fill the memory.
    says(&read(std::path::Path::new("/dev/zero"), 1 << 20).unwrap_err(), &["is larger than"]);
    fs::write(folder.path().join("none.tmp"), "half").unwrap();
    let error = read(&folder.path().join("none"), 9).unwrap_err();
    says(&error, &["none: is not there, only", "none.tmp", "interrupted write", "backup"]);
}
