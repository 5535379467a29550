//! Faults, the requests that they affect, and how often.

use std::collections::BTreeMap;

/// The purpose of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `GET /v2/`
    Ping,
    /// `GET` at the token server.
    Token,
    /// `HEAD` of a manifest by tag or digest.
    HeadManifest,
    /// `GET` of a manifest.
    GetManifest,
    /// `PUT` of a manifest.
    PutManifest,
    /// `HEAD` of a blob.
    HeadBlob,
    /// `GET` of a blob.
    GetBlob,
    /// `POST` that opens an upload.
    OpenUpload,
    /// `POST` that asks for a mount.
    Mount,
    /// `PATCH` with bytes of a blob.
    SendPart,
    /// `PUT` that ends an upload, with bytes or without.
    EndUpload,
    /// `GET` of the status of an upload.
    AskUpload,
    /// `DELETE` of an upload.
    CancelUpload,
    /// `DELETE` of a manifest by tag or digest.
    DeleteManifest,
    /// `DELETE` of a blob.
    DeleteBlob,
    /// Anything else.
    Other,
}

/// Requests that carry bytes of blobs.
pub const UPLOADS: &[Kind] = &[Kind::SendPart, Kind::EndUpload];

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is answered with this status and code, and not executed.
    Answer {
        /// The status.
        status: u16,
        /// The code of the specification.
        code: &'static str,
    },
    /// The request is denied with this status and message.
    Denied {
        /// The status.
        status: u16,
        /// The message of the error.
        message: &'static str,
    },
    /// The request is redirected to a different host.
    Redirect {
        /// The header `Location`.
        location: &'static str,
    },
    /// The response is an HTML page.
    Page,
    /// 429, with this `Retry-After` or without one.
    TooManyRequests {
        /// The header, in seconds.
        retry_after: Option<u32>,
    },
    /// The connection breaks after this many bytes of the request's body.
    Reset {
        /// How many bytes are still taken.
        after: u64,
    },
    /// The request is executed, and the connection breaks before the response.
    LoseAnswer,
    /// After this many bytes, the registry stops reading and never responds.
    Stall {
        /// How many bytes are still taken.
        after: u64,
    },
    /// The upload session is lost, as with replicas that do not share sessions.
    LoseSession,
    /// The response has the `Docker-Content-Digest` of different content.
    WrongDigest,
    /// The response lacks `Docker-Content-Digest`.
    NoDigest,
    /// The response has this `Location`.
    Location {
        /// The header.
        location: &'static str,
    },
    /// The body of the response never ends.
    Endless,
    /// The response lacks `Location`.
    NoLocation,
    /// The `Range` of the response is wrong.
    RangeOff {
        /// How much its end is moved, in bytes.
        by: i64,
    },
    /// The body is read slowly.
    Slow {
        /// The rate, in bytes per second.
        rate: u64,
    },
}

/// How often a fault occurs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// At every request.
    Always,
    /// At the first requests, up to this number.
    First(u32),
    /// At each `n`th request.
    Each(u32),
    /// At a request with this probability. The result depends on the seed, the request, and how
    /// often the request was sent.
    Chance(f64),
}

/// A fault for some requests.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The affected requests.
    pub kinds: Vec<Kind>,
    /// The fault.
    pub fault: Fault,
    /// How often the fault occurs.
    pub when: When,
    /// Affects only repositories whose path has more segments than this.
    pub deeper_than: usize,
}

/// Returns a rule for each of these requests.
pub fn always(kinds: &[Kind], fault: Fault) -> Rule {
    Rule::new(kinds, fault, When::Always)
}

/// Returns a rule for the first of these requests, up to this number.
pub fn first(most: u32, kinds: &[Kind], fault: Fault) -> Rule {
    Rule::new(kinds, fault, When::First(most))
}

/// Returns a rule for each `number`th of these requests.
pub fn each(number: u32, kinds: &[Kind], fault: Fault) -> Rule {
    Rule::new(kinds, fault, When::Each(number))
}

/// Returns a rule for these requests with this probability.
pub fn chance(chance: f64, kinds: &[Kind], fault: Fault) -> Rule {
    Rule::new(kinds, fault, When::Chance(chance))
}

impl Rule {
    /// Returns a rule for repositories of any depth.
    pub fn new(kinds: &[Kind], fault: Fault, when: When) -> Self {
        Self {
            kinds: kinds.to_vec(),
            fault,
            when,
            deeper_than: 0,
        }
    }
}

/// Rules, and how often they applied.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Rule>,
    seed: u64,
    met: Vec<u32>,
    asked: BTreeMap<String, u64>,
    played: usize,
}

impl Faults {
    pub(super) fn new(rules: &[Rule], seed: u64) -> Self {
        Self {
            rules: rules.to_vec(),
            seed,
            met: vec![0; rules.len()],
            ..Self::default()
        }
    }

    /// Returns the fault of the first rule that applies to a request.
    pub(super) fn decide(&mut self, kind: Kind, repository: &str, subject: &str) -> Option<Fault> {
        let depth = repository.split('/').count();
        let key = format!("{kind:?} {repository} {subject}");
        let time = self.asked.entry(key.clone()).or_default();
        *time += 1;
        let time = *time;
        for (number, rule) in self.rules.iter().enumerate() {
            if !rule.kinds.contains(&kind) || depth <= rule.deeper_than {
                continue;
            }
            self.met[number] += 1;
            let met = match rule.when {
                When::Always => true,
                When::First(most) => self.met[number] <= most,
                When::Each(each) => self.met[number].is_multiple_of(each.max(1)),
                When::Chance(chance) => {
                    drawn(self.seed, &format!("{number} {time} {key}")) < chance
                }
            };
            if met {
                self.played += 1;
                return Some(rule.fault);
            }
        }
        None
    }

    pub(super) fn played(&self) -> usize {
        self.played
    }
}

/// Returns a pseudorandom number between 0 and 1 that is derived from a text.
fn drawn(seed: u64, text: &str) -> f64 {
    // FNV-1a, and the mixing of SplitMix64 on top, since the former alone leaves neighbours alike.
    let mut state = text
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state >> 11) as f64 / (1_u64 << 53) as f64
}
