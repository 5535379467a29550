//! The HTTP clients of a run. One client has the connections to all registries and the TLS
//! configuration, so a command that contacts hundreds of registries makes one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use network::Proxies;
use reqwest::{Client, redirect};
use rustls::pki_types::CertificateDer;

use crate::{Endpoint, Error, Settings};

/// The clients, with what distinguishes them.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Vec<(Key, Client)>>);

#[derive(Debug, PartialEq, Eq)]
struct Key {
    authorities: Vec<CertificateDer<'static>>,
    proxies: Arc<Proxies>,
    connect_timeout: Duration,
    carries: Carries,
}

/// What the connections of a client are for.
///
/// A connection that shares a full line with large uploads may send little at a time for long
/// after, so what is large has connections of its own, which find out what the line bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// Everything else.
    Requests,
    /// Large uploads.
    Uploads,
}

/// How many idle connections are kept: as many as there may be requests, since a new connection
/// costs several round trips.
const IDLE: usize = 64;

impl Clients {
    /// Returns the client for a registry.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if none can be set up on this machine.
    pub(crate) fn of(
        &self,
        endpoint: &Endpoint,
        settings: &Settings,
        carries: Carries,
    ) -> Result<Client, Error> {
        let key = Key {
            carries,
            authorities: endpoint.certificates().to_vec(),
            proxies: Arc::clone(endpoint.proxies()),
            connect_timeout: settings.connect_timeout,
        };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == key) {
            return Ok(client.clone());
        }
        let client = network::client(key.authorities.clone(), &key.proxies)
            .connect_timeout(key.connect_timeout)
            // Followed by the transport, where it is known which requests can be repeated and who
            // may see credentials.
            .redirect(redirect::Policy::none())
            // No read timeout: reqwest counts the time of sending a body against it, so it would
            // cut every long upload.
            .pool_max_idle_per_host(IDLE)
            .build()
            .map_err(|error| Error::Client {
                address: endpoint.address().to_owned(),
                source: error.into(),
            })?;
        clients.push((key, client.clone()));
        Ok(client)
    }
}
