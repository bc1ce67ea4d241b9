//! What an e-mail looks like on its way.

use lettre::Message;
use lettre::error::Error;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use crate::channels::Outgoing;
use crate::channels::config::MailConfig;

/// The e-mail of a message: the same `Message-ID` each time that it is made, by which mail programs know a repetition.
pub(super) fn letter(config: &MailConfig, host: &str, message: &Outgoing, to: Mailbox) -> Result<Message, Error> {
    let builder = Message::builder()
        .from(config.from.clone())
        .to(to)
        .subject(message.mail.as_ref().map_or(&message.title, |mail| &mail.subject))
        .message_id(Some(format!("<{}@{host}>", message.id)));
    let builder = match &config.reply_to {
        Some(reply_to) => builder.reply_to(reply_to.clone()),
        None => builder,
    };
    let mut letter = match &message.mail {
        Some(mail) => builder.multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))?,
        None => builder.body(message.body.clone())?,
    };
    let unsubscribe = message.mail.as_ref().and_then(|mail| mail.list_unsubscribe.as_deref());
    // RFC 3834: nobody's absence is to be told to a machine.
    let own = [
        ("Auto-Submitted", Some("auto-generated".to_owned())),
        ("X-Tollgate-Template", Some(message.template.clone())),
    ];
    // RFC 8058: mail programs show a button of their own. Of an address that is written to they make a mail.
    let posted_to = unsubscribe.filter(|address| !address.starts_with("mailto:"));
    let list = [
        ("List-Unsubscribe", unsubscribe.map(|address| format!("<{address}>"))),
        ("List-Unsubscribe-Post", posted_to.map(|_| "List-Unsubscribe=One-Click".to_owned())),
    ];
    for (name, value) in own.into_iter().chain(list) {
        // They are short words and addresses of ours: whatever else is in one would be a line of its own.
        if let Some(value) = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic())) {
            let name = HeaderName::new_from_ascii_str(name);
            letter.headers_mut().insert_raw(HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value));
        }
    }
    Ok(letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::tests::message;
    use crate::channels::{Mail, To};
    use crate::testing::config;

    fn pod_joined() -> Outgoing {
        let mail = Mail {
            subject: "Willkommen, Zoë".to_owned(),
            text: "Schön, dass du da bist.\n".to_owned(),
            html: "<p>Schön, dass du da bist.</p>".to_owned(),
            list_unsubscribe: Some(format!("https://pay.example.com/unsubscribe?token={}", "x".repeat(200))),
        };
        let nobody = To::Email { address: String::new(), name: None };
        Outgoing { template: "pod_joined".to_owned(), mail: Some(mail), ..message(nobody) }
    }

    fn written(message: &Outgoing) -> String {
        let mail = [
            ("SMTP_URL", "smtp://mail.example.com"),
            ("MAIL_FROM", "Tollgate <billing@example.com>"),
            ("MAIL_REPLY_TO", "help@example.com"),
        ];
        let config = config(&mail).channels.mail.unwrap();
        let to = Mailbox::new(Some("Zoë \"Z\" <z>".to_owned()), "zoe@example.net".parse().unwrap());
        let letter = letter(&config, "pay.example.com", message, to).unwrap();
        String::from_utf8(letter.formatted()).unwrap()
    }

    /// A header's value, where it is in one line.
    fn header<'l>(letter: &'l str, name: &str) -> Option<&'l str> {
        let head = letter.split_once("\r\n\r\n").unwrap().0;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[test]
    fn a_letter_says_who_sends_it_and_how_to_end_it() {
        let letter = written(&pod_joined());
        let unsubscribe = format!("<https://pay.example.com/unsubscribe?token={}>", "x".repeat(200));
        for (name, value) in [
            ("From", "Tollgate <billing@example.com>"),
            ("Reply-To", "help@example.com"),
            ("Message-ID", "<msg_0193a5b0@pay.example.com>"),
            ("X-Tollgate-Template", "pod_joined"),
            ("Auto-Submitted", "auto-generated"),
            ("List-Unsubscribe", &unsubscribe),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ("MIME-Version", "1.0"),
        ] {
            assert_eq!(header(&letter, name), Some(value), "{letter}");
        }
        assert!(header(&letter, "Content-Type").unwrap().starts_with("multipart/alternative;"), "{letter}");
        assert!(letter.is_ascii() && header(&letter, "Date").is_some(), "{letter}");
    }

    #[test]
    fn what_is_no_list_has_no_way_to_end_it() {
        let mut message = pod_joined();
        message.mail.as_mut().unwrap().list_unsubscribe = None;
        let letter = written(&message);
        assert_eq!((header(&letter, "List-Unsubscribe"), header(&letter, "List-Unsubscribe-Post")), (None, None));
    }

    #[test]
    fn no_text_makes_a_header_of_its_own() {
        let mut message = pod_joined();
        message.template = "pod_joined\r\nBcc: eve@example.com".to_owned();
        let mail = message.mail.as_mut().unwrap();
        mail.subject = "Hello\r\nBcc: eve@example.com\r\n\r\nBuy this".to_owned();
        mail.list_unsubscribe = Some("https://x.example/\r\nBcc: eve@example.com".to_owned());
        let letter = written(&message);
        let head = letter.split_once("\r\n\r\n").unwrap().0;
        assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{letter}");
    }

    #[test]
    fn without_a_mail_the_body_is_all_of_it() {
        let letter = written(&Outgoing { mail: None, ..pod_joined() });
        assert_eq!(header(&letter, "Subject"), Some("Zahlung =?utf-8?b?bsO2dGln?="));
        assert!(letter.ends_with("\r\n\r\nNoch zwei Tage."), "{letter}");
    }
}
