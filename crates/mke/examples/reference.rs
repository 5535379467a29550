//! Prints the reference page of `environment.yaml`, for `docs/environment.md`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(mke::reference().as_bytes())
}
