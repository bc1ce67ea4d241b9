use std::fs;

use chrono_tz::Tz;
use serde_json::json;
use tempfile::TempDir;
use tollgate_tests::node::{self, packages, pictures, programs};

use super::*;

fn reader(locale: &str) -> Reader<'_> {
    sample::reader(locale, true)
}

fn over(files: &[(&str, &str)]) -> (TempDir, Result<Templates, Unusable>) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let templates = Templates::load(Some(folder.path()));
    (folder, templates)
}

#[test]
fn every_template_is_there_in_english_and_can_be_made() {
    let templates = Templates::load(None).unwrap();
    templates.try_all().unwrap();
    for template in Template::ALL {
        let facts = sample::facts(template);
        let mail = templates.mail(template, &facts, &reader("en")).unwrap();
        let short = templates.short(template, &facts, &reader("en")).unwrap();
        assert_eq!(mail.subject, short.title);
        assert!(mail.text.starts_with("Hello Ada <Lovelace>,"), "{}", mail.text);
        assert!(mail.text.contains(&short.body), "{template:?}: {}", short.body);
        for text in [&mail.subject, &mail.text, &short.body] {
            assert!(!text.contains("none") && !text.contains("{{") && !text.contains("  "), "{text}");
        }
    }
}

#[test]
fn values_are_escaped_in_html_alone_and_nothing_is_fetched() {
    let templates = Templates::load(None).unwrap();
    for template in Template::ALL {
        let mail = templates.mail(template, &sample::facts(template), &reader("en")).unwrap();
        assert!(!mail.html.contains("<friends>") && !mail.html.contains("<Lovelace>"), "{}", mail.html);
        assert!(mail.html.contains("Ada &lt;Lovelace&gt;"), "{}", mail.html);
        for sign in ["<img", "src=", "@import", "url(", "<script", "<link"] {
            assert!(!mail.html.contains(sign), "{sign}: {}", mail.html);
        }
        assert!(mail.html.contains("token=t") && mail.text.contains("token=t"));
    }
}

#[test]
fn amounts_and_times_are_the_readers() {
    let templates = Templates::load(None).unwrap();
    let facts = |amount: i64, currency: &str| json!({ "podName": "Ajo", "amount": amount, "currency": currency, "dueAt": "2027-01-31T23:30:00Z" });
    let subject = |amount, currency, timezone| {
        let reader = Reader { timezone, ..reader("en") };
        templates.short(Template::ContributionDue, &facts(amount, currency), &reader).unwrap()
    };
    let lagos = subject(500_000, "ngn", Tz::Africa__Lagos);
    assert_eq!(lagos.title, "NGN 5,000.00 for Ajo is due on 1 February 2027");
    assert!(lagos.body.contains("1 February 2027, 00:30 WAT"), "{}", lagos.body);
    assert_eq!(subject(5000, "jpy", Tz::UTC).title, "JPY 5,000 for Ajo is due on 31 January 2027");
    assert_eq!(subject(5000, "kwd", Tz::America__New_York).title, "KWD 5.000 for Ajo is due on 31 January 2027");
}

/// The same mail in another currency differs by its amounts alone.
#[test]
fn each_mail_has_the_decimals_of_its_currency() {
    let templates = Templates::load(None).unwrap();
    for template in Template::ALL {
        let of = |currency: &str| {
            let mut facts = sample::facts(template);
            facts["currency"] = json!(currency);
            let MailText { subject, text, html } = templates.mail(template, &facts, &reader("en")).unwrap();
            [subject, text, html]
        };
        for (currency, amount, total) in
            [("jpy", "JPY 500,000", "JPY 1,500,000"), ("kwd", "KWD 500.000", "KWD 1,500.000")]
        {
            let expected = of("ngn").map(|text| text.replace("NGN 5,000.00", amount).replace("NGN 15,000.00", total));
            assert_eq!(of(currency), expected, "{template:?}");
            assert!(!expected.concat().contains("NGN"), "{template:?}");
        }
    }
}

/// What people send each other: no line of a small screen has room for the name, nor is there a place to break it.
const LONG_NAME: &str = "Ajo_ya_Oluwaseun_ati_awon_ore_re_ni_Ibadan_2027_January_to_December";

/// Each template in one of the currencies, and those that name a pod by a long name.
fn mails() -> Vec<Value> {
    let templates = Templates::load(None).unwrap();
    let mut mails = Vec::new();
    for (number, template) in Template::ALL.into_iter().enumerate() {
        let mut facts = sample::facts(template);
        facts["currency"] = json!(["ngn", "jpy", "kwd"][number % 3]);
        let html = templates.mail(template, &facts, &reader("en")).unwrap().html;
        mails.push(json!({ "name": template.name(), "html": html }));
    }
    for template in [Template::PodPayout, Template::SupportReply] {
        let mut facts = sample::facts(template);
        for fact in ["podName", "reference", "ticketSubject", "text"] {
            facts[fact] = json!(LONG_NAME);
        }
        let html = templates.mail(template, &facts, &reader("en")).unwrap().html;
        mails.push(json!({ "name": format!("long_{}", template.name()), "html": html }));
    }
    mails
}

#[rocket::async_test]
async fn each_mail_reads_well_wide_and_narrow_light_and_dark() {
    packages();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mails.json");
    let mails = mails();
    fs::write(&file, json!(mails).to_string()).unwrap();
    let pictures = pictures();
    let arguments: Vec<_> = [file.to_str().unwrap()].into_iter().chain(pictures.as_deref()).collect();
    let mut browser = node::start(&programs().join("mails.js"), &arguments);
    let mut seen = 0;
    loop {
        let said = browser.next().await.expect("it looks at each of them");
        if said["name"].is_null() {
            break;
        }
        assert_eq!(said["faults"], json!([]), "{said}");
        seen += 1;
    }
    assert_eq!(seen, 4 * mails.len());
}

#[test]
fn a_folder_goes_over_what_is_built_in_file_by_file() {
    let (_folder, templates) = over(&[
        ("pt/pod_joined.subject", "Bem-vindo a {{ podName }}: {{ amount|money(currency, ',', '.') }}"),
        ("pt-BR/pod_left.subject", "Até logo, {{ podName }}"),
        ("en/pod_left.txt", "You are out, {{ name }}."),
        ("notes/readme.md", "no text of ours"),
    ]);
    let templates = templates.unwrap();
    let title = |template, locale: &str| templates.short(template, &sample::facts(template), &reader(locale)).unwrap();
    assert_eq!(title(Template::PodJoined, "pt").title, "Bem-vindo a Ajo & <friends>: NGN 5.000,00");
    assert_eq!(title(Template::PodJoined, "pt-br").title, "Bem-vindo a Ajo & <friends>: NGN 5.000,00");
    assert_eq!(title(Template::PodLeft, "pt-BR").title, "Até logo, Ajo & <friends>");
    assert_eq!(title(Template::PodLeft, "pt-PT").title, "You have left Ajo & <friends>");
    assert_eq!(title(Template::PodLeft, "pt").body, "You are out, Ada <Lovelace>.", "a text need have no blocks");
    assert_eq!(title(Template::PodJoined, "fr-CA").title, "Welcome to Ajo & <friends>");
}

#[test]
fn a_mail_says_in_which_language_it_is() {
    let (_folder, templates) = over(&[("pt/pod_left.html", "{% extends 'layout.html' %}")]);
    let templates = templates.unwrap();
    for (template, locale, language) in [
        (Template::PodLeft, "pt-BR", "pt"),
        (Template::PodJoined, "pt-BR", "en"),
        (Template::PodLeft, "fr", "en"),
        (Template::PodLeft, "en", "en"),
    ] {
        let mail = templates.mail(template, &sample::facts(template), &reader(locale)).unwrap();
        assert!(mail.html.contains(&format!("<html lang=\"{language}\">")), "{locale}: {}", mail.html);
    }
}

#[test]
fn a_mistake_in_a_template_is_named_and_not_shown() {
    let only_to_read_by = "{{ '2027-01-31T23:30:00Z'|date('%#z') }}";
    for (text, kind) in [
        ("{% if secret %}", "syntax"),
        ("{{ amount|shout }}", "filter"),
        ("{{ dueAt|date('%Q') }}", ""),
        (only_to_read_by, ""),
    ] {
        let (_folder, templates) = over(&[("de/pod_left.subject", text)]);
        let said = templates.err().unwrap_or_else(|| panic!("{text}")).to_string();
        assert!(said.contains("de/pod_left") && said.contains(kind) && !said.contains("secret"), "{said}");
    }
    let missing = Templates::load(Some(Path::new("/nowhere/at/all"))).err().unwrap().to_string();
    assert_eq!(missing, "is a folder that cannot be read");
}

#[test]
fn languages_are_tags_and_no_paths() {
    for good in ["en", "pt-BR", "zh-Hant-TW", "de-1996"] {
        assert!(is_locale(good), "{good}");
    }
    for bad in ["", "..", "en/..", "e n", "en-", "-en", "en_US", &"a-".repeat(30), "averylongpart"] {
        assert!(!is_locale(bad), "{bad}");
    }
}
