//! Tests of the settings for running mkectl, in an otherwise valid environment.

use super::*;
use crate::{Environment, Error};

fn loaded(more: &str) -> (tempfile::TempDir, Result<Environment, Error>) {
    let folder = tempfile::tempdir().unwrap();
    let prod = folder.path().join("environments/prod");
    std::fs::create_dir_all(&prod).unwrap();
    let text = format!("release: v4.1.5\nregistry: {{ address: registry.example.com }}\n{more}");
    std::fs::write(prod.join("environment.yaml"), text).unwrap();
    let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    let loaded = crate::load(&root, "prod");
    (folder, loaded)
}

#[test]
fn settings_for_running_mkectl_are_read() {
    let load = |more: &str| {
        let (folder, loaded) = loaded(more);
        let file = folder.path().join("environments/prod/admin");
        let file = Utf8PathBuf::from_path_buf(file).unwrap();
        (loaded.unwrap().operation, file)
    };
    assert_eq!(load("").0, Operation::default());
    let (operation, file) = load("admin-password: { file: admin }\napply-timeout: 90m\n");
    assert_eq!(operation.admin_password, Some(AdminPassword::File(file)));
    assert_eq!(operation.apply_timeout, Some(Duration::from_secs(90 * 60)));
    let (operation, _) =
        load("admin-password: { command: [pass, insert, mke] }\napply-timeout: 2h\n");
    assert_eq!(
        operation.admin_password,
        Some(AdminPassword::Command(
            ["pass", "insert", "mke"].map(str::to_owned).to_vec()
        ))
    );
    assert_eq!(operation.apply_timeout, Some(Duration::from_secs(7200)));
}

#[test]
fn settings_for_running_mkectl_are_checked() {
    let wrong_key = |more: &str| match loaded(more).1 {
        Err(Error::Wrong(problems)) => problems.to_string(),
        other => panic!("{other:?}"),
    };
    insta::assert_snapshot!(wrong_key("admin-password: swordfish\n"), @"environments/prod/environment.yaml:3:17: `admin-password` is a single value, not a mapping; write `{ file: PATH }`, or `{ command: [PROGRAM, ARGUMENT] }` for a program that reads it, or `ask` to be shown it on the terminal");
    insta::assert_snapshot!(wrong_key("admin-password: { file: '' }\n"), @"environments/prod/environment.yaml:3:25: `admin-password.file` is empty; write a path, or remove the key");
    insta::assert_snapshot!(wrong_key("admin-password: { command: pass }\n"), @"environments/prod/environment.yaml:3:28: `admin-password.command` is a single value, not a list; write a program and its arguments in brackets");
    insta::assert_snapshot!(wrong_key("admin-password: { show: true }\n"), @"environments/prod/environment.yaml:3:19: unknown key `show` in `admin-password`; the keys are `file`, `command`");
    insta::assert_snapshot!(wrong_key("admin-password: { file: a, command: [b] }\n"), @"environments/prod/environment.yaml:3:17: `admin-password` names a file and a command; keep one of them; `null` removes an inherited key");
    insta::assert_snapshot!(wrong_key("admin-password: { command: [] }\n"), @"environments/prod/environment.yaml:3:28: `admin-password.command` is empty; write a program and its arguments in brackets");
    insta::assert_snapshot!(wrong_key("apply-timeout: []\n"), @"environments/prod/environment.yaml:3:16: `apply-timeout` is a list, not a duration");
    for timeout in ["90", "0m", "-1m", "+5m", "1 h", "1.5h", "99999999999s"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(wrong_key(&format!("apply-timeout: {timeout}\n")), @"environments/prod/environment.yaml:3:16: `apply-timeout` is not a duration; write a number from 1 and a unit (`s`, `m`, `h` or `d`), such as `90m`");
        }
    }
}
