//! What a release may be called: its version, its channel, its files.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use semver::Version;

/// How long a version may be.
const VERSION_CHARACTERS_MAX: usize = 100;

/// How long the name of a channel may be.
const CHANNEL_CHARACTERS_MAX: usize = 32;

/// How long the name of a file may be: file systems take 255 bytes, of which some are ours.
const NAME_CHARACTERS_MAX: usize = 180;

/// The bytes of a SHA-512.
const SHA512_BYTES: usize = 64;

/// The key by which versions stand in their order of precedence (<https://semver.org/#spec-item-11>); none for what is no
/// semantic version. Build metadata does not count.
pub fn sort_key(version: &str) -> Option<String> {
    if version.len() > VERSION_CHARACTERS_MAX {
        return None;
    }
    let version = Version::parse(version).ok()?;
    let mut key = String::new();
    for number in [version.major, version.minor, version.patch] {
        let _ = write!(key, "{number:020}.");
    }
    if version.pre.is_empty() {
        // After all that come before it.
        key.push('~');
        return Some(key);
    }
    for identifier in version.pre.split('.') {
        // Numbers stand before words. The mark at the end of each stands before any letter of a word, so that what goes on
        // comes later.
        match identifier.parse::<u128>() {
            Ok(number) => {
                let _ = write!(key, "0{number:040}!");
            }
            Err(_) => {
                let _ = write!(key, "1{identifier}!");
            }
        }
    }
    Some(key)
}

/// Whether a channel may be called so: small letters, digits and `_`, so that no feed of one is taken for one of another.
pub fn is_channel(name: &str) -> bool {
    (1..=CHANNEL_CHARACTERS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether a file may be called so: what installers are called, and nothing that leads anywhere else.
pub fn is_file_name(name: &str) -> bool {
    (1..=NAME_CHARACTERS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" !()+,-.=@_~".contains(&byte))
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' '])
}

/// Whether it is a SHA-512 in base64, as electron-builder writes it.
pub fn is_sha512(text: &str) -> bool {
    sha512_bytes(text).is_some()
}

/// The bytes of a SHA-512 in base64.
fn sha512_bytes(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD
        .decode(text)
        .ok()
        .filter(|bytes| bytes.len() == SHA512_BYTES && BASE64_STANDARD.encode(bytes) == text)
}

/// What a file is called in the folder of releases. By its bytes too, so that two of a name never take each other's place.
pub fn stored_name(name: &str, sha512: &str) -> String {
    let digest = sha512_bytes(sha512).unwrap_or_default();
    format!("{}-{name}", hex::encode(&digest[..digest.len().min(16)]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn versions_stand_in_their_order() {
        // Those of the specification, and some more.
        let ordered = [
            "0.9.10",
            "1.0.0-0",
            "1.0.0-1",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-alpha-",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.10.0",
            "2.0.0",
        ];
        let keys = ordered.map(|version| sort_key(version).unwrap());
        assert!(keys.is_sorted(), "{keys:#?}");
        assert_eq!(sort_key("1.0.0+build.7"), sort_key("1.0.0"));
        for bad in ["", "1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.3-", "latest"] {
            assert_eq!(sort_key(bad), None, "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_two_versions_stand_as_their_precedence_says(
            one in "[0-3]\\.[0-3]\\.(0|10|2)(-(0|1|10|a|a-|aa|A|rc)(\\.(0|9|11|b|-))?)?",
            other in "[0-3]\\.[0-3]\\.(0|10|2)(-(0|1|10|a|a-|aa|A|rc)(\\.(0|9|11|b|-))?)?",
        ) {
            let precedence = Version::parse(&one).unwrap().cmp_precedence(&Version::parse(&other).unwrap());
            prop_assert_eq!(sort_key(&one).cmp(&sort_key(&other)), precedence);
        }
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for good in ["My App Setup 1.2.3.exe", "app-1.2.3-mac.zip", "app_1.2.3_amd64.deb", "a"] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0", "a\n", "a;b", "a%2fb", "ä.exe", " a", "a."] {
            assert!(!is_file_name(bad), "{bad}");
        }
        assert!(is_channel("latest") && is_channel("beta_2"));
        for bad in ["", "latest-mac", "Latest", "a.b", "a/b"] {
            assert!(!is_channel(bad), "{bad}");
        }
    }

    #[test]
    fn a_sha512_is_written_in_one_way() {
        let good = BASE64_STANDARD.encode([7; 64]);
        assert!(is_sha512(&good));
        assert!(!is_sha512(&BASE64_STANDARD.encode([7; 32])) && !is_sha512(good.trim_end_matches('=')));
        assert_eq!(stored_name("a.zip", &good), format!("{}-a.zip", "07".repeat(16)));
    }
}
