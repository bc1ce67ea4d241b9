//! Where pushes may go: endpoints come from users, and nobody is to make us call elsewhere.

use std::fmt::Write as _;

use reqwest::Url;

use crate::http_client::is_on_this_machine;

/// The services of the browsers' makers: Chrome and what is built on it, Firefox, Safari, Edge on Windows.
const BROWSERS_SERVICES: &str =
    "fcm.googleapis.com, *.push.services.mozilla.com, *.push.apple.com, *.notify.windows.com";

/// The longest endpoint that is kept; the browsers' have a few hundred characters.
const ENDPOINT_CHARACTERS_MAX: usize = 2048;

/// The hosts of push services: `PUSH_HOSTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushHosts(Vec<PushHost>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct PushHost {
    /// In lower case; an address of IPv6 has its brackets.
    name: String,
    /// Whether it is what stands before `name` that is a service: `*.push.example.com`.
    is_parent: bool,
    /// None: HTTPS's own, and on this machine any.
    port: Option<u16>,
}

impl Default for PushHosts {
    fn default() -> Self {
        Self::parse(BROWSERS_SERVICES).expect("the list is one")
    }
}

impl PushHosts {
    /// Reads a comma-separated list of `host`, `host:port` and `*.host`.
    pub(in crate::channels) fn parse(list: &str) -> Option<Self> {
        let hosts = list.split(',').map(str::trim).filter(|host| !host.is_empty());
        let hosts = hosts.map(PushHost::parse).collect::<Option<Vec<_>>>()?;
        (!hosts.is_empty()).then_some(Self(hosts))
    }

    /// The one spelling of all those that lead where `text` does, if that is an endpoint that we may call: as an address is
    /// read, with the escapes that RFC 3986, 6.2.2, makes one, and without what no service is sent.
    pub fn normal(&self, text: &str) -> Option<String> {
        let mut url = self.endpoint(text)?;
        url.set_fragment(None);
        if url.query() == Some("") {
            url.set_query(None);
        }
        Some(with_least_escapes(url.as_str()))
    }

    /// The endpoint, if we may call it: by TLS at a listed host, or without at a listed one on this machine.
    pub(super) fn endpoint(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|_| text.len() <= ENDPOINT_CHARACTERS_MAX)?;
        let host = url.host_str()?;
        let is_local = is_on_this_machine(host);
        let is_guarded = url.scheme() == "https" || url.scheme() == "http" && is_local;
        let is_bare = url.username().is_empty() && url.password().is_none();
        let port = url.port_or_known_default()?;
        let is_listed = self
            .0
            .iter()
            .any(|listed| listed.has(host) && listed.port.map_or(is_local || port == 443, |listed| listed == port));
        (is_guarded && is_bare && is_listed).then_some(url)
    }
}

impl PushHost {
    fn parse(text: &str) -> Option<Self> {
        let (is_parent, text) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        // As an address is read, so that the two are alike.
        let url = Url::parse(&format!("https://{text}/")).ok()?;
        let name = url.host_str()?.to_owned();
        let is_host_alone = url.path() == "/" && !text.contains(['/', '?', '#', '@', '\\', '*']);
        let port = text[text.rfind(']').unwrap_or(0)..].rsplit_once(':').map(|(_, port)| port.parse().ok());
        let port = match port {
            Some(port) => Some(port?),
            None => None,
        };
        is_host_alone.then_some(Self { name, is_parent, port })
    }

    fn has(&self, host: &str) -> bool {
        if self.is_parent {
            host.strip_suffix(&self.name).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
        } else {
            host == self.name
        }
    }
}

/// The same address with no escape of what needs none, and the others in capitals.
fn with_least_escapes(url: &str) -> String {
    let mut parts = url.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => plain.push(char::from(byte)),
            Some(byte) => {
                let _ = write!(plain, "%{byte:02X}");
            }
            None => {
                plain.push('%');
                plain.push_str(part);
                continue;
            }
        }
        plain.push_str(&part[2..]);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(hosts: &PushHosts, text: &str) -> bool {
        hosts.normal(text).is_some()
    }

    #[test]
    fn an_endpoint_is_one_however_it_is_spelled() {
        let hosts = PushHosts::default();
        let normal = |text: &str| hosts.normal(text).unwrap_or_else(|| panic!("{text}"));
        let browsers = "https://fcm.googleapis.com/fcm/send/dA:APA91b-~_x";
        for same in [
            "https://FCM.googleapis.com/fcm/send/dA:APA91b-~_x",
            "HTTPS://fcm.googleapis.com:443/fcm/send/dA:APA91b-~_x",
            "https://fcm.googleapis.com/fcm/./x/../send/dA:APA91b-~_x",
            "https://fcm.googleapis.com/fcm/send/dA:APA91b%2d%7E%5fx",
            "https://fcm.googleapis.com/fcm/%73end/dA:APA91b-~_x",
            "https://fcm.googleapis.com/fcm/send/dA:APA91b-~_x#again",
            "https://fcm.googleapis.com/fcm/send/dA:APA91b-~_x?",
            " https://fcm.googleapis.com/fcm/send/dA:APA91b-~_x\n",
        ] {
            assert_eq!(normal(same), browsers, "{same}");
        }
        assert_eq!(normal(browsers), browsers, "as browsers spell it");
        let windows = |token: &str| normal(&format!("https://wns2-par02p.notify.windows.com/w/?token={token}"));
        assert_eq!(windows("BQYAAA%3d"), windows("BQYAAA%3D"));
        for other in ["BQYAAA=", "bqyaaa%3d", "BQYAAA%3d%3d", "BQYAAA%253d"] {
            assert_ne!(windows(other), windows("BQYAAA%3d"), "{other}");
        }
        for odd in ["%", "%4", "%zz", "%+1", "%é1", "%%41"] {
            let once = windows(odd);
            assert_eq!(normal(&once), once, "{odd}");
        }
    }

    #[test]
    fn the_browsers_own_services_are_called_and_no_other() {
        let hosts = PushHosts::default();
        for good in [
            "https://fcm.googleapis.com/fcm/send/dA:APA91b",
            "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
            "https://web.push.apple.com/QGuQ",
            "https://wns2-par02p.notify.windows.com/w/?token=BQYAAA%3d",
            "https://FCM.googleapis.com:443/fcm/send/1",
        ] {
            assert!(allows(&hosts, good), "{good}");
        }
        for bad in [
            "",
            "fcm.googleapis.com/fcm/send/1",
            "http://fcm.googleapis.com/fcm/send/1",
            "https://fcm.googleapis.com:8443/fcm/send/1",
            "https://fcm.googleapis.com@evil.example/",
            "https://ada:secret@fcm.googleapis.com/",
            "https://ada@fcm.googleapis.com/",
            "https://evil.example/?fcm.googleapis.com",
            "https://fcm.googleapis.com.evil.example/",
            "https://evilfcm.googleapis.com/",
            "https://push.apple.com/",
            "https://evilpush.apple.com/",
            "https://.push.apple.com/",
            "https://127.0.0.1/",
            "http://127.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://localhost/",
            "ftp://fcm.googleapis.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
        ] {
            assert!(!allows(&hosts, bad), "{bad}");
        }
        let endless = format!("https://web.push.apple.com/{}", "x".repeat(ENDPOINT_CHARACTERS_MAX));
        assert!(!allows(&hosts, &endless));
    }

    #[test]
    fn listed_hosts_take_the_place_of_the_browsers() {
        let hosts = PushHosts::parse(" Push.Example.com:8443, *.example.org , 127.0.0.1, [::1]:81, localhost").unwrap();
        for good in [
            "https://push.example.com:8443/1",
            "https://a.b.example.org/1",
            "http://127.0.0.1/1",
            "http://127.0.0.1:32100/1",
            "https://127.0.0.1:32100/1",
            "http://[::1]:81/1",
            "http://localhost:5000/1",
        ] {
            assert!(allows(&hosts, good), "{good}");
        }
        for bad in [
            "https://push.example.com/1",
            "http://push.example.com:8443/1",
            "https://example.org/1",
            "https://a.example.org:444/1",
            "http://a.example.org/1",
            "http://[::1]/1",
            "http://127.0.0.2/1",
            "https://fcm.googleapis.com/1",
        ] {
            assert!(!allows(&hosts, bad), "{bad}");
        }
    }

    #[test]
    fn what_is_not_a_list_of_hosts_is_refused() {
        for bad in
            ["", " , ", "https://push.example.com", "a/b", "a?b", "a@b", "*", "*.*.a", "a:b", "a:99999", "a:", "a b"]
        {
            assert_eq!(PushHosts::parse(bad), None, "{bad}");
        }
    }
}
