//! Tests of `pack`: the contents of a medium, the content that it omits, its signature, and runs
//! that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use bundle::Lock;
use bundle::make::Recipe;
use camino::{Utf8Path, Utf8PathBuf};
use medium::{Medium, What};
use support::keys::make_key;
use support::sandbox::write_program;
use support::{Arguments, Sandbox, Text as _, bundles};

use crate::AIRLOCK;

const OLD: &str = "v4.1.3";
const NEW: &str = "v4.1.5";

/// A workspace in git with two releases, both in the store. The second shares four fifths of its
/// bytes with the first. The environment `lab` is at the second.
struct Site {
    sandbox: Sandbox,
}

support::used_as!(Site, sandbox: Sandbox);

fn recipe(release: &str) -> Recipe {
    let mut layers = vec![
        ("base", 3_500_000),
        ("middle", 2_500_000),
        ("top", 2_000_000),
    ];
    let own = if release == OLD { "own-old" } else { "own-new" };
    layers.push((own, 2_000_000));
    bundles::of(vec![
        bundles::image("calico/node", release, &["linux/amd64"], &layers),
        bundles::dex(),
    ])
}

impl Site {
    fn new() -> Self {
        let sandbox = Sandbox::new(AIRLOCK);
        sandbox.install_system("ssh-keygen");
        sandbox.write("program", support::PROGRAM);
        sandbox.init_git();
        for release in [OLD, NEW] {
            bundles::lock_release(&sandbox, release, &recipe(release));
            bundles::lock_mkectl(&sandbox, release, release.as_bytes());
        }
        let site = Self { sandbox };
        site.write(
            "environments/lab/environment.yaml",
            "release: v4.1.5
registry: { address: registry.example.com, project: mke }
config:
  apiServer: { externalAddress: mke.lab.example.com }
  hosts:
    - role: controller+worker
      ssh: { address: 192.0.2.10, user: ubuntu, port: 22, keyPath: ~/.ssh/id_ed25519 }
",
        );
        site.commit("lab");
        site
    }

    /// Commits a receipt that records the first release.
    fn receipt(&self) {
        let lock = self.read(&lock_path(OLD));
        self.write(
            "environments/lab/receipt.yaml",
            &format!(
                "version: 2\napplied:\n  release: {OLD}\n  lock: {}\n  registry: registry.example.com/mke\n  config: aa\n  mkectl: {{ version: \
                 {OLD} }}\n  artifacts: 2\n  pushed:\n    artifacts: 2\n    sent: {{ blobs: 1, bytes: 7 }}\n    \
                 mounted: {{ blobs: 0, bytes: 0 }}\n    present: {{ blobs: 0, bytes: 0 }}\n  \
                 ended: 2026-01-02T03:04:05Z\n  by: {{ airlock: 0.1.0 }}\n",
                Lock::digest(&lock),
            ),
        );
        self.commit("receipt");
    }

    fn pack(&self, more: impl Arguments) -> support::Run {
        let pack = "pack lab --program program".words();
        self.run(&[pack, more.words()].concat())
    }

    /// Packs into a new folder.
    fn packed(&self, name: &str, more: impl Arguments) -> Utf8PathBuf {
        let folder = self.path("..").join(name);
        self.pack(&[vec!["--out", folder.as_str()], more.words()].concat())
            .success();
        folder
    }

    fn lock(&self, release: &str) -> Lock {
        Lock::read(&self.path(&lock_path(release))).unwrap()
    }

    /// Returns the bytes of the second release that the first one does not have.
    fn new_bytes(&self) -> u64 {
        let old = self.lock(OLD).blobs();
        let new = self.lock(NEW).blobs().into_iter();
        new.filter(|(digest, _)| !old.contains_key(digest))
            .map(|(_, size)| size)
            .sum()
    }
}

fn lock_path(release: &str) -> String {
    format!("bundles/{release}-amd64.lock.yaml")
}

fn open(folder: &Utf8Path) -> Medium {
    let found = medium::find(&[folder.to_owned()]).unwrap();
    let medium = found.trust_unsigned().unwrap();
    assert_eq!(medium.examine(&|_| true).unwrap(), []);
    medium
}

/// Returns the digests and sizes of the blobs of a medium.
fn blobs(medium: &Medium) -> BTreeMap<String, u64> {
    let contents = medium.manifest().contents.iter();
    let blobs = contents.filter(|content| content.what == What::Blob {});
    blobs
        .map(|content| (format!("sha256:{}", content.sha256), content.size))
        .collect()
}

/// Returns every file of a folder, by its path in it.
fn tree(folder: &Utf8Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(root: &Utf8Path, folder: &Utf8Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            match path.is_dir() {
                true => collect(root, &path, files),
                false => {
                    let name = path.strip_prefix(root).unwrap().to_string();
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files);
    files
}

fn size(folder: &Utf8Path) -> u64 {
    tree(folder).values().map(|bytes| bytes.len() as u64).sum()
}

#[test]
fn a_medium_has_everything_and_the_same_input_gives_the_same_bytes() {
    let site = Site::new();
    let before = site.state();
    let one = site.packed("one", &[]);
    assert_eq!(
        site.changes_since(&before),
        ["bundles/mkectl/v4.1.5/linux-x86_64/mkectl"]
    );
    assert_eq!(tree(&one), tree(&site.packed("two", &[])));
    // `pack` accepts the name of a platform that images use.
    let named = site.packed("three", &["--platform", "linux/amd64"]);
    assert_eq!(tree(&one), tree(&named));
    let medium = open(&one);
    assert_eq!(blobs(&medium), site.lock(NEW).blobs());
    let manifest = medium.manifest();
    assert_eq!(manifest.serves.environments, ["lab"]);
    assert_eq!(manifest.serves.locks[0].path, lock_path(NEW));
    let mkectl = What::Mkectl {
        release: NEW.to_owned(),
        platform: "linux-x86_64".to_owned(),
        file: "mkectl.tar.gz".to_owned(),
    };
    let kinds = manifest
        .contents
        .iter()
        .filter(|content| content.what == mkectl);
    assert_eq!(kinds.count(), 1);
    assert!(manifest.assumes.is_empty(), "{:?}", manifest.assumes);
    assert_eq!(
        fs::read(one.join("airlock")).unwrap(),
        fs::read(site.path("program")).unwrap()
    );
    let start = fs::read_to_string(one.join("START.txt")).unwrap();
    start.has("./airlock unpack . -C DIR --allow-unsigned\r\n");
    start.has("./airlock deploy lab\r\n");
    // A block without a capital letter at its beginning is typed as it is.
    let blocks = start.split("\r\n\r\n");
    let blocks = blocks.filter_map(|block| block.strip_prefix("   "));
    let typed: BTreeSet<&str> = blocks
        .filter(|block| !block.starts_with(char::is_uppercase))
        .flat_map(str::lines)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let programs = [
        "./airlock",
        "/tmp/airlock",
        "cd",
        "chmod",
        "cp",
        "export",
        "git",
        "skopeo",
    ];
    assert_eq!(typed, BTreeSet::from(programs), "{start}");

    // The history can be cloned from it.
    let is_history = |content: &&medium::Content| matches!(content.what, What::Repository { .. });
    let history = manifest.contents.iter().find(is_history).unwrap();
    let bundle = site.path("../history.bundle");
    let mut file = fs::File::create(&bundle).unwrap();
    medium.copy(history, &mut file, &|_| true).unwrap();
    let clone = site.path("../clone");
    site.git(&["clone", "--quiet", bundle.as_str(), clone.as_str()]);
    let lock = fs::read_to_string(clone.join(lock_path(NEW))).unwrap();
    assert_eq!(lock, site.read(&lock_path(NEW)));

    // A second run changes nothing, and a different pack is not mixed into the folder.
    site.pack(&["--out", one.as_str()]).success();
    site.pack(&["--out", one.as_str(), "--since", OLD])
        .exits_with(1)
        .reports("already contains a different medium");
}

#[test]
fn a_release_that_shares_most_bytes_travels_as_its_new_part() {
    let site = Site::new();
    let first = site.packed("first", &["--all"]);
    site.write(
        "../snapshot.yaml",
        &format!(
            "version: 1\nenvironment: lab\nregistry: registry.example.com/mke\ntags:\n{}",
            site.lock(OLD)
                .artifacts
                .iter()
                .map(|one| format!("- artifact: {}\n  found: {}\n", one.reference(), one.digest))
                .collect::<String>()
        ),
    );
    let snapshot = site.path("../snapshot.yaml");
    site.receipt();
    let missing = site.new_bytes();
    assert!(missing * 4 < site.lock(NEW).unique_bytes(), "{missing}");
    for (name, more) in [
        ("receipts", vec![]),
        ("since", vec!["--since", OLD]),
        ("snapshot", vec!["--have", snapshot.as_str()]),
    ] {
        let folder = site.packed(name, &more);
        let medium = open(&folder);
        assert_eq!(blobs(&medium).values().sum::<u64>(), missing, "{name}");
        let assumed = medium.manifest().assumes.blobs.iter();
        let assumed: u64 = assumed.map(|blob| blob.size).sum();
        assert_eq!(missing + assumed, site.lock(NEW).unique_bytes(), "{name}");
        // Besides the missing bytes, the medium has only a few kilobytes.
        let allowed = missing + missing / 50 + 100_000;
        assert!(
            size(&folder) <= allowed,
            "{name}: {} of {allowed}",
            size(&folder)
        );
    }
    // The cluster runs the first release, whose mkectl writes the backup before the upgrade.
    let packed = open(&site.path("../receipts"));
    let contents = packed.manifest().contents.iter();
    let releases: Vec<&str> = contents
        .filter_map(|content| match &content.what {
            What::Mkectl { release, .. } => Some(release.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(releases, [OLD, NEW]);
    // A new environment, of which a different one with the same registry has returned something.
    let file = |name: &str, file: &str| format!("environments/{name}/{file}");
    let lab = site.read(&file("lab", "environment.yaml"));
    site.write(&file("new", "environment.yaml"), &lab);
    let returned = format!(
        "{}taken: 2026-01-02T03:04:05Z\n",
        site.read("../snapshot.yaml")
    );
    let at = file("lab", "registry.snapshot.yaml");
    site.write(&at, &returned);
    site.commit("new");
    let warning = "new has not returned anything, but lab with the same registry has";
    let run = site.run("pack new --dry-run --program program");
    run.success().reports(warning);
    site.pack("--dry-run")
        .success()
        .does_not_report("not returned");
    site.git("reset --quiet --hard HEAD~1");
    // An earlier medium has all of it, and the history up to its commit.
    let manifest = first.join("manifest.yaml");
    let medium = open(&site.packed("have", &["--have", manifest.as_str()]));
    assert_eq!(blobs(&medium), BTreeMap::new());
    assert_eq!(medium.manifest().assumes.commits.len(), 1);
    assert_eq!(
        medium.manifest().contents.len(),
        3,
        "history, program, and the mkectl of {OLD}"
    );
    let all = open(&site.packed("all", &["--all"]));
    assert_eq!(blobs(&all), site.lock(NEW).blobs());

    // The registry of the environment was changed since.
    let taken = site.read("../snapshot.yaml");
    let moved = taken.replace("registry.example.com/", "old.example.com/");
    site.write("../snapshot.yaml", &moved);
    let run = site
        .pack(&["--dry-run", "--have", snapshot.as_str()])
        .exits_with(3);
    run.reports("the snapshot is of old.example.com/mke");
    let other = taken.replace("environment: lab", "environment: other");
    site.write("../snapshot.yaml", &other);
    let run = site
        .pack(&["--dry-run", "--have", snapshot.as_str()])
        .exits_with(3);
    run.reports("is of other, which is not packed");
    let run = site.pack("--dry-run --have program").exits_with(3);
    run.reports("is not a registry snapshot");
}

#[test]
fn a_dry_run_prints_the_size_and_writes_nothing() {
    let site = Site::new();
    bundles::forget_store(&site.sandbox);
    let before = site.state();
    let run = site.pack("--dry-run --out nowhere").success();
    assert_eq!(site.changes_since(&before), Vec::<String>::new());
    assert!(
        run.stdout.starts_with("A pack for lab has 10."),
        "{}",
        run.stdout
    );
    run.prints("blobs");
    // The checkout is read-only.
    site.write("bundles/pack", "");
    let again = site.pack("--dry-run --out nowhere").success();
    assert_eq!(again.stdout, run.stdout);
    fs::remove_file(site.path("bundles/pack")).unwrap();
    run.does_not_report("not downloaded");
    let archive = "bundles/mkectl/v4.1.5/linux-x86_64/mkectl.tar.gz";
    let kept = fs::read(site.path(archive)).unwrap();
    fs::remove_file(site.path(archive)).unwrap();
    let run = site.pack("--dry-run").success();
    run.reports("mkectl v4.1.5 for linux-x86_64 is not downloaded yet");
    // A mkectl on PATH does not replace the archive, which the medium has.
    let run = site.pack("--offline --out nowhere").exits_with(1);
    run.reports(&format!(
        "copy mkectl's archive to {archive}; for `fetch` without `--platform`, it is enough"
    ));
    fs::write(site.path(archive), kept).unwrap();
    let bogus = site.pack("--dry-run --platform bogus");
    bogus.reports("no mkectl for bogus");
    // What the store lacks is read from the bundle.
    let folder = site.packed("medium", &[]);
    assert_eq!(blobs(&open(&folder)), site.lock(NEW).blobs());
    // A blob of the store is damaged.
    let (blob, _) = site.lock(NEW).blobs().pop_last().unwrap();
    let blob = format!("bundles/store/blobs/{}", blob.replace(':', "/"));
    let mut bytes = fs::read(site.path(&blob)).unwrap();
    bytes[0] ^= 1;
    fs::remove_file(site.path(&blob)).unwrap();
    fs::write(site.path(&blob), bytes).unwrap();
    let run = site.pack("--out ../other").exits_with(4);
    run.reports(&format!("because: `{blob}` is not what was expected"));
}

/// A fake cargo: it records its arguments and copies the program to the target folder.
const CARGO: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
echo "$@" > "$HOME/cargo"
mkdir -p target/x86_64-unknown-linux-gnu/portable
cp program target/x86_64-unknown-linux-gnu/portable/xtask
"#;

#[test]
fn a_portable_program_is_built_for_the_medium() {
    let site = Site::new();
    let pack = ["pack", "lab", "--portable", "--out", "medium"];
    let run = site.run(&pack).exits_with(1);
    run.reports("pip install cargo-zigbuild ziglang");
    let both = [&pack[..], &["--program", "program"]].concat();
    site.run(&both).exits_with(64);
    for name in ["cargo", "cargo-zigbuild"] {
        site.install_script(name, CARGO);
    }
    // A dry run builds nothing.
    site.run("pack lab --portable --dry-run").success();
    assert!(!site.path("target").exists());
    site.run(&pack).success();
    assert_eq!(
        fs::read(site.path("medium/airlock")).unwrap(),
        fs::read(site.path("program")).unwrap()
    );
    let asked = fs::read_to_string(site.home().join("cargo")).unwrap();
    assert!(asked.starts_with("zigbuild --locked "), "{asked}");
    let target = "--package xtask --profile portable --target x86_64-unknown-linux-gnu.2.17\n";
    assert!(asked.ends_with(target), "{asked}");
}

#[test]
fn a_different_program_is_not_packed() {
    let site = Site::new();
    site.write("other", "#!/bin/sh\necho airlock\n");
    let text = "environments/lab/environment.yaml";
    for (program, what) in [("other", "Airlock"), (text, "an executable file")] {
        let pack = ["pack", "lab", "--dry-run", "--program", program];
        let run = site.run(&pack).exits_with(64);
        run.reports(&format!("`{program}` is not {what}"));
    }
    let pack = ["pack", "lab", "--dry-run", "--program", AIRLOCK];
    site.run(&pack).success();
}

#[test]
fn folders_of_the_workspace_are_refused_as_medium() {
    let site = Site::new();
    let before = site.state();
    for folder in [
        ".",
        ".git",
        "bundles/store",
        "environments/lab",
        "environments/new/below",
    ] {
        let run = site.pack(&["--out", folder]).exits_with(64);
        run.reports(&format!(
            "error: `{folder}` belongs to the workspace, and a medium is a folder of its own\n\
                 hint: name a folder outside the workspace, such as that of a disk\n"
        ));
    }
    assert_eq!(site.changes_since(&before), [""; 0]);
    site.pack("--out medium").success();
    // The disk has a `START.txt` that `pack` did not write.
    site.write("disk/START.txt", "hi");
    let run = site.pack("--out disk").exits_with(1);
    run.reports("has a file `START.txt` that is not of a medium")
        .reports("hint: name an empty folder\n");
    assert_eq!(site.read("disk/START.txt"), "hi");
    // `--out` may be a link to a disk, but not a link into the workspace.
    fs::create_dir(site.path("../mounted")).unwrap();
    for (target, name, code) in [
        ("../mounted", "../link", 0),
        ("nowhere", "../dangling", 3),
        ("environments", "../within", 64),
    ] {
        let (target, link) = (site.path(target), site.path(name));
        std::os::unix::fs::symlink(target, &link).unwrap();
        site.pack(&["--out", link.as_str()]).exits_with(code);
    }
    open(&site.path("../mounted"));
}

#[test]
fn other_files_of_the_folder_are_named_and_stay() {
    let site = Site::new();
    site.write("disk/photos/one.jpg", "one");
    site.write("disk/notes.txt", "two");
    site.write("disk/.hidden", "three");
    let run = site.pack("--out disk").success();
    let note = "`disk` also has 2 other files: notes.txt, photos; `unpack` ignores them\n";
    assert!(run.stderr.starts_with(note), "{}", run.stderr);
    assert_eq!(site.read("disk/photos/one.jpg"), "one");
    // The files of the medium itself are not named.
    site.remove("disk/notes.txt");
    std::fs::remove_dir_all(site.path("disk/photos")).unwrap();
    let again = site.pack("--out disk").success();
    again.does_not_report("also has");
    open(&site.path("disk"));
}

#[test]
fn what_is_not_committed_is_not_packed() {
    let site = Site::new();
    site.write("notes.txt", "not carried");
    site.pack("--dry-run").success();
    site.write("environments/other/environment.yaml", "release: v4.1.5\n");
    let run = site.pack("--out medium").exits_with(3);
    run.reports("1 file is not committed: environments/other/environment.yaml");
    assert!(!site.path("medium").exists());
    // The workspace is a subfolder of a repository.
    let (git, above) = (site.path(".git"), site.path("../.git"));
    fs::rename(&git, &above).unwrap();
    let run = site.pack("--dry-run").exits_with(3);
    run.reports("is not the root of its repository, which is `")
        .reports("a repository of its own");
    fs::rename(&above, &git).unwrap();
    // Git does not trust the owner.
    let program = site.bin().join("git");
    let real = fs::read_link(&program).unwrap();
    let refusal = "fatal: detected dubious ownership in repository at '/srv/workspace'";
    let script = format!("#!/bin/sh\necho \"{refusal}\" >&2\nexit 128\n");
    site.install_script("git", script);
    let run = site.pack("--dry-run").exits_with(3);
    run.reports("`/srv/workspace`, which belongs to a different user\n")
        .reports("hint: trust it: `git config --global --add safe.directory /srv/workspace`");
    fs::remove_file(&program).unwrap();
    std::os::unix::fs::symlink(real, &program).unwrap();
    fs::remove_dir_all(&git).unwrap();
    let run = site.pack("--out medium").exits_with(3);
    run.reports("git init");
}

#[test]
fn a_second_pack_at_the_same_time_is_refused() {
    let site = Site::new();
    site.write("bundles/pack/lock", "");
    let lock = fs::File::open(site.path("bundles/pack/lock")).unwrap();
    lock.lock().unwrap();
    let run = site.pack("--dry-run").exits_with(8);
    assert!(
        run.stderr
            .starts_with("error: a different command uses `bundles/pack`\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn volumes_are_limited_and_a_replacement_has_single_pieces() {
    let site = Site::new();
    let folder = site.packed("medium", &["--volume", "6MB"]);
    let medium = open(&folder);
    let volumes = &medium.manifest().volumes;
    assert!(volumes.len() > 1, "{volumes:?}");
    for volume in volumes {
        let path = folder.join(format!("volumes/{:04}", volume.number));
        assert!(size(&path) <= 6_000_000, "{path}");
    }
    let pieces = medium.manifest().pieces();
    // A replacement has all pieces of a content.
    let piece = pieces.iter().max_by_key(|piece| piece.size).unwrap();
    let only = ["--only", &piece.sha256[..10], "--volume", "6MB"];
    let replacement = site.packed("replacement", &only);
    let start = fs::read_to_string(replacement.join("START.txt")).unwrap();
    assert!(
        start.contains("MEDIUM/airlock unpack MEDIUM -C") && !start.contains("unpack . "),
        "{start}"
    );
    let replacement = open(&replacement);
    let [content] = &replacement.manifest().contents[..] else {
        panic!("{:?}", replacement.manifest());
    };
    assert!(content.pieces.iter().any(|one| one.sha256 == piece.sha256));
    assert!(content.pieces.len() > 1, "a piece is a part of a volume");
    // The hint uses the unit of the option, and its size is sufficient.
    let run = site.pack("--out x --volume 1MiB").exits_with(64);
    run.reports("a volume of 1.0 MiB is too small: 1.");
    let hint = run.stderr.split('`').nth(1).unwrap();
    let enough: Vec<&str> = hint.split(' ').collect();
    site.packed("enough", &enough);
    // The required size does not depend on the given size.
    let tiny = site.pack("--out x --volume 1kB").exits_with(64);
    tiny.reports(hint);
    let required = |run: &support::Run| {
        let (_, rest) = run.stderr.split_once("too small: ").unwrap();
        rest.split(" are").next().unwrap().to_owned()
    };
    assert_eq!(required(&run), required(&tiny));
    // The program is stored beside the volumes.
    site.write("program", &support::PROGRAM.repeat(170_000));
    let large = site.pack("--dry-run --volume 6MB").success();
    large.reports("airlock and START.txt have 7.0 MB together, more than a volume of 6.0 MB");
    let run = site.pack("--out x --only 00000000").exits_with(64);
    run.reports("this pack has no piece")
        .reports("by `--only history`");
    // The history of a later commit replaces that of the medium.
    let commit = site.commit("later");
    let only = ["--only", "history", "--volume", "6MB"];
    let history = open(&site.packed("history", &only));
    let [content] = &history.manifest().contents[..] else {
        panic!("{:?}", history.manifest());
    };
    let branch = "main".to_owned();
    assert_eq!(content.what, What::Repository { branch, commit });
}

#[test]
fn a_stream_is_a_medium_in_a_tar() {
    let site = Site::new();
    let output = site
        .command("pack lab --program program --out -")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let folder = site.path("../unpacked");
    tar::Archive::new(&output.stdout[..])
        .unpack(&folder)
        .unwrap();
    open(&folder);
    assert_eq!(tree(&folder), tree(&site.packed("medium", &[])));
}

#[test]
#[cfg_attr(without_ssh_keygen, ignore = "needs `ssh-keygen`")]
fn a_signature_by_an_unlisted_key_has_a_warning() {
    let site = Site::new();
    let key = site.path("../key");
    make_key(&key, "courier", "");
    let public = fs::read_to_string(format!("{key}.pub")).unwrap();
    let folder = site.path("../signed");
    let run = site
        .pack(&["--out", folder.as_str(), "--sign", key.as_str()])
        .success();
    run.reports("environments/allowed_signers does not list the key SHA256:");
    run.prints("Signed by SHA256:");
    let signers = medium::Signers::parse(&format!("courier@example.com {public}")).unwrap();
    let found = medium::find(std::slice::from_ref(&folder)).unwrap();
    let medium = found.trust(&signers).unwrap();
    assert_eq!(medium.examine(&|_| true).unwrap(), []);
    assert!(found.trust(&medium::Signers::default()).is_err());
    assert!(
        !fs::read_to_string(folder.join("START.txt"))
            .unwrap()
            .contains("--allow-unsigned")
    );

    site.write(
        "environments/allowed_signers",
        &format!("courier@example.com namespaces=\"airlock\" {public}"),
    );
    site.commit("signers");
    let other = site.path("../listed");
    let run = site
        .pack(&["--out", other.as_str(), "--sign", key.as_str()])
        .success();
    run.does_not_report("does not list");
    // OpenSSH refuses a key that other users can read.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let run = site
        .pack(&["--out", "x", "--sign", key.as_str()])
        .exits_with(1);
    run.reports("Permissions 0644 for").reports("are too open");
    let run = site.pack("--out x --sign environments").exits_with(64);
    run.reports("`environments` is not the file of an OpenSSH key");
    assert!(!site.path("x").exists());
}

/// Returns a program of OpenSSH that reads passphrases from the script `askpass`.
fn ssh(site: &Site, program: &str, arguments: &[&str], socket: &Utf8Path) -> std::process::Command {
    #[expect(clippy::disallowed_methods, reason = "OpenSSH keeps the courier's key")]
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .env("SSH_ASKPASS", site.path("../askpass"))
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("SSH_AUTH_SOCK", socket);
    command
}

#[test]
#[cfg_attr(without_ssh_keygen, ignore = "needs `ssh-keygen`")]
fn an_encrypted_key_and_a_key_of_an_agent_sign() {
    let mut site = Site::new();
    let askpass = site.path("../askpass");
    write_program(&askpass, "#!/bin/sh\necho open sesame\n");
    let (key, socket) = (site.path("../key"), site.path("../agent"));
    make_key(&key, "courier", "open sesame");
    site.variable("SSH_ASKPASS", askpass.as_str())
        .variable("SSH_ASKPASS_REQUIRE", "force");
    let signed = |site: &Site, name: &str, key: &str| {
        let folder = site.packed(name, &["--sign", key]);
        let found = medium::find(&[folder]).unwrap();
        found.signer().unwrap().fingerprint()
    };
    let encrypted = signed(&site, "encrypted", key.as_str());

    let serve = ["-D", "-a", socket.as_str()];
    let mut agent = ssh(&site, "ssh-agent", &serve, &socket);
    let mut agent = agent.stdout(Stdio::null()).spawn().unwrap();
    while !socket.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let added = ssh(&site, "ssh-add", &["-q", key.as_str()], &socket).output();
    assert!(added.unwrap().status.success());
    // Now only the agent has the private key.
    fs::remove_file(&key).unwrap();
    site.variable("SSH_AUTH_SOCK", socket.as_str());
    let of_agent = signed(&site, "by-agent", &format!("{key}.pub"));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(of_agent, encrypted);
}

// promise 2
#[test]
fn a_run_that_is_killed_at_any_moment_is_completed_by_the_next() {
    let site = Site::new();
    let folder = site.path("../medium");
    let arguments = format!("pack lab --program program --out {folder}");
    for round in 0..10 {
        let mut command = site.command(arguments.as_str());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(15 * round));
        child.kill().unwrap();
        let was_killed = !child.wait().unwrap().success();
        // A folder with a manifest is complete.
        if folder.join("manifest.yaml").exists() {
            open(&folder);
        } else {
            assert!(was_killed);
        }
    }
    site.pack(&["--out", folder.as_str()]).success();
    open(&folder);
    assert_eq!(tree(&folder), tree(&site.packed("whole", &[])));
    assert!(!site.path("bundles/pack").exists());
}
