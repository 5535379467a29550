//! A medium of a workspace, and the empty machine that it is carried to.

use std::io::Write as _;
use std::process::Stdio;

use bundle::Lock;
use camino::{Utf8Path, Utf8PathBuf};
use medium::{Assumed, Files, Manifest, RootFile, Served, ServedLock, Source, What, split};

use crate::{Arguments, Lab, Run, bundles};

/// What `START.txt` of the medium says.
const START: &str = "Start here.\n";

/// A program that `pack` takes for Airlock.
pub const PROGRAM: &str = "#!/bin/sh\n# environments/allowed_signers\n";

/// Both sides: the workspace of a lab, which is a repository, and a folder for another one, which
/// is empty.
pub struct Courier {
    /// The connected side.
    pub lab: Lab,
    /// The folder of the medium.
    pub medium: Utf8PathBuf,
    /// The private key that signs media.
    pub key: Utf8PathBuf,
}

crate::used_as!(Courier, lab: Lab);

/// What a medium has, other than everything.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Whether it is signed.
    pub signed: bool,
    /// The largest volume.
    pub volume: Option<u64>,
    /// The largest piece.
    pub piece: Option<u64>,
    /// The commits that the other side has.
    pub known: Vec<String>,
    /// Contents are left out of which this returns false.
    pub without: Option<fn(&What) -> bool>,
    /// What it has besides.
    pub more: Vec<(What, Utf8PathBuf)>,
}

impl Courier {
    /// Makes a repository of a lab's workspace, and a key.
    pub async fn new(program: &str, fake_mkectl: &str) -> Self {
        let lab = Lab::new(program, fake_mkectl).await;
        let script = b"#!/bin/sh\nexec mkectl \"$@\"\n";
        bundles::lock_mkectl(&lab.sandbox, "v4.1.5", script);
        lab.init_git();
        let courier = Self {
            medium: lab.path("../medium"),
            key: lab.path("../key"),
            lab,
        };
        courier.commit("Lock v4.1.5");
        courier.new_key(&courier.key);
        courier
    }

    /// Makes a key without a passphrase.
    pub fn new_key(&self, path: &Utf8Path) {
        let _ = std::fs::remove_file(path);
        let arguments = [
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "",
            "-f",
            path.as_str(),
        ];
        self.output("ssh-keygen", &arguments);
    }

    /// Returns the fingerprint of a key.
    pub fn fingerprint(&self, key: &Utf8Path) -> String {
        let listed = self.output("ssh-keygen", &["-l", "-f", key.as_str()]);
        listed.split(' ').nth(1).expect("a fingerprint").to_owned()
    }

    /// Commits everything, and returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.lab.commit(message)
    }

    /// Runs git in the workspace of the connected side.
    pub fn git(&self, arguments: impl Arguments) -> String {
        self.lab.git(arguments)
    }

    /// Runs git in a folder, as the owner of that side.
    pub fn git_in(&self, folder: &Utf8Path, arguments: impl Arguments) -> String {
        self.lab.git_in(folder, arguments)
    }

    fn output(&self, program: &str, arguments: impl Arguments) -> String {
        #[expect(clippy::disallowed_methods, reason = "the operators of both sides")]
        let output = std::process::Command::new(program)
            .args(arguments.words())
            .output()
            .expect("a program that every machine that builds this has");
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {output:?}"
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns the workspace inside, which does not exist at first.
    pub fn inside(&self, below: &str) -> Utf8PathBuf {
        self.lab.path("../inside").join(below)
    }

    /// Returns what the medium consists of.
    pub fn contents(&self, choice: &Choice) -> (Manifest, Vec<Source>) {
        let sandbox = &self.lab.sandbox;
        let history = sandbox.path("../history");
        let commit = self.git("rev-parse HEAD");
        let without: Vec<String> = choice.known.iter().map(|one| format!("^{one}")).collect();
        let mut create = vec!["bundle", "create", "--quiet", history.as_str(), "main"];
        create.extend(without.iter().map(String::as_str));
        let program = sandbox.path("../program");
        std::fs::write(&program, PROGRAM).expect("a file");
        let mut wanted = vec![
            (
                What::Program {
                    platform: "linux-x86_64".to_owned(),
                },
                program,
            ),
            (
                What::Mkectl {
                    release: "v4.1.5".to_owned(),
                    platform: "linux-x86_64".to_owned(),
                    file: "mkectl.tar.gz".to_owned(),
                },
                sandbox.path("bundles/mkectl/v4.1.5/linux-x86_64/mkectl.tar.gz"),
            ),
        ];
        if !choice.known.contains(&commit) {
            self.git(&create);
            let branch = "main".to_owned();
            wanted.insert(0, (What::Repository { branch, commit }, history));
        }
        let blobs = std::fs::read_dir(sandbox.path("bundles/store/blobs/sha256"));
        let mut blobs: Vec<_> = (blobs.expect("a store"))
            .map(|blob| Utf8PathBuf::from_path_buf(blob.expect("a blob").path()).expect("UTF-8"))
            .collect();
        blobs.sort();
        wanted.extend(blobs.into_iter().map(|path| (What::Blob {}, path)));
        wanted.retain(|(what, _)| choice.without.is_none_or(|keeps| keeps(what)));
        wanted.extend(choice.more.iter().cloned());
        let piece = choice.piece.unwrap_or(medium::LARGEST_PIECE);
        let mut sources: Vec<Source> = wanted
            .into_iter()
            .map(|(what, path)| Source::read(what, &path, piece, &|_| true).expect("a source"))
            .collect();
        let volumes = split(&mut sources, choice.volume, 0, 0).expect("volumes");
        let lock = sandbox.read(bundles::LOCK);
        let manifest = Manifest {
            format: Manifest::FORMAT,
            airlock: "0.1.0".to_owned(),
            serves: Served {
                environments: vec!["lab".to_owned()],
                locks: vec![ServedLock {
                    path: bundles::LOCK.to_owned(),
                    sha256: Lock::digest(&lock),
                }],
            },
            assumes: Assumed {
                commits: choice.known.clone(),
                ..Assumed::default()
            },
            files: vec![
                RootFile::of(medium::START, START.as_bytes()),
                RootFile::of(medium::PROGRAM, PROGRAM.as_bytes()),
            ],
            volumes,
            contents: sources.iter().map(|one| one.content.clone()).collect(),
        };
        (manifest, sources)
    }

    /// Writes the medium anew.
    pub fn pack(&self, choice: &Choice) -> Manifest {
        let (manifest, sources) = self.contents(choice);
        let _ = std::fs::remove_dir_all(&self.medium);
        self.files(&manifest, choice, |files| {
            medium::write(&self.medium, &manifest, files, &sources, &|_| true).expect("a medium");
        });
        manifest
    }

    /// Returns the medium as a stream.
    pub fn stream(&self, choice: &Choice) -> Vec<u8> {
        let (manifest, sources) = self.contents(choice);
        let mut stream = Vec::new();
        self.files(&manifest, choice, |files| {
            medium::write_stream(&mut stream, &manifest, files, &sources, &|_| true)
                .expect("a stream");
        });
        stream
    }

    fn files(&self, manifest: &Manifest, choice: &Choice, write: impl FnOnce(&Files<'_>)) {
        let bytes = manifest.to_bytes().expect("a manifest");
        let signature = choice.signed.then(|| self.sign(&self.key, &bytes));
        write(&Files {
            manifest: &bytes,
            signature: signature.as_deref(),
            start: START,
            program: Some(&self.lab.path("../program")),
        });
    }

    /// Signs bytes as `ssh-keygen` does.
    pub fn sign(&self, key: &Utf8Path, bytes: &[u8]) -> String {
        let file = self.lab.path("../signed");
        std::fs::write(&file, bytes).expect("a file");
        let _ = std::fs::remove_file(format!("{file}.sig"));
        let arguments = [
            "-q",
            "-Y",
            "sign",
            "-f",
            key.as_str(),
            "-n",
            "airlock",
            file.as_str(),
        ];
        self.output("ssh-keygen", &arguments);
        std::fs::read_to_string(format!("{file}.sig")).expect("a signature")
    }

    /// Unpacks folders inside.
    #[must_use]
    pub fn unpack(&self, folders: &[&Utf8Path], more: &[&str]) -> Run {
        let inside = self.inside("");
        let mut arguments = vec!["unpack", "-C", inside.as_str()];
        arguments.extend(folders.iter().map(|folder| folder.as_str()));
        arguments.extend(more);
        self.lab.run(&arguments)
    }

    /// Unpacks a stream inside.
    #[must_use]
    pub fn unpack_stream(&self, stream: &[u8], more: &[&str]) -> Run {
        let inside = self.inside("");
        let mut arguments = vec!["unpack", "-C", inside.as_str(), "-"];
        arguments.extend(more);
        let mut child = (self.lab.command(&arguments))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command under test");
        let mut input = child.stdin.take().expect("a pipe");
        // It may end before it has read everything.
        let _ = input.write_all(stream);
        drop(input);
        let output = child.wait_with_output().expect("the command under test");
        self.lab.ended(&output)
    }

    /// Checks that the workspace inside has everything that the medium has.
    #[track_caller]
    pub fn assert_complete(&self, manifest: &Manifest) {
        let store = bundle::Store::open(&self.inside("bundles/store")).expect("a store");
        for content in &manifest.contents {
            match &content.what {
                What::Blob {} => {
                    let digest = bundle::sha256_digest(&format!("sha256:{}", content.sha256));
                    let digest = digest.expect("a digest");
                    (store.verify_blob(&digest, content.size)).expect("the blob, unharmed");
                }
                What::Repository { commit, .. } => {
                    let folder = self.inside("");
                    assert_eq!(self.git_in(&folder, "rev-parse HEAD"), *commit);
                    assert_eq!(self.git_in(&folder, "status --porcelain"), "");
                }
                What::Program { .. } => assert!(self.inside("airlock").is_file()),
                What::Mkectl { .. } => {
                    let folder = self.inside("bundles/mkectl/v4.1.5/linux-x86_64");
                    bundle::check_program(
                        &folder.join("mkectl.tar.gz"),
                        &content.sha256,
                        &folder.join("mkectl"),
                    )
                    .expect("mkectl, unharmed");
                }
                _ => {}
            }
        }
        assert!(!self.inside("bundles/unpack").exists());
    }
}
