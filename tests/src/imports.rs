//! Reads the `use` declarations of this tree's own sources: which module imports which, by file and line.
//!
//! Not a compiler: declarations in macros and paths written out inside code are not seen. Clippy's `absolute_paths` keeps
//! the latter out of the tree. Tests (files and folders of that name, `#[cfg(test)]` modules) may import what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One imported name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The importing file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// The importing module, as its path below the crate; empty for the crate's face.
    pub from: Vec<String>,
    /// What is imported, in full below the crate: a module's path and, mostly, a name in it.
    pub path: Vec<String>,
    /// The part of `path` that is a module.
    pub to: Vec<String>,
    /// Whether it is exported again.
    pub exported: bool,
}

/// The sources of one crate.
#[derive(Debug)]
pub struct Crate {
    /// Every module that has a file, by its path below the crate.
    pub modules: BTreeMap<Vec<String>, PathBuf>,
    /// What they import of their own crate.
    pub imports: Vec<Import>,
}

impl Crate {
    /// Reads the sources below `src`.
    pub fn read(src: &Path) -> Self {
        let modules: BTreeMap<_, _> = sources(src).into_iter().map(|file| (module_path(src, &file), file)).collect();
        let mut imports = Vec::new();
        for (module, file) in &modules {
            let text = fs::read_to_string(file).expect("a source is readable");
            for Declaration { line, exported, path } in declarations(&text) {
                let Some(path) = absolute(module, &path).or_else(|| of_child(&modules, module, &path)) else {
                    continue;
                };
                let to = longest_module(&modules, &path);
                imports.push(Import { file: file.clone(), line, from: module.clone(), path, to, exported });
            }
        }
        Self { modules, imports }
    }

    /// The module in which what is imported is defined: beyond the faces that only export it again.
    pub fn definition(&self, import: &Import) -> Vec<String> {
        let (mut module, mut name) = (import.to.clone(), import.path[import.to.len()..].first());
        while let Some(wanted) = name {
            let passed_on = self.imports.iter().find(|other| {
                other.exported && other.from == module && other.path.last() == Some(wanted) && other.to != module
            });
            let Some(passed_on) = passed_on else { break };
            module = passed_on.to.clone();
            name = passed_on.path[passed_on.to.len()..].first();
        }
        module
    }

    /// A circle of imports between modules neither of which is inside the other, if there is one.
    pub fn circle(&self) -> Option<Vec<&Import>> {
        let mut edges: BTreeMap<&[String], Vec<&Import>> = BTreeMap::new();
        for import in &self.imports {
            let (from, to) = (&import.from[..], &import.to[..]);
            if !from.starts_with(to) && !to.starts_with(from) {
                edges.entry(from).or_default().push(import);
            }
        }
        let mut done = BTreeSet::new();
        edges.keys().copied().find_map(|start| walk(start, &edges, &mut Vec::new(), &mut done))
    }
}

fn walk<'a>(
    at: &'a [String],
    edges: &BTreeMap<&'a [String], Vec<&'a Import>>,
    way: &mut Vec<&'a Import>,
    done: &mut BTreeSet<&'a [String]>,
) -> Option<Vec<&'a Import>> {
    if let Some(start) = way.iter().position(|import| import.from == at) {
        return Some(way[start..].to_vec());
    }
    if !done.insert(at) {
        return None;
    }
    for import in edges.get(at).into_iter().flatten() {
        way.push(import);
        if let Some(circle) = walk(&import.to, edges, way, done) {
            return Some(circle);
        }
        way.pop();
    }
    None
}

/// Every `.rs` file below a folder that is not only there for tests.
pub fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder of ours is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !["tests", "testing", "target"].contains(&&*name) {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && !["tests.rs", "testing.rs"].contains(&&*name) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`; `lib.rs` is the crate's face. A binary is a module of its own.
fn module_path(src: &Path, file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(src).expect("it was found in there").with_extension("");
    let mut path: Vec<_> = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] {
        path.pop();
    }
    path
}

/// A path below the crate, from one that may begin with `crate`, `self` or `super`; `None` for another crate's.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut at = match path.first().map(String::as_str)? {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    for step in path {
        match step.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            name => at.push(name.to_owned()),
        }
    }
    Some(at)
}

/// A path that begins with a module inside of this one: `pub use entry::Entry`.
fn of_child(modules: &BTreeMap<Vec<String>, PathBuf>, module: &[String], path: &[String]) -> Option<Vec<String>> {
    let child: Vec<_> = module.iter().chain(path.first()).cloned().collect();
    modules.contains_key(&child).then(|| module.iter().chain(path).cloned().collect())
}

fn longest_module(modules: &BTreeMap<Vec<String>, PathBuf>, path: &[String]) -> Vec<String> {
    (0..=path.len())
        .rev()
        .map(|length| &path[..length])
        .find(|part| modules.contains_key(*part))
        .map_or_else(Vec::new, <[String]>::to_vec)
}

#[derive(Debug, PartialEq, Eq)]
struct Declaration {
    line: usize,
    exported: bool,
    path: Vec<String>,
}

/// The `use` declarations of a file, each name of a braced list on its own, without those of its test modules.
fn declarations(text: &str) -> Vec<Declaration> {
    let mut found = Vec::new();
    let mut open: Option<(usize, bool, String)> = None;
    let mut skipped_from: Option<usize> = None;
    let mut only_for_tests = false;
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let indent = line.len() - line.trim_start().len();
        let code = code.trim();
        // A module of tests ends with the brace that stands under its first letter.
        if let Some(from) = skipped_from {
            skipped_from = Some(from).filter(|from| !(code == "}" && indent == *from));
            continue;
        }
        if code == "#[cfg(test)]" {
            only_for_tests = true;
            continue;
        }
        let is_attribute = code.starts_with("#[");
        if only_for_tests && !is_attribute && !code.is_empty() {
            only_for_tests = false;
            if code.ends_with('{') && code.contains("mod ") {
                skipped_from = Some(indent);
            }
            continue;
        }
        if let Some((line, exported, mut declaration)) = open.take() {
            declaration.push_str(code);
            open = Some((line, exported, declaration));
        } else if let Some((exported, rest)) = declared(code) {
            open = Some((number + 1, exported, rest.to_owned()));
        }
        if let Some((line, exported, declaration)) = open.take_if(|(_, _, declaration)| declaration.ends_with(';')) {
            let names = expanded(declaration.trim_end_matches(';'));
            found.extend(names.into_iter().map(|path| Declaration { line, exported, path }));
        }
    }
    found
}

/// What follows `use` on a line that begins a declaration, and whether it is exported at all.
fn declared(code: &str) -> Option<(bool, &str)> {
    if let Some(rest) = code.strip_prefix("use ") {
        return Some((false, rest));
    }
    let rest = code.strip_prefix("pub")?;
    let rest = if rest.starts_with('(') { rest.split_once(')')?.1 } else { rest };
    Some((true, rest.trim_start().strip_prefix("use ")?))
}

/// `a::{b, c::{d, self}}` as `a::b`, `a::c::d`, `a::c`.
fn expanded(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((start, rest)) = tree.split_once('{') else {
        let plain = tree.split(" as ").next().unwrap_or_default();
        let steps = plain.split("::").map(|step| step.trim().to_owned());
        return vec![steps.filter(|step| !step.is_empty() && step != "*").collect()];
    };
    let before: Vec<_> = start.split("::").map(str::trim).filter(|step| !step.is_empty()).map(str::to_owned).collect();
    let inside = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let mut paths = Vec::new();
    for part in split_list(inside) {
        for after in expanded(part) {
            let after = after.into_iter().filter(|step| before.is_empty() || step != "self");
            paths.push(before.iter().cloned().chain(after).collect());
        }
    }
    paths
}

/// The parts of a list between commas that stand in no braces of their own.
fn split_list(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        declarations(text).iter().map(|one| format!("{} {}", one.line, one.path.join("::"))).collect()
    }

    #[test]
    fn braces_and_lines_are_taken_apart() {
        let text = "use a::b;\npub(crate) use c::{\n    d,\n    e::{f, self},\n    // a comment\n    g as h,\n};\n";
        assert_eq!(paths(text), ["1 a::b", "2 c::d", "2 c::e::f", "2 c::e", "2 c::g"]);
        assert_eq!(declarations(text).iter().filter(|one| one.exported).count(), 4);
    }

    #[test]
    fn modules_of_tests_are_passed_over() {
        let text = "use a::b;\n#[cfg(test)]\nmod tests {\n    use c::d;\n}\n#[cfg(test)]\nmod others;\nuse e::*;\n";
        assert_eq!(paths(text), ["1 a::b", "8 e"]);
    }

    #[test]
    fn a_path_is_made_whole_from_where_it_stands() {
        let owned = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
        let from = owned("a::b");
        assert_eq!(absolute(&from, &owned("super::c::D")), Some(owned("a::c::D")));
        assert_eq!(absolute(&from, &owned("super::super::D")), Some(owned("D")));
        assert_eq!(absolute(&from, &owned("self::D")), Some(owned("a::b::D")));
        assert_eq!(absolute(&from, &owned("crate::x::D")), Some(owned("x::D")));
        assert_eq!(absolute(&from, &owned("std::fs")), None);
    }
}
