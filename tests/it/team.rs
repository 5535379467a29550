//! A team's own task, in three files outside of Airlock's folders: `tests/team`.

use support::{Lab, Sandbox, Server, Text as _};

use crate::{FAKE_MKECTL, TEAM};

#[test]
fn the_help_lists_the_teams_task_and_all_commands() {
    let sandbox = Sandbox::shipped(TEAM);
    let help = sandbox.run("--help").success().stdout.clone();
    help.has("Of this team\n  announce    Post what an environment runs to a webhook\n");
    help.has("\n  deploy ");
    sandbox.run("list").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_posted_with_the_options_and_codes_of_every_command() {
    let server = Server::of("").await;
    let webhook = server.url("hook");
    let lab = Lab::new(TEAM, FAKE_MKECTL).await;
    let announce = ["announce", "lab", "--webhook", &webhook];
    insta::assert_snapshot!(lab.run(&announce).whole(), @r"
    exit code: 1
    --- stdout
    --- stderr
    error: task `announce` failed
      because: lab was never deployed
    ");
    // The error about an unknown environment is the same as that of other commands.
    let unknown = lab.run(&["announce", "lob", "--webhook", &webhook]);
    assert_eq!(unknown.whole(), lab.run("show lob").exits_with(3).whole());
    lab.run("deploy lab").success();
    let run = lab.run(&[&announce[..], &["--format", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&run.success().stdout).unwrap();
    assert_eq!(value["result"]["status"], 200);
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str()),
        ("POST", "/hook")
    );
    let run = lab.run(&[&announce[..], &["--offline"]].concat());
    insta::assert_snapshot!(run.whole(), @r"
    exit code: 1
    --- stdout
    --- stderr
    error: task `announce` failed
      because: a webhook is not asked in an offline run
    ");
    assert_eq!(server.asked().len(), 1);
    let run = lab.run("anounce").exits_with(64);
    run.reports("'announce'");
}
