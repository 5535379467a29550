//! What the integration tests share: a workspace in a temporary folder, the command run in it,
//! bundles made in code, registries to push to, and a server to download from.
//!
//! A sandbox sees nothing of the machine: its environment is cleared, its HOME is its own, PATH
//! holds only what a test puts there. What it prints is redacted, so snapshots hold on every
//! machine.

/// Lets a place that tests share be used as one of its fields: a lab as its workspace.
#[macro_export]
macro_rules! used_as {
    ($place:ty, $field:ident: $target:ty) => {
        impl std::ops::Deref for $place {
            type Target = $target;

            fn deref(&self) -> &$target {
                &self.$field
            }
        }

        impl std::ops::DerefMut for $place {
            fn deref_mut(&mut self) -> &mut $target {
                &mut self.$field
            }
        }
    };
}

pub mod browser;
pub mod bundles;
pub mod courier;
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
