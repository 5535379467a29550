//! What the integration tests share: a workspace in a temporary folder, the command run in it,
//! bundles made in code, registries to push to, and a server to download from.
//!
//! A sandbox is isolated from the machine: its environment is cleared, it has a HOME of its own,
//! and PATH has only the programs that a test installs. Output is redacted, so snapshots are the
//! same on every machine.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Implements `Deref` to a field, so a lab has the methods of its workspace.
#[macro_export]
macro_rules! used_as {
    ($type:ty, $field:ident: $target:ty) => {
        impl std::ops::Deref for $type {
            type Target = $target;

            fn deref(&self) -> &$target {
                &self.$field
            }
        }

        impl std::ops::DerefMut for $type {
            fn deref_mut(&mut self) -> &mut $target {
                &mut self.$field
            }
        }
    };
}

pub mod browser;
pub mod bundles;
pub mod courier;
pub mod keys;
pub mod lab;
pub mod namespaces;
pub mod registries;
pub mod sandbox;
pub mod tap;
pub mod terminal;
pub mod terminators;
pub mod tls;
mod tokens;
pub mod upstream;
pub mod web;
pub mod wire;

pub use courier::{Courier, PROGRAM};
pub use lab::Lab;
pub use namespaces::Namespaces;
pub use registries::TestRegistry;
pub use sandbox::{Arguments, Run, Sandbox, Text};
pub use servers::{Asked, Certificates, FaultyRegistry, Server, faulty, server};
pub use terminators::Terminator;
pub use tls::TlsProxy;
pub use web::Web;

/// Locks a mutex, also after a thread panicked with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
