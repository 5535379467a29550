//! The purpose of a request, by its method and path.

use axum::http::Method;

use super::fault::Kind;

/// The target of a request.
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) repository: String,
    /// A tag, a digest or a session.
    pub(super) subject: String,
    query: String,
}

impl Target {
    pub(super) fn of(method: &Method, path: &str, query: &str) -> Self {
        let (repository, subject, kind) = Self::parse(method, path, query);
        Self {
            kind,
            repository: repository.to_owned(),
            subject: subject.to_owned(),
            query: query.to_owned(),
        }
    }

    fn parse<'a>(method: &Method, path: &'a str, query: &str) -> (&'a str, &'a str, Kind) {
        let path = path.trim_start_matches('/');
        if path == "token" {
            return ("", "", Kind::Token);
        }
        let path = path.strip_prefix("v2/").unwrap_or_default();
        if path.is_empty() {
            return ("", "", Kind::Ping);
        }
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            let kind = match method.as_str() {
                "HEAD" => Kind::HeadManifest,
                "GET" => Kind::GetManifest,
                "PUT" => Kind::PutManifest,
                "DELETE" => Kind::DeleteManifest,
                _ => Kind::Other,
            };
            return (repository, reference, kind);
        }
        let Some((repository, rest)) = path.split_once("/blobs/") else {
            return (path, "", Kind::Other);
        };
        let session = rest.strip_prefix("uploads/");
        let kind = match (method.as_str(), session) {
            ("HEAD", None) => Kind::HeadBlob,
            ("GET", None) => Kind::GetBlob,
            ("DELETE", None) => Kind::DeleteBlob,
            ("POST", Some(_)) if query.contains("mount=") => Kind::Mount,
            ("POST", Some(_)) => Kind::OpenUpload,
            ("PATCH", Some(_)) => Kind::SendPart,
            ("PUT", Some(_)) => Kind::EndUpload,
            ("GET", Some(_)) => Kind::AskUpload,
            ("DELETE", Some(_)) => Kind::CancelUpload,
            _ => Kind::Other,
        };
        (repository, session.unwrap_or(rest), kind)
    }

    pub(super) fn parameter(&self, name: &str) -> String {
        let values = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let mut found = values
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value);
        let value = found.next_back().unwrap_or_default();
        value.replace("%3A", ":").replace("%2F", "/")
    }

    /// Returns the part of a request that is the same in each run, for faults with a probability.
    /// The ids of sessions are left out, because their order differs from run to run.
    pub(super) fn what(&self) -> String {
        match self.kind {
            Kind::SendPart | Kind::AskUpload | Kind::CancelUpload => String::new(),
            Kind::EndUpload => self.parameter("digest"),
            _ => format!("{}{}", self.subject, self.query),
        }
    }
}
