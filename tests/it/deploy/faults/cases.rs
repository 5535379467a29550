//! Every fault by itself, and how a push that meets it has to end.

use std::time::Duration;

use registry::Settings;

use super::{Fault, Kind, Mounts, Parts, Quirks, Rule, UPLOADS, When, settings};

/// A fault, or a registry of some kind.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) quirks: Quirks,
    pub(super) rules: Vec<Rule>,
    pub(super) settings: Settings,
    pub(super) end: End,
    /// How often requests of this kind were made at least: what a case is about was seen.
    pub(super) seen: Option<(Kind, usize)>,
}

/// How a push ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// With every artifact.
    Complete,
    /// With errors, and each says this; two texts with ` or ` between them where either may come first.
    Named(&'static str),
}

const VERBS: &[Kind] = &[
    Kind::HeadManifest,
    Kind::PutManifest,
    Kind::HeadBlob,
    Kind::OpenUpload,
    Kind::Mount,
    Kind::EndUpload,
];

/// Returns all of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![case("nothing", End::Complete)];
    cases.extend(statuses());
    cases.extend(broken_connections());
    cases.extend(answers_that_are_wrong());
    cases.extend(registries_of_a_kind());
    // Once more before a registry that takes a manifest without its blobs: there nothing but the push itself keeps a tag from being wrong.
    let failing = cases
        .iter()
        .filter(|case| matches!(case.end, End::Named(_)));
    let unchecked: Vec<Case> = failing
        .map(|case| Case {
            name: format!("{}, manifests unchecked", case.name),
            quirks: Quirks {
                checks_manifests: false,
                ..case.quirks.clone()
            },
            ..case.clone()
        })
        .collect();
    cases.extend(unchecked);
    cases
}

/// What a registry says when it is busy or in trouble, on each verb, for a while and permanently.
fn statuses() -> Vec<Case> {
    let busy = |retry_after| Fault::TooManyRequests { retry_after };
    let mut cases = Vec::new();
    for &kind in VERBS {
        for (fault, named) in [
            (busy(None), "too many requests: 429"),
            (busy(Some(1)), "too many requests: 429"),
            (answer(500, "UNKNOWN"), "the server fails: 500"),
            (answer(503, "UNAVAILABLE"), "the server fails: 503"),
        ] {
            let name = format!("{fault:?} to {kind:?}");
            cases.push(with(&name, &[kind], fault, When::First(2), End::Complete));
            // A registry that orders a pause each time would only make the test wait.
            if fault != busy(Some(1)) {
                let name = format!("{name} for good");
                let is_asked_otherwise = fault == answer(500, "UNKNOWN")
                    && matches!(kind, Kind::HeadManifest | Kind::HeadBlob);
                let end = match is_asked_otherwise {
                    // case 5.4: GET says the same.
                    true => End::Complete,
                    false => End::Named(named),
                };
                cases.push(with(&name, &[kind], fault, When::Always, end));
            }
        }
        let name = format!("an hour's pause to {kind:?}");
        let end = End::Named("too many requests: 429");
        cases.push(with(&name, &[kind], busy(Some(3600)), When::Always, end));
    }
    cases.extend([
        with(
            "413 for good",
            UPLOADS,
            answer(413, "SIZE_INVALID"),
            When::Always,
            End::Named("too much for one request: 413"),
        ),
        with(
            "403 for good",
            &[Kind::OpenUpload],
            answer(403, "DENIED"),
            When::Always,
            End::Named("not allowed for the user"),
        ),
        with(
            "403 in place of 404 on HEAD",
            &[Kind::HeadManifest, Kind::HeadBlob],
            answer(403, "DENIED"),
            When::First(6),
            End::Complete,
        ),
        Case {
            rules: vec![Rule {
                deeper_than: 4,
                ..Rule::new(VERBS, answer(401, "UNAUTHORIZED"), When::Always)
            }],
            ..case("401 on a deep path", End::Named("k0rdent/deep/down"))
        },
    ]);
    cases
}

fn broken_connections() -> Vec<Case> {
    let mut cases = Vec::new();
    for after in [0, 1_000, 50_000] {
        let name = format!("a reset after {after} bytes");
        let fault = Fault::Reset { after };
        cases.push(with(&name, UPLOADS, fault, When::First(3), End::Complete));
        let name = format!("a stall after {after} bytes");
        let fault = Fault::Stall { after };
        cases.push(with(&name, UPLOADS, fault, When::First(2), End::Complete));
    }
    for &kind in VERBS {
        for fault in [Fault::Reset { after: 0 }, Fault::LoseAnswer] {
            let name = format!("{fault:?} of {kind:?}");
            cases.push(with(&name, &[kind], fault, When::First(2), End::Complete));
        }
    }
    let brief = Settings {
        stall_timeout: Duration::from_millis(150),
        answer_timeout: Duration::from_millis(150),
        finish_timeout: Duration::from_millis(150),
        ..settings()
    };
    cases.extend([
        with(
            "resets for good",
            UPLOADS,
            Fault::Reset { after: 100 },
            When::Always,
            End::Named("the connection failed"),
        ),
        Case {
            settings: brief.clone(),
            ..with(
                "stalls of tags for good",
                &[Kind::HeadManifest],
                Fault::Stall { after: 0 },
                When::Always,
                End::Named("no answer within"),
            )
        },
        Case {
            // Unread bytes fit into buffers on the way, so either is true: nothing moves, or there is no response.
            settings: brief,
            ..with(
                "stalls for good",
                UPLOADS,
                Fault::Stall { after: 100 },
                When::Always,
                End::Named("stalled for or no answer within"),
            )
        },
        with(
            "slow reading",
            UPLOADS,
            Fault::Slow { rate: 4_000_000 },
            When::Always,
            End::Complete,
        ),
    ]);
    cases
}

fn answers_that_are_wrong() -> Vec<Case> {
    vec![
        with(
            "a lost session",
            UPLOADS,
            Fault::LoseSession,
            When::First(3),
            End::Complete,
        ),
        with(
            "lost sessions for good",
            UPLOADS,
            Fault::LoseSession,
            When::Always,
            End::Named("not found: 404"),
        ),
        with(
            "another digest for a blob",
            &[Kind::EndUpload],
            Fault::WrongDigest,
            When::Always,
            End::Named("should be"),
        ),
        with(
            "another digest for a manifest",
            &[Kind::PutManifest],
            Fault::WrongDigest,
            When::Always,
            End::Named("should be"),
        ),
        with(
            "another digest for a tag",
            &[Kind::HeadManifest],
            Fault::WrongDigest,
            When::Always,
            End::Named("should be"),
        ),
        with(
            "another digest for a mount",
            &[Kind::Mount],
            Fault::WrongDigest,
            When::Always,
            End::Complete,
        ),
        with(
            "no digest in any answer",
            &[
                Kind::EndUpload,
                Kind::PutManifest,
                Kind::HeadManifest,
                Kind::Mount,
            ],
            Fault::NoDigest,
            When::Always,
            End::Complete,
        ),
        with(
            "no location",
            &[Kind::OpenUpload],
            Fault::NoLocation,
            When::Always,
            End::Named("Location"),
        ),
        // case 5.7
        with(
            "a location that a second proxy added to",
            &[Kind::OpenUpload],
            Fault::Location {
                location: "https,http://registry.example.com/v2/mke/pause/blobs/uploads/1",
            },
            When::Always,
            End::Named("named the scheme or the host twice"),
        ),
        with(
            "a location on the registry's other name",
            &[Kind::OpenUpload],
            Fault::Location {
                location: "http://127.0.0.1:9/v2/mke/four/pause/blobs/uploads/1",
            },
            When::Always,
            End::Named("which is another host than"),
        ),
        with(
            "no location for a mount",
            &[Kind::Mount],
            Fault::NoLocation,
            When::Always,
            End::Complete,
        ),
        Case {
            quirks: Quirks {
                checks_place: false,
                ..in_parts()
            },
            seen: Some((Kind::SendPart, 2)),
            ..with(
                "no location for a part",
                &[Kind::SendPart],
                Fault::NoLocation,
                When::Always,
                End::Complete,
            )
        },
        Case {
            quirks: in_parts(),
            seen: Some((Kind::SendPart, 2)),
            ..with(
                "a range that is one more",
                &[Kind::SendPart, Kind::AskUpload],
                Fault::RangeOff { by: 1 },
                When::Always,
                End::Complete,
            )
        },
        Case {
            quirks: in_parts(),
            seen: Some((Kind::SendPart, 2)),
            ..with(
                "a range that is one less",
                &[Kind::SendPart],
                Fault::RangeOff { by: -1 },
                When::First(1),
                End::Complete,
            )
        },
    ]
}

fn registries_of_a_kind() -> Vec<Case> {
    let plain = Quirks::default;
    let of = |name: &str, quirks| Case {
        quirks,
        ..case(name, End::Complete)
    };
    let mut cases = vec![
        Case {
            seen: Some((Kind::SendPart, 2)),
            ..of("413 above 1 MB", in_parts())
        },
        Case {
            seen: Some((Kind::Token, 3)),
            ..of(
                "tokens for five requests",
                Quirks {
                    token_life: Some(5),
                    ..plain()
                },
            )
        },
        of(
            "403 for what is missing",
            Quirks {
                unknown: 403,
                ..plain()
            },
        ),
        of(
            "503 for more than two at once",
            Quirks {
                at_once: Some(2),
                ..plain()
            },
        ),
        of(
            "manifests are not checked",
            Quirks {
                checks_manifests: false,
                ..plain()
            },
        ),
    ];
    for mounts in [
        Mounts::Ignored,
        Mounts::Refused(400),
        Mounts::Refused(403),
        Mounts::Refused(404),
        Mounts::Refused(405),
    ] {
        let quirks = Quirks { mounts, ..plain() };
        cases.push(Case {
            seen: Some((Kind::Mount, 1)),
            ..of(&format!("mounts are {mounts:?}"), quirks)
        });
    }
    for parts in [Parts::Created, Parts::OneOnly, Parts::LastOnly] {
        let quirks = Quirks { parts, ..plain() };
        cases.push(of(&format!("parts are {parts:?}"), quirks.clone()));
        let rules = vec![Rule::new(
            UPLOADS,
            Fault::Reset { after: 50_000 },
            When::First(2),
        )];
        cases.push(Case {
            rules,
            ..of(
                &format!("parts are {parts:?}, and uploads are cut"),
                Quirks {
                    keeps_cut_sessions: true,
                    ..quirks
                },
            )
        });
    }
    cases
}

/// Returns a registry behind nginx, so the large blob comes in parts.
fn in_parts() -> Quirks {
    Quirks {
        body_limit: Some(1 << 20),
        ..Quirks::default()
    }
}

fn case(name: &str, end: End) -> Case {
    Case {
        name: name.to_owned(),
        quirks: Quirks::default(),
        rules: Vec::new(),
        settings: settings(),
        end,
        seen: None,
    }
}

fn with(name: &str, kinds: &[Kind], fault: Fault, when: When, end: End) -> Case {
    Case {
        rules: vec![Rule::new(kinds, fault, when)],
        ..case(name, end)
    }
}

fn answer(status: u16, code: &'static str) -> Fault {
    Fault::Answer { status, code }
}
