fn main() {
    let f = std::fs::File::open(std::env::args().nth(1).unwrap()).unwrap();
    let t = std::time::Instant::now();
    let i = intake::import(f, "x", &intake::NoFolder, &intake::Options::default());
    let e = i.evaluations().next().expect("read");
    eprintln!("{} items {:?} exit {} {:?}", e.items.len(), e.flags, i.exit(), t.elapsed());
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    for l in s.lines().filter(|l| l.starts_with("VmHWM")) { eprintln!("{l}"); }
}
