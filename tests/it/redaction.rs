//! Output and files have no secret in any encoding and no control characters. Other users cannot
//! write the files, and no program of a workspace's git configuration is run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use axum::http::StatusCode;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD,
};
use support::sandbox::write_program;
use support::server::{Asked, Server};
use support::{Lab, Text as _, lab};

use crate::{AIRLOCK, FAKE_MKECTL};

/// Characters that a terminal interprets or hides: OSC, CSI, BEL, CR, C1 and bidirectional
/// controls.
const HIDDEN: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\r\u{9b}31m\u{202e}\u{2066}\u{200b}end";

/// A password with characters that each encoding writes differently.
const PASSWORD: &str = "pl@nted \"pass/word\"+<7f3a>&é%41\\n";

/// Returns the forms in which a secret is printed.
fn forms(user: &str, secret: &str) -> Vec<String> {
    let json = |text: &str| {
        serde_json::to_string(text)
            .unwrap()
            .trim_matches('"')
            .to_owned()
    };
    let percent = |text: &str| -> String {
        let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let pair = format!("{user}:{secret}");
    let mut forms = vec![
        secret.to_owned(),
        pair.clone(),
        json(secret),
        json(&json(secret)),
        json(secret)
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026"),
        percent(secret),
        percent(secret).to_lowercase(),
        percent(secret).replace("%20", "+"),
        percent(&percent(secret)),
        format!("http://{user}:{}@host/", percent(secret)),
        secret
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;"),
        hex::encode(secret),
    ];
    for text in [
        secret.to_owned(),
        pair,
        format!("{secret}\n"),
        format!("x{secret}"),
        format!("xy{secret}"),
    ] {
        forms.push(BASE64_STANDARD.encode(&text));
        forms.push(BASE64_STANDARD_NO_PAD.encode(&text));
        forms.push(BASE64_URL_SAFE.encode(&text));
        forms.push(BASE64_URL_SAFE_NO_PAD.encode(&text));
        forms.push(percent(&BASE64_STANDARD.encode(&text)));
    }
    forms
}

/// Checks that no output and no file of the workspace has a form of the secret or a hidden
/// character.
#[track_caller]
fn check(lab: &Lab, run: &support::Run, forms: &[String]) {
    let mut texts = vec![("output".to_owned(), run.whole())];
    for (path, content) in lab.files() {
        if path.starts_with(lab.path("environments")) || path.extension() == Some("yaml") {
            texts.push((
                path.to_string(),
                String::from_utf8_lossy(&content).into_owned(),
            ));
        }
    }
    for (name, text) in texts {
        for form in forms {
            assert!(!text.contains(form), "{name} has {form:?}:\n{text}");
        }
        let is_hidden = |c: char| {
            c.is_control() && c != '\n' && c != '\t' || "\u{202e}\u{2066}\u{200b}".contains(c)
        };
        assert!(
            !text.contains(is_hidden),
            "{name} has a hidden character: {text:?}"
        );
    }
}

/// Starts a registry whose responses repeat the credentials and `text`. With `bearer`, it requires
/// a token.
async fn reflecting(bearer: bool, text: String) -> Server {
    Server::start(move |asked: &Asked| -> Response {
        let authorization = asked.header("authorization").to_owned();
        if asked.path == "/token" {
            let token = serde_json::json!({ "token": "t0ken~of~the~server~8c21" });
            return axum::Json(token).into_response();
        }
        // Reads need no credentials, so the first request with credentials is a write.
        let reads = ["GET", "HEAD"].contains(&asked.method.as_str()) && asked.path != "/v2/";
        if authorization.is_empty() && reads {
            return StatusCode::NOT_FOUND.into_response();
        }
        if authorization.is_empty() {
            let challenge = match bearer {
                true => format!(
                    "Bearer realm=\"http://{}/token\",service=\"x\"",
                    asked.header("host")
                ),
                false => "Basic realm=\"x\"".to_owned(),
            };
            return (
                StatusCode::UNAUTHORIZED,
                [(WWW_AUTHENTICATE, challenge)],
                "",
            )
                .into_response();
        }
        let message = format!("{} {text}", authorization);
        let body = serde_json::json!({"errors": [{"code": "DENIED", "message": message}]});
        (StatusCode::FORBIDDEN, body.to_string()).into_response()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_a_registry_repeats_are_masked() {
    for bearer in [false, true] {
        let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
        lab.variable("LAB_REGISTRY_PASSWORD", PASSWORD);
        let mut forms = forms(lab::USER, PASSWORD);
        if bearer {
            forms.push("t0ken~of~the~server~8c21".to_owned());
        }
        // Airlock shortens messages, so each server repeats only some of the forms.
        for part in forms.chunks(4) {
            let server = reflecting(bearer, format!("{} {HIDDEN}", part.join(" "))).await;
            lab.edit_environment(&lab.registry.address.clone(), &server.address);
            for format in ["human", "json"] {
                let run = lab.run(&["push", "lab", "--format", format]);
                assert_ne!(run.code, Some(0));
                run.mentions("***");
                check(&lab, &run, &forms);
            }
            lab.edit_environment(&server.address, &lab.registry.address.clone());
        }
    }
}

// cases 2.2 and 2.3
#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_mkectl_is_masked_and_escaped_in_output_log_and_receipt() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let referred = "0idc-cl!ent \"secret\"/91c4";
    lab.variable("LAB_REGISTRY_PASSWORD", PASSWORD)
        .variable("OIDC_SECRET", &format!("{referred}\r\n"))
        .variable(
            "HTTPS_PROXY",
            "http://proxy-user:pr0xy%20pass!@127.0.0.1:9/",
        )
        .variable("NO_PROXY", "127.0.0.1");
    lab.edit_environment(
        "  tracking:",
        "  authentication: { oidc: { clientSecret: { $env: OIDC_SECRET } } }\n  tracking:",
    );
    let mut all = forms(lab::USER, PASSWORD);
    all.extend(forms("dex", referred));
    all.extend(forms("proxy-user", "pr0xy pass!"));
    let printed = lab.home().join("printed");
    let lines: String = all
        .iter()
        .map(|form| format!("INF value={form} {HIDDEN}\n"))
        .collect();
    std::fs::write(&printed, format!("{lines}FTL {}\n", all.join(" "))).unwrap();
    install_script(
        &lab,
        &format!("[ \"$1 $2\" = 'apply -f' ] && {{ /bin/cat {printed}; exit 3; }}"),
    );
    for format in ["human", "json"] {
        let run = lab
            .run(&["deploy", "lab", "--format", format])
            .exits_with(7);
        assert!(
            run.whole().matches("***").count() >= all.len(),
            "{}",
            run.whole()
        );
        run.mentions("end");
        check(&lab, &run, &all);
    }
    let receipt = lab.read("environments/lab/receipt.yaml");
    receipt.has("failed:");
}

#[test]
fn control_characters_in_names_values_and_arguments_are_escaped() {
    let sandbox = support::Sandbox::shipped(AIRLOCK);
    let name = format!("x{HIDDEN}").replace(['\r', '\0'], "");
    sandbox.write(
        &format!("environments/{name}/environment.yaml"),
        "release: \"v4.1.5\u{202e}\"\nregistry: { address: \"h\\e[31m\" }\n\"k\\u202e\": \"v\\e]0;x\\a\"\n",
    );
    sandbox.write("environments/demo/receipt.yaml", "version: 2\nfailed:\n  release: v4.1.5\n  step: \"push\\e[2J\"\n  error: x\n  ended: y\n  by: { airlock: 0.1.0 }\n");
    for arguments in [
        &["list"][..],
        &["check"],
        &["check", &name],
        &["show", &name],
        &["render", &name],
        &["plan", &name],
        &["status", "demo"],
        &["report", "demo"],
        &["plan", "demo"],
        &[HIDDEN.trim_start_matches('\0')],
        &["inspect", HIDDEN],
        &["lock", HIDDEN],
        &["new", HIDDEN],
        &["plan", "demo", "--reason", HIDDEN],
    ] {
        for format in ["human", "json"] {
            let arguments: Vec<&str> = arguments
                .iter()
                .copied()
                .chain(["--format", format])
                .collect();
            let run = sandbox.run(&arguments);
            let text = run.whole();
            let is_hidden = |c: char| {
                c.is_control() && c != '\n' && c != '\t' || "\u{202e}\u{2066}\u{200b}".contains(c)
            };
            assert!(!text.contains(is_hidden), "{arguments:?}: {text:?}");
        }
    }
    let refused = sandbox.run("plan demo");
    refused.reports("a control character or an invisible one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_one_line_and_its_line_end_is_removed() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for (value, rule) in [
        (&b"one\ntwo"[..], "has several lines"),
        (b"\xef\xbb\xbftwo", "contains a byte order mark"),
        (b"one\x1b[0mtwo", "contains U+001B"),
        (b"one\xfftwo", "is not UTF-8 text"),
    ] {
        let mut command = lab.command("push lab");
        let output = command
            .env("LAB_REGISTRY_PASSWORD", OsStr::from_bytes(value))
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0));
        let rule = format!("the variable LAB_REGISTRY_PASSWORD {rule}");
        assert!(
            stderr.contains(&rule) && !stderr.contains("two"),
            "{stderr}"
        );
    }
    for end in ["\n", "\r\n"] {
        lab.variable("LAB_REGISTRY_PASSWORD", &format!("{}{end}", lab::PASSWORD));
        lab.variable("LAB_REGISTRY_USERNAME", &format!("{}{end}", lab::USER));
        lab.run("push lab").success();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_users_cannot_write_the_files_of_a_run_with_any_umask() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let bundle = lab.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
    lab.remove("bundles/v4.1.5-amd64.lock.yaml");
    for umask in [0o000, 0o077] {
        for arguments in [
            &["lock", "v4.1.5", "--bundle", bundle.as_str()][..],
            &["deploy", "lab"],
            &["new", "other"],
        ] {
            let mut command = lab.approved(arguments);
            // SAFETY: `umask` may be called between `fork` and `exec`.
            unsafe {
                std::os::unix::process::CommandExt::pre_exec(&mut command, move || {
                    libc::umask(umask);
                    Ok(())
                });
            }
            let _ = command.output().unwrap();
        }
        let mut logs = 0;
        for (path, _) in lab.files() {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode & 0o022, 0, "{path} has mode {mode:o}");
            if path.as_str().ends_with(".log") || path.as_str().ends_with("admin-password") {
                assert_eq!(mode, 0o600, "{path}");
                logs += 1;
            }
            if path.as_str().ends_with(".lock.yaml") || path.as_str().ends_with("receipt.yaml") {
                assert_eq!(mode, 0o644, "{path}");
            }
        }
        assert!(logs > 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_the_git_configuration_of_a_workspace_are_not_run() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.install("/bin/sh", "sh");
    lab.init_git();
    lab.git("add environments");
    lab.git("commit --quiet --message=first");
    let mark = lab.home().join("mark");
    let program = lab.home().join("program");
    write_program(&program, format!("#!/bin/sh\necho ran >> {mark}\n"));
    let config = lab.path(".git/config");
    let hostile = format!(
        "[log]\nshowSignature = true\n[gpg]\nprogram = {program}\n[core]\nfsmonitor = {program}\nhooksPath = {home}\npager = {program}\n\
         [filter \"a\"]\nclean = {program}\nprocess = {program}\nrequired = true\n[diff]\nexternal = {program}\n",
        home = lab.home(),
    );
    std::fs::write(
        &config,
        std::fs::read_to_string(&config).unwrap() + &hostile,
    )
    .unwrap();
    lab.write(".gitattributes", "* filter=a\n");
    lab.write(".git/info/attributes", "* filter=a\n");
    lab.edit_environment("role: controller+worker", "role: controller+worker ");
    for arguments in ["plan lab", "status lab", "deploy lab", "prune lab"] {
        let _ = lab.run(arguments);
        assert!(!mark.exists(), "{arguments:?} ran a program");
    }
    let receipt = lab.read("environments/lab/receipt.yaml");
    receipt.has("clean: false");
}

/// Puts a mkectl on PATH that runs `script` first, and then the fake mkectl.
fn install_script(lab: &Lab, script: &str) {
    let script = format!("#!/bin/sh\n{script}\nexec {FAKE_MKECTL} \"$@\"\n");
    lab.install_script("mkectl", script);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_literal_secret_is_only_in_the_rendered_file() {
    let secrets = [
        "supersecretlicense",
        "open-sesame",
        "t0ken-of-api",
        "older-license",
    ];
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("LAB_LICENSE", "license-of-the-variable");
    let config = "environments/lab/mke4.yaml";
    lab.run("render lab").success();
    let without = lab.read(config);
    let masked = |arguments: &str, code: i32| -> String {
        let whole = lab.run(arguments).exits_with(code).whole();
        for secret in secrets {
            assert!(!whole.contains(secret), "{arguments:?}: {whole}");
        }
        whole
    };
    lab.edit_environment(
        "  tracking:",
        "  license: { token: supersecretlicense }\n  \
         foo: { password: open-sesame, apiToken: t0ken-of-api, hasSecret: true }\n  tracking:",
    );
    let shown = masked("show lab", 0);
    shown.has("***");
    shown.has("hasSecret: true");
    let _ = masked("show lab --format json", 0);
    let _ = masked("check lab", 0);

    let older = without.replace(
        "  tracking:",
        "  license:\n    token: older-license\n  tracking:",
    );
    assert_ne!(older, without);
    for committed in [None, Some(without), Some(older)] {
        match committed {
            Some(text) => lab.write(config, &text),
            None => lab.remove(config),
        }
        let check = masked("render lab --check", 2);
        check.has("token: ***");
        let _ = masked("diff lab", 0);
        let _ = masked("plan lab", 0);
        let _ = masked("plan lab --markdown", 0);
        let _ = masked("plan lab --format json", 0);
        let _ = masked("plan lab --out plan.yaml", 0);
        let plan = lab.read("plan.yaml");
        plan.has("token: ***");
        assert!(
            !secrets.iter().any(|secret| plan.contains(secret)),
            "{plan}"
        );
    }

    let _ = masked("deploy lab --plan plan.yaml", 0);
    let rendered = lab.read(config);
    for secret in &secrets[..3] {
        assert!(rendered.contains(secret), "{rendered}");
    }
    lab.edit_environment("token: supersecretlicense", "token: { $env: LAB_LICENSE }");
    let deployed = masked("deploy lab", 0);
    deployed.has("-    token: ***");
    let receipt = lab.read("environments/lab/receipt.yaml");
    assert!(
        !secrets.iter().any(|secret| receipt.contains(secret)),
        "{receipt}"
    );

    // A line that a problem quotes may have a secret next to the error.
    lab.edit_environment("{ password:", "{ $file: 7, password:");
    let _ = masked("check lab", 3);
}
