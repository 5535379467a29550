//! Fuzzing: the files of the gallery are changed at random, then read, checked and rendered.
//! Nothing may panic. Rendered files are valid YAML and the same every time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use release::{Variables, Workspace};
use support::sandbox::repository;

/// Pieces with a meaning in YAML, in environments or in configurations of MKE.
const PIECES: &[&str] = &[
    ": ",
    "- ",
    "\n",
    "  ",
    "\t",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!binary ",
    "!tag ",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "#",
    "---\n",
    "...\n",
    "? ",
    "%YAML 1.2\n",
    "\u{feff}",
    "\u{0}",
    "\u{85}",
    "\u{2028}",
    "ключ",
    "~",
    "null",
    "on",
    "0755",
    "1e3",
    ".inf",
    "-1",
    "99999999999999999999",
    "inherit: ../base.yaml\n",
    "inherit: environment.yaml\n",
    "inventory: hosts.csv\n",
    "facts: {}\n",
    "accept: [telemetry]\n",
    "release: v4.2.1\n",
    "release: v99.0.0-rc.1\n",
    "{ $env: A }",
    "{ $file: environment.yaml }",
    "$merge",
    "$by",
    "hosts",
    "role",
    "ssh",
    "address: 10.0.0.1",
    "10.0.0.0/33",
    "::/0",
    "config:",
    "registry:",
    "ca: environment.yaml",
    "-----BEGIN CERTIFICATE-----",
];

/// Pseudorandom numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }
}

#[test]
fn nothing_panics_on_files_that_were_changed_at_random() {
    let rendered = fuzz(|round, _| round < 3_000);
    assert!(
        rendered > 100,
        "only {rendered} were still whole: the changes are too many"
    );
}

#[test]
#[ignore = "takes ten minutes"]
fn nothing_panics_for_ten_minutes() {
    let _ = fuzz(|_, began| began.elapsed() < Duration::from_secs(600));
}

/// Changes, reads, checks and renders files while `continues` returns true. Returns the number of
/// files that could be rendered.
fn fuzz(continues: impl Fn(u64, Instant) -> bool) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(folder.path()).unwrap();
    let workspace = Workspace::new(root.to_owned());
    let seeds = seeds();
    let mut random = Random(0x5eed);
    let began = Instant::now();
    let mut rendered = 0;
    let mut round = 0;
    while continues(round, began) {
        round += 1;
        let seed = &seeds[random.below(seeds.len())];
        let environment = root.join("environments/lab");
        let _ = std::fs::remove_dir_all(root.join("environments"));
        std::fs::create_dir_all(&environment).unwrap();
        for file in seed.read_dir_utf8().unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), environment.join(file.file_name())).unwrap();
            }
        }
        let inventory = environment.join("hosts.csv");
        let target = match inventory.is_file() && random.below(3) == 0 {
            true => inventory,
            false => environment.join("environment.yaml"),
        };
        let mut bytes = std::fs::read(&target).unwrap();
        for _ in 0..=random.below(4) {
            change(&mut bytes, &mut random);
        }
        std::fs::write(&target, &bytes).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| check_and_render(&workspace)));
        match outcome {
            Ok(whole) => rendered += usize::from(whole),
            Err(_) => panic!(
                "round {round}, from {seed}, {}:\n{}",
                target.file_name().unwrap_or_default(),
                String::from_utf8_lossy(&bytes)
            ),
        }
    }
    rendered
}

/// Checks and renders the environment. Returns whether it could be rendered.
fn check_and_render(workspace: &Workspace) -> bool {
    let now = "2026-06-01T00:00:00Z".parse().unwrap();
    let names = ["lab".to_owned()];
    for checked in release::config::check::all(workspace, &names, now, &Variables::default()) {
        if let Err(error) = checked {
            let _ = release::chain(&error);
        }
    }
    match release::config::render::one(workspace, "lab") {
        Ok(first) => {
            let _: serde_yaml::Value = serde_yaml::from_str(&first.text).unwrap();
            let again = release::config::render::one(workspace, "lab").unwrap();
            assert_eq!(first.text, again.text);
            true
        }
        Err(error) => {
            let _ = release::chain(&error);
            false
        }
    }
}

fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(40)).min(bytes.len());
    match random.below(6) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let piece = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            let _: Vec<u8> = bytes.splice(to..to, piece).collect();
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(random.below(256)).unwrap();
            }
        }
        _ => {
            let piece = PIECES[random.below(PIECES.len())];
            let _: Vec<u8> = bytes.splice(at..at, piece.bytes()).collect();
        }
    }
}

/// Returns the folders of the unchanged environments.
fn seeds() -> Vec<Utf8PathBuf> {
    let gallery = repository().join("tests/gallery");
    let mut seeds: Vec<Utf8PathBuf> = gallery
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.join("environment.yaml").is_file())
        .collect();
    seeds.sort();
    assert!(seeds.len() > 10, "{seeds:?}");
    seeds
}
