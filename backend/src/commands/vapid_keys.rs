//! `tollgate-backend vapid-keys`: a key for pushes to browsers.

use std::process::ExitCode;

use tollgate_shared::Rng;

use crate::channels::push::vapid::VapidKey;

pub(super) fn run() -> ExitCode {
    let key = VapidKey::draw(&Rng::system());
    println!("# Keep it: browsers that subscribed under this key take pushes under no other.");
    println!("# Public key: {}", key.public_key());
    println!("VAPID_PRIVATE_KEY={}", key.private_key().as_str());
    ExitCode::SUCCESS
}
