//! What electron-updater's generic provider reads: `latest.yml` and its like.
//!
//! Every text in it is written as a JSON string, which YAML's flow scalars in double quotes are too; so nothing that stands in
//! a name or a note can be anything but text. What YAML does not print is escaped as well.

use std::fmt::Write as _;

use tollgate_shared::clock::rfc3339;

use super::cohort::Offer;
use super::version::is_channel;
use super::{Arch, Platform, ReleaseFile};

/// A feed, by the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedName {
    /// The channel.
    pub channel: String,
    /// For which systems.
    pub platform: Platform,
    /// For which processors; Linux alone has a feed for each.
    pub arch: Option<Arch>,
}

impl FeedName {
    /// The feed of a name such as `latest-mac.yml`.
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".yml")?;
        let ends = [
            ("-linux-arm64", Platform::Linux, Some(Arch::Arm64)),
            ("-linux", Platform::Linux, Some(Arch::X64)),
            ("-mac", Platform::Mac, None),
            ("", Platform::Win, None),
        ];
        let (channel, platform, arch) = ends
            .into_iter()
            .find_map(|(end, platform, arch)| stem.strip_suffix(end).map(|channel| (channel, platform, arch)))?;
        is_channel(channel).then(|| Self { channel: channel.to_owned(), platform, arch })
    }

    /// Whether a file is one that it offers. What updates are computed from is fetched beside a file, and not offered.
    pub fn offers(&self, file: &ReleaseFile) -> bool {
        file.is_for(self.platform, self.arch) && !file.is_block_map()
    }
}

/// The feed that offers `files` of a release; none where there are no files.
pub fn write(offer: Offer<'_>, files: &[&ReleaseFile]) -> Option<String> {
    let first = files.first()?;
    let release = offer.release;
    let mut yaml = String::new();
    let mut line = |text: &str| {
        yaml.push_str(text);
        yaml.push('\n');
    };
    line(&format!("version: {}", quoted(&release.version)));
    line("files:");
    for file in files {
        line(&format!("  - url: {}", quoted(&url_of(file))));
        line(&format!("    sha512: {}", quoted(&file.sha512)));
        line(&format!("    size: {}", file.size));
        if let Some(size) = file.block_map_size {
            line(&format!("    blockMapSize: {size}"));
        }
    }
    line(&format!("path: {}", quoted(&url_of(first))));
    line(&format!("sha512: {}", quoted(&first.sha512)));
    line(&format!("releaseDate: {}", quoted(&release.published_at.map(rfc3339).unwrap_or_default())));
    if let Some(name) = &release.name {
        line(&format!("releaseName: {}", quoted(name)));
    }
    if let Some(notes) = &release.notes {
        line(&format!("releaseNotes: {}", quoted(notes)));
    }
    if let Some(percent) = offer.staging_percentage {
        line(&format!("stagingPercentage: {percent}"));
    }
    Some(yaml)
}

/// Where a file is, from the feed. electron-updater resolves it as a browser does a link.
fn url_of(file: &ReleaseFile) -> String {
    format!("files/{}", file.name.replace('%', "%25").replace(' ', "%20"))
}

/// A text in double quotes, all of printable letters.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut quoted = String::with_capacity(json.len());
    for letter in json.chars() {
        // <https://yaml.org/spec/1.2.2/#51-character-set>; a JSON string has no raw control character below U+0020.
        let is_printable = matches!(letter, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
            && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}');
        if is_printable {
            quoted.push(letter);
        } else {
            let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::Release;
    use super::super::tests::{file, release};
    use super::*;

    #[test]
    fn a_feed_is_known_by_its_name() {
        let feed = |name: &str| FeedName::parse(name).map(|feed| (feed.channel, feed.platform, feed.arch));
        let latest = || "latest".to_owned();
        assert_eq!(feed("latest.yml"), Some((latest(), Platform::Win, None)));
        assert_eq!(feed("latest-mac.yml"), Some((latest(), Platform::Mac, None)));
        assert_eq!(feed("latest-linux.yml"), Some((latest(), Platform::Linux, Some(Arch::X64))));
        assert_eq!(feed("latest-linux-arm64.yml"), Some((latest(), Platform::Linux, Some(Arch::Arm64))));
        for bad in ["latest", "latest.yaml", ".yml", "-mac.yml", "latest-arm64.yml", "../latest.yml", "LATEST.yml"] {
            assert_eq!(feed(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_feed_offers_the_files_of_its_systems() {
        let linux = FeedName::parse("latest-linux.yml").unwrap();
        assert!(linux.offers(&file("a.AppImage", Platform::Linux, Arch::X64)));
        assert!(!linux.offers(&file("a-arm64.AppImage", Platform::Linux, Arch::Arm64)));
        assert!(!linux.offers(&file("a.AppImage.blockmap", Platform::Linux, Arch::X64)));
        assert!(!linux.offers(&file("a.exe", Platform::Win, Arch::X64)));
        let mac = FeedName::parse("latest-mac.yml").unwrap();
        for arch in [Arch::X64, Arch::Arm64, Arch::Universal] {
            assert!(mac.offers(&file("a.zip", Platform::Mac, arch)));
        }
    }

    #[test]
    fn a_feed_is_text_whatever_stands_in_a_release() {
        let release = Release {
            name: Some("Two: \"the\nsecond\"".to_owned()),
            notes: Some("# <b>x</b>\n- a: b\n\u{7f}\u{85}\u{9f}\u{2028}\u{feff}\u{ffff}\u{0}é😀".to_owned()),
            ..release("2.0.0")
        };
        let file = ReleaseFile { block_map_size: Some(9), ..file("My App 2.0.0.exe", Platform::Win, Arch::X64) };
        let yaml = write(Offer { release: &release, staging_percentage: Some(10) }, &[&file]).unwrap();
        let expected = "version: \"2.0.0\"\n\
            files:\n  - url: \"files/My%20App%202.0.0.exe\"\n    sha512: \"abc\"\n    size: 7\n    blockMapSize: 9\n\
            path: \"files/My%20App%202.0.0.exe\"\nsha512: \"abc\"\nreleaseDate: \"2025-06-15T15:06:40Z\"\n\
            releaseName: \"Two: \\\"the\\nsecond\\\"\"\n\
            releaseNotes: \"# <b>x</b>\\n- a: b\\n\\u007f\\u0085\\u009f\\u2028\\ufeff\\uffff\\u0000é😀\"\n\
            stagingPercentage: 10\n";
        assert_eq!(yaml, expected);
        assert_eq!(write(Offer { release: &release, staging_percentage: None }, &[]), None);
    }
}
