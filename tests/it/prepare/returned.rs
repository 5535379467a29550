//! `pack --return`: the files that a site returns, the files that stay there, and the content that
//! the next medium omits.

use std::fs;
use std::process::Stdio;

use camino::Utf8PathBuf;
use medium::What;
use support::lab::PASSWORD;
use support::{Arguments, Courier, Run, Text as _};

use crate::{AIRLOCK, FAKE_MKECTL};

const RECEIPT: &str = "environments/lab/receipt.yaml";
const SNAPSHOT: &str = "environments/lab/registry.snapshot.yaml";

/// The connected and the disconnected side, after the first medium was unpacked inside.
struct Sides {
    courier: Courier,
}

impl Sides {
    async fn new() -> Self {
        let courier = Courier::new(AIRLOCK, FAKE_MKECTL).await;
        courier.install_system("ssh-keygen");
        let sides = Self { courier };
        sides.carry();
        sides
    }

    /// Packs a medium outside and unpacks it inside.
    fn carry(&self) {
        let medium = self.new_folder("medium");
        let sandbox = &self.courier.sandbox;
        sandbox.write("program", support::PROGRAM);
        let out = ["--out", medium.as_str(), "--program", "program"];
        self.outside(&[&["pack", "lab"], &out[..]].concat())
            .success();
        self.inside(&["unpack", medium.as_str(), "--allow-unsigned"])
            .success();
    }

    fn new_folder(&self, name: &str) -> Utf8PathBuf {
        let folder = self.courier.path("..").join(name);
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn outside(&self, arguments: impl Arguments) -> Run {
        self.courier.run(arguments)
    }

    fn inside(&self, arguments: impl Arguments) -> Run {
        let folder = self.courier.inside("");
        let mut arguments = arguments.words();
        arguments.extend(["-C", folder.as_str(), "--offline"]);
        self.courier.run(&arguments)
    }

    /// Packs a return into a new folder.
    fn returned(&self, more: impl Arguments) -> (Utf8PathBuf, Run) {
        let back = self.new_folder("back");
        let pack = ["pack", "--return", "--out", back.as_str()];
        (
            back.clone(),
            self.inside(&[&pack, &more.words()[..]].concat()),
        )
    }

    /// Unpacks a return into the workspace of the connected side.
    fn receive(&self, back: &Utf8PathBuf) -> Run {
        self.outside(&["unpack", back.as_str(), "--allow-unsigned"])
    }

    fn git_inside(&self, arguments: impl Arguments) -> String {
        self.courier.git_in(&self.courier.inside(""), arguments)
    }

    /// Commits a file inside.
    fn commit_inside(&self, file: &str, text: &str) {
        fs::write(self.courier.inside(file), text).unwrap();
        self.git_inside(&["add", file]);
        self.git_inside(&["commit", "--quiet", "--message", file]);
    }
}

/// Returns the contents of a medium by their kinds.
fn kinds(folder: &Utf8PathBuf) -> Vec<&'static str> {
    let found = medium::find(std::slice::from_ref(folder)).unwrap();
    let medium = found.trust_unsigned().unwrap();
    assert_eq!(medium.examine(&|_| true).unwrap(), []);
    let contents = medium.manifest().contents.iter();
    contents
        .map(|content| match content.what {
            What::Commits { .. } => "commits",
            What::Receipt { .. } => "receipt",
            What::Snapshot { .. } => "snapshot",
            What::Log { .. } => "log",
            _ => "something else",
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deploy_left_comes_back_and_the_next_medium_has_no_blob() {
    let sides = Sides::new().await;
    let nothing = sides.inside("pack --return --out back");
    let nothing = nothing.exits_with(3);
    nothing.reports("nothing to return");

    sides.inside("deploy lab").success();
    let (back, run) = sides.returned(&[]);
    let run = run.success();
    assert_eq!(kinds(&back), ["snapshot", "receipt", "log"]);
    insta::assert_snapshot!(crate::prepare::unpack::hashes(&run.whole()), @"
    exit code: 0
    --- stdout
    Pack [HASH] for lab: 3.43 kB in 1 volume
      logs            1       475 B
      receipts        1       915 B
      snapshots       1     2.04 kB
    Not signed: `unpack` needs `--allow-unsigned`
    Next: carry [WORKSPACE]/../back to the other side, and run `unpack --allow-unsigned` in the workspace there
    --- stderr
         pack [WORKSPACE]/../back
         pack done: [WORKSPACE]/../back is complete
    ");
    // The return has neither program nor blobs, so its size is a few kilobytes.
    let size: u64 = walk(&back)
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(size < 20_000, "{size}");
    assert!(
        fs::read_to_string(back.join("START.txt"))
            .unwrap()
            .contains("cargo xtask unpack DIR")
    );

    let run = sides.receive(&back).success();
    insta::assert_snapshot!(crate::prepare::unpack::hashes(&run.whole()), @"
    exit code: 0
    --- stdout
    pack [HASH] is unpacked
      signed by   no key
      returned    environments/lab/registry.snapshot.yaml
      returned    environments/lab/receipt.yaml
      returned    environments/lab/logs/[TIME]-apply.log
    Next:
      git add environments && git commit
      cargo xtask pack lab --out DIR
    --- stderr
       unpack pack [HASH]
       unpack done: every used piece of pack [HASH] is verified
    ");
    let sandbox = &sides.courier.sandbox;
    let text = fs::read_to_string(sides.courier.inside(RECEIPT)).unwrap();
    assert_eq!(sandbox.read(RECEIPT), text);
    assert!(sandbox.read(SNAPSHOT).contains("\ntaken: "));
    sides.courier.commit("Return of lab");
    let run = sides.outside("pack lab --dry-run --program program");
    let text = run.success().stdout;
    text.lacks("\n  blobs ");
    text.lacks("\n  mkectl ");
    text.has("the site of lab returned what it had at");

    // The next medium updates the site, which has the returned receipt.
    sides.carry();
    assert_eq!(
        sides.git_inside("status --porcelain environments/lab/receipt.yaml"),
        ""
    );

    // The next medium carries blobs again that the site has lost.
    let store = sides.courier.inside("bundles/store");
    fs::remove_dir_all(store).unwrap();
    let lock = support::bundles::lock_of(sandbox);
    let artifact = &lock.artifacts[0];
    let lost = artifact.manifests[0].blobs.last().unwrap();
    let url = format!(
        "http://{}/v2/mke/{}/blobs/{}",
        sides.courier.registry.address, artifact.repository, lost.digest
    );
    let removed = support::registries::http()
        .delete(url)
        .send()
        .await
        .unwrap();
    assert!(removed.status().is_success(), "{removed:?}");
    let (back, run) = sides.returned(&[]);
    run.success();
    sides.receive(&back).success();
    sides.courier.commit("Return of lab, again");
    let medium = sides.new_folder("medium");
    let out = ["--out", medium.as_str(), "--program", "program"];
    sides
        .outside(&[&["pack", "lab"], &out[..]].concat())
        .success();
    let found = medium::find(std::slice::from_ref(&medium)).unwrap();
    let manifest = found.trust_unsigned().unwrap().manifest().clone();
    let blobs = manifest
        .contents
        .iter()
        .filter(|one| one.what == What::Blob {});
    let blobs: Vec<&str> = blobs.map(|blob| blob.sha256.as_str()).collect();
    let matrix = lock
        .release_matrix
        .as_ref()
        .map(|matrix| matrix.sha256.as_str());
    let expected: Vec<&str> = [Some(lost.digest.digest()), matrix]
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(sorted(blobs), sorted(expected));
}

fn sorted(mut list: Vec<&str>) -> Vec<&str> {
    list.sort_unstable();
    list
}

fn walk(folder: &Utf8PathBuf) -> Vec<Utf8PathBuf> {
    let mut files = Vec::new();
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_a_site_come_back_and_local_changes_on_both_sides_stay() {
    let sides = Sides::new().await;
    let sandbox = &sides.courier.sandbox;
    // An environment that was never deployed has a snapshot.
    let (back, run) = sides.returned("lab");
    run.success();
    assert_eq!(kinds(&back), ["snapshot"]);

    // Both sides have new commits. Uncommitted changes inside stay there and are named.
    sides.commit_inside("inside.txt", "inside\n");
    sides.courier.write("outside.txt", "outside\n");
    sides.courier.commit("Outside");
    let environment = "environments/lab/environment.yaml";
    let text = sandbox.read(environment);
    fs::write(
        sides.courier.inside(environment),
        format!("{text}# a note\n"),
    )
    .unwrap();
    let (back, run) = sides.returned("lab");
    let run = run.success();
    run.reports(&format!(
        "1 file is not committed, and not returned: {environment}"
    ));
    assert_eq!(kinds(&back), ["snapshot", "commits"]);
    // A local change outside is never overwritten.
    sandbox.write("inside.txt", "mine\n");
    let run = sides.receive(&back).exits_with(8);
    run.reports("local changes would be overwritten: inside.txt");
    assert_eq!(sandbox.read("inside.txt"), "mine\n");
    sandbox.remove("inside.txt");
    sides.receive(&back).success();
    assert_eq!(sandbox.read("inside.txt"), "inside\n");
    assert_eq!(sandbox.read("outside.txt"), "outside\n");
    // The next medium brings the merge to the site.
    fs::write(sides.courier.inside(environment), text).unwrap();
    sides.courier.commit("Return of lab");
    sides.carry();
    assert_eq!(
        sides.git_inside("rev-parse HEAD"),
        sides.courier.git("rev-parse HEAD")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_run_is_not_returned() {
    let sides = Sides::new().await;
    sides.commit_inside("notes.txt", &format!("the password is {PASSWORD}\n"));
    let commit = sides.git_inside("rev-parse --short=12 HEAD");
    let (back, run) = sides.returned("lab");
    let run = run.exits_with(8);
    run.reports(&format!(
        "a secret, the value of LAB_REGISTRY_PASSWORD, would be in commit {commit} (notes.txt, line 1) on the medium"
    ));
    run.does_not_mention(PASSWORD);
    assert!(!back.exists());
    // A later commit removes the secret, but the history still has it.
    sides.commit_inside("notes.txt", "nothing\n");
    sides.returned("lab").1.exits_with(8);
    sides.git_inside("reset --quiet --soft HEAD~2");
    sides.git_inside("commit --quiet --message notes");
    // A log is masked, and an unreachable registry is named.
    let logs = sides.courier.inside("environments/lab/logs");
    fs::create_dir_all(&logs).unwrap();
    fs::write(
        logs.join("2026-apply.log"),
        format!("login {PASSWORD} failed\n"),
    )
    .unwrap();
    let missed = format!("Topsecret\n{}\n", programs::PASSWORD_MISSED);
    fs::write(logs.join("2027-apply.log"), missed).unwrap();
    let file = sides.courier.inside("environments/lab/environment.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let address = &sides.courier.registry.address;
    let port = format!("127.0.0.1:{}", support::sandbox::free_port());
    fs::write(&file, text.replace(address.as_str(), &port)).unwrap();
    let (back, run) = sides.returned(&[]);
    let run = run.success();
    run.reports("what the site of lab has is not returned");
    run.reports("logs/2027-apply.log is left out: it may have the administrator's password");
    assert_eq!(kinds(&back), ["log", "commits"]);
    for path in walk(&back) {
        let bytes = fs::read(path).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD));
    }
    sides.receive(&back).success();
    let sandbox = &sides.courier.sandbox;
    assert_eq!(
        sandbox.read("environments/lab/logs/2026-apply.log"),
        "login *** failed\n"
    );
    // `pack` for the site also refuses the secret, unless the site has the commit already.
    sandbox.write("notes.txt", &format!("{PASSWORD}\n"));
    let commit = sides.courier.commit("Notes");
    let pack = ["pack", "lab", "--dry-run", "--program", "program"];
    let run = sides.outside(&pack).exits_with(8);
    run.reports(&format!(
        "a secret, the value of LAB_REGISTRY_PASSWORD, would be in commit {} (notes.txt, line 1)",
        &commit[..12]
    ));
    run.does_not_mention(PASSWORD);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_ssh_keygen, ignore = "needs `ssh-keygen`")]
async fn a_return_is_signed_streamed_or_only_counted() {
    let sides = Sides::new().await;
    let courier = &sides.courier;
    let before = walk(&courier.inside("")).len();
    let run = sides.inside("pack lab --return --dry-run");
    assert!(run.success().stdout.contains("snapshots"));
    assert_eq!(walk(&courier.inside("")).len(), before);
    sides
        .inside("pack lab --return --all --out x")
        .exits_with(64);

    let (back, run) = sides.returned(&["lab", "--sign", courier.key.as_str()]);
    run.success();
    sides.receive(&back).exits_with(8);
    let fingerprint = courier.fingerprint(&courier.key);
    let arguments = ["unpack", back.as_str(), "--fingerprint", &fingerprint];
    sides.outside(&arguments).success();

    let inside = courier.inside("");
    let pack = format!("pack lab --return --out - -C {inside}");
    let mut packing = courier.command(&pack);
    let stream = packing.stderr(Stdio::null()).output().unwrap();
    assert!(stream.status.success());
    let file = courier.path("../stream");
    fs::write(&file, stream.stdout).unwrap();
    let mut unpacking = courier.command("unpack - --allow-unsigned");
    let output = unpacking
        .stdin(fs::File::open(file).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
