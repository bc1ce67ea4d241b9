//! What electron-builder leaves in its folder: `latest.yml` and its like, the files that those name, and their block maps.
//! <https://www.electron.build/auto-update>

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use tollgate_domain::releases::Arch;
use tollgate_domain::releases::feed::FeedName;

use super::yaml::Node;

/// How much of a file is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A version, as it was built.
pub(super) struct Package {
    pub(super) version: String,
    pub(super) name: Option<String>,
    pub(super) notes: Option<String>,
    /// In the order of the feeds: of a feed's files electron-updater takes the first that fits the machine.
    pub(super) files: Vec<PackedFile>,
}

/// A file of it.
pub(super) struct PackedFile {
    pub(super) path: PathBuf,
    pub(super) name: String,
    platform: &'static str,
    arch: &'static str,
    pub(super) size: u64,
    sha512: String,
    block_map_size: Option<i64>,
}

impl PackedFile {
    /// As it is announced to the backend.
    pub(super) fn announced(&self) -> Value {
        json!({
            "name": self.name, "platform": self.platform, "arch": self.arch, "size": self.size, "sha512": self.sha512,
            "blockMapSize": self.block_map_size,
        })
    }
}

impl Package {
    /// What lies in `folder` for a channel. Each file is read and compared with what is said of it.
    pub(super) fn read(folder: &Path, channel: &str, bar: &ProgressBar) -> anyhow::Result<Self> {
        let entries = fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        let feed = |path: &PathBuf| FeedName::parse(&file_name(path)).filter(|feed| feed.channel == channel);
        let mut feeds: Vec<_> = paths.iter().filter_map(|path| Some((path, feed(path)?))).collect();
        feeds.sort_by_key(|(path, _)| (*path).clone());
        let mut package: Option<Self> = None;
        let mut files: Vec<PackedFile> = Vec::new();
        for (path, feed) in feeds {
            let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
            let said = Said::parse(&text).with_context(|| format!("could not understand {}", path.display()))?;
            let known = package.get_or_insert_with(|| Self {
                version: said.version.clone(),
                name: said.name.clone(),
                notes: said.notes.clone(),
                files: Vec::new(),
            });
            ensure!(known.version == said.version, "{} is of another version than those before", path.display());
            for file in said.files {
                let at = find(&paths, &file.url).with_context(|| {
                    format!("{} names {}, which is not in {}", path.display(), file.url, folder.display())
                })?;
                let arch = feed.arch.unwrap_or_else(|| arch_of(&file.url));
                let of = |path: &Path, name: String, block_map_size| {
                    let (size, sha512) =
                        digest(path, bar).with_context(|| format!("could not read {}", path.display()))?;
                    let (platform, arch) = (feed.platform.name(), arch.name());
                    let path = path.to_owned();
                    Ok::<_, anyhow::Error>(PackedFile { path, name, platform, arch, size, sha512, block_map_size })
                };
                if files.iter().any(|known| known.name == file.url) {
                    continue;
                }
                let packed = of(at, file.url.clone(), file.block_map_size)?;
                ensure!(packed.sha512 == file.sha512, "{} is not the file that {} names", at.display(), path.display());
                let map = format!("{}.blockmap", file_name(at));
                files.push(packed);
                if let Some(at) = paths.iter().find(|path| file_name(path) == map) {
                    files.push(of(at, format!("{}.blockmap", file.url), None)?);
                }
            }
        }
        let Some(package) = package else {
            bail!("there is no {channel}.yml nor its like in {}: is it electron-builder's folder?", folder.display());
        };
        Ok(Self { files, ..package })
    }
}

/// What a `latest.yml` says.
struct Said {
    version: String,
    name: Option<String>,
    notes: Option<String>,
    files: Vec<SaidFile>,
}

struct SaidFile {
    url: String,
    sha512: String,
    block_map_size: Option<i64>,
}

impl Said {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let said = Node::parse(text).context("it is not as electron-builder writes it")?;
        let text = |name: &str| said.text(name).map(str::to_owned);
        let file = |file: &Node| {
            Some(SaidFile {
                url: file.text("url")?.to_owned(),
                sha512: file.text("sha512")?.to_owned(),
                block_map_size: file.text("blockMapSize").and_then(|size| size.parse().ok()),
            })
        };
        let files = match said.get("files") {
            Some(Node::List(files)) => files.iter().map(file).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        Ok(Self {
            version: text("version").context("it has no `version`")?,
            name: text("releaseName"),
            notes: text("releaseNotes"),
            files: files.context("it has no `files`, each with `url` and `sha512`")?,
        })
    }
}

/// The file that a feed names: electron-builder writes a dash for a blank there, for some of its providers.
fn find<'p>(paths: &'p [PathBuf], url: &str) -> Option<&'p PathBuf> {
    let is_it = |path: &&PathBuf| file_name(path) == url;
    paths.iter().find(is_it).or_else(|| paths.iter().find(|path| file_name(path).replace(' ', "-") == url))
}

/// What a file is called in its folder.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a file runs on, by its name.
fn arch_of(name: &str) -> Arch {
    Arch::ALL.into_iter().find(|arch| *arch != Arch::X64 && name.contains(arch.name())).unwrap_or(Arch::X64)
}

/// How many bytes a file has, and their SHA-512 in base64.
fn digest(path: &Path, bar: &ProgressBar) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    bar.set_message(format!("reading {}", file_name(path)));
    bar.inc_length(file.metadata()?.len());
    let (mut hash, mut size, mut piece) = (Sha512::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((size, BASE64_STANDARD.encode(hash.finalize()))),
            read => {
                hash.update(&piece[..read]);
                size += read as u64;
                bar.inc(read as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha512(bytes: &[u8]) -> String {
        BASE64_STANDARD.encode(Sha512::digest(bytes))
    }

    /// As electron-builder 26 writes it.
    fn write(folder: &Path, name: &str, file: &str, bytes: &[u8]) {
        let sha = sha512(bytes);
        let text = format!(
            "version: 1.2.3\nfiles:\n  - url: {file}\n    sha512: {sha}\n    size: {}\n    blockMapSize: 3\npath: {file}\n\
             sha512: {sha}\nreleaseName: The third\nreleaseNotes: |-\n  - one\n  - \"two\"\n\
             releaseDate: '2026-11-27T09:30:00.000Z'\n",
            bytes.len()
        );
        fs::write(folder.join(name), text).unwrap();
    }

    fn read(folder: &Path, channel: &str) -> anyhow::Result<Package> {
        Package::read(folder, channel, &ProgressBar::hidden())
    }

    #[test]
    fn a_package_is_what_electron_builder_names() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "latest.yml", "My-App-Setup-1.2.3.exe", b"windows");
        fs::write(folder.join("My App Setup 1.2.3.exe"), b"windows").unwrap();
        fs::write(folder.join("My App Setup 1.2.3.exe.blockmap"), b"map").unwrap();
        write(folder, "latest-mac.yml", "My App-1.2.3-arm64-mac.zip", b"mac");
        fs::write(folder.join("My App-1.2.3-arm64-mac.zip"), b"mac").unwrap();
        fs::write(folder.join("builder-debug.yml"), "x64: {}").unwrap();
        write(folder, "beta.yml", "My-App-Setup-1.3.0-beta.exe", b"beta");
        let package = read(folder, "latest").unwrap();
        assert_eq!((&*package.version, package.name.as_deref()), ("1.2.3", Some("The third")));
        assert_eq!(package.notes.as_deref(), Some("- one\n- \"two\""));
        let files: Vec<_> = package
            .files
            .iter()
            .map(|file| (&*file.name, file.platform, file.arch, file.size, file.block_map_size))
            .collect();
        assert_eq!(
            files,
            [
                ("My App-1.2.3-arm64-mac.zip", "mac", "arm64", 3, Some(3)),
                ("My-App-Setup-1.2.3.exe", "win", "x64", 7, Some(3)),
                ("My-App-Setup-1.2.3.exe.blockmap", "win", "x64", 3, None),
            ]
        );
    }

    #[test]
    fn a_feeds_files_stay_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let names = ["My App Setup 1.2.3.exe", "My App Setup 1.2.3-arm64.exe"];
        let files: Vec<_> =
            names.iter().map(|name| format!("  - url: {name}\n    sha512: {}\n", sha512(name.as_bytes()))).collect();
        fs::write(folder.join("latest.yml"), format!("version: 1.2.3\nfiles:\n{}", files.concat())).unwrap();
        for name in names {
            fs::write(folder.join(name), name).unwrap();
            fs::write(folder.join(format!("{name}.blockmap")), "map").unwrap();
        }
        let package = read(folder, "latest").unwrap();
        let order: Vec<_> = package.files.iter().map(|file| &*file.name).collect();
        let wanted = names.map(|name| [name.to_owned(), format!("{name}.blockmap")]).concat();
        assert_eq!(order, wanted);
    }

    #[test]
    fn a_folder_that_is_not_as_it_says_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let why = |channel: &str| read(folder, channel).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(why("latest").contains("there is no latest.yml"));
        write(folder, "latest.yml", "app.exe", b"windows");
        assert!(why("latest").contains("names app.exe, which is not in"));
        fs::write(folder.join("app.exe"), b"another").unwrap();
        assert!(why("latest").contains("is not the file that"));
        fs::write(folder.join("latest.yml"), "files: 3").unwrap();
        assert!(why("latest").contains("could not understand"));
    }
}
