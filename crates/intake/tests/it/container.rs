//! Archives that are damaged, lie about themselves, or ask for too much.

use intake::{Code, Limits, Options};

use crate::archive::{
    Local, Log, Member, directory, members, with_zip64_end, write, write_counting,
};
use crate::fixtures::{
    assert_flags, assert_refused, bytes, evaluation, import_bytes, import_with, refusal,
};

const ZSTD: &str = "inspect-converted/arithmetic_match.original.eval";
const DEFLATE: &str = "real/inspect_ai-repo/log_formats.eval";

fn limited(change: impl FnOnce(&mut Limits)) -> Options {
    let mut options = Options::default();
    change(&mut options.limits);
    options
}

#[test]
fn an_archive_put_together_anew_gives_the_same_items() {
    for name in [ZSTD, DEFLATE] {
        let original = import_bytes(&bytes(name));
        let own = write(&members(&bytes(name)));
        assert_eq!(evaluation(&import_bytes(&own)).items, evaluation(&original).items);
        let zip64 = import_bytes(&with_zip64_end(&own));
        assert_eq!(evaluation(&zip64).items, evaluation(&original).items);
        assert_flags(&zip64, &[], 0);
    }
}

#[test]
fn every_cut_is_broken() {
    for name in [ZSTD, DEFLATE] {
        let whole = bytes(name);
        let step = (whole.len() / 600).max(1);
        let ends = whole.len() - 400..whole.len();
        for length in (1..whole.len()).step_by(step).chain(ends) {
            assert_refused(&import_bytes(&whole[..length]), Code::ContainerBroken);
        }
    }
    assert_refused(&import_bytes(b""), Code::JsonSyntax);
}

#[test]
fn every_flipped_byte_is_seen_or_means_nothing() {
    let whole = bytes(DEFLATE);
    let items = evaluation(&import_bytes(&whole)).items.clone();
    let start = directory(&whole);
    let mut refused = 0;
    for at in 4..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        let import = import_bytes(&damaged);
        match import.evaluations().next() {
            None => refused += 1,
            // Versions, times and attributes; in front of the directory only those of headers.
            Some(evaluation) => assert_eq!(evaluation.items, items, "byte {at} of {start}"),
        }
    }
    // Six members: of each local header 8 bytes (version, bits that mean nothing here, time,
    // date) and of each entry of the directory 18 say nothing about content.
    let free = whole.len() - 4 - refused;
    assert!(free < 6 * 30, "{free} bytes can change unseen");
}

#[test]
fn flipped_data_is_broken_even_where_it_stays_json() {
    let mut log = Log::open(&bytes(ZSTD));
    for member in &mut log.members {
        *member = Member::stored(member.name(), &member.content());
    }
    assert_flags(&import_bytes(&log.bytes()), &[], 0);
    let at = log.at("samples/q007_epoch_1.json");
    let text = String::from_utf8(log.members[at].packed.clone()).unwrap();
    let changed = text.replacen("\"value\":\"C\"", "\"value\":\"I\"", 1);
    let changed =
        if changed == text { text.replacen("\"epoch\": 1", "\"epoch\": 2", 1) } else { changed };
    assert_ne!(changed, text);
    log.members[at].packed = changed.into_bytes();
    let import = import_bytes(&log.bytes());
    assert_refused(&import, Code::ContainerBroken);
    assert_eq!(refusal(&import).member.as_deref(), Some("samples/q007_epoch_1.json"));
    assert!(refusal(&import).message.contains("CRC-32"));
}

#[test]
fn the_number_of_entries_must_be_the_number_walked() {
    let members = members(&bytes(DEFLATE));
    for count in [0, 5, 7, 600] {
        let import = import_bytes(&write_counting(&members, count));
        assert_refused(&import, Code::ContainerBroken);
    }
}

#[test]
fn members_of_one_name_are_refused_unless_the_last_shall_count() {
    let mut log = Log::open(&bytes(ZSTD));
    let at = log.at("samples/q003_epoch_1.json");
    let old = log.members[at].clone();
    // A requeued sample: first an error, then what the log has.
    let mut errored = old.json();
    crate::fixtures::set(&mut errored, &["error"], crate::fixtures::value(r#"{"message":"x"}"#));
    log.members[at] = Member::zstd(old.name(), &[errored.to_text().as_bytes()]);
    log.members.push(old);
    let import = import_bytes(&log.bytes());
    assert_refused(&import, Code::ContainerDuplicateMember);

    let options = Options { allow_superseded: true, ..Options::default() };
    let import = import_with(&log.bytes(), &options);
    assert_flags(&import, &["container.duplicate_member"], 0);
    let read = evaluation(&import);
    assert_eq!(read.flags[&Code::ContainerDuplicateMember], 1);
    assert_eq!(read.items, evaluation(&import_bytes(&bytes(ZSTD))).items);

    // A superseded member is still part of the file: it must be whole.
    log.members[at].crc ^= 1;
    assert_refused(&import_with(&log.bytes(), &options), Code::ContainerBroken);
}

#[test]
fn bytes_that_no_member_owns_are_counted() {
    for at in [0, 10, 27] {
        let mut log = Log::open(&bytes(ZSTD));
        log.members[at].gap = b"the header before it was edited".to_vec();
        let import = import_bytes(&log.bytes());
        assert_flags(&import, &["container.dead_bytes"], 0);
        assert_eq!(evaluation(&import).flags[&Code::ContainerDeadBytes], 31);
    }
    let mut commented = bytes(DEFLATE);
    let length = commented.len();
    commented[length - 2] = 7;
    commented.extend(b"comment");
    assert_flags(&import_bytes(&commented), &["container.dead_bytes"], 0);
}

#[test]
fn local_headers_must_agree_with_the_directory() {
    let base = Log::open(&bytes(ZSTD));
    let member = &base.members[3];
    let own = Local {
        name: member.name.clone(),
        method: member.method,
        crc: member.crc,
        compressed: member.packed.len() as u32,
        size: member.size,
    };
    for (what, local) in [
        ("name", Local { name: b"samples/q999_epoch_1.json".to_vec(), ..own.clone() }),
        ("length of the name", Local { name: b"x".to_vec(), ..own.clone() }),
        ("method", Local { method: 8, ..own.clone() }),
        ("CRC-32", Local { crc: own.crc ^ 1, ..own.clone() }),
        ("size", Local { size: own.size + 1, ..own.clone() }),
        ("compressed size", Local { compressed: own.compressed - 1, ..own.clone() }),
    ] {
        let mut log = Log { members: base.members.clone() };
        log.members[3].local = Some(local);
        let import = import_bytes(&log.bytes());
        assert_eq!(refusal(&import).code, Code::ContainerBroken, "{what}");
    }
}

#[test]
fn streamed_members_may_leave_their_sizes_to_the_directory() {
    let mut log = Log::open(&bytes(ZSTD));
    for member in &mut log.members {
        member.zip64 = true;
    }
    assert_flags(&import_bytes(&log.bytes()), &[], 0);
    for cut in 1..25 {
        let mut log = Log::open(&bytes(ZSTD));
        let extra = [&[1, 0, 24 - cut, 0][..], &vec![0xff; usize::from(24 - cut)]].concat();
        log.members[2].extra = extra;
        // Sizes that are not full need no ZIP64 field, so a short one is ignored …
        assert_flags(&import_bytes(&log.bytes()), &[], 0);
        // … and one that breaks off is not.
        log.members[2].extra.pop();
        if cut < 24 {
            assert_refused(&import_bytes(&log.bytes()), Code::ContainerBroken);
        }
    }
}

#[test]
fn data_descriptors_belong_to_their_member() {
    let described = |descriptor: Vec<u8>| {
        let mut log = Log::open(&bytes(ZSTD));
        let member = &mut log.members[5];
        let local = Local { name: member.name.clone(), method: 93, crc: 0, compressed: 0, size: 0 };
        (member.flags, member.local, member.gap) = (8, Some(local), descriptor);
        import_bytes(&log.bytes())
    };
    let member = Log::open(&bytes(ZSTD)).members[5].clone();
    let sizes = [member.packed.len() as u32, member.size];
    let short: Vec<u8> =
        [member.crc, sizes[0], sizes[1]].iter().flat_map(|field| field.to_le_bytes()).collect();
    assert_flags(&described([b"PK\x07\x08", &*short].concat()), &[], 0);
    assert_flags(&described(short.clone()), &[], 0);
    assert_refused(&described(short[..11].to_vec()), Code::ContainerBroken);
    let import = described([&*short, b"more"].concat());
    assert_flags(&import, &["container.dead_bytes"], 0);
}

#[test]
fn overlapping_members_are_broken() {
    let mut log = Log::open(&bytes(ZSTD));
    let mut alias = log.members[4].clone();
    alias.alias_of = Some(4);
    log.members.push(alias);
    // The same data under one name twice: members overlap before names are compared.
    assert_refused(&import_bytes(&log.bytes()), Code::ContainerBroken);

    // A member whose data reaches into the next.
    let mut log = Log::open(&bytes(ZSTD));
    log.members[4] = Member::stored("samples/wide.json", b"{}");
    let inner = log.members[5].packed.len() + 40;
    let mut archive = log.bytes();
    let start = directory(&archive);
    let entry = archive[start..].windows(17).position(|w| w == b"samples/wide.json").unwrap();
    let sizes = start + entry - 46 + 20;
    for at in [sizes, sizes + 4] {
        archive[at..at + 4].copy_from_slice(&(inner as u32).to_le_bytes());
    }
    assert_refused(&import_bytes(&archive), Code::ContainerBroken);
}

#[test]
fn unknown_methods_and_encryption_are_refused() {
    for method in [1, 6, 9, 12, 14, 20, 95, 99] {
        let mut log = Log::open(&bytes(ZSTD));
        log.members[3].method = method;
        let import = import_bytes(&log.bytes());
        assert_refused(&import, Code::ContainerMethod);
        assert!(refusal(&import).message.contains(&method.to_string()));
    }
    for bit in [0, 6, 13] {
        let mut log = Log::open(&bytes(ZSTD));
        log.members[3].flags = 1 << bit;
        assert_refused(&import_bytes(&log.bytes()), Code::ContainerMethod);
    }
    let mut several_disks = bytes(DEFLATE);
    let end = several_disks.len() - 22;
    several_disks[end + 4] = 1;
    assert_refused(&import_bytes(&several_disks), Code::ContainerMethod);
}

#[test]
fn stored_deflate_and_several_zstd_frames_are_read_alike() {
    let expected = evaluation(&import_bytes(&bytes(ZSTD))).items.clone();
    let mut log = Log::open(&bytes(ZSTD));
    for (at, member) in log.members.iter_mut().enumerate() {
        let (name, content) = (member.name().to_owned(), member.content());
        *member = match at % 3 {
            0 => Member::stored(&name, &content),
            1 => Member::deflated(&name, &content),
            // Frames one after another, an empty one among them.
            _ => {
                let (a, b) = content.split_at(content.len() / 3);
                Member::zstd(&name, &[a, b"", b])
            }
        };
    }
    let import = import_bytes(&log.bytes());
    assert_flags(&import, &[], 0);
    assert_eq!(evaluation(&import).items, expected);
}

#[test]
fn packed_data_must_end_where_it_says() {
    let base = Log::open(&bytes(ZSTD));
    let name = "samples/q005_epoch_1.json";
    let at = base.at(name);
    let content = base.members[at].content();
    let pack = |method: usize| match method {
        0 => Member::deflated(name, &content),
        _ => Member::zstd(name, &[&content]),
    };
    for method in 0..2 {
        let mut trailing = pack(method);
        trailing.packed.extend(b"trailing");
        let mut short = pack(method);
        short.packed.truncate(short.packed.len() / 2);
        let mut lacks_last = pack(method);
        lacks_last.packed.pop();
        let mut promises_more = pack(method);
        promises_more.size += 1;
        let mut promises_less = pack(method);
        promises_less.size -= 1;
        for (what, member) in [
            ("trailing bytes", trailing),
            ("half of it", short),
            ("a byte less", lacks_last),
            ("longer than promised", promises_less),
            ("shorter than promised", promises_more),
        ] {
            let mut log = Log { members: base.members.clone() };
            log.members[at] = member;
            let import = import_bytes(&log.bytes());
            assert_eq!(refusal(&import).code, Code::ContainerBroken, "{what} {method}");
            assert_eq!(refusal(&import).member.as_deref(), Some(name), "{what} {method}");
        }
    }
    // A skippable frame hides bytes from every reader.
    let mut log = Log { members: base.members.clone() };
    log.members[at].packed.extend(b"\x50\x2a\x4d\x18\x04\x00\x00\x00dead");
    assert_refused(&import_bytes(&log.bytes()), Code::ContainerBroken);
}

#[test]
fn bombs_are_refused_before_they_inflate() {
    let zeros = vec![b' '; 8 << 20];
    for bomb in [
        Member::deflated("samples/bomb_epoch_1.json", &zeros),
        Member::zstd("samples/bomb_epoch_1.json", &[&zeros]),
    ] {
        assert!(zeros.len() / bomb.packed.len() > 200);
        let mut log = Log::open(&bytes(ZSTD));
        log.members.push(bomb.clone());
        let import = import_bytes(&log.bytes());
        assert_refused(&import, Code::ContainerLimit);
        assert!(refusal(&import).message.contains("`ratio`"));

        // One that lies about its size is stopped one byte past it.
        let mut lying = bomb;
        lying.size = 1_000;
        log.members.pop();
        log.members.push(lying);
        assert_refused(&import_bytes(&log.bytes()), Code::ContainerBroken);
    }
}

#[test]
fn names_that_reach_elsewhere_are_refused() {
    for name in ["../samples/x.json", "samples/../../x", "..", "samples/a\0b.json"] {
        let mut log = Log::open(&bytes(ZSTD));
        log.members.push(Member::stored(name, b"{}"));
        assert_refused(&import_bytes(&log.bytes()), Code::ContainerLimit);
    }
    let mut log = Log::open(&bytes(ZSTD));
    log.members.push(Member::stored(&"n".repeat(1_025), b"{}"));
    assert_refused(&import_bytes(&log.bytes()), Code::ContainerLimit);
    let mut log = Log::open(&bytes(ZSTD));
    log.members.push(Member { name: b"samples/\xff.json".to_vec(), ..Member::stored("", b"{}") });
    assert_refused(&import_bytes(&log.bytes()), Code::ContainerBroken);
    // Two dots inside a name lead nowhere.
    let mut log = Log::open(&bytes(ZSTD));
    log.members.push(Member::stored("notes..txt", b"hello"));
    assert_flags(&import_bytes(&log.bytes()), &["container.unknown_member"], 0);
}

#[test]
fn members_that_nothing_reads_must_be_whole_too() {
    let mut log = Log::open(&bytes(ZSTD));
    log.members.push(Member::stored("_journal/config_updates/1.json", b"{}"));
    assert_flags(&import_bytes(&log.bytes()), &[], 0);
    log.members.last_mut().unwrap().crc ^= 1;
    assert_refused(&import_bytes(&log.bytes()), Code::ContainerBroken);
}

#[test]
fn reductions_are_held_whole_and_so_no_longer_than_a_document() {
    let mut log = Log::open(&bytes(ZSTD));
    log.members.retain(|member| member.name != b"reductions.json");
    let long = format!("[{}]", " ".repeat(30_000));
    log.members.push(Member::stored("reductions.json", long.as_bytes()));
    let import = import_with(&log.bytes(), &limited(|l| l.document = 20_000));
    assert_eq!(refusal(&import).code, Code::ContainerLimit);
    assert!(refusal(&import).message.contains("`document`"), "{}", refusal(&import).message);
    evaluation(&import_with(&log.bytes(), &limited(|l| l.document = 31_000)));
}

#[test]
fn every_limit_has_its_own_error() {
    let archive = bytes(ZSTD);
    for (options, name) in [
        (limited(|l| l.file = 50_444), "`file`"),
        (limited(|l| l.members = 27), "`members`"),
        (limited(|l| l.member = 10_000), "`member`"),
        (limited(|l| l.total = 100_000), "`total`"),
        (limited(|l| l.document = 2_000), "`document`"),
        (limited(|l| l.zstd_window = 1 << 20), "`zstd_window`"),
        (limited(|l| l.name = 20), "`name`"),
        (limited(|l| l.items = 19), "`items`"),
        (limited(|l| l.columns = 0), "`columns`"),
        (limited(|l| l.id = 3), "`id`"),
        (limited(|l| l.depth = 3), "levels of nesting"),
    ] {
        let import = import_with(&archive, &options);
        assert_eq!(refusal(&import).code, Code::ContainerLimit, "{name}");
        assert!(refusal(&import).message.contains(name), "{name}: {}", refusal(&import).message);
    }
    // Exactly at the limit all is well.
    let exact = limited(|l| {
        (l.file, l.members, l.items, l.columns, l.id) = (50_445, 28, 20, 1, 4);
        (l.member, l.total) = (13_000, 195_000);
        (l.zstd_window, l.name) = (2 << 20, 26);
    });
    assert_flags(&import_with(&archive, &exact), &[], 0);

    let single = bytes("inspect-converted/arithmetic_match.converted.json");
    for (options, name) in [
        (limited(|l| l.file = 1_000), "`file`"),
        (limited(|l| l.items = 19), "`items`"),
        (limited(|l| l.depth = 2), "levels of nesting"),
    ] {
        let import = import_with(&single, &options);
        assert_eq!(refusal(&import).code, Code::ContainerLimit, "{name}");
        assert!(refusal(&import).message.contains(name), "{name}: {}", refusal(&import).message);
    }
    // A meter lets a buffer's worth more through, so these need large values.
    let long = "x".repeat(1 << 20);
    for (document, name) in [
        (format!("{{\"plan\":[\"{long}\"],\"eval\":{{}}}}"), "`document`"),
        (format!("{{\"samples\":[{{\"id\":1,\"input\":[\"{long}\"]}}]}}"), "`member`"),
    ] {
        let options = limited(|l| (l.document, l.member) = (1_000, 1_000));
        let import = import_with(document.as_bytes(), &options);
        assert_eq!(refusal(&import).code, Code::ContainerLimit, "{name}");
        assert!(refusal(&import).message.contains(name), "{name}: {}", refusal(&import).message);
    }
}
