//! The process `tollgate-backend`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tollgate_backend::commands::run()
}
