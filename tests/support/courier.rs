//! A medium of a workspace, and the disconnected site that unpacks it.

use std::io::Write as _;
use std::process::Stdio;

use bundle::Lock;
use camino::{Utf8Path, Utf8PathBuf};
use medium::{Assumed, Files, Manifest, RootFile, Served, ServedLock, Source, What, split};

use crate::keys::make_key;
use crate::{Arguments, Lab, Run, bundles};

/// The text of `START.txt` on the medium.
const START: &str = "Start here.\n";

/// A script that `pack` accepts as Airlock: `pack` looks for the name of the signers' file.
pub const PROGRAM: &str = "#!/bin/sh\n# environments/allowed_signers\n";

/// A connected and a disconnected side: the workspace of a lab, which is a git repository, and an
/// empty folder for the workspace inside.
pub struct Courier {
    /// The connected side.
    pub lab: Lab,
    /// The folder of the medium.
    pub medium: Utf8PathBuf,
    /// The private key that signs media.
    pub key: Utf8PathBuf,
}

crate::used_as!(Courier, lab: Lab);

/// The options of a medium. By default it is unsigned, has one volume and carries everything.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Whether it is signed.
    pub signed: bool,
    /// The maximum size of a volume, in bytes.
    pub volume: Option<u64>,
    /// The maximum size of a piece, in bytes.
    pub piece: Option<u64>,
    /// The commits that the inside has already.
    pub assumed_commits: Vec<String>,
    /// Returns whether the medium gets this content.
    pub keep: Option<fn(&What) -> bool>,
    /// More contents, each with its file.
    pub extra: Vec<(What, Utf8PathBuf)>,
}

impl Courier {
    /// Makes a lab whose workspace is a git repository, and a key that signs media.
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
        make_key(path, "", "");
    }

    /// Returns the fingerprint of a key.
    pub fn fingerprint(&self, key: &Utf8Path) -> String {
        let listed = ssh_keygen(&format!("-l -f {key}"));
        listed.split(' ').nth(1).expect("a fingerprint").to_owned()
    }

    /// Commits all changes of the connected side, and returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.lab.commit(message)
    }

    /// Runs git in the workspace of the connected side.
    pub fn git(&self, arguments: impl Arguments) -> String {
        self.lab.git(arguments)
    }

    /// Runs git in a folder with the identity of the connected side.
    pub fn git_in(&self, folder: &Utf8Path, arguments: impl Arguments) -> String {
        self.lab.git_in(folder, arguments)
    }

    /// Returns a path below the workspace inside, which the first `unpack` creates.
    pub fn inside(&self, below: &str) -> Utf8PathBuf {
        self.lab.path("../inside").join(below)
    }

    /// Returns the manifest of a medium, and the files of its contents.
    pub fn contents(&self, choice: &Choice) -> (Manifest, Vec<Source>) {
        let sandbox = &self.lab.sandbox;
        let history = sandbox.path("../history");
        let commit = self.git("rev-parse HEAD");
        let excluded: Vec<String> = (choice.assumed_commits.iter())
            .map(|commit| format!("^{commit}"))
            .collect();
        let mut create = vec!["bundle", "create", "--quiet", history.as_str(), "main"];
        create.extend(excluded.iter().map(String::as_str));
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
        if !choice.assumed_commits.contains(&commit) {
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
        wanted.retain(|(what, _)| choice.keep.is_none_or(|keep| keep(what)));
        wanted.extend(choice.extra.iter().cloned());
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
                commits: choice.assumed_commits.clone(),
                ..Assumed::default()
            },
            files: vec![
                RootFile::of(medium::START, START.as_bytes()),
                RootFile::of(medium::PROGRAM, PROGRAM.as_bytes()),
            ],
            volumes,
            contents: sources
                .iter()
                .map(|source| source.content.clone())
                .collect(),
        };
        (manifest, sources)
    }

    /// Writes the medium in place of an earlier one.
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

    /// Returns the signature that `ssh-keygen` makes of these bytes.
    pub fn sign(&self, key: &Utf8Path, bytes: &[u8]) -> String {
        let file = self.lab.path("../signed");
        std::fs::write(&file, bytes).expect("a file");
        let _ = std::fs::remove_file(format!("{file}.sig"));
        ssh_keygen(&format!("-q -Y sign -f {key} -n airlock {file}"));
        std::fs::read_to_string(format!("{file}.sig")).expect("a signature")
    }

    /// Unpacks these folders of media into the workspace inside.
    #[must_use]
    pub fn unpack(&self, folders: &[&Utf8Path], more: &[&str]) -> Run {
        let inside = self.inside("");
        let mut arguments = vec!["unpack", "-C", inside.as_str()];
        arguments.extend(folders.iter().map(|folder| folder.as_str()));
        arguments.extend(more);
        self.lab.run(&arguments)
    }

    /// Unpacks a stream into the workspace inside.
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
        // `unpack` may end before it has read the whole stream.
        let _ = input.write_all(stream);
        drop(input);
        let output = child.wait_with_output().expect("the command under test");
        self.lab.ended(&output)
    }

    /// Checks that the workspace inside has all contents of the manifest.
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

/// Runs `ssh-keygen`, and returns its output.
fn ssh_keygen(arguments: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "OpenSSH signs media")]
    let output = std::process::Command::new("ssh-keygen")
        .args(arguments.words())
        .output()
        .expect("`ssh-keygen` of OpenSSH");
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
