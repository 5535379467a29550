//! Bundles in sets: locked by checksum or signature, compared with upstream, fetched according to
//! their lock, and packed on a medium.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::make::ArtifactRecipe;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use support::bundles::{Member, dex, image, of, pack, sha256, tar, unpack, untar};
use support::server::{cut_after, part_of};
use support::{Arguments, Courier, Lab, TlsProxy, Web};

use super::*;
use crate::FAKE_MKECTL;
use crate::referees::run;

const FILE: &str = "airlock-bundle-1.2.3.tar.gz";
const LOCK: &str = "bundles/k0rdent.lock.yaml";
const ORIGIN: &str = "/k0rdent-enterprise/1.2.3/airlock-bundle-1.2.3.tar.gz";

/// Returns the archives of these artifacts, each under its path.
fn archives(named: Vec<(&str, ArtifactRecipe)>) -> Vec<Member> {
    let (paths, recipes): (Vec<&str>, Vec<ArtifactRecipe>) = named.into_iter().unzip();
    let archives = unpack(&support::bundles::bytes(&of(recipes)));
    let renamed = archives.into_iter().zip(paths);
    let renamed = renamed.map(|(archive, path)| Member::new(path, archive.bytes));
    renamed.collect()
}

/// Returns an archive whose index does not name the platforms of its images, as some builders write
/// it.
fn without_platforms(archive: &[u8]) -> Vec<u8> {
    let mut members = untar(archive);
    let mut change = |path: &str, change: &mut dyn FnMut(&mut Value)| {
        let member = members.iter_mut().find(|one| one.path == path).unwrap();
        let mut document: Value = serde_json::from_slice(&member.bytes).unwrap();
        change(&mut document);
        member.bytes = serde_json::to_vec(&document).unwrap();
        if path != "index.json" {
            let hex = sha256(&member.bytes);
            member.path = format!("blobs/sha256/{hex}");
        }
        (member.path.clone(), member.bytes.len())
    };
    let mut root = String::new();
    change("index.json", &mut |index| {
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        root = format!("blobs/{}", digest.replace(':', "/"));
    });
    let (path, size) = change(&root, &mut |index| {
        for child in index["manifests"].as_array_mut().unwrap() {
            child.as_object_mut().unwrap().remove("platform").unwrap();
        }
    });
    change("index.json", &mut |index| {
        let digest = path.replace("blobs/sha256/", "sha256:");
        index["manifests"][0]["digest"] = digest.into();
        index["manifests"][0]["size"] = size.into();
    });
    tar(&members)
}

/// Returns the members of a bundle in the form of k0rdent Enterprise: folders, `_` before the tag,
/// and what is not an OCI archive.
fn enterprise(tag: &str) -> Vec<Member> {
    let controller = image("x", "1", BOTH, &[("base", 900), ("controller", 1 << 20)]);
    let provider = image("y", "1", &["linux/amd64"], &[("base", 900), (tag, 700)]);
    let mut members = archives(vec![
        ("capi/controller_v2.8.2.tar", controller),
        (&format!("capi/provider_{tag}.tar"), provider),
        ("charts/dex_0.23.0.tar", dex()),
    ]);
    // As `docker save` wrote it before version 25.
    let docker = tar(&[
        Member::new("manifest.json", r#"[{"Config":"0.json","Layers":[]}]"#),
        Member::new("0.json", "{}"),
    ]);
    members.insert(1, Member::new("skopeo_v1.17.0.tar", docker));
    members.push(Member::new("bins/k0s-v1.32.6+k0s.0-amd64", "#!/bin/sh\n"));
    members.push(Member::new("release-matrix.json", "[]"));
    members.push(Member::new("notes.tar", tar(&[])));
    members
}

/// A workspace with the set `k0rdent` of one bundle, which a web server has with its signature.
struct Vendor {
    sandbox: Sandbox,
    web: Web,
    bundle: bytes::Bytes,
}

support::used_as!(Vendor, sandbox: Sandbox);

impl Vendor {
    async fn new() -> Self {
        let vendor = Self::unsigned().await;
        vendor.new_key("vendor", "prime256v1");
        vendor.publish(&vendor.bundle);
        vendor.write("key: vendor.pub, as: k0rdent-enterprise");
        vendor
    }

    async fn unsigned() -> Self {
        let vendor = Self {
            sandbox: Sandbox::new(AIRLOCK),
            web: Web::start().await,
            bundle: pack(&enterprise("v1")).into(),
        };
        vendor.web.put(ORIGIN, vendor.bundle.clone());
        vendor
    }

    /// Makes a key with `openssl`, and puts its public half beside the set.
    fn new_key(&self, name: &str, curve: &str) {
        let key = self.private_key(name);
        let key = key.as_str();
        let generate = ["ecparam", "-name", curve, "-genkey", "-noout", "-out", key];
        self.openssl(&generate);
        let public = self.path(&format!("bundles/{name}.pub"));
        self.openssl(&["ec", "-in", key, "-pubout", "-out", public.as_str()]);
    }

    /// Returns what `cosign sign-blob` writes for these bytes.
    fn sign(&self, name: &str, bytes: &[u8]) -> String {
        let path = |name: &str| self.home().join(name).to_string();
        let (blob, der, signature) = (path("blob"), path("blob.der"), path("blob.sig"));
        std::fs::write(&blob, bytes).unwrap();
        let key = self.private_key(name).to_string();
        self.openssl(&["dgst", "-sha256", "-sign", &key, "-out", &der, &blob]);
        self.openssl(&["base64", "-in", &der, "-out", &signature]);
        std::fs::read_to_string(signature).unwrap()
    }

    fn private_key(&self, name: &str) -> camino::Utf8PathBuf {
        self.home().join(format!("{name}.key"))
    }

    fn openssl(&self, arguments: impl Arguments) {
        run(&self.sandbox, "openssl", arguments);
    }

    /// Serves a bundle with its signature.
    fn publish(&self, bundle: &bytes::Bytes) {
        self.web.put(ORIGIN, bundle.clone());
        let signature = self.sign("vendor", bundle);
        self.web.put(&format!("{ORIGIN}.sig"), signature);
    }

    fn url(&self) -> String {
        format!("http://{}{ORIGIN}", self.web.address)
    }

    /// Writes the set's file, with these keys beside the URL.
    fn write(&self, keys: &str) {
        let text = format!("bundles:\n- {{ url: '{}', {keys} }}\n", self.url());
        self.sandbox.write("bundles/k0rdent.set.yaml", &text);
    }

    fn run(&self, arguments: impl Arguments) -> support::Run {
        self.sandbox.run(arguments)
    }

    fn lock(&self) -> Lock {
        Lock::read(&self.path(LOCK)).unwrap()
    }

    fn store(&self) -> Store {
        Store::open(&self.path("bundles/store")).unwrap()
    }

    fn file(&self) -> camino::Utf8PathBuf {
        self.path(&format!("bundles/{FILE}"))
    }

    /// Removes store and bundle, as on a new machine.
    fn forget(&self) {
        support::bundles::forget_store(&self.sandbox);
        let _ = std::fs::remove_file(self.file());
    }

    /// Checks that only the files of a download were written.
    fn nothing_is_trusted(&self) {
        assert!(!self.path(LOCK).exists());
        assert!(!self.path("bundles/store/blobs").exists());
    }

    fn everything_is_there(&self) {
        let store = self.store();
        for (digest, size) in self.lock().artifacts.iter().flat_map(|one| one.blobs()) {
            store.verify_blob(digest, size).unwrap();
        }
    }

    /// Returns the requests since there were `before`.
    fn asked_since(&self, before: usize) -> Vec<String> {
        let asked = self.web.asked().split_off(before);
        let short = asked.iter();
        let short = short.map(|one| one.replace("/k0rdent-enterprise/1.2.3/", ""));
        short.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_openssl, ignore = "openssl is not on PATH")]
async fn a_signed_bundle_is_locked_with_all_its_artifacts() {
    let vendor = Vendor::new().await;
    let run = vendor.run("lock k0rdent").success();
    insta::assert_snapshot!(run.stdout, @"wrote bundles/k0rdent.lock.yaml: 3 artifacts, 2.11 MB");
    // The signature is there before gigabytes are downloaded.
    assert_eq!(
        vendor.asked_since(0),
        [format!("GET {FILE}.sig"), format!("GET {FILE}")]
    );
    let not_carried: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.contains("is not carried"))
        .collect();
    insta::assert_snapshot!(not_carried.join("\n"), @r"
    warning: skopeo_v1.17.0.tar in airlock-bundle-1.2.3.tar.gz is not carried: it has no `oci-layout`, so it is not an OCI archive
    warning: bins/k0s-v1.32.6+k0s.0-amd64 in airlock-bundle-1.2.3.tar.gz is not carried: it is not an OCI archive
    warning: release-matrix.json in airlock-bundle-1.2.3.tar.gz is not carried: it is not an OCI archive
    warning: notes.tar in airlock-bundle-1.2.3.tar.gz is not carried: `notes.tar` has neither `@` nor `_` between repository and tag
    ");
    let text = vendor.read(LOCK);
    let lock = vendor.lock();
    let head = text.split("artifacts:").next().unwrap();
    let head = head
        .replace(&vendor.web.address, "127.0.0.1:[PORT]")
        .replace(&lock.bundles[0].sha256, "[SHA256]")
        .replace(lock.bundles[0].key.as_ref().unwrap(), "[KEY]");
    insta::assert_snapshot!(head);
    let names: Vec<String> = lock.artifacts.iter().map(|one| one.reference()).collect();
    insta::assert_snapshot!(names.join("\n"), @r"
    k0rdent-enterprise/capi/controller:v2.8.2
    k0rdent-enterprise/capi/provider:v1
    k0rdent-enterprise/charts/dex:0.23.0
    ");
    vendor.everything_is_there();

    // Nothing is downloaded for what is known, and the file in bundles/ gives the same lock.
    let before = vendor.web.count();
    let run = vendor.run("lock k0rdent").success();
    run.prints("unchanged");
    assert_eq!(
        vendor.asked_since(before),
        [format!("HEAD {FILE}"), format!("GET {FILE}.sig")]
    );
    vendor.remove(LOCK);
    support::bundles::forget_store(&vendor.sandbox);
    let before = vendor.web.count();
    vendor.run("lock k0rdent").success();
    assert_eq!(vendor.read(LOCK), text);
    assert_eq!(vendor.asked_since(before), [format!("GET {FILE}.sig")]);
    // Offline with the signature beside the bundle.
    vendor.remove(LOCK);
    let offline = ["lock", "k0rdent", "--offline"];
    let run = vendor.run(&offline).exits_with(1);
    run.reports(&format!("bundles/{FILE}.sig"));
    let signature = vendor.sign("vendor", &vendor.bundle);
    let beside = format!("bundles/{FILE}.sig");
    vendor.sandbox.write(&beside, &signature);
    for _ in 0..2 {
        vendor.run(&offline).success();
        assert_eq!(vendor.read(LOCK), text);
    }

    let inspected = vendor.run("inspect k0rdent").success();
    let of_bundle = inspected.stdout.split("set k0rdent").nth(1).unwrap();
    insta::assert_snapshot!(of_bundle.replace(&lock.bundles[0].sha256, "[SHA256]"));
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_openssl, ignore = "openssl is not on PATH")]
async fn lock_and_fetch_resume_and_compare_every_digest() {
    let vendor = Vendor::new().await;
    let (served, count) = (vendor.bundle.clone(), AtomicUsize::new(0));
    let ranges = Arc::new(AtomicUsize::new(0));
    let ranged = Arc::clone(&ranges);
    vendor.web.answer(ORIGIN, move |asked| {
        let mut answer = part_of(&served, asked);
        if asked.method == "HEAD" {
            return answer;
        }
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            ranged.fetch_add(1, Ordering::SeqCst);
        }
        // The first request of each command.
        if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            let tag = answer.headers()["etag"].clone();
            answer = cut_after(&served, 1 << 20);
            answer.headers_mut().insert("etag", tag);
        }
        answer
    });
    vendor.run("lock k0rdent").success();
    assert_eq!(ranges.load(Ordering::SeqCst), 1);
    vendor.forget();
    let run = vendor.run("fetch k0rdent").success();
    insta::assert_snapshot!(run.stdout, @"the set k0rdent is fetched: 14 new blobs, 2.11 MB");
    assert_eq!(ranges.load(Ordering::SeqCst), 2);
    vendor.everything_is_there();

    // With everything in the store, nothing is downloaded; with the file, neither.
    let before = vendor.web.count();
    vendor.run("fetch k0rdent --offline").success();
    support::bundles::forget_store(&vendor.sandbox);
    vendor.run("fetch k0rdent --offline").success();
    assert_eq!(vendor.web.count(), before);
    vendor.everything_is_there();
    vendor.forget();
    let run = vendor.run("fetch k0rdent --offline").exits_with(1);
    run.reports(&format!("bundles/{FILE} is not fetched"));
    // A copied bundle that was changed is refused, although each blob that was kept is right.
    let mut damaged = vendor.bundle.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(vendor.file(), damaged).unwrap();
    vendor.run("fetch k0rdent --offline").exits_with(4);
    std::fs::write(vendor.file(), "short").unwrap();
    vendor.run("fetch k0rdent --offline").exits_with(4);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_openssl, ignore = "openssl is not on PATH")]
async fn what_is_not_signed_with_the_key_reaches_neither_store_nor_lock() {
    let vendor = Vendor::new().await;
    let signature = format!("{ORIGIN}.sig");
    let mut all = String::new();
    let mut refused = |code: i32| {
        let run = vendor.run("lock k0rdent").exits_with(code);
        vendor.nothing_is_trusted();
        all.push_str(&run.stderr);
        all.push('\n');
    };
    // These errors are found before the bundle is downloaded.
    vendor
        .web
        .answer(&signature, |_| StatusCode::NOT_FOUND.into_response());
    refused(5);
    vendor
        .sandbox
        .write("bundles/key.pub", "-----BEGIN PUBLIC KEY-----\nAAAA\n");
    vendor.write("key: key.pub");
    refused(3);
    vendor.new_key("other", "secp384r1");
    vendor.write("key: other.pub");
    refused(3);
    vendor.write("key: nowhere.pub");
    refused(3);
    assert!(!vendor.web.asked().contains(&format!("GET {ORIGIN}")));

    vendor.write("key: vendor.pub");
    vendor.web.put(&signature, "not a signature");
    refused(4);
    // Of a different file, and of a different key.
    vendor.web.put(&signature, vendor.sign("vendor", b"other"));
    refused(4);
    vendor.new_key("other", "prime256v1");
    vendor
        .web
        .put(&signature, vendor.sign("other", &vendor.bundle));
    refused(4);
    insta::assert_snapshot!(all);
    // The same file with the right one.
    vendor
        .web
        .put(&signature, vendor.sign("vendor", &vendor.bundle));
    let before = vendor.web.count();
    vendor.run("lock k0rdent").success();
    assert_eq!(vendor.asked_since(before), [format!("GET {FILE}.sig")]);
    // A signature elsewhere.
    vendor
        .web
        .put("/elsewhere", vendor.sign("other", &vendor.bundle));
    let elsewhere = format!("http://{}/elsewhere", vendor.web.address);
    vendor.write(&format!("key: other.pub, signature: '{elsewhere}'"));
    let run = vendor.run("lock k0rdent --check").exits_with(2);
    run.prints("was changed after it was locked");
    let before = vendor.web.count();
    vendor.run("lock k0rdent").success();
    // The locked checksum is verified, without another download.
    assert_eq!(
        vendor.asked_since(before),
        [format!("HEAD {FILE}"), "GET /elsewhere".to_owned()]
    );
    vendor.run("lock k0rdent --check").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_has_the_checksum_that_the_set_lists() {
    let vendor = Vendor::unsigned().await;
    let checksum = sha256(&vendor.bundle);
    let zeros = "0".repeat(64);
    vendor.write(&format!("sha256: {zeros}"));
    let run = vendor.run("lock k0rdent").exits_with(4);
    run.reports("expected");
    vendor.nothing_is_trusted();
    // Also a file that was copied.
    std::fs::write(vendor.file(), &vendor.bundle).unwrap();
    let run = vendor.run("lock k0rdent").exits_with(4);
    run.reports(&format!("has SHA-256 {checksum}, expected {zeros}"));
    vendor.nothing_is_trusted();
    vendor.write(&format!("sha256: {checksum}"));
    let before = vendor.web.count();
    vendor.run("lock k0rdent").success();
    // What the set lists does not move: nothing is asked.
    vendor.run("lock k0rdent --check").success();
    vendor.run("lock k0rdent --replace").success();
    assert_eq!(vendor.web.count(), before);
    // A lock that was edited is made again from the file that is here.
    let mut edited = vendor.lock();
    edited.artifacts.pop();
    vendor.sandbox.write(LOCK, &edited.to_yaml());
    vendor.run("lock k0rdent --replace").success();
    assert_eq!(vendor.lock().artifacts.len(), 3);
    assert_eq!(vendor.web.count(), before);
    // A lock with a conflict of git has nothing to keep.
    let text = vendor.read(LOCK);
    vendor.sandbox.write(LOCK, &format!("<<<<<<< HEAD\n{text}"));
    vendor.run("lock k0rdent").exits_with(3);
    vendor.run("lock k0rdent --replace").success();
    assert_eq!(vendor.read(LOCK), text);
    // A different file that was copied to its place.
    let other = pack(&enterprise("v2"));
    std::fs::write(vendor.file(), &other).unwrap();
    let listed = sha256(&other);
    vendor.write(&format!("sha256: {listed}"));
    vendor.run("lock k0rdent --offline").success();
    assert_eq!(vendor.lock().bundles[0].sha256, listed);
    std::fs::write(vendor.file(), &vendor.bundle).unwrap();
    vendor.write(&format!("sha256: {zeros}"));
    let run = vendor.run("fetch k0rdent").exits_with(3);
    run.reports("was changed after");

    // Without either, what comes is trusted, and only a different size is noticed.
    vendor.remove(LOCK);
    vendor.write("strip: 0");
    let run = vendor.run("lock k0rdent").success();
    run.reports(&format!("the downloaded file is trusted. Its SHA-256 is {checksum}; compare it with what the vendor publishes"));
    let run = vendor.run("lock k0rdent --check").success();
    run.prints("only the size was compared: http:");
    // What is upstream now is not what is here.
    assert_eq!(other.len(), vendor.bundle.len());
    vendor.web.put(ORIGIN, other);
    vendor.run("lock k0rdent --replace").success();
    assert_eq!(vendor.lock().bundles[0].sha256, listed);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_openssl, ignore = "openssl is not on PATH")]
async fn a_bundle_that_changed_upstream_is_named_and_stays_as_it_was_locked() {
    let vendor = Vendor::new().await;
    let run = vendor.run("lock k0rdent").success();
    let verified = "airlock-bundle-1.2.3.tar.gz is signed with bundles/vendor.pub";
    run.reports(verified);
    let text = vendor.read(LOCK);
    let locked = vendor.lock().bundles[0].sha256.clone();
    vendor.run("lock k0rdent --check").success();
    // A different file of the same size is known by its signature.
    let same_size: bytes::Bytes = pack(&enterprise("v2")).into();
    assert_eq!(same_size.len(), vendor.bundle.len());
    vendor.publish(&same_size);
    let run = vendor.run("lock k0rdent --check").exits_with(2);
    let moved =
        format!("was sha256:{locked} when it was locked and is signed as a different file now");
    run.prints(&moved);
    let run = vendor.run("lock k0rdent").success();
    run.prints("kept as locked");
    assert_eq!(vendor.read(LOCK), text);
    // What is fetched is what is locked, or nothing.
    let run = vendor.run("fetch k0rdent").exits_with(2);
    run.reports("moved upstream");
    vendor.forget();
    vendor.run("fetch k0rdent").exits_with(4);
    assert_eq!(vendor.read(LOCK), text);

    // A new file whose signature is wrong does not replace the one that is here.
    std::fs::write(vendor.file(), &vendor.bundle).unwrap();
    let signature = format!("{ORIGIN}.sig");
    vendor.web.put(&signature, vendor.sign("vendor", b"other"));
    let run = vendor.run("lock k0rdent --replace").exits_with(4);
    let wrong = format!("`bundles/unverified-{FILE}` was not signed with `bundles/vendor.pub`");
    run.reports(&wrong);
    assert_eq!(std::fs::read(vendor.file()).unwrap(), vendor.bundle);
    assert_eq!(vendor.read(LOCK), text);
    vendor.publish(&same_size);

    let update = ["lock", "k0rdent", "--update", "k0rdent-enterprise"];
    let run = vendor.run(&update).success();
    run.prints("updated: ");
    assert_eq!(std::fs::read(vendor.file()).unwrap(), same_size);
    let names: Vec<String> = vendor
        .lock()
        .artifacts
        .iter()
        .map(|one| one.reference())
        .collect();
    assert!(
        names.contains(&"k0rdent-enterprise/capi/provider:v2".to_owned()),
        "{names:?}"
    );
    vendor.run("lock k0rdent --check").success();
    let mut larger = enterprise("v3");
    larger.push(Member::new("more", vec![0; 1000]));
    vendor.publish(&pack(&larger).into());
    let run = vendor.run("lock k0rdent --check").exits_with(2);
    run.prints(&format!(
        " was a file of {} bytes when it was locked and is a file of ",
        vendor.bundle.len()
    ));
    // The file of before is in the way, and is replaced.
    vendor.run("lock k0rdent --replace").success();
    vendor.run("lock k0rdent --check").success();
    vendor
        .web
        .answer(ORIGIN, |_| StatusCode::NOT_FOUND.into_response());
    let run = vendor.run("lock k0rdent --check").exits_with(2);
    run.prints("removed upstream: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_signs_lose_leading_folders_and_never_overlap() {
    let vendor = Vendor::unsigned().await;
    let mut ceph = archives(vec![
        (
            "host.example&ceph&rook@v1.16.tar",
            image("a", "1", BOTH, &[("base", 900)]),
        ),
        (
            "bundle/charts/host.example&ceph&charts&dex@0.23.0.tar",
            dex(),
        ),
    ]);
    ceph[0].bytes = without_platforms(&ceph[0].bytes);
    let ceph = pack(&ceph);
    vendor.web.put("/ceph/ceph.tgz", ceph);
    let url = format!("http://{}/ceph/ceph.tgz", vendor.web.address);
    let set = |more: &str| format!("bundles:\n- {{ url: '{url}', strip: 2 }}\n{more}");
    vendor.sandbox.write("bundles/ceph.set.yaml", &set(""));
    vendor.run("lock ceph").success();
    let path = vendor.path("bundles/ceph.lock.yaml");
    let lock = || Lock::read(&path).unwrap();
    let names: Vec<String> = lock().artifacts.iter().map(|one| one.reference()).collect();
    assert_eq!(names, ["charts/dex:0.23.0", "rook:v1.16"]);

    // All names are too short.
    let stripped = set("").replace("strip: 2", "strip: 9");
    vendor.sandbox.write("bundles/ceph.set.yaml", &stripped);
    let run = vendor.run("lock ceph").exits_with(4);
    run.reports("none of its 2 files can be used; the first archive, `host.example&ceph&rook@v1.16.tar`: `host.example/ceph/rook` has no 9 \
             leading folders to leave out\nhint: if its name is the reason, change `as:` or `strip:`");

    // A different place is a different lock, for which the file is read again.
    let moved = set("").replace("strip: 2", "strip: 2, as: ceph");
    vendor.sandbox.write("bundles/ceph.set.yaml", &moved);
    let run = vendor.run("fetch ceph").exits_with(3);
    run.reports("was changed after");
    let before = vendor.web.count();
    vendor.run("lock ceph").success();
    assert_eq!(vendor.web.count(), before);
    assert_eq!(lock().artifacts[1].reference(), "ceph/rook:v1.16");

    // The file of one set is not taken for that of another.
    let other = set("").replace("/ceph/ceph.tgz", "/other/ceph.tgz");
    vendor.sandbox.write("bundles/other.set.yaml", &other);
    let run = vendor.run("lock other").exits_with(3);
    run.reports("both be downloaded as bundles/ceph.tgz");
    vendor.remove("bundles/other.set.yaml");

    // Another entry under the name of an artifact.
    let tool = format!("http://{}/tool", vendor.web.address);
    vendor.web.put("/tool", "tool");
    let digest = "1".repeat(64);
    let file = format!("files: [{{ url: '{tool}', sha256: {digest}, as: 'rook:v1.16' }}]\n");
    vendor.sandbox.write("bundles/ceph.set.yaml", &set(&file));
    let run = vendor.run("lock ceph").exits_with(3);
    run.reports("/ceph/ceph.tgz both have rook:v1.16");
    // A damaged archive is not left out, and not for `learn`.
    let mut damaged = archives(vec![("capi/a_1.tar", dex())]);
    damaged[0].bytes.truncate(3000);
    vendor.web.put("/ceph/ceph.tgz", pack(&damaged));
    let plain = format!("bundles: [{{ url: '{url}' }}]\n");
    vendor.sandbox.write("bundles/ceph.set.yaml", &plain);
    vendor.remove("bundles/ceph.tgz");
    let run = vendor.run("lock ceph").exits_with(4);
    assert!(
        run.stderr.contains("capi/a_1.tar")
            && run
                .stderr
                .contains("delete bundles/ceph.tgz and lock again")
            && !run.stderr.contains("xtask learn"),
        "{}",
        run.stderr
    );
    // A URL without a file.
    vendor
        .web
        .answer("/ceph/ceph.tgz", |_| StatusCode::NOT_FOUND.into_response());
    vendor.remove("bundles/ceph.tgz");
    let run = vendor.run("lock ceph").exits_with(1);
    run.reports("hint: check the URL in the set's file");
    // Reserved names are those of the artifacts.
    let reserved = archives(vec![("airlock/state_1.tar", dex())]);
    vendor.web.put("/ceph/ceph.tgz", pack(&reserved));
    let run = vendor.run("lock ceph").exits_with(3);
    run.reports("airlock/ is reserved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_has_the_bundle_and_the_lock_has_the_vendors_url() {
    let vendor = Vendor::unsigned().await;
    let (path, address) = (format!("/proxy{ORIGIN}"), &vendor.web.address);
    vendor.web.put(&path, vendor.bundle.clone());
    let url = format!("https://get.example.com{ORIGIN}");
    let registries = format!("get.example.com: {{ mirror: '{address}/proxy' }}");
    vendor.sandbox.write(
        "bundles/k0rdent.set.yaml",
        &format!("bundles: [{{ url: '{url}' }}]\nregistries: {{ {registries} }}\n"),
    );
    vendor.run("lock k0rdent").success();
    assert_eq!(vendor.lock().bundles[0].url, url);
    vendor.forget();
    vendor.run("fetch k0rdent").success();
    vendor.everything_is_there();
    let asked = vendor.web.asked();
    let expected = ["GET", "GET", "HEAD"].map(|method| format!("{method} {path}"));
    assert_eq!(asked, expected);
}

/// Returns an answer: the bundle with this login, otherwise a Basic challenge.
fn behind_a_login(
    bundle: &bytes::Bytes,
    login: &str,
) -> impl Fn(&support::server::Asked) -> axum::response::Response + use<> {
    let (bundle, wanted) = (bundle.clone(), format!("Basic {login}"));
    move |asked| match asked.header("authorization") == wanted {
        true => part_of(&bundle, asked),
        false => {
            let challenge = [("www-authenticate", "Basic realm=\"bundles\"")];
            (StatusCode::UNAUTHORIZED, challenge).into_response()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_downloaded_with_the_ca_and_the_account_of_its_server() {
    let vendor = Vendor::unsigned().await;
    let proxy = TlsProxy::start(&vendor.web.address, &["127.0.0.1"], |_| ()).await;
    let address = &proxy.address;
    vendor.sandbox.write("bundles/ca.pem", &proxy.ca_pem);
    vendor.sandbox.write(
        "bundles/k0rdent.set.yaml",
        &format!(
            "bundles: [{{ url: 'https://{address}{ORIGIN}' }}]\nregistries: {{ {address}: {{ ca: ca.pem }} }}\n"
        ),
    );
    let log_in = |login: &str| vendor.log_in(address, login);
    let login = BASE64_STANDARD.encode("courier:planted-password-91c4");
    let answer = behind_a_login(&vendor.bundle, &login);
    vendor.web.answer(ORIGIN, answer);
    log_in(&BASE64_STANDARD.encode("courier:planted-other-5d20"));
    let refused = vendor.run("lock k0rdent").exits_with(1);
    refused.reports("401");
    let hint = "hint: log in to the server";
    refused.reports(hint);
    vendor.nothing_is_trusted();
    log_in(&login);
    vendor.run("lock k0rdent").success();
    vendor.forget();
    // Some servers forbid without a challenge.
    let (bundle, wanted) = (vendor.bundle.clone(), format!("Basic {login}"));
    vendor.web.answer(ORIGIN, move |asked| {
        match asked.header("authorization") == wanted {
            true => part_of(&bundle, asked),
            false => StatusCode::FORBIDDEN.into_response(),
        }
    });
    let fetched = vendor.run("fetch k0rdent -v").success();
    fetched.does_not_mention("planted");
    vendor.everything_is_there();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_certificate_gets_the_advice_for_its_fault() {
    let vendor = Vendor::unsigned().await;
    for (name, until, names_ca, hint) in [
        (
            "127.0.0.1",
            2100,
            false,
            "hint: name the server's CA by `ca`",
        ),
        (
            "127.0.0.1",
            2020,
            true,
            "hint: correct this machine's clock",
        ),
        (
            "other.example.com",
            2100,
            true,
            "hint: use the server's own name",
        ),
    ] {
        let proxy = TlsProxy::start(&vendor.web.address, &[name], |certificate| {
            certificate.not_after = rcgen::date_time_ymd(until, 1, 1);
        })
        .await;
        let address = &proxy.address;
        vendor.sandbox.write("bundles/ca.pem", &proxy.ca_pem);
        let mut set = format!("bundles: [{{ url: 'https://{address}{ORIGIN}' }}]\n");
        if names_ca {
            set.push_str(&format!("registries: {{ {address}: {{ ca: ca.pem }} }}\n"));
        }
        vendor.sandbox.write("bundles/k0rdent.set.yaml", &set);
        let run = vendor.run("lock k0rdent").exits_with(1);
        run.reports(hint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_a_redirect_leads_to_gets_no_account() {
    let (vendor, other) = (Vendor::unsigned().await, Web::start().await);
    let login = BASE64_STANDARD.encode("courier:planted-password-91c4");
    vendor.log_in(&vendor.web.address, &login);
    let to = format!("http://{}/storage", other.address);
    vendor
        .web
        .answer(ORIGIN, move |_| support::server::redirect(&to));
    other.answer("/storage", |asked| {
        assert_eq!(asked.header("authorization"), "");
        let challenge = [("www-authenticate", "Basic realm=\"bundles\"")];
        (StatusCode::UNAUTHORIZED, challenge).into_response()
    });
    vendor.write("strip: 0");
    vendor.run("lock k0rdent").exits_with(1);
    assert!(other.count() > 0);
}

async fn is_one_served(urls: &[String]) -> bool {
    for url in urls {
        let asked = support::registries::http().head(url).send().await;
        if asked.is_ok_and(|answer| answer.status().is_success()) {
            return true;
        }
    }
    false
}

/// An environment whose set has an image of a registry and a bundle, locked and with an empty
/// store.
async fn with_image_and_bundle(bytes: &bytes::Bytes) -> (Lab, support::upstream::Upstream, Web) {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let (upstream, web) = (
        support::upstream::Upstream::start().await,
        Web::start().await,
    );
    upstream.image("library/nginx", "1.29", BOTH, 3000, "1");
    web.put(ORIGIN, bytes.clone());
    lab.write(
        "bundles/k0rdent.set.yaml",
        &format!(
            "images: ['{}/library/nginx:1.29']\nbundles: [{{ url: 'http://{}{ORIGIN}' }}]\n",
            upstream.address, web.address
        ),
    );
    lab.write_environment("sets: [k0rdent]\n");
    lab.run("lock k0rdent").success();
    support::bundles::forget_store(&lab.sandbox);
    (lab, upstream, web)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_registries_and_bundles_of_sets_have_is_sent_while_the_rest_is_read() {
    let bytes: bytes::Bytes = pack(&enterprise("v1")).into();
    let (lab, _upstream, web) = with_image_and_bundle(&bytes).await;
    lab.remove(&format!("bundles/{FILE}"));

    // The end of the bundle is served once a layer of the registry's image and one of the bundle's
    // beginning were sent.
    let lock = Lock::read(&lab.path(LOCK)).unwrap();
    let layers = |repository: &str| -> Vec<String> {
        let artifact = lock
            .artifacts
            .iter()
            .find(|one| one.repository == repository);
        let manifests = artifact.unwrap().manifests.iter();
        let layers = manifests.flat_map(|one| one.blobs.iter().skip(1));
        let at = format!("http://{}/v2/mke/{repository}/blobs", lab.registry.address);
        layers
            .map(|layer| format!("{at}/{}", layer.digest))
            .collect()
    };
    let sent = [layers("library/nginx"), layers("capi/controller")];
    web.answer(ORIGIN, move |_| {
        let (first, last) = (
            bytes.slice(..bytes.len() - 500),
            bytes.slice(bytes.len() - 500..),
        );
        let sent = sent.clone();
        let rest = async move {
            for layers in &sent {
                while !is_one_served(layers).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Ok::<_, std::convert::Infallible>(last)
        };
        let first = futures_util::future::ready(Ok(first)).boxed();
        let parts = futures_util::stream::iter([first, rest.boxed()]).buffered(1);
        axum::body::Body::from_stream(parts).into_response()
    });
    let before = web.count();
    lab.run("push lab").success();
    assert_eq!(web.count() - before, 1, "the bundle was asked for again");
    lab.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_run_reads_the_bundles_that_are_here_and_names_what_is_missing() {
    let (lab, _upstream, web) = with_image_and_bundle(&pack(&enterprise("v1")).into()).await;
    let push = lab.run("push lab --offline").exits_with(1);
    let plan = lab.run("plan lab --offline").success();
    let warning = plan.stdout.lines().find(|line| line.contains("would fail"));
    plan.does_not_print("from upstream");
    for text in [push.stderr.as_str(), warning.unwrap_or_default()] {
        text.has("library/nginx:1.29");
        text.lacks(".tar.gz");
    }
    lab.run("push lab").success();

    // The registry has the image but lost an artifact of each bundle.
    let client = lab.registry.client();
    let http = support::registries::http();
    for (repository, tag) in [("mke/capi/provider", "v1"), ("mke/calico/node", "v3.30.2")] {
        let found = client.get_manifest(repository, tag).await.unwrap();
        let url = format!(
            "http://{}/v2/{repository}/manifests/{}",
            lab.registry.address, found.digest
        );
        http.delete(url).send().await.unwrap();
    }
    support::bundles::forget_store(&lab.sandbox);
    let before = web.count();
    lab.run("push lab --offline").success();
    assert_eq!(web.count(), before);
    lab.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_skopeo, ignore = "skopeo is not on PATH")]
async fn archives_of_skopeo_are_carried_or_left_out_by_their_form() {
    let vendor = Vendor::unsigned().await;
    let controller = image("x", "1", &["linux/amd64"], &[("base", 900)]);
    let made = archives(vec![("made.tar", controller)]).remove(0).bytes;
    let path = |name: &str| vendor.home().join(name).to_string();
    std::fs::write(path("made.tar"), made).unwrap();
    let mut members = Vec::new();
    for (form, name) in [
        ("oci-archive", "capi/controller_v1.tar"),
        ("docker-archive", "skopeo_v1.17.0.tar"),
    ] {
        let (from, to) = (path("made.tar"), path(form));
        let (from, to) = (format!("oci-archive:{from}"), format!("{form}:{to}"));
        let copy = ["copy", "--insecure-policy", &from, &to];
        run(&vendor.sandbox, "skopeo", &copy);
        members.push(Member::new(name, std::fs::read(path(form)).unwrap()));
    }
    vendor.web.put(ORIGIN, pack(&members));
    vendor.write("strip: 0");
    vendor.run("lock k0rdent").success();
    let lock = vendor.lock();
    let names: Vec<String> = lock.artifacts.iter().map(|one| one.reference()).collect();
    assert_eq!(names, ["capi/controller:v1"]);
    let skipped = &lock.bundles[0].skipped;
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0].archive, "skopeo_v1.17.0.tar");
}

#[test]
fn mistakes_of_a_bundle_are_named() {
    let sandbox = Sandbox::new(AIRLOCK);
    let mut all = String::new();
    for bundles in [
        "[{ url: 'https://a.example/b.zip' }]",
        "[{ url: 'https://a.example/b.set.yaml' }]",
        "[{ url: 'https://a.example/' }]",
        "[{ url: 'https://bob:secret@a.example/b.tar.gz' }]",
        "[{ url: 'https://a.example/b.tar.gz?token=secret' }]",
        "[{ url: 'http://a.example/b.tar.gz' }]",
        "[{ url: 'https://a.example/b.tar.gz', sha256: 12 }]",
        "[{ url: 'https://a.example/b.tar.gz', as: 'Ceph' }]",
        "[{ url: 'https://a.example/b.tar.gz', as: airlock/x }]",
        "[{ url: 'https://a.example/b.tar.gz', strip: -1 }]",
        "[{ url: 'https://a.example/b.tar.gz', name: x }]",
        "[{ url: 'https://a.example/b.tar.gz', signature: 'https://a.example/s' }]",
        "[{ url: 'https://a.example/b.tar.gz' }, { url: 'https://a.example/b.tar.gz', as: x }]",
        "[{ url: 'https://a.example/b.tar.gz' }, { url: 'https://b.example/b.tar.gz' }]",
        "[]",
    ] {
        let text = format!("bundles: {bundles}\n");
        sandbox.write("bundles/platform.set.yaml", &text);
        let run = sandbox.run("lock platform").exits_with(3);
        run.does_not_mention("secret");
        all.push_str(&run.stderr);
    }
    insta::assert_snapshot!(all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_carries_bundles_over_the_gap() {
    let Courier { lab, .. } = Courier::new(AIRLOCK, FAKE_MKECTL).await;
    let web = Web::start().await;
    web.put(ORIGIN, pack(&enterprise("v1")));
    let url = format!("http://{}{ORIGIN}", web.address);
    let set = format!("bundles: [{{ url: '{url}', as: k0rdent-enterprise }}]\n");
    lab.write("bundles/k0rdent.set.yaml", &set);
    lab.write_environment("sets: [k0rdent]\n");
    lab.run("lock k0rdent").success();
    let path = lab.path(LOCK);
    let lock = Lock::read(&path).unwrap();
    // A machine that has neither store nor bundle.
    lab.run("fetch lab").success();
    lab.remove(&format!("bundles/{FILE}"));
    let store = Store::open(&lab.path("bundles/store")).unwrap();
    for (digest, _) in lock.artifacts.iter().flat_map(|one| one.blobs()) {
        let _ = std::fs::remove_file(store.path(digest));
    }
    let plan = lab.run("plan lab").success();
    plan.prints("+ k0rdent-enterprise/capi/controller:v2.8.2");
    let fetch = plan
        .stdout
        .lines()
        .find(|line| line.contains("from upstream"));
    insta::assert_snapshot!(
        fetch.unwrap_or_default(),
        @"  sets      k0rdent: fetch 14 blobs from upstream (2.15 MB)"
    );
    lab.commit("Carry k0rdent");
    let inside = lab.carry();
    let to = ["-C", inside.as_str()];
    let before = web.count();
    let offline = |command: &str| lab.run(&[&[command, "lab", "--offline"][..], &to].concat());
    offline("push").success();
    offline("verify").success();
    assert_eq!(web.count(), before);
    let client = lab.registry.client();
    for artifact in &lock.artifacts {
        let repository = format!("mke/{}", artifact.repository);
        let pushed = client.get_manifest(&repository, &artifact.tag).await;
        assert_eq!(pushed.unwrap().digest, artifact.digest);
    }
    let images = lab.run("images lab").success();
    let line = images
        .stdout
        .lines()
        .find(|line| line.contains("capi/provider"));
    assert!(
        line.is_some_and(|line| line.contains(&format!("/{FILE}#capi/provider_v1.tar "))),
        "{}",
        images.stdout
    );
    // Where nodes would look for it is not known.
    for consumer in ["kustomize", "containerd", "idms"] {
        let printed = lab.run(&["images", "lab", "--as", consumer]).success();
        printed.does_not_print("capi");
    }
    let status = lab.run("status lab").success();
    status.does_not_mention("different lock");
    let listed = lab.run("list").success();
    listed.prints("k0rdent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_fetches_a_bundle_and_two_sets_may_share_artifacts() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let web = Web::start().await;
    let mut sets = Vec::new();
    for tag in ["v1", "v2"] {
        let name = format!("k0rdent-{tag}");
        let path = format!("/{tag}/bundle-{tag}.tar.gz");
        web.put(&path, pack(&enterprise(tag)));
        let text = format!("bundles: [{{ url: 'http://{}{path}' }}]\n", web.address);
        lab.write(&format!("bundles/{name}.set.yaml"), &text);
        lab.run(&["lock", &name]).success();
        lab.remove(&format!("bundles/bundle-{tag}.tar.gz"));
        sets.push(name);
    }
    support::bundles::forget_store(&lab.sandbox);
    lab.write_environment(&format!("sets: [{}]\n", sets.join(", ")));
    let preflight = lab.run("preflight lab");
    preflight.prints("to be fetched from upstream");
    let other = "bundles/bundle-v1.tar.gz";
    lab.write(other, "another file");
    for command in ["plan", "deploy"] {
        let run = lab.run(&[command, "lab"]).exits_with(4);
        run.reports(other);
    }
    lab.remove(other);
    let before = web.count();
    lab.run("rehearse lab").success();
    assert_eq!(web.count(), before, "a rehearsal downloads nothing");
    lab.run("deploy lab").success();
    lab.run("verify lab").success();
    let repositories = lab.repositories().await;
    assert!(
        repositories.contains(&"mke/capi/controller".to_owned()),
        "{repositories:?}"
    );
    let again = lab.run("deploy lab").success();
    again.mentions("Nothing to do");

    // What a node misses is read from the bundle again.
    let client = lab.registry.client();
    let provider = ("mke/capi/provider", "v2");
    let before = client.get_manifest(provider.0, provider.1).await.unwrap();
    let manifests = format!(
        "http://{}/v2/mke/capi/provider/manifests",
        lab.registry.address
    );
    let lost = support::registries::http().delete(format!("{manifests}/{}", before.digest));
    lost.send().await.unwrap();
    support::bundles::forget_store(&lab.sandbox);
    lab.run("verify lab").exits_with(5);
    lab.run("verify lab --repair").success();
    let after = client.get_manifest(provider.0, provider.1).await.unwrap();
    assert_eq!(after.digest, before.digest);
    let diff = lab.run("diff k0rdent-v1 k0rdent-v2");
    diff.prints("capi/provider");

    // One URL, locked at different times. The set that is behind may be the first or the second.
    web.put("/v1/bundle-v1.tar.gz", pack(&enterprise("v3")));
    let text = lab.read("bundles/k0rdent-v1.set.yaml");
    let text = text.replace("' }", "', as: later }");
    lab.write("bundles/later.set.yaml", &text);
    lab.remove("bundles/bundle-v1.tar.gz");
    lab.run("lock later").success();
    lab.write_environment("sets: [k0rdent-v1, later]\n");
    let run = lab.run("plan lab").exits_with(3);
    assert!(
        run.stderr.contains("the sets k0rdent-v1 and later have")
            && run.stderr.contains(
                "`cargo xtask lock k0rdent-v1 --replace`, then `cargo xtask lock later --replace`"
            ),
        "{}",
        run.stderr
    );
    for set in ["k0rdent-v1", "later"] {
        lab.run(&["lock", set, "--replace"]).success();
    }
    lab.run("plan lab").success();
}
