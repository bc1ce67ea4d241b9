//! The part of YAML that electron-builder writes (by js-yaml's `dump`): block mappings and lists, scalars in each of their
//! styles. A whole reader would bring crates for what is five names of one file.

/// What is read: numbers are texts too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What a text says; none where it is no YAML of that kind.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let mut reader = Reader { lines, at: 0 };
        let node = reader.block(0)?;
        reader.skip_blank();
        (reader.at == reader.lines.len()).then_some(node)
    }

    /// A member of a mapping.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A member that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Self::Text(text) => Some(text),
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

struct Reader {
    lines: Vec<String>,
    at: usize,
}

impl Reader {
    /// The next line that says something, and its indent.
    fn peek(&mut self) -> Option<(usize, String)> {
        self.skip_blank();
        let line = self.lines.get(self.at)?;
        let content = line.trim_start_matches(' ');
        Some((line.len() - content.len(), content.trim_end().to_owned()))
    }

    fn skip_blank(&mut self) {
        let says_nothing =
            |line: &String| line.trim().is_empty() || line.trim_start().starts_with('#') || line == "---";
        while self.lines.get(self.at).is_some_and(says_nothing) {
            self.at += 1;
        }
    }

    /// A mapping or a list whose lines have this indent, or more.
    fn block(&mut self, indent_min: usize) -> Option<Node> {
        let (indent, first) = self.peek().filter(|(indent, _)| *indent >= indent_min)?;
        if is_item(&first) {
            let mut items = Vec::new();
            while let Some((at, line)) = self.peek()
                && at == indent
                && is_item(&line)
            {
                // What stands after the dash is a block of its own, which is indented by it.
                let content = line[1..].trim_start_matches(' ');
                if content.is_empty() {
                    self.at += 1;
                    items.push(self.block(indent + 1)?);
                } else if key(content).is_some() {
                    self.lines[self.at] = format!("{}{content}", " ".repeat(indent + line.len() - content.len()));
                    items.push(self.block(indent + 1)?);
                } else {
                    items.push(self.value(indent, content)?);
                }
            }
            return Some(Node::List(items));
        }
        let mut members = Vec::new();
        while let Some((at, line)) = self.peek()
            && at == indent
        {
            let (name, rest) = key(&line)?;
            members.push((name, self.value(indent, &rest)?));
        }
        Some(Node::Map(members))
    }

    /// What stands after a key or a dash, in that line or after it.
    fn value(&mut self, indent: usize, rest: &str) -> Option<Node> {
        self.at += 1;
        if rest.is_empty() {
            let is_list = |(at, line): &(usize, String)| *at == indent && is_item(line);
            return match self.peek() {
                Some((at, _)) if at > indent => self.block(indent + 1),
                Some(next) if is_list(&next) => self.block(indent),
                _ => Some(Node::Text(String::new())),
            };
        }
        match rest {
            "[]" => Some(Node::List(Vec::new())),
            "{}" => Some(Node::Map(Vec::new())),
            rest if rest.starts_with(['|', '>']) => self.block_scalar(indent, rest).map(Node::Text),
            rest => scalar(rest).map(Node::Text),
        }
    }

    /// `|` keeps lines, `>` joins them; a digit is their indent, `-` cuts the last end of line, `+` keeps all.
    fn block_scalar(&mut self, indent: usize, head: &str) -> Option<String> {
        let given = head.chars().find_map(|letter| letter.to_digit(10)).map(|digit| indent + digit as usize);
        let mut lines = Vec::new();
        let mut inner = given;
        while let Some(line) = self.lines.get(self.at) {
            let own = line.len() - line.trim_start_matches(' ').len();
            let is_blank = line.trim().is_empty();
            if !is_blank && own < *inner.get_or_insert(own.max(indent + 1)) {
                break;
            }
            lines.push(line.get(inner.unwrap_or(own).min(line.len())..)?.to_owned());
            self.at += 1;
        }
        let text = if head.starts_with('|') { lines.join("\n") } else { folded(&lines) };
        let trimmed = text.trim_end_matches('\n');
        Some(match head {
            head if head.contains('-') => trimmed.to_owned(),
            head if head.contains('+') => format!("{text}\n"),
            _ => format!("{trimmed}\n"),
        })
    }
}

/// Lines of which each ends with a blank, and a blank one with the end of a line.
fn folded(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        if line.is_empty() {
            text.push('\n');
        } else {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(line);
        }
    }
    text
}

fn is_item(line: &str) -> bool {
    line == "-" || line.starts_with("- ")
}

/// The key that a line begins with, and what stands after it.
fn key(line: &str) -> Option<(String, String)> {
    let end = match line.chars().next()? {
        quote @ ('"' | '\'') => line[1..].find(quote)? + 2,
        _ => line.find(": ").or_else(|| line.ends_with(':').then(|| line.len() - 1))?,
    };
    let rest = line.get(end..)?.strip_prefix(':')?;
    Some((scalar(&line[..end])?, rest.trim().to_owned()))
}

/// A text in one line.
fn scalar(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('\'') {
        return Some(rest.strip_suffix('\'')?.replace("''", "'"));
    }
    let Some(rest) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut letters = rest.strip_suffix('"')?.chars();
    let mut read = String::new();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            read.push(letter);
            continue;
        }
        // <https://yaml.org/spec/1.2.2/#57-escaped-characters>
        let digits = match letters.next()? {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            escaped => {
                let known = [
                    ('0', '\0'),
                    ('a', '\u{7}'),
                    ('b', '\u{8}'),
                    ('t', '\t'),
                    ('n', '\n'),
                    ('v', '\u{b}'),
                    ('f', '\u{c}'),
                    ('r', '\r'),
                    ('e', '\u{1b}'),
                    (' ', ' '),
                    ('"', '"'),
                    ('/', '/'),
                    ('\\', '\\'),
                    ('N', '\u{85}'),
                    ('_', '\u{a0}'),
                    ('L', '\u{2028}'),
                    ('P', '\u{2029}'),
                ];
                read.push(known.iter().find(|(name, _)| *name == escaped)?.1);
                continue;
            }
        };
        let number: String = letters.by_ref().take(digits).collect();
        read.push(char::from_u32(u32::from_str_radix(&number, 16).ok()?)?);
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    #[test]
    fn what_js_yaml_writes_is_read() {
        // By js-yaml 4.1.
        let text = "version: 1.2.3\nfiles:\n  - url: My App 1.2.3.exe\n    sha512: AB+/==\n    size: 12\n  - url: 'a: b'\n    \
                    sha512: CD==\nreleaseNotes: |-\n  # one\n\n    two: 'x'\n  three\nreleaseName: \"a\\tb \\L \\x7F \\U0001F600\"\n\
                    folded: >\n  one\n  two\n\n  three\nempty: ''\nnone: null\nlist:\n- a\n- 'b'\n";
        let read = Node::parse(text).unwrap();
        assert_eq!(read.text("version"), Some("1.2.3"));
        let Some(Node::List(files)) = read.get("files") else { panic!("{read:?}") };
        assert_eq!((files[0].text("url"), files[0].text("size")), (Some("My App 1.2.3.exe"), Some("12")));
        assert_eq!((files[1].text("url"), files[1].text("sha512")), (Some("a: b"), Some("CD==")));
        assert_eq!(read.text("releaseNotes"), Some("# one\n\n  two: 'x'\nthree"));
        assert_eq!(read.text("releaseName"), Some("a\tb \u{2028} \u{7f} 😀"));
        assert_eq!(read.text("folded"), Some("one two\nthree\n"));
        assert_eq!(read.text("empty"), Some(""));
        assert_eq!(read.get("list"), Some(&Node::List(vec![Node::Text("a".to_owned()), Node::Text("b".to_owned())])));
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for text in ["", "files: 3\n  x", "a\nb", "\"a\": \"\\q\"", "a: 'b", "- a\nb: c"] {
            assert_eq!(Node::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([ \\-:'\"|>a0\\\\#é\n]|- |: ){0,60}") {
            Node::parse(&text);
        }
    }
}
