//! Tests write a medium, carry it in every form, damage it, and read it.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;

use super::*;

const ALWAYS: Progress<'_> = &|_| true;
/// The bytes that the signatures in `tests` sign.
const SIGNED: &[u8] = b"format: 1\n";
const SIGNERS: &str = include_str!("tests/allowed_signers");

/// A medium of small blobs, in a temporary folder.
struct Case {
    _folder: tempfile::TempDir,
    root: Utf8PathBuf,
    manifest: Manifest,
    sources: Vec<Source>,
}

impl Case {
    fn new(blobs: &[usize], largest: u64, volume: Option<u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        let mut sources = Vec::new();
        for (index, size) in blobs.iter().enumerate() {
            let path = root.join(format!("source-{index}"));
            let bytes: Vec<u8> = (0..*size).map(|at| (at / 7 + index) as u8).collect();
            fs::write(&path, bytes).unwrap();
            sources.push(Source::read(What::Blob {}, &path, largest, ALWAYS).unwrap());
        }
        let volumes = split(&mut sources, volume, 0, 0).unwrap();
        let manifest = Manifest {
            format: Manifest::FORMAT,
            airlock: "0.1.0".to_owned(),
            serves: Served {
                environments: vec!["lab".to_owned()],
                locks: Vec::new(),
            },
            assumes: Assumed::default(),
            files: vec![RootFile::of(START, b"Start here.\n")],
            volumes,
            contents: sources
                .iter()
                .map(|source| source.content.clone())
                .collect(),
        };
        Self {
            _folder: folder,
            root,
            manifest,
            sources,
        }
    }

    fn write(&self, name: &str) -> Utf8PathBuf {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).unwrap();
        self.try_write(&folder).unwrap();
        folder
    }

    fn try_write(&self, folder: &Utf8Path) -> Result<(), Error> {
        let bytes = self.manifest.to_bytes().unwrap();
        write(
            folder,
            &self.manifest,
            &files(&bytes),
            &self.sources,
            ALWAYS,
        )
    }

    fn stream(&self) -> Vec<u8> {
        let bytes = self.manifest.to_bytes().unwrap();
        let mut stream = Vec::new();
        write_stream(
            &mut stream,
            &self.manifest,
            &files(&bytes),
            &self.sources,
            ALWAYS,
        )
        .unwrap();
        stream
    }
}

fn files(manifest: &[u8]) -> Files<'_> {
    Files {
        manifest,
        signature: None,
        start: "Start here.\n",
        program: None,
    }
}

fn open(folders: &[Utf8PathBuf]) -> Result<Medium, Error> {
    find(folders)?.trust_unsigned()
}

/// Returns every file with its bytes, by path.
fn tree(folder: &Utf8Path) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        match path.is_dir() {
            true => found.extend(tree(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_medium_is_read_as_it_was_written_and_written_the_same_again() {
    let case = Case::new(&[0, 10, 3000, 3000, 12_345], 1000, None);
    let (one, other) = (case.write("one"), case.write("other"));
    let relative = |folder: &Utf8Path| {
        let files = tree(folder).into_iter();
        let named =
            files.map(|(path, bytes)| (path.strip_prefix(folder).unwrap().to_owned(), bytes));
        named.collect::<Vec<_>>()
    };
    assert_eq!(relative(&one), relative(&other));
    for (path, _) in relative(&one) {
        let is_safe = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        };
        assert!(
            path.components().all(|part| is_safe(part.as_str())),
            "{path}"
        );
    }
    let medium = open(&[one]).unwrap();
    assert_eq!(medium.manifest(), &case.manifest);
    assert_eq!(medium.examine(ALWAYS).unwrap(), []);
    for source in &case.sources {
        let mut bytes = Vec::new();
        medium.copy(&source.content, &mut bytes, ALWAYS).unwrap();
        assert_eq!(bytes, fs::read(&source.path).unwrap());
    }
}

#[test]
fn volumes_are_recognised_on_disks_of_their_own_and_a_missing_one_is_named() {
    let case = Case::new(&[900_000; 3], 1 << 20, Some(2_200_000));
    let folder = case.write("medium");
    let volume = |number: u32| folder.join(layout::volume(number));
    assert_eq!(case.manifest.volumes.len(), 3);
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let medium = open(&order.map(volume)).unwrap();
        assert_eq!(medium.missing_volumes(), Vec::<u32>::new());
        assert_eq!(medium.examine(ALWAYS).unwrap(), []);
    }
    let medium = open(&[volume(3), volume(3), volume(1)]).unwrap();
    assert_eq!(medium.missing_volumes(), [2]);
    let damages = medium.examine(ALWAYS).unwrap();
    assert!(
        matches!(&damages[..], [Damage::Piece { piece, fault: Fault::Missing }] if piece.volume == 2),
        "{damages:?}"
    );
    // An unreadable folder is not missing. Root can read it.
    let mode = |mode| fs::set_permissions(volume(2), fs::Permissions::from_mode(mode)).unwrap();
    mode(0);
    if fs::read_dir(volume(2)).is_err() {
        let medium = open(std::slice::from_ref(&folder)).unwrap();
        assert_eq!(medium.missing_volumes(), Vec::<u32>::new());
        assert_eq!(medium.unreadable_volumes(), [2]);
        let damages = medium.examine(ALWAYS).unwrap();
        let [Damage::Piece { fault, .. }] = &damages[..] else {
            panic!("{damages:?}");
        };
        assert_eq!(*fault, Fault::Unreadable);
    }
    mode(0o755);
    // A link leads to a volume on a disk of its own.
    let disk = case.root.join("disk");
    fs::rename(volume(2), &disk).unwrap();
    std::os::unix::fs::symlink(&disk, volume(2)).unwrap();
    let medium = open(std::slice::from_ref(&folder)).unwrap();
    assert_eq!(medium.examine(ALWAYS).unwrap(), []);
    let other_case = Case::new(&[5], 1000, None);
    let other = other_case.write("other");
    assert!(matches!(
        open(&[folder, other.clone()]),
        Err(Error::OtherPack { path, .. }) if path.starts_with(&other)
    ));
    assert!(matches!(
        open(&[case.root.join("none")]),
        Err(Error::NoFolder { .. })
    ));
}

#[test]
fn a_stopped_run_is_completed_and_a_different_medium_is_kept() {
    let case = Case::new(&[1_000_000, 400_000], 300_000, None);
    let folder = case.root.join("medium");
    let bytes = case.manifest.to_bytes().unwrap();
    let remaining = std::sync::atomic::AtomicU32::new(3);
    let few = |_| remaining.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) > 1;
    fs::create_dir(&folder).unwrap();
    let stopped = write(&folder, &case.manifest, &files(&bytes), &case.sources, &few);
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert!(!folder.join(MANIFEST).exists());
    // Pieces of a different run are removed, and those of this run are kept.
    let stale = folder.join("volumes/0001/pieces/00").join("0".repeat(64));
    fs::create_dir_all(stale.parent().unwrap()).unwrap();
    fs::write(&stale, "stale").unwrap();
    let kept = tree(&folder)
        .into_iter()
        .find(|(path, _)| path.extension().is_none() && *path != stale);
    case.try_write(&folder).unwrap();
    assert!(!stale.exists());
    if let Some((path, bytes)) = kept {
        assert_eq!(fs::read(path).unwrap(), bytes);
    }
    assert_eq!(
        open(std::slice::from_ref(&folder))
            .unwrap()
            .examine(ALWAYS)
            .unwrap(),
        []
    );
    assert!(
        !tree(&folder)
            .iter()
            .any(|(path, _)| path.extension() == Some("part"))
    );
    let different = Case::new(&[7], 1000, None).try_write(&folder);
    assert!(matches!(different, Err(Error::Occupied { .. })));
}

#[test]
fn a_source_that_changed_is_not_written() {
    let mut case = Case::new(&[5000], 1 << 20, None);
    let piece = &case.sources[0].content.pieces[0].clone();
    fs::write(&case.sources[0].path, vec![1; 5000]).unwrap();
    let folder = case.root.join("medium");
    fs::create_dir(&folder).unwrap();
    assert!(matches!(
        case.try_write(&folder),
        Err(Error::Changed { .. })
    ));
    assert!(!layout::piece(&folder.join(layout::volume(1)), &piece.sha256).exists());
    case.sources[0].path = case.root.join("gone");
    assert!(matches!(case.try_write(&folder), Err(Error::Io { .. })));
}

/// Collects the bytes of a piece, and adds them to a list when the piece is complete.
struct Collect(Vec<u8>, Rc<RefCell<Vec<Vec<u8>>>>);

impl Write for Collect {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PieceSink for Collect {
    fn done(self: Box<Self>) -> io::Result<()> {
        self.1.borrow_mut().push(self.0);
        Ok(())
    }
}

fn receive(mut stream: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let received = Rc::default();
    let take = |_: &Medium, _: &Piece| -> Result<Box<dyn PieceSink>, Error> {
        Ok(Box::new(Collect(Vec::new(), Rc::clone(&received))))
    };
    let _ = read_stream(&mut stream, |found| found.trust_unsigned(), take, ALWAYS)?;
    Ok(received.take())
}

#[test]
fn a_stream_is_received_piece_by_piece_and_is_the_same_each_time() {
    let case = Case::new(&[10, 2500, 100], 1000, None);
    let stream = case.stream();
    assert_eq!(stream, case.stream());
    let received = receive(&stream).unwrap().concat();
    let sent = case
        .sources
        .iter()
        .map(|source| fs::read(&source.path).unwrap());
    assert_eq!(received, sent.collect::<Vec<_>>().concat());
    for length in [0, 100, 2000, 6000, stream.len() - 3000] {
        assert!(receive(&stream[..length]).is_err(), "{length}");
    }
    // Unpacked by tar, the stream is a medium in a folder.
    let folder = case.root.join("unpacked");
    tar::Archive::new(&stream[..]).unpack(&folder).unwrap();
    assert_eq!(open(&[folder]).unwrap().examine(ALWAYS).unwrap(), []);
}

#[test]
fn signatures_of_openssh_are_verified_for_every_kind_of_key() {
    let signers = Signers::parse(SIGNERS).unwrap();
    let signatures = [
        ("ssh-ed25519", include_str!("tests/ed25519-256.sig")),
        ("ecdsa-sha2-nistp256", include_str!("tests/ecdsa-256.sig")),
        ("ecdsa-sha2-nistp384", include_str!("tests/ecdsa-384.sig")),
        ("ecdsa-sha2-nistp521", include_str!("tests/ecdsa-521.sig")),
        ("ssh-rsa", include_str!("tests/rsa-2048.sig")),
    ];
    for (index, (algorithm, signature)) in signatures.into_iter().enumerate() {
        let signed = signer(SIGNED, signature).unwrap();
        assert_eq!(signed.algorithm(), algorithm);
        assert_eq!(signers.principal(&signed), Some("someone@example.com"));
        let changed = signer(b"format: 2\n", signature);
        assert!(matches!(changed, Err(SignatureError::Wrong)), "{algorithm}");
        let others: String = SIGNERS
            .lines()
            .enumerate()
            .filter(|(line, _)| *line != index)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        assert!(
            !Signers::parse(&others).unwrap().permits(&signed),
            "{algorithm}"
        );
        let line = signed.allowed_signers_line("courier").unwrap();
        assert_eq!(
            Signers::parse(&line).unwrap().principal(&signed),
            Some("courier")
        );
    }
    let other = signer(SIGNED, include_str!("tests/other-namespace.sig"));
    assert!(matches!(other, Err(SignatureError::Namespace { namespace }) if namespace == "git"));
}

#[test]
fn a_medium_is_trusted_only_by_a_valid_signature_of_a_permitted_key() {
    let signature = include_str!("tests/ed25519-256.sig").to_owned();
    let signers = Signers::parse(SIGNERS).unwrap();
    let found = |manifest: &[u8], signature: Option<&String>| {
        Found::in_stream(manifest.to_vec(), signature.cloned())
    };
    let signed = found(SIGNED, Some(&signature));
    // The signature is valid. The manifest itself is incomplete, which is checked later.
    assert!(matches!(
        signed.trust(&signers),
        Err(Error::Manifest { .. })
    ));
    let fingerprint = signed.signer().unwrap().fingerprint();
    assert!(matches!(
        signed.trust_fingerprint(&fingerprint),
        Err(Error::Manifest { .. })
    ));
    let refused = [
        signed.trust(&Signers::default()),
        signed.trust_fingerprint("SHA256:other"),
        signed.trust_unsigned(),
        found(b"format: 3\n", Some(&signature)).trust(&signers),
        found(SIGNED, None).trust(&signers),
        found(SIGNED, Some(&"not a signature".to_owned())).trust(&signers),
    ];
    for result in refused {
        assert!(matches!(result, Err(Error::Signature(_))), "{result:?}");
    }
}

#[test]
fn allowed_signers_are_limited_to_media_and_unsupported_options_are_refused() {
    let key = SIGNERS.lines().next().unwrap().split_once(' ').unwrap().1;
    let signed = signer(SIGNED, include_str!("tests/ed25519-256.sig")).unwrap();
    let permitted = |options: &str| {
        let text = format!("# A comment\n\na@example.com,b@example.com {options} {key}\n");
        Signers::parse(&text).map(|signers| signers.permits(&signed))
    };
    assert!(permitted("").unwrap());
    assert!(permitted("namespaces=\"git,airlock\"").unwrap());
    assert!(permitted("namespaces=\"*\"").unwrap());
    for pattern in ["air*", "a?rlock", "git,*k", "**"] {
        let options = format!("namespaces=\"{pattern}\"");
        assert!(permitted(&options).unwrap(), "{pattern}");
    }
    for pattern in ["git", "air", "air?", "*,!airlock", "!git"] {
        let options = format!("namespaces=\"{pattern}\"");
        assert!(!permitted(&options).unwrap(), "{pattern}");
    }
    for options in [
        "cert-authority",
        "valid-before=\"20200101\"",
        "namespaces=\"airlock\",cert-authority",
    ] {
        assert!(
            matches!(
                permitted(options),
                Err(SignatureError::Signers { line: 3, .. })
            ),
            "{options}"
        );
    }
    assert!(Signers::parse("someone@example.com\n").is_err());
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let case = Case::new(&[10, 2500], 1000, None);
    let text = String::from_utf8(case.manifest.to_bytes().unwrap()).unwrap();
    let hash = &case.manifest.contents[0].pieces[0].sha256;
    let changes = [
        ("format: 1", "format: 2"),
        ("size: 2500", "size: 2501"),
        ("number: 1", "number: 2"),
        ("volume: 1", "volume: 2"),
        ("name: START.txt", "name: ../START.txt"),
        ("airlock: 0.1.0", "airlock: 0.1.0\nother: 1"),
        (hash, "../../../../etc/passwd"),
    ];
    assert!(Manifest::parse(text.as_bytes()).is_ok());
    for (from, into) in changes {
        let changed = text.replacen(from, into, 1);
        assert_ne!(changed, text, "{from}");
        assert!(Manifest::parse(changed.as_bytes()).is_err(), "{into}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A flipped bit in any file is reported, and all other contents are still readable.
    #[test]
    fn one_flipped_bit_is_named_and_the_rest_is_usable(file in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
        let case = Case::new(&[10, 900, 70_000], 30_000, Some(1_200_000));
        let folder = case.write("medium");
        let files = tree(&folder);
        let (path, bytes) = &files[file.index(files.len())];
        let mut damaged = bytes.clone();
        let bit = bit.index(damaged.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, &damaged).unwrap();
        let medium = open(std::slice::from_ref(&folder)).unwrap();
        let damages = medium.examine(ALWAYS).unwrap();
        let name = path.file_name().unwrap();
        match name {
            START | MANIFEST if path.parent() == Some(&folder) => assert!(matches!(&damages[..], [Damage::File { name: named, fault: Fault::Damaged }] if named == name)),
            // Further copies exist of these.
            MANIFEST | "volume.yaml" => assert_eq!(damages, []),
            _ => assert!(matches!(&damages[..], [Damage::Piece { piece, fault: Fault::Damaged }] if piece.sha256 == name)),
        }
        let readable = case.sources.iter().filter(|source| {
            let mut into = Vec::new();
            medium.copy(&source.content, &mut into, ALWAYS).is_ok()
        });
        prop_assert!(readable.count() >= case.sources.len() - 1);
    }
}
