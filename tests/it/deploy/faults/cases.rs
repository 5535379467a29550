//! Every fault alone, and how a push has to end with it.

use std::time::Duration;

use registry::Settings;

use super::{Fault, Kind, Mounts, Parts, Quirks, Rule, UPLOADS, always, first, quirks, settings};

/// A fault, or a registry of some kind.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) quirks: Quirks,
    pub(super) rules: Vec<Rule>,
    pub(super) settings: Settings,
    pub(super) end: End,
    /// A kind of request and the least number of them. A case checks with it that the push took the
    /// path that the case tests.
    pub(super) seen: Option<(Kind, usize)>,
}

/// How a push ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// With every artifact.
    Complete,
    /// With errors that each contain this text. Between two texts with ` or ` between them, each
    /// error contains at least one.
    Named(&'static str),
}

use End::{Complete, Named};

/// A case in one line: its name, its rule and its end.
macro_rules! case {
    ($name:literal: $rule:expr => $end:expr) => {
        with($name, $rule, $end)
    };
}

const VERBS: &[Kind] = &[
    Kind::HeadManifest,
    Kind::PutManifest,
    Kind::HeadBlob,
    Kind::OpenUpload,
    Kind::Mount,
    Kind::EndUpload,
];

/// Returns all cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![case("nothing", Complete)];
    cases.extend(statuses());
    cases.extend(broken_connections());
    cases.extend(answers_that_are_wrong());
    cases.extend(registries_of_a_kind());
    // The failing cases are repeated with a registry that accepts a manifest without its blobs.
    // With such a registry only the push itself prevents a tag of an incomplete artifact.
    let failing = cases.iter().filter(|case| matches!(case.end, Named(_)));
    let unchecked: Vec<Case> = failing
        .map(|case| Case {
            name: format!("{}, manifests unchecked", case.name),
            quirks: quirks!(..case.quirks.clone(); checks_manifests: false),
            ..case.clone()
        })
        .collect();
    cases.extend(unchecked);
    cases
}

/// Returns cases of error statuses on each kind of request, temporary and permanent.
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
            cases.push(with(&name, first(2, &[kind], fault), Complete));
            // With a `Retry-After` in every response, the test would only wait.
            if fault != busy(Some(1)) {
                let name = format!("{name} for good");
                let falls_back_to_get = fault == answer(500, "UNKNOWN")
                    && matches!(kind, Kind::HeadManifest | Kind::HeadBlob);
                let end = match falls_back_to_get {
                    // The push uses GET instead.
                    true => Complete,
                    false => Named(named),
                };
                cases.push(with(&name, always(&[kind], fault), end));
            }
        }
        let name = format!("an hour's pause to {kind:?}");
        let end = Named("too many requests: 429");
        cases.push(with(&name, always(&[kind], busy(Some(3600))), end));
    }
    cases.extend([
        case!("413 for good": always(UPLOADS, answer(413, "SIZE_INVALID")) => Named("too much for one request: 413")),
        case!("403 for good": always(&[Kind::OpenUpload], answer(403, "DENIED"))
            => Named("not allowed for the user")),
        case!("403 in place of 404 on HEAD": first(6, &[Kind::HeadManifest, Kind::HeadBlob], answer(403, "DENIED"))
            => Complete),
        Case {
            rules: vec![Rule {
                deeper_than: 4,
                ..always(VERBS, answer(401, "UNAUTHORIZED"))
            }],
            ..case("401 on a deep path", Named("k0rdent/deep/down"))
        },
    ]);
    cases
}

fn broken_connections() -> Vec<Case> {
    let mut cases = Vec::new();
    for after in [0, 1_000, 50_000] {
        let name = format!("a reset after {after} bytes");
        let fault = Fault::Reset { after };
        cases.push(with(&name, first(3, UPLOADS, fault), Complete));
        let name = format!("a stall after {after} bytes");
        let fault = Fault::Stall { after };
        cases.push(with(&name, first(2, UPLOADS, fault), Complete));
    }
    for &kind in VERBS {
        for fault in [Fault::Reset { after: 0 }, Fault::LoseAnswer] {
            let name = format!("{fault:?} of {kind:?}");
            cases.push(with(&name, first(2, &[kind], fault), Complete));
        }
    }
    let brief = Settings {
        stall_timeout: Duration::from_millis(150),
        answer_timeout: Duration::from_millis(150),
        finish_timeout: Duration::from_millis(150),
        ..settings()
    };
    cases.extend([
        case!("resets for good": always(UPLOADS, Fault::Reset { after: 100 }) => Named("the connection failed")),
        Case {
            settings: brief.clone(),
            ..case!("stalls of tags for good": always(&[Kind::HeadManifest], Fault::Stall { after: 0 })
                => Named("no answer within"))
        },
        Case {
            // Buffers between the client and the registry may hold all of the bytes. Then the
            // upload does not stall, but the response is missing.
            settings: brief,
            ..case!("stalls for good": always(UPLOADS, Fault::Stall { after: 100 })
                => Named("stalled for or no answer within"))
        },
        case!("slow reading": always(UPLOADS, Fault::Slow { rate: 4_000_000 }) => Complete),
    ]);
    cases
}

fn answers_that_are_wrong() -> Vec<Case> {
    vec![
        case!("a lost session": first(3, UPLOADS, Fault::LoseSession) => Complete),
        case!("lost sessions for good": always(UPLOADS, Fault::LoseSession) => Named("not found: 404")),
        case!("another digest for a blob": always(&[Kind::EndUpload], Fault::WrongDigest) => Named("should be")),
        case!("another digest for a manifest": always(&[Kind::PutManifest], Fault::WrongDigest)
            => Named("should be")),
        case!("another digest for a tag": always(&[Kind::HeadManifest], Fault::WrongDigest) => Named("should be")),
        case!("another digest for a mount": always(&[Kind::Mount], Fault::WrongDigest) => Complete),
        case!("no digest in any answer":
            always(&[Kind::EndUpload, Kind::PutManifest, Kind::HeadManifest, Kind::Mount], Fault::NoDigest)
            => Complete),
        case!("no location": always(&[Kind::OpenUpload], Fault::NoLocation) => Named("Location")),
        case!("a location that a second proxy added to":
            always(&[Kind::OpenUpload], Fault::Location { location: "https,http://registry.example.com/v2/mke/pause/blobs/uploads/1" })
            => Named("named the scheme or the host twice")),
        case!("a location on the registry's other name":
            always(&[Kind::OpenUpload], Fault::Location { location: "http://127.0.0.1:9/v2/mke/four/pause/blobs/uploads/1" })
            => Named("which is another host than")),
        case!("no location for a mount": always(&[Kind::Mount], Fault::NoLocation) => Complete),
        Case {
            quirks: quirks!(..in_parts(); checks_place: false),
            seen: Some((Kind::SendPart, 2)),
            ..case!("no location for a part": always(&[Kind::SendPart], Fault::NoLocation) => Complete)
        },
        Case {
            quirks: in_parts(),
            seen: Some((Kind::SendPart, 2)),
            ..case!("a range that is one more": always(&[Kind::SendPart, Kind::AskUpload], Fault::RangeOff { by: 1 })
                => Complete)
        },
        Case {
            quirks: in_parts(),
            seen: Some((Kind::SendPart, 2)),
            ..case!("a range that is one less": first(1, &[Kind::SendPart], Fault::RangeOff { by: -1 }) => Complete)
        },
    ]
}

fn registries_of_a_kind() -> Vec<Case> {
    let of = |name: &str, quirks| Case {
        quirks,
        ..case(name, Complete)
    };
    let mut cases = vec![
        Case {
            seen: Some((Kind::SendPart, 2)),
            ..of("413 above 1 MB", in_parts())
        },
        Case {
            seen: Some((Kind::Token, 3)),
            ..of("tokens for five requests", quirks!(token_life: Some(5)))
        },
        of("403 for what is missing", quirks!(unknown: 403)),
        of(
            "503 for more than two concurrent requests",
            quirks!(request_limit: Some(2)),
        ),
        of(
            "manifests are not checked",
            quirks!(checks_manifests: false),
        ),
    ];
    for mounts in [
        Mounts::Ignored,
        Mounts::Refused(400),
        Mounts::Refused(403),
        Mounts::Refused(404),
        Mounts::Refused(405),
    ] {
        let quirks = quirks!(mounts: mounts);
        cases.push(Case {
            seen: Some((Kind::Mount, 1)),
            ..of(&format!("mounts are {mounts:?}"), quirks)
        });
    }
    for parts in [Parts::Created, Parts::OneOnly, Parts::LastOnly] {
        let quirks = quirks!(parts: parts);
        cases.push(of(&format!("parts are {parts:?}"), quirks.clone()));
        let rules = vec![first(2, UPLOADS, Fault::Reset { after: 50_000 })];
        cases.push(Case {
            rules,
            ..of(
                &format!("parts are {parts:?}, and uploads are cut"),
                quirks!(..quirks; keeps_cut_sessions: true),
            )
        });
    }
    cases
}

/// Returns a registry behind nginx, so the large blob comes in parts.
fn in_parts() -> Quirks {
    quirks!(body_limit: Some(1 << 20))
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

fn with(name: &str, rule: Rule, end: End) -> Case {
    Case {
        rules: vec![rule],
        ..case(name, end)
    }
}

fn answer(status: u16, code: &'static str) -> Fault {
    Fault::Answer { status, code }
}
