//! Tests with credential files as tools and operators write them.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// User and password, `None`, or the text of the error.
type Found = Result<Option<(String, String)>, String>;

/// Returns the credentials in a file with this text for `registry.example.com:5000`, project
/// `platform/mke`. `helpers` are shell scripts on `PATH`.
fn found_with(text: &str, helpers: &[(&str, &str)]) -> (Found, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.json");
    std::fs::write(&path, text).unwrap();
    for (name, script) in helpers {
        let helper = folder.path().join(format!("docker-credential-{name}"));
        std::fs::write(&helper, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let search = format!("{}:/usr/bin:/bin", folder.path().display());
    let variables = Variables::inherited([("PATH", search)]);
    let wanted = Wanted {
        address: "registry.example.com:5000",
        project: "platform/mke",
    };
    let mut warnings = Vec::new();
    let files = [folder.path().join("absent.json"), path];
    let found = find(&files, wanted, &variables, &mut |warning| {
        warnings.push(warning)
    });
    let found = found.map(|found| match found {
        Credentials::Anonymous => None,
        Credentials::Basic { username, password } => {
            Some((username, password.expose_secret().to_owned()))
        }
    });
    let folder = folder.path().display().to_string();
    let shown = |text: String| text.replace(&folder, "");
    (
        found.map_err(|error| shown(error.to_string())),
        warnings.into_iter().map(shown).collect(),
    )
}

fn found(text: &str) -> Found {
    found_with(text, &[]).0
}

fn pair(username: &str, password: &str) -> Found {
    Ok(Some((username.to_owned(), password.to_owned())))
}

fn auths(entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> = (entries.iter())
        .map(|(key, user)| {
            let auth = BASE64_STANDARD.encode(format!("{user}:pw"));
            format!(r#""{key}": {{"auth": "{auth}"}}"#)
        })
        .collect();
    format!(r#"{{"auths": {{{}}}}}"#, entries.join(","))
}

#[test]
fn the_longest_key_wins() {
    let host = ("registry.example.com:5000", "host");
    let project = ("registry.example.com:5000/platform", "project");
    let deep = ("registry.example.com:5000/platform/mke", "deep");
    for (entries, user) in [
        (&[host][..], Some("host")),
        (&[host, project], Some("project")),
        (&[deep, host, project], Some("deep")),
        (&[deep], Some("deep")),
        (&[("https://registry.example.com:5000", "url")], Some("url")),
        (
            &[("https://registry.example.com:5000/v1/", "url")],
            Some("url"),
        ),
        (
            &[("http://registry.example.com:5000/v2/", "url")],
            Some("url"),
        ),
        (&[("registry.example.com:5000/", "slash")], Some("slash")),
        // Not a prefix by whole names, a repository below the project, and other registries.
        (&[("registry.example.com:5000/plat", "x")], None),
        (
            &[("registry.example.com:5000/platform/mke/calico", "x")],
            None,
        ),
        (&[("registry.example.com:5000/platform/mke2", "x")], None),
        (&[("registry.example.com", "x")], None),
        (&[("registry.example.com:443", "x")], None),
        (&[("example.com:5000", "x")], None),
    ] {
        let expected = user.map(|user| (user.to_owned(), "pw".to_owned()));
        assert_eq!(found(&auths(entries)), Ok(expected), "{entries:?}");
    }
}

#[test]
fn the_longest_key_wins_for_helpers_too() {
    let answers = r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$0\",\"Secret\":\"$server\"}" | sed 's,"[^"]*/docker-credential-,",'"#;
    let helpers = [("one", answers), ("two", answers)];
    let file = |text: &str| found_with(text, &helpers).0;
    let (host, deep) = (
        "registry.example.com:5000",
        "registry.example.com:5000/platform",
    );
    assert_eq!(
        file(&format!(
            r#"{{"credHelpers":{{"{host}":"one","{deep}":"two"}}}}"#
        )),
        pair("two", deep)
    );
    assert_eq!(
        file(&format!(
            r#"{{"credHelpers":{{"{host}":"one"}},"credsStore":"two"}}"#
        )),
        pair("one", host)
    );
    assert_eq!(
        file(&format!(
            r#"{{"auths":{{"{host}":{{}}}},"credsStore":"two"}}"#
        )),
        pair("two", host)
    );
    assert_eq!(
        file(&format!(
            r#"{{"auths":{{"{deep}":{{}}}},"credsStore":"two"}}"#
        )),
        pair("two", deep)
    );
    // The entry for the project is nearer than the helper for the host.
    assert_eq!(
        file(&format!(
            r#"{{"auths":{{"{deep}":{{"username":"u","password":"p"}}}},"credHelpers":{{"{host}":"one"}}}}"#
        )),
        pair("u", "p")
    );
}

#[test]
fn unusual_entries_are_accepted() {
    let entry = |entry: &str| {
        found(&format!(
            r#"{{"auths":{{"registry.example.com:5000":{entry}}}}}"#
        ))
    };
    assert_eq!(
        entry(r#"{"auth":"","username":"u","password":"p"}"#),
        pair("u", "p")
    );
    assert_eq!(entry(r#"{"username":"u","password":"p"}"#), pair("u", "p"));
    assert_eq!(
        entry(r#"{"auth":null,"username":"u","password":"p"}"#),
        pair("u", "p")
    );
    assert_eq!(
        entry(r#"{"auth":"dTpw","identitytoken":""}"#),
        pair("u", "p")
    );
    assert_eq!(entry(r#"{"auth":"dTpw\n"}"#), pair("u", "p"));
    assert_eq!(entry(r#"{"auth":"dTpwAAA="}"#), pair("u", "p"));
    assert_eq!(entry(r#"{"auth":"dTpwDQo="}"#), pair("u", "p"));
    assert_eq!(
        entry(r#"{"auth":"dTpw","username":"v","password":"q","email":"e"}"#),
        pair("u", "p")
    );
    assert_eq!(entry(r#"{"auth":"dTphOmI="}"#), pair("u", "a:b"));
    for nothing in [
        r#"{"auth":"Og=="}"#,
        "{}",
        "null",
        r#"{"auth":""}"#,
        r#"{"identitytoken":""}"#,
    ] {
        assert_eq!(entry(nothing), Ok(None), "{nothing}");
    }
    for (broken, said) in [
        (r#"{"auth":"hunter2!"}"#, "base64"),
        (r#"{"auth":"aHVudGVy"}"#, "base64"),
        (r#"{"identitytoken":"hunter"}"#, "identity token"),
        (r#"{"auth":["hunter2"]}"#, "is not an object with `auth`"),
        (r#""hunter2""#, "is not an object with `auth`"),
    ] {
        let error = entry(broken).unwrap_err();
        assert!(
            error.contains(said) && error.contains("registry.example.com:5000"),
            "{error}"
        );
        assert!(!error.contains("hunter"), "{error}");
    }
}

#[test]
fn empty_files_are_skipped_and_broken_ones_are_named() {
    for empty in [
        "",
        "\n",
        "{}",
        "\u{feff}{}",
        r#"{"auths":null,"credHelpers":null,"credsStore":""}"#,
    ] {
        assert_eq!(found(empty), Ok(None), "{empty:?}");
    }
    for broken in ["hunter2", "[]", r#"{"auths":"hunter2"}"#] {
        let error = found(broken).unwrap_err();
        assert!(
            error.starts_with("`/auth.json` is not a credential file"),
            "{error}"
        );
    }
}

#[test]
fn a_malformed_entry_of_a_different_host_is_ignored() {
    let own = r#""registry.example.com:5000":{"auth":"dTpw"}"#;
    for other in [
        r#"7"#,
        r#""text""#,
        r#"{"auth":7}"#,
        r#"{"auth":"%"}"#,
        r#"{"identitytoken":"x"}"#,
    ] {
        let text =
            format!(r#"{{"auths":{{"other":{other},{own}}},"credHelpers":{{"other":{other}}}}}"#);
        assert_eq!(found(&text), pair("u", "p"), "{other}");
    }
    let error = found(r#"{"credHelpers":{"registry.example.com:5000":["x"]}}"#).unwrap_err();
    assert!(
        error.ends_with("does not name a credential helper"),
        "{error}"
    );
}

#[test]
fn the_line_end_of_a_password_is_not_part_of_it() {
    let script = r#"printf %s '{"Username":"u","Secret":"p w\r\n"}'"#;
    let (found_by_helper, _) = found_with(r#"{"credsStore":"x"}"#, &[("x", script)]);
    assert_eq!(found_by_helper, pair("u", "p w"));
    let text = r#"{"auths":{"registry.example.com:5000":{"username":"u","password":"p w\n"}}}"#;
    assert_eq!(found(text), pair("u", "p w"));
}

#[test]
fn a_failing_helper_causes_a_warning() {
    let file = r#"{"credsStore":"x"}"#;
    let ask = |script: Option<&str>| {
        let helpers: Vec<_> = script.map(|script| ("x", script)).into_iter().collect();
        found_with(file, &helpers)
    };
    for (script, said) in [
        (None, "not an executable file"),
        (Some("exit 1"), "failed"),
        (Some("echo hunter2; exit 3"), "failed"),
        (Some("echo hunter2"), "not the JSON"),
        (Some(":"), "not the JSON"),
    ] {
        let (found, warnings) = ask(script);
        assert_eq!(found, Ok(None), "{script:?}");
        let [warning] = warnings.as_slice() else {
            panic!("{script:?}: {warnings:?}")
        };
        assert!(
            warning.contains(said) && warning.contains("/auth.json"),
            "{warning}"
        );
        assert!(!warning.contains("hunter"), "{warning}");
    }
    for script in [
        "echo 'credentials not found in native keychain' >&2; exit 1",
        r#"echo '{"ServerURL":"","Username":"","Secret":""}'"#,
    ] {
        assert_eq!(ask(Some(script)), (Ok(None), Vec::new()), "{script}");
    }
    let (found, _) = ask(Some(r#"echo '{"Username":"<token>","Secret":"hunter2"}'"#));
    assert!(found.unwrap_err().contains("identity token"));
}

#[test]
fn a_helper_that_fails_does_not_hide_the_next_file() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1.json"), folder.path().join("2.json"));
    std::fs::write(&first, r#"{"credsStore":"absent"}"#).unwrap();
    std::fs::write(&second, auths(&[("r.example.com", "u")])).unwrap();
    let wanted = Wanted {
        address: "r.example.com",
        project: "",
    };
    let mut warnings = 0;
    let found = find(&[first, second], wanted, &Variables::default(), &mut |_| {
        warnings += 1
    });
    assert!(matches!(found, Ok(Credentials::Basic { username, .. }) if username == "u"));
    assert_eq!(warnings, 1);
}
