//! Tests of the settings for running mkectl, in an otherwise valid environment.

use super::*;
use crate::load::tests::{GOOD, PROD, Workspace};

fn workspace(lines: &str) -> Workspace {
    Workspace::new(&[(PROD, &format!("{GOOD}{lines}"))])
}

#[test]
fn settings_for_running_mkectl_are_read() {
    let load = |lines: &str| {
        let workspace = workspace(lines);
        let file = workspace.root().join("environments/prod/admin");
        (workspace.loaded().operation, file)
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
    let problems = |lines: &str| workspace(lines).problems().to_string();
    insta::assert_snapshot!(problems("admin-password: swordfish\n"), @"environments/prod/environment.yaml:3:17: `admin-password` is a single value, not a mapping; write `{ file: PATH }`, or `{ command: [PROGRAM, ARGUMENT] }` for a program that reads it, or `ask` to be shown it on the terminal");
    insta::assert_snapshot!(problems("admin-password: { file: '' }\n"), @"environments/prod/environment.yaml:3:25: `admin-password.file` is empty; write a path, or remove the key");
    insta::assert_snapshot!(problems("admin-password: { command: pass }\n"), @"environments/prod/environment.yaml:3:28: `admin-password.command` is a single value, not a list; write a program and its arguments in brackets");
    insta::assert_snapshot!(problems("admin-password: { show: true }\n"), @"environments/prod/environment.yaml:3:19: unknown key `show` in `admin-password`; the keys are `file`, `command`");
    insta::assert_snapshot!(problems("admin-password: { file: a, command: [b] }\n"), @"environments/prod/environment.yaml:3:17: `admin-password` names a file and a command; keep one of them; `null` removes an inherited key");
    insta::assert_snapshot!(problems("admin-password: { command: [] }\n"), @"environments/prod/environment.yaml:3:28: `admin-password.command` is empty; write a program and its arguments in brackets");
    insta::assert_snapshot!(problems("apply-timeout: []\n"), @"environments/prod/environment.yaml:3:16: `apply-timeout` is a list, not a duration");
    for timeout in ["90", "0m", "-1m", "+5m", "1 h", "1.5h", "99999999999s"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(problems(&format!("apply-timeout: {timeout}\n")), @"environments/prod/environment.yaml:3:16: `apply-timeout` is not a duration; write a number from 1 and a unit (`s`, `m`, `h` or `d`), such as `90m`");
        }
    }
}
