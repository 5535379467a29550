//! Tests of reading and writing receipts.

use super::*;

fn full_receipt() -> Receipt {
    let amount = Amount {
        blobs: 40,
        bytes: 3_090_196,
    };
    let by = Provenance {
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
        mounted: amount,
        present: amount,
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
            sets: BTreeMap::new(),
            config: "5c62".to_owned(),
            plan: Some("b1d2".to_owned()),
            mkectl: RecordedProgram {
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
            sets: BTreeMap::new(),
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
fn a_written_receipt_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = path(&directory);
    assert_eq!(Receipt::read(&path).unwrap(), None);
    let empty = Receipt {
        run: None,
        applied: None,
        failed: None,
        ..full_receipt()
    };
    for receipt in [full_receipt(), empty] {
        receipt.write(&path).unwrap();
        assert_eq!(Receipt::read(&path).unwrap(), Some(receipt));
    }
}

#[test]
fn another_format_and_unknown_keys_are_refused() {
    let parse = |text: &str| Receipt::parse(text, "receipt.yaml".into());
    for version in [1, 3] {
        let error = parse(&format!("version: {version}\n")).unwrap_err();
        assert!(
            matches!(&error, crate::Error::Receipt(Error::Version { version: found, .. }) if *found == version),
            "{error}"
        );
    }
    assert!(matches!(
        parse("version: 2\nsigned: yes\n"),
        Err(crate::Error::Receipt(Error::File { .. }))
    ));
}

#[test]
fn a_merge_conflict_is_named() {
    let text = serde_yaml::to_string(&full_receipt()).unwrap();
    let text = format!("<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n");
    assert_eq!(
        Receipt::parse(&text, "receipt.yaml".into())
            .unwrap_err()
            .to_string(),
        "a merge conflict in `receipt.yaml` is not resolved"
    );
}

#[test]
fn an_invalid_release_is_refused_with_its_place() {
    for release in ["banana", "4.1.5"] {
        let text = serde_yaml::to_string(&full_receipt()).unwrap();
        let text = text.replacen("release: v4.1.5", &format!("release: {release}"), 1);
        let error = Receipt::parse(&text, "receipt.yaml".into()).unwrap_err();
        let message = crate::chain(&error);
        assert!(
            message.contains(&format!("`{release}` is not a release")),
            "{message}"
        );
        assert!(message.contains("line "), "{message}");
    }
}
