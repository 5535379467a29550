//! Prints the JSON Schema of `environment.yaml`, for `environments/environment.schema.json`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(mke::schema().as_bytes())
}
