//! What a program prints: each line in order, in the log and for the caller, and no secret in it.

use super::*;

#[test]
fn both_outputs_arrive_in_order_and_in_the_log() {
    let (finished, recorder, log) =
        Bench::new().run("echo one; echo two >&2; echo; printf 'three\\r\\n'; printf 'no end'");
    assert_eq!(finished.exit, Exit::Code(0));
    assert!(finished.exit.is_success());
    assert_eq!(recorder.lines(), ["one", "two", "", "three", "no end"]);
    assert_eq!(finished.last_lines, recorder.lines());
    assert_eq!(log, "one\ntwo\n\nthree\nno end");
    assert_eq!(recorder.others(), [""; 0]);
    assert_eq!(finished.signal, None);
    assert!(finished.log_failure.is_none());
}

#[test]
fn no_line_of_a_flood_is_lost() {
    const LINES: usize = 200_000;
    let (finished, recorder, log) = Bench::new().run(&format!(
        "seq {LINES} | sed 's/$/ INF still waiting for nodes/'; exit 7"
    ));
    assert_eq!(finished.exit, Exit::Code(7));
    let lines = recorder.lines();
    assert_eq!(lines.len(), LINES);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("{} INF still waiting for nodes", index + 1));
    }
    assert_eq!(finished.last_lines, lines[LINES - LAST_LINES..]);
    assert_eq!(log.lines().count(), LINES);
}

#[test]
fn bytes_that_a_terminal_obeys_are_visible_in_the_log() {
    let bench = Bench::new();
    let log = bench.path("apply.log");
    run(
        &shell(r"printf '\377\233 caf\303\251 \033[31mred\033[0m\033]0;title\007\rback\n'"),
        &log,
        &bench.recorder,
        &bench.signals,
    )
    .unwrap();
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        "\\xff\\x9b café red\\u{1b}]0;title\\u{7}\\rback\n"
    );
    assert_eq!(
        bench.recorder.lines(),
        ["\\xff\\x9b café \u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7}\rback"]
    );
}

#[test]
fn the_log_is_replaced_and_only_its_owner_may_read_it() {
    let bench = Bench::new();
    let log = bench.path("apply.log");
    std::fs::write(&log, "an earlier run, and a longer one\n").unwrap();
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o644)).unwrap();
    run(&shell("echo new"), &log, &bench.recorder, &bench.signals).unwrap();
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "new\n");
    let mode = std::fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

// Other systems have no such device.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_does_not_stop_the_program() {
    let bench = Bench::new();
    let finished = run(
        &shell("echo one; sleep 0.2; echo two; exit 5"),
        Utf8Path::new("/dev/full"),
        &bench.recorder,
        &bench.signals,
    )
    .unwrap();
    assert_eq!(finished.exit, Exit::Code(5));
    assert_eq!(bench.recorder.lines(), ["one", "two"]);
    assert_eq!(
        finished.log_failure.unwrap().kind(),
        io::ErrorKind::StorageFull
    );
}

#[test]
fn a_log_that_does_not_open_means_that_nothing_is_run() {
    let bench = Bench::new();
    let log = bench.path("no-such-folder/apply.log");
    let witness = bench.path("witness");
    let error = run(
        &shell(&format!("touch {witness}")),
        &log,
        &bench.recorder,
        &bench.signals,
    )
    .unwrap_err();
    assert!(matches!(error, Error::Log { .. }), "{error}");
    assert!(!witness.exists());
}

#[test]
fn secrets_reach_the_program_and_nothing_else() {
    let bench = Bench::new();
    let log = bench.path("apply.log");
    let command =
        shell("printf %s \"$PW\" | wc -c; echo \"using $PW as password\"; echo $PW | rev")
            .secret("PW", SecretString::from("s3cret word"));
    let finished = run(&command, &log, &bench.recorder, &bench.signals).unwrap();
    let expected = ["11", "using *** as password", "drow terc3s"];
    assert_eq!(bench.recorder.lines(), expected);
    assert_eq!(finished.last_lines, expected);
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        expected.map(|line| format!("{line}\n")).concat()
    );
}

#[test]
fn results_can_be_kept_apart_and_out_of_the_log() {
    const SCRIPT: &str = "echo one >&2; echo 'password: aLSgtjNiusU $PW'; sleep 0.2; echo two >&2; echo \"$PW\"; exit 1";
    for (results, expected, log_has) in [
        (Results::Apart, ["password: *** $PW", "***"], true),
        (
            Results::Unlogged,
            ["password: aLSgtjNiusU $PW", "hunter2"],
            false,
        ),
    ] {
        let bench = Bench::new();
        let log = bench.path("mkectl.log");
        let command = shell(SCRIPT)
            .secret("PW", SecretString::from("hunter2"))
            .results(results);
        let finished = run(&command, &log, &bench.recorder, &bench.signals).unwrap();
        assert_eq!(finished.exit, Exit::Code(1));
        assert_eq!(bench.recorder.lines(), ["one", "two"]);
        let others = bench.recorder.others();
        let reported: Vec<&String> = (others.iter())
            .filter(|event| event.starts_with("Result"))
            .collect();
        assert_eq!(
            reported,
            expected
                .map(|text| format!("Result {{ text: {text:?} }}"))
                .each_ref()
        );
        let log = std::fs::read_to_string(&log).unwrap();
        for text in [log, finished.last_lines.join("\n")] {
            assert!(text.contains("one\n") && text.contains("two"), "{text}");
            assert_eq!(text.contains("password"), log_has, "{text}");
        }
    }
}

#[test]
fn a_secret_argument_reaches_the_program_and_no_output() {
    let bench = Bench::new();
    let log = bench.path("apply.log");
    // The value straddles two reads, and the program crashes after it.
    let script =
        "printf 'with --pw=hun'; sleep 0.2; echo ter2; echo \"$0\" | tr a-z b-za; kill -SEGV $$";
    let command = shell(script).secret_argument("--pw", SecretString::from("hunter2"));
    let finished = run(&command, &log, &bench.recorder, &bench.signals).unwrap();
    assert!(!finished.exit.is_success());
    assert_eq!(bench.recorder.lines(), ["with --pw=***", "--qx=ivoufs2"]);
    let everything = format!("{finished:?}{}", std::fs::read_to_string(&log).unwrap());
    assert!(!everything.contains("hunter2"), "{everything}");
}

#[test]
fn the_administrator_password_is_reported_and_in_no_line() {
    let bench = Bench::new();
    // It comes in two writes, and the program crashes after it.
    let (finished, recorder, log) = bench.run(
        "echo 'They are only showed once'; printf 'admin:aLSgtj'; sleep 0.2; echo NiusU_GF90; kill -SEGV $$",
    );
    assert!(!finished.exit.is_success());
    assert_eq!(recorder.others().len(), 1, "{:?}", recorder.others());
    assert!(recorder.others()[0].starts_with("AdminPassword(AdminPassword { username: \"admin\""));
    let everything = format!(
        "{log} {:?} {:?} {:?}",
        finished,
        recorder.lines(),
        recorder.others()
    );
    assert!(everything.contains("admin:***"), "{everything}");
    assert!(!everything.contains("aLSgtj"), "{everything}");
}

#[test]
fn an_announced_password_that_is_not_recognised_is_reported() {
    let (_, recorder, log) =
        Bench::new().run("echo 'They are only showed once'; echo 'see the portal'");
    assert_eq!(recorder.others(), ["PasswordMissed"]);
    assert!(
        log.ends_with(&format!("portal\n{PASSWORD_MISSED}\n")),
        "{log}"
    );
}

#[test]
fn each_line_of_the_log_begins_with_a_stamp() {
    struct Stamping;
    impl Observer for Stamping {
        fn event(&self, _: Event<'_>) {}
        fn stamp(&self) -> String {
            "12:00 ".to_owned()
        }
    }
    let bench = Bench::new();
    let log = bench.path("apply.log");
    run(
        &shell("echo one; echo two"),
        &log,
        &Stamping,
        &bench.signals,
    )
    .unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text, "12:00 one\n12:00 two\n");
}
