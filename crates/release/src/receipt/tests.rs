//! Receipts: what is written is read back, and so is what earlier versions wrote.

use super::*;

/// What version 1 wrote, to the byte.
const FIRST_VERSION: &str = "\
# Written by `cargo xtask deploy`: what the last one did. Commit it.
version: 1
applied:
  release: v4.1.5
  lock: 7f28165687014f071a9a557b8ab91fac16244366e6fe2b20aeea0ceb02ca28ad
  registry: registry.example.com:5000/mke
  external-address: mke.example.com
  config: 5c62e091b8c0565f1bafad0dad5934276143ae2ccef7a5381e8ada5b1a8d26d2
  mkectl: v4.1.5
  when: 2026-01-02T03:04:05Z
  airlock: 0.1.0
  artifacts: 14
  pushed: 13
  sent-bytes: 3090196
failed:
  release: v4.1.5
  step: apply
  error: mkectl exited with code 7
  mkectl-exit-code: 7
  when: 2026-02-03T04:05:06Z
  airlock: 0.1.0
";

fn whole() -> Receipt {
    let amount = Amount {
        blobs: Some(40),
        bytes: 3_090_196,
    };
    let by = By {
        airlock: "0.2.0".to_owned(),
        revision: Some("528b56d3c0f1e8a7b6c5d4e3f2a1b0c9d8e7f6a5".to_owned()),
        clean: Some(false),
        operator: Some(Operator {
            git: Some("Jane Doe <jane@example.com>".to_owned()),
            login: Some("jane".to_owned()),
        }),
    };
    let overridden = Some(Overridden {
        missing: "staging has no receipt".to_owned(),
        reason: "staging burnt down: see #17".to_owned(),
    });
    let pushed = Pushed {
        artifacts: 13,
        sent: amount,
        mounted: Some(amount),
        present: Some(amount),
    };
    Receipt {
        run: None,
        version: Receipt::VERSION,
        applied: Some(Applied {
            release: "v4.1.5".to_owned(),
            registry: "registry.example.com:5000/mke".to_owned(),
            external_address: Some("mke.example.com".to_owned()),
            kept: Some([("network.serviceCIDR".to_owned(), "10.96.0.0/16".to_owned())].into()),
            lock: "7f28".to_owned(),
            config: "5c62".to_owned(),
            plan: Some("b1d2".to_owned()),
            mkectl: Program {
                version: "v4.1.5".to_owned(),
                sha256: Some("9a0b".to_owned()),
            },
            artifacts: 14,
            pushed: pushed.clone(),
            began: Some("2026-01-02T03:04:05Z".to_owned()),
            ended: "2026-01-02T03:24:05Z".to_owned(),
            by: by.clone(),
            overridden: overridden.clone(),
            without_backup: Some("the lab is rebuilt daily".to_owned()),
            rebuilt: false,
        }),
        failed: Some(Failed {
            release: "v4.1.5".to_owned(),
            registry: Some("registry.example.com:5000/mke".to_owned()),
            lock: Some("7f28".to_owned()),
            config: Some("5c62".to_owned()),
            plan: Some("b1d2".to_owned()),
            step: "apply".to_owned(),
            error: "mkectl exited with code 7".to_owned(),
            mkectl_exit_code: Some(7),
            pushed: Some(pushed),
            began: Some("2026-02-03T04:05:06Z".to_owned()),
            ended: "2026-02-03T04:25:06Z".to_owned(),
            by,
            overridden,
            without_backup: None,
        }),
    }
}

fn path(folder: &tempfile::TempDir) -> camino::Utf8PathBuf {
    Utf8Path::from_path(folder.path())
        .unwrap()
        .join("receipt.yaml")
}

#[test]
fn what_is_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = path(&directory);
    assert_eq!(Receipt::read(&path).unwrap(), None);
    let first = Receipt::parse(FIRST_VERSION, &path).unwrap();
    let empty = Receipt {
        run: None,
        applied: None,
        failed: None,
        ..whole()
    };
    for receipt in [whole(), first, empty] {
        receipt.write(&path).unwrap();
        assert_eq!(Receipt::read(&path).unwrap(), Some(receipt));
    }
}

#[test]
fn the_first_version_is_still_read() {
    let receipt = Receipt::parse(FIRST_VERSION, "receipt.yaml".into()).unwrap();
    let applied = receipt.applied.unwrap();
    assert_eq!(applied.registry, "registry.example.com:5000/mke");
    assert_eq!(applied.external_address.as_deref(), Some("mke.example.com"));
    assert!(applied.config.starts_with("5c62"));
    assert_eq!(applied.mkectl.version, "v4.1.5");
    assert_eq!(applied.mkectl.sha256, None);
    assert_eq!(applied.pushed.artifacts, 13);
    assert_eq!(applied.pushed.sent.bytes, 3_090_196);
    assert_eq!(applied.ended, "2026-01-02T03:04:05Z");
    let failed = receipt.failed.unwrap();
    assert_eq!(failed.step, "apply");
    assert_eq!(failed.mkectl_exit_code, Some(7));
    assert_eq!(failed.by.airlock, "0.1.0");
    // Only what was deployed, or only what failed, is a receipt as well.
    let (applied, failed) = FIRST_VERSION.split_once("failed:").unwrap();
    assert!(Receipt::parse(applied, "receipt.yaml".into()).is_ok());
    let failed = format!("version: 1\nfailed:{failed}");
    assert!(Receipt::parse(&failed, "receipt.yaml".into()).is_ok());
}

#[test]
fn another_format_and_unknown_keys_are_refused() {
    let parse = |text: &str| Receipt::parse(text, "receipt.yaml".into());
    assert!(matches!(
        parse("version: 3\n"),
        Err(crate::Error::Receipt(Error::Version { version: 3, .. }))
    ));
    for version in [1, 2] {
        let text = format!("version: {version}\nsigned: yes\n");
        assert!(
            matches!(parse(&text), Err(crate::Error::Receipt(Error::File { .. }))),
            "{text}"
        );
    }
    assert!(matches!(
        parse(&FIRST_VERSION.replace("version: 1", "version: 2")),
        Err(crate::Error::Receipt(Error::File { .. }))
    ));
}

#[test]
fn a_release_that_is_none_is_refused_where_it_stands() {
    for (text, release) in [
        (FIRST_VERSION.to_owned(), "banana"),
        (serde_yaml::to_string(&whole()).unwrap(), "4.1.5"),
    ] {
        let text = text.replacen("release: v4.1.5", &format!("release: {release}"), 1);
        let error = Receipt::parse(&text, "receipt.yaml".into()).unwrap_err();
        let told = crate::chain(&error);
        assert!(
            told.contains(&format!("`{release}` is no release")),
            "{told}"
        );
        assert!(told.contains("line "), "{told}");
    }
}
