//! `cluster`: backs up, restores, checks and resets a deployed cluster, with the mkectl of its
//! release.

use std::os::unix::fs::PermissionsExt as _;

use support::{Lab, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

/// Makes a lab with a different release than v4.1.5 and the mkectl of that release.
async fn lab_of(release: &str) -> Lab {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let bundle = lab.path(&format!("bundles/mke_bundle_{release}_amd64.tar.gz"));
    bundles::make(&bundles::small(), &bundle);
    lab.lock_as(release, &bundle);
    lab.edit_environment("release: v4.1.5", &format!("release: {release}"));
    lab.variable("FAKE_MKECTL_VERSION", release);
    lab
}

/// Returns the arguments of the last call of mkectl, redacted.
fn last(lab: &Lab) -> String {
    let call = lab.calls().pop().unwrap();
    lab.redact(&call.arguments.join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_receipt_cluster_backups_and_mkectl() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    insta::assert_snapshot!(lab.run("cluster status lab").whole(), @"
    exit code: 0
    --- stdout
    lab: no receipt records a deploy
    lab: the cluster cannot be read: `[SANDBOX]/bin/mkectl config get` exited with code 1: FTL there is no kubeconfig
    lab: no backup found
    lab: mkectl is v4.1.5
    --- stderr
    ");
    lab.run("deploy lab").success();
    lab.run("cluster backup lab").success();
    let live = lab.home().join("live.yaml");
    let config = lab.read("environments/lab/mke4.yaml");
    std::fs::write(&live, config).unwrap();
    lab.variable("FAKE_MKECTL_CONFIG", live.as_str());
    insta::assert_snapshot!(lab.run("cluster status lab").whole(), @"
    exit code: 0
    --- stdout
    lab: runs v4.1.5, deployed at [TIME], according to its receipt
    lab: the configuration as rendered for v4.1.5 is the last that was applied
    lab: the cluster reports: v4.1.5, 1 host, as rendered
    lab: 1 backup found, the latest is environments/lab/backups/[TIME]-v4.1.5.tar
    lab: mkectl is v4.1.5
    --- stderr
    ");
    lab.variable("FAKE_MKECTL_CONFIG", "/nowhere/live.yaml");
    let run = lab.run("cluster status lab --format json").success();
    let line = run.json();
    assert!(line["result"]["unreached"].is_string(), "{line}");
    let run = lab.run("cluster status nowhere").exits_with(3);
    run.reports("nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_and_restore_use_the_commands_of_each_release() {
    for (release, backup, restore) in [
        ("v4.1.1", "etcd backup", "etcd restore"),
        ("v4.1.3", "backup", "restore"),
        ("v4.2.1", "backup", "restore"),
    ] {
        let lab = lab_of(release).await;
        let archive = "environments/lab/backups/before.tar";
        let run = lab
            .run(&["cluster", "backup", "lab", "--output", archive])
            .success();
        assert!(
            run.stdout.starts_with(&format!("lab: wrote {archive}, ")),
            "{}",
            run.stdout
        );
        let file = "[WORKSPACE]/environments/lab/logs/.mke4-[RANDOM].yaml";
        let plain = match release {
            "v4.1.1" => "",
            _ => " --no-color --no-pretty-print",
        };
        assert_eq!(
            last(&lab),
            format!("{backup} -f {file} --name before.tar{plain}")
        );
        let mode = std::fs::metadata(lab.path(archive))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        // An existing file is never overwritten.
        lab.run(&["cluster", "backup", "lab", "--output", archive])
            .exits_with(3)
            .reports("already exists");

        // A missing folder may be a share that is not mounted, so it is not created.
        lab.run("cluster backup lab --output share/before.tar")
            .exits_with(1)
            .reports("cannot write to")
            .reports("share");
        assert!(!lab.path("share").exists());

        lab.run(&["cluster", "restore", "lab", archive])
            .exits_with(8);
        lab.run(&["cluster", "restore", "lab", archive, "--confirm", "lab"])
            .success();
        let hosts = match restore {
            "restore" => format!(" --hosts-path {file}"),
            _ => String::new(),
        };
        assert_eq!(
            last(&lab),
            format!("{restore} -f {file} --name before.tar{hosts}{plain}")
        );
        if restore == "restore" {
            insta::allow_duplicates! {
                insta::assert_snapshot!(lab.calls().pop().unwrap().hosts.unwrap(), @"
                hosts:
                - role: controller+worker
                  ssh:
                    address: 192.0.2.10
                    port: 22
                    user: ubuntu
                    keyPath: ~/.ssh/id_ed25519
                ");
            }
        }
    }
}

// Case 1.1: Airlock checks the archive, even if mkectl reports success.
#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_backup_is_a_failure() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for (backup, problem) in [
        ("none", "does not exist"),
        ("empty", "is empty"),
        ("link", "is not a regular file"),
        ("garbage", "is not a complete tar archive"),
        ("cut", "is not a complete tar archive"),
        ("fail", "`mkectl backup` exited with code 1"),
    ] {
        lab.variable("FAKE_MKECTL_BACKUP", backup);
        let archive = format!("environments/lab/{backup}.tar");
        let run = lab
            .run(&["cluster", "backup", "lab", "--output", &archive])
            .exits_with(7);
        run.reports(problem);
        // The hint does not name an upgrade.
        let (_, hint) = run.stderr.rsplit_once("hint: ").unwrap();
        hint.has("environments/lab/logs/").lacks("upgrade");
        assert!(!lab.path(&format!("{archive}.yaml")).exists());
        if let Ok(left) = std::fs::metadata(lab.path(&format!("{archive}.failed"))) {
            assert_eq!(left.permissions().mode() & 0o777, 0o600);
        }
    }
    let lab = lab_of("v4.1.0").await;
    let run = lab.run("cluster backup lab").exits_with(6);
    insta::assert_snapshot!(run.stderr, @"
    error: mkectl v4.1.0 cannot write a backup archive to a local file
    hint: keep its backup by other means, `cargo xtask mkectl lab -- backup create --name NAME` for example
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_kubeconfig_of_another_cluster_commands_are_refused() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let home = lab.home();
    let config = lab.read("environments/lab/mke4.yaml");
    let config = config
        .replace("192.0.2.10", "192.0.2.99")
        .replace("mke.lab.example.com", "other.example.com");
    std::fs::write(home.join("other.yaml"), &config).unwrap();
    std::fs::write(
        home.join("other.kubeconf"),
        format!("# cluster: {home}/other.yaml\n"),
    )
    .unwrap();
    lab.variable("KUBECONFIG", home.join("other.kubeconf").as_str());
    for command in [
        "cluster backup lab",
        "cluster reset lab --confirm lab",
        "mkectl lab -- certs rotate",
    ] {
        let run = lab.run(command).exits_with(3);
        run.reports("reached the cluster at other.example.com by")
            .reports("hint: unset KUBECONFIG");
    }
    // The release of the other cluster is not drift of this environment.
    for version in ["v4.1.5", "v4.2.0"] {
        let config = config.replace("version: v4.1.5", &format!("version: {version}"));
        std::fs::write(home.join("other.yaml"), config).unwrap();
        for command in ["cluster status lab", "status lab --live"] {
            let run = lab.run(command).success();
            run.prints("reached the cluster at other.example.com by")
                .does_not_print("reports:")
                .does_not_print("git pull");
        }
    }
    let run = lab.run("diff lab --live").exits_with(3);
    run.reports("hint: unset KUBECONFIG");
    let changed = lab
        .calls()
        .into_iter()
        .filter(|call| ["backup", "reset", "certs"].contains(&call.arguments[0].as_str()));
    assert_eq!(
        changed
            .filter(|call| call.arguments.last().unwrap() != "--help")
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_another_build_or_another_cluster_is_refused() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let run = lab.run("cluster backup lab --format json").success();
    let line = run.json();
    assert_eq!(line["result"]["mkectl"], "v4.1.5");
    // The name of the archive has the time of the backup.
    let folder = lab.path("environments/lab/backups");
    let archive = (folder.read_dir_utf8().unwrap())
        .map(|entry| entry.unwrap().into_path())
        .find(|path| path.as_str().ends_with("-v4.1.5.tar"))
        .unwrap();
    let note = camino::Utf8PathBuf::from(format!("{archive}.yaml"));
    let text = std::fs::read_to_string(&note).unwrap();
    let restore = || lab.run(format!("cluster restore lab {archive} --confirm lab").as_str());
    let calls = lab.calls().len();
    let run = lab.run("cluster restore lab nosuch.tar");
    insta::assert_snapshot!(run.exits_with(3).stderr, @"
    error: `nosuch.tar` does not exist
    hint: name an archive of lab; they are written to environments/lab/backups/
    ");
    // The build of mkectl that wrote the archive is missing.
    let sha256 = text
        .lines()
        .filter(|line| line.trim_start().starts_with("sha256"));
    let of_mkectl = sha256.clone().nth(1).unwrap().trim();
    std::fs::write(&note, text.replace(of_mkectl, "sha256: 00ff")).unwrap();
    let run = restore().exits_with(6);
    run.reports("was written by mkectl v4.1.5 with SHA-256 00ff, which was not found");
    std::fs::write(&note, text.replace("environment: lab", "environment: prod")).unwrap();
    let run = restore().exits_with(3);
    run.reports("is a backup of prod, not of lab");
    std::fs::remove_file(&note).unwrap();
    let run = restore().exits_with(3);
    run.reports(".tar.yaml` does not exist");
    // If the restore is impossible, the operator is not prompted.
    lab.run(&["cluster", "restore", "lab", archive.as_str()])
        .exits_with(3);
    std::fs::write(&note, &text).unwrap();
    let content = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, b"changed").unwrap();
    let run = restore().exits_with(3);
    run.reports("it was changed");
    assert_eq!(lab.calls().len(), calls);

    // The configuration was changed after the backup. The restore brings back the earlier receipt.
    std::fs::write(&archive, content).unwrap();
    let receipt = || {
        let text = lab.read("environments/lab/receipt.yaml");
        let lines = text.lines().filter(|line| !line.starts_with("run: "));
        lines.collect::<Vec<_>>().join("\n")
    };
    let before = receipt();
    lab.edit_environment(
        "tracking: { enabled: false }",
        "tracking: { enabled: true }",
    );
    lab.run("deploy lab").success();
    assert_ne!(receipt(), before);
    restore().success();
    assert_eq!(receipt(), before);
    let plan = lab.run("plan lab").success();
    plan.prints("because the configuration changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_restore_is_reported_by_receipt_plan_and_status() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let archive = "environments/lab/backups/before.tar";
    lab.run(&["cluster", "backup", "lab", "--output", archive])
        .success();
    lab.variable("FAKE_MKECTL_EXIT", "4");
    lab.run(&["cluster", "restore", "lab", archive, "--confirm", "lab"])
        .exits_with(7)
        .reports("error: `mkectl restore` exited with code 4");
    let receipt = lab.receipt();
    receipt.has("mkectl-exit-code: 4");
    receipt.has("error: '`mkectl restore` exited with code 4'");
    let plan = lab.run("plan lab").success();
    plan.prints("because the last command for the cluster failed");
    let status = lab.run("status lab").success();
    status.prints("the last command for the cluster failed: `mkectl restore` exited with code 4");
    let restore = ["cluster", "restore", "lab", archive, "--confirm", "lab"];
    let calls = lab.calls().len();
    lab.run(&[&restore[..], &["--hosts", "nofile"]].concat())
        .exits_with(3)
        .reports("nofile");
    assert_eq!(lab.calls().len(), calls);
    plan.does_not_mention("before it recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_is_in_the_output_or_the_named_file_and_in_no_log() {
    const SECRETS: [&str; 2] = ["fake-kubeconfig-password", "ZmFrZS1rdWJlY29uZmln"];
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let run = lab.run("cluster kubeconfig lab").success();
    assert!(
        run.stdout.starts_with("apiVersion: v1\nkind: Config\n"),
        "{}",
        run.stdout
    );
    for secret in SECRETS {
        run.prints(secret).does_not_report(secret);
    }
    let to_file = "cluster kubeconfig lab --output lab.kubeconf";
    let run = lab.run(to_file).success();
    let mode = std::fs::metadata(lab.path("lab.kubeconf"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = lab.read("lab.kubeconf");
    lab.run(to_file).exits_with(3);
    let again = lab.run(format!("{to_file} --replace").as_str()).success();
    // A file that git would commit is refused.
    lab.init_git();
    for (path, code) in [
        ("new.kubeconf", 3),
        ("environments/lab/lab.yaml", 3),
        ("environments/lab/kubeconfig", 0),
        ("../outside.kubeconf", 0),
    ] {
        let run = lab.run(&["cluster", "kubeconfig", "lab", "--output", path]);
        let run = run.exits_with(code);
        match code {
            0 => lab.remove(path),
            _ => drop(run.reports("would be committed\nhint: name a file outside of the repository, or environments/lab/kubeconfig,")),
        }
        assert!(!lab.path(path).exists(), "{path}");
    }
    lab.run("cluster backup lab --output environments/lab/x.tar")
        .exits_with(3)
        .reports("the cluster's secrets would be committed\nhint: name a file outside of the repository, or environments/lab/backups/,");
    // `mkectl kubeconfig` does not log its output either.
    #[cfg(target_os = "linux")]
    {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let typed = lab.command("mkectl lab -- kubeconfig");
        let run = { typed }.stdout(full.unwrap()).output().unwrap();
        assert_eq!(run.status.code(), Some(1));
    }
    let typed = lab.run("mkectl lab -- kubeconfig").success();
    typed.prints(SECRETS[0]);
    for secret in SECRETS {
        assert!(kept.contains(secret));
        run.does_not_mention(secret);
        again.does_not_mention(secret);
        typed.does_not_report(secret);
        for (path, content) in lab.files() {
            let is_meant = path.as_str().ends_with("lab.kubeconf");
            let text = String::from_utf8_lossy(&content);
            assert!(is_meant || !text.contains(secret), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mkectl_that_fails_prints_no_kubeconfig() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_EXIT", "5");
    let run = lab.run("cluster kubeconfig lab").exits_with(7);
    assert_eq!(run.stdout, "");
    run.reports("`mkectl kubeconfig` exited with code 5");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_run_if_mkectl_has_them_and_fail_otherwise() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    insta::assert_snapshot!(lab.run("cluster check lab").whole(), @"
    exit code: 6
    --- stdout
    --- stderr
    error: mkectl v4.1.5 has no `check` command; nothing was checked
    hint: check the machines with `cargo xtask preflight lab --nodes`
    ");
    let mut lab = lab_of("v4.2.0").await;
    insta::assert_snapshot!(lab.run("cluster check lab -- --concurrency 5").whole(), @"
    exit code: 0
    --- stdout
    lab: `check hosts` finds nothing wrong; its log is environments/lab/logs/[TIME]-check-hosts.log
    lab: `check ports` finds nothing wrong; its log is environments/lab/logs/[TIME]-check-ports.log
    --- stderr
       mkectl [SANDBOX]/bin/mkectl check hosts -f environments/lab/logs/.mke4-[RANDOM].yaml --no-color --no-pretty-print --concurrency 5
    mkectl | INF mkectl v4.2.0 begins: check hosts
    mkectl | INF check hosts is done
       mkectl [SANDBOX]/bin/mkectl check ports -f environments/lab/logs/.mke4-[RANDOM].yaml --no-color --no-pretty-print --concurrency 5
    mkectl | INF mkectl v4.2.0 begins: check ports
    mkectl | INF check ports is done
    ");
    // The second check runs even if the first one fails.
    lab.variable("FAKE_MKECTL_EXIT", "9");
    insta::assert_snapshot!(lab.run("cluster check lab").whole(), @"
    exit code: 7
    --- stdout
    lab: `check hosts` exits with code 9; its log is environments/lab/logs/[TIME]-check-hosts.log
    lab: `check ports` exits with code 9; its log is environments/lab/logs/[TIME]-check-ports.log
    --- stderr
       mkectl [SANDBOX]/bin/mkectl check hosts -f environments/lab/logs/.mke4-[RANDOM].yaml --no-color --no-pretty-print
    mkectl | INF mkectl v4.2.0 begins: check hosts
    mkectl | FTL check hosts failed: told to by FAKE_MKECTL_EXIT
       mkectl [SANDBOX]/bin/mkectl check ports -f environments/lab/logs/.mke4-[RANDOM].yaml --no-color --no-pretty-print
    mkectl | INF mkectl v4.2.0 begins: check ports
    mkectl | FTL check ports failed: told to by FAKE_MKECTL_EXIT
    error: `mkectl check hosts` exited with code 9
      mkectl | INF mkectl v4.2.0 begins: check hosts
      mkectl | FTL check hosts failed: told to by FAKE_MKECTL_EXIT
    hint: its output is in environments/lab/logs/[TIME]-check-hosts.log
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_requires_the_name_and_is_refused_for_a_protected_environment() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.write_environment("protected: true\n");
    for command in [
        "cluster reset lab --confirm lab",
        "mkectl lab --confirm lab -- reset --force",
    ] {
        let run = lab.run(command).exits_with(8);
        run.reports("is protected, and cannot be reset");
    }
    lab.write_environment("");
    lab.run("cluster reset lab").exits_with(8);
    lab.run("cluster reset lab --confirm prod").exits_with(8);
    let resets = |lab: &Lab| {
        let calls = lab.calls();
        let resets = calls.iter().filter(|call| call.arguments[0] == "reset");
        resets
            .filter(|call| !call.arguments.contains(&"--help".to_owned()))
            .count()
    };
    assert_eq!(resets(&lab), 0);
    let earlier = "environments/lab/admin-password-2026-11-30T14-16-02Z";
    lab.write(earlier, "planted-earlier");
    lab.run("cluster reset lab --confirm lab")
        .success()
        .reports(" --force ")
        .reports("environments/lab/admin-password belongs to the cluster that was reset")
        .reports("admin-password-[TIME] belongs to the cluster that was reset");
    assert_eq!(resets(&lab), 1);
    assert!(!lab.path("environments/lab/receipt.yaml").exists());
    let plan = lab.run("plan lab").success();
    plan.prints("because no receipt records a successful deploy");
}

// mkectl gets the file as it is rendered now. After an edit that was not deployed, it would reset
// or restore different machines.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_edit_that_was_not_deployed_reset_and_restore_are_refused() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let archive = "environments/lab/backups/before.tar";
    lab.run(&["cluster", "backup", "lab", "--output", archive])
        .success();
    let reset = &["cluster", "reset", "lab", "--confirm", "lab"][..];
    let restore = &["cluster", "restore", "lab", archive, "--confirm", "lab"][..];
    for (from, to, differs) in [
        (
            "192.0.2.10",
            "192.0.2.200",
            "spec.hosts[192.0.2.10], spec.hosts[192.0.2.200]",
        ),
        (
            "project: mke",
            "project: other",
            "spec.registries.imageRegistry.url, spec.registries.chartRegistry.url",
        ),
    ] {
        lab.edit_environment(from, to);
        for command in [reset, restore] {
            let run = lab.run(command).exits_with(8);
            run.reports(&format!(
                "error: the files of lab were changed since mkectl ran: {differs}\n\
                 hint: restore what was applied: `git restore environments/lab ':!environments/lab/receipt.yaml'`\n\
                 hint: if the change is meant, deploy it first: `cargo xtask deploy lab`\n"
            ));
        }
        lab.edit_environment(to, from);
    }
    let calls = lab.calls();
    let mut commands = calls.iter().map(|call| call.arguments[0].as_str());
    assert!(!commands.any(|command| ["reset", "restore"].contains(&command)));
    lab.receipt().lacks("failed:");
    lab.run(restore).success();
    lab.run(reset).success();
}

// `git restore` alone would keep an edit that is committed.
#[tokio::test(flavor = "multi_thread")]
async fn the_advice_after_a_committed_edit_restores_the_applied_commit() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.init_git();
    lab.commit("Begin");
    lab.run("deploy lab").success();
    let applied = lab.commit("Deploy").trim().to_owned();
    lab.edit_environment("192.0.2.10", "192.0.2.200");
    lab.commit("Move");
    let reset = &["cluster", "reset", "lab", "--confirm", "lab"][..];
    let refused = lab.run(reset).exits_with(8);
    let command = refused.stderr.split('`').nth(1).unwrap();
    assert!(
        command.starts_with("git restore --overlay --source "),
        "{command}"
    );
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let pathspecs = arguments.iter().map(|one| one.trim_matches('\''));
    lab.git(pathspecs.collect::<Vec<_>>().as_slice());
    assert_ne!(lab.git("diff --stat HEAD"), "");
    assert_eq!(lab.git(&["diff", &applied, "--stat"][..]), "");
    lab.run(reset).success();
}

// Without the file, mkectl would use ~/.mke/mke.kubeconf, which may lead to a different cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_named_kubeconfig_that_is_not_a_file_is_an_error() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let home = lab.home();
    for (path, fault) in [
        ("/nowhere/kubeconf", "does not exist"),
        ("~/kubeconf", "does not exist"),
        (home.as_str(), "is not a file"),
    ] {
        lab.variable("KUBECONFIG", path);
        for command in [
            "cluster status lab",
            "cluster backup lab",
            "mkectl lab -- config get",
            "diff lab --live",
        ] {
            let run = lab.run(command).exits_with(3);
            run.reports(&format!(
                "{fault}, but KUBECONFIG names it as the kubeconfig of lab"
            ));
        }
    }
    let mut command = lab.command("cluster status lab");
    let path = std::os::unix::ffi::OsStrExt::from_bytes(b"/nowhere/\xff");
    let run = command
        .env::<_, &std::ffi::OsStr>("KUBECONFIG", path)
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    // This command writes a kubeconfig, so a missing one is not an error.
    lab.run("cluster kubeconfig lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_has_no_cluster() {
    let sandbox = support::Sandbox::shipped(AIRLOCK);
    for command in ["status", "backup", "kubeconfig", "check"] {
        let run = sandbox.run(&["cluster", command, "demo"]).exits_with(3);
        run.reports("demo is a rehearsal");
    }
}
