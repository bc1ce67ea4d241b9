//! The texts of notifications: made of templates, in the language and the zone of whoever reads them.
//!
//! A text is `{locale}/{template}.subject`, `.txt` or `.html`. English is built in; a folder (`TEMPLATES_DIR`) goes over it,
//! file by file, and may add languages: what one lacks is taken from its language without the region, then from English.
//! All of them are read and tried at start, so that a mistake in one is found before anybody is told anything.

mod built_in;
mod filters;
mod money;
mod sample;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chrono_tz::Tz;
use minijinja::value::Serde;
use minijinja::{Environment, Error, context};
use serde_json::Value;
use tollgate_domain::notifications::Template;
use tollgate_shared::env::Env;

use self::built_in::BUILT_IN;

/// The language that everything is there in.
const ENGLISH: &str = "en";

/// What a text is for.
const KINDS: [&str; 3] = ["subject", "txt", "html"];

/// The block of a `.txt` that is the text itself, without greeting and end: what is seen in the application.
const MESSAGE: &str = "message";

/// The longest tag of a language that is heeded.
const LOCALE_BYTES_MAX: usize = 35;

/// Every template, read. Cheap to ask.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    locales: BTreeSet<String>,
    /// The language of each text: where there is none of its own, it is another's.
    languages: BTreeMap<String, String>,
}

/// Why templates cannot be used. Names files, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The folder cannot be read.
    #[error("is a folder that cannot be read")]
    Folder,
    /// A file cannot be read.
    #[error("has a file that cannot be read: {0}")]
    File(String),
    /// A template is not well-formed, or asks for what there is not.
    #[error("has a template that cannot be used: {0}")]
    Template(String),
}

/// Who reads, and when.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// A language tag.
    pub locale: &'a str,
    /// The zone that times are shown in.
    pub timezone: Tz,
    /// What the reader is called.
    pub name: Option<&'a str>,
    /// Where the reader goes from here.
    pub url: Option<&'a str>,
    /// Where the reader ends mails of this kind.
    pub unsubscribe_url: Option<&'a str>,
}

/// What is seen in the application, and of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// One line.
    pub title: String,
    /// A paragraph or two.
    pub body: String,
}

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailText {
    /// One line.
    pub subject: String,
    /// As plain text.
    pub text: String,
    /// As HTML.
    pub html: String,
}

impl Templates {
    /// Those of `TEMPLATES_DIR` over those that are built in.
    pub fn from_env(env: &Env) -> Option<Arc<Self>> {
        let folder = env.text("TEMPLATES_DIR").map(Path::new);
        Self::load(folder).map(Arc::new).map_err(|why| env.refuse("TEMPLATES_DIR", &why.to_string())).ok()
    }

    /// Those that are built in, with those of `folder` over them.
    pub fn load(folder: Option<&Path>) -> Result<Self, Unusable> {
        let mut files: BTreeMap<String, BTreeMap<String, Cow<'static, str>>> = BTreeMap::new();
        let english = BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), Cow::Borrowed(*text))).collect();
        files.insert(ENGLISH.to_owned(), english);
        if let Some(folder) = folder {
            read(folder, &mut files)?;
        }
        let mut environment = Environment::new();
        environment.set_path_join_callback(|name, parent| {
            let locale = parent.split('/').next().unwrap_or(ENGLISH);
            Cow::Owned(format!("{locale}/{name}"))
        });
        filters::add(&mut environment);
        let locales: BTreeSet<String> = files.keys().cloned().collect();
        let names: BTreeSet<&String> = files.values().flat_map(BTreeMap::keys).collect();
        let mut languages = BTreeMap::new();
        for locale in &locales {
            for name in &names {
                let of = |locale: &str| Some((locale.to_owned(), files.get(locale)?.get(*name)?));
                let language = locale.split('-').next().unwrap_or(ENGLISH);
                let found = of(locale).or_else(|| of(language)).or_else(|| of(ENGLISH));
                let Some((language, text)) = found else { continue };
                let path = format!("{locale}/{name}");
                languages.insert(path.clone(), language);
                let added = environment.add_template_owned(path.clone(), text.clone());
                added.map_err(|error| Unusable::Template(described(&path, &error)))?;
            }
        }
        let templates = Self { environment, locales, languages };
        if folder.is_some() {
            templates.try_all()?;
        }
        Ok(templates)
    }

    /// The languages that there are texts in.
    pub fn locales(&self) -> impl Iterator<Item = &str> {
        self.locales.iter().map(String::as_str)
    }

    /// What is seen in the application of a notification.
    pub fn short(&self, template: Template, facts: &Value, reader: &Reader<'_>) -> Result<Short, Error> {
        let title = self.render(template, "subject", facts, reader)?;
        let path = self.path(template, "txt", reader.locale);
        let text = self.environment.get_template(&path)?;
        let mut captured = text.render_captured(self.context_of(template, &path, facts, reader))?;
        let body = captured.with_state_mut(|state| state.render_block(MESSAGE));
        // A text of somebody else's need not have that block: then it is all of it.
        let body = body.unwrap_or_else(|_| captured.into_output());
        Ok(Short { title: one_line(&title), body: body.trim().to_owned() })
    }

    /// The mail of a notification.
    pub fn mail(&self, template: Template, facts: &Value, reader: &Reader<'_>) -> Result<MailText, Error> {
        let [subject, text, html] = KINDS.map(|kind| self.render(template, kind, facts, reader));
        Ok(MailText { subject: one_line(&subject?), text: text?, html: html? })
    }

    fn render(&self, template: Template, kind: &str, facts: &Value, reader: &Reader<'_>) -> Result<String, Error> {
        let path = self.path(template, kind, reader.locale);
        self.environment.get_template(&path)?.render(self.context_of(template, &path, facts, reader))
    }

    fn path(&self, template: Template, kind: &str, locale: &str) -> String {
        format!("{}/{}.{kind}", self.locale_of(locale), template.name())
    }

    /// What the text at `path` is given.
    fn context_of(&self, template: Template, path: &str, facts: &Value, reader: &Reader<'_>) -> minijinja::Value {
        context! {
            template => template.name(),
            category => template.category().name(),
            locale => reader.locale,
            language => self.languages.get(path),
            timezone => reader.timezone.name(),
            name => reader.name,
            url => reader.url,
            unsubscribeUrl => reader.unsubscribe_url,
            ..minijinja::Value::from(Serde(facts))
        }
    }

    /// The language of ours that is nearest to what a reader asks for.
    fn locale_of(&self, wanted: &str) -> &str {
        let named = |name: &str| self.locales.iter().find(|locale| locale.eq_ignore_ascii_case(name));
        let language = wanted.split('-').next().unwrap_or_default();
        named(wanted).or_else(|| named(language)).map_or(ENGLISH, String::as_str)
    }

    /// Makes every text once, of samples with everything in them and with nothing.
    fn try_all(&self) -> Result<(), Unusable> {
        for locale in &self.locales {
            for template in Template::ALL {
                for (facts, is_whole) in
                    [(sample::facts(template), true), (Value::Object(serde_json::Map::new()), false)]
                {
                    let reader = sample::reader(locale, is_whole);
                    let tried =
                        self.mail(template, &facts, &reader).and_then(|_| self.short(template, &facts, &reader));
                    let path = format!("{locale}/{}", template.name());
                    tried.map_err(|error| Unusable::Template(described(&path, &error)))?;
                }
            }
        }
        Ok(())
    }
}

/// Whether `text` is the tag of a language as we take it: letters and digits, in parts with hyphens between.
pub fn is_locale(text: &str) -> bool {
    let is_part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= LOCALE_BYTES_MAX && text.split('-').all(is_part)
}

/// Reads the folders of languages in a folder, and the templates in each.
fn read(folder: &Path, files: &mut BTreeMap<String, BTreeMap<String, Cow<'static, str>>>) -> Result<(), Unusable> {
    for entry in fs::read_dir(folder).map_err(|_| Unusable::Folder)? {
        let entry = entry.map_err(|_| Unusable::Folder)?;
        let Ok(locale) = entry.file_name().into_string() else { continue };
        if !is_locale(&locale) || !entry.path().is_dir() {
            continue;
        }
        for file in fs::read_dir(entry.path()).map_err(|_| Unusable::Folder)? {
            let file = file.map_err(|_| Unusable::Folder)?;
            let Ok(name) = file.file_name().into_string() else { continue };
            if !KINDS.iter().any(|kind| name.ends_with(&format!(".{kind}"))) {
                continue;
            }
            let text = fs::read_to_string(file.path()).map_err(|_| Unusable::File(format!("{locale}/{name}")))?;
            files.entry(locale.clone()).or_default().insert(name, Cow::Owned(text));
        }
    }
    Ok(())
}

/// Where a template is wrong, and what it is that is wrong: of its text nothing.
fn described(path: &str, error: &Error) -> String {
    let place = error.name().unwrap_or(path);
    error
        .line()
        .map_or_else(|| format!("{place}: {}", error.kind()), |line| format!("{place}:{line}: {}", error.kind()))
}

/// A header has one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
