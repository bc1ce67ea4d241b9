//! The process `tollgate-backend`: see [`tollgate_backend::commands`].

fn main() {}
