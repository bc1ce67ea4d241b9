//! The session's cookie, which is several where it is long: `NAME`, or `NAME.0`, `NAME.1` and so on.

use std::borrow::Cow;

use super::SessionCookie;
use crate::http::auth::claims::TOKEN_BYTES_MAX;

/// The sessions that the `Cookie` headers of a request hold, the newest kind first. HTTP/2 may bring several headers.
pub(in crate::http::auth) fn session_cookies<'h>(
    headers: impl Iterator<Item = &'h str>,
) -> Vec<(SessionCookie, Cow<'h, str>)> {
    let pairs: Vec<_> = pairs(headers).collect();
    let session = |cookie: SessionCookie| Some((cookie, whole(&pairs, cookie.name())?));
    SessionCookie::ALL.into_iter().filter_map(session).collect()
}

/// The value of the cookie `name`.
pub(in crate::http::auth) fn cookie<'h>(headers: impl Iterator<Item = &'h str>, name: &str) -> Option<&'h str> {
    pairs(headers).find(|(given, value)| *given == name && !value.is_empty()).map(|(_, value)| value)
}

fn pairs<'h>(headers: impl Iterator<Item = &'h str>) -> impl Iterator<Item = (&'h str, &'h str)> {
    headers.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn whole<'h>(pairs: &[(&'h str, &'h str)], name: &str) -> Option<Cow<'h, str>> {
    // Of two with one name a browser sends the one of the narrower path first.
    let find = |suffix: &str| {
        let is_it = |given: &str| given.strip_prefix(name).is_some_and(|rest| rest == suffix);
        pairs.iter().find(|(given, value)| is_it(given) && !value.is_empty()).map(|(_, value)| *value)
    };
    if let Some(value) = find("") {
        return Some(value.into());
    }
    let mut token = String::new();
    let chunks = (0..).map_while(|index: usize| find(&format!(".{index}")));
    for chunk in chunks {
        token.push_str(chunk);
        if token.len() > TOKEN_BYTES_MAX {
            // It is refused for its length, whatever follows.
            break;
        }
    }
    (!token.is_empty()).then_some(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&str]) -> Vec<(&'static str, String)> {
        let sessions = session_cookies(headers.iter().copied());
        sessions.into_iter().map(|(cookie, token)| (cookie.name(), token.into_owned())).collect()
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        assert_eq!(read(&["theme=dark; authjs.session-token=a.b; x"]), [("authjs.session-token", "a.b".to_owned())]);
        assert_eq!(
            read(&["next-auth.session-token=old", "__Secure-authjs.session-token=new"]),
            [("__Secure-authjs.session-token", "new".to_owned()), ("next-auth.session-token", "old".to_owned())]
        );
    }

    #[test]
    fn chunks_are_put_together_by_their_number() {
        let out_of_order =
            "authjs.session-token.1=b; authjs.session-token.10=k; authjs.session-token.0=a; authjs.session-token.2=c";
        assert_eq!(read(&[out_of_order]), [("authjs.session-token", "abc".to_owned())]);
        assert!(read(&["authjs.session-token.1=b; authjs.session-token.x=c"]).is_empty());
    }

    #[test]
    fn what_is_called_otherwise_is_no_session() {
        for other in [
            "",
            "authjs.session-token",
            "authjs.session-token=",
            "Authjs.session-token=a",
            "xauthjs.session-token=a",
            "authjs.session-token-x=a",
            "authjs.state=a",
            "authjs.pkce.code_verifier=a",
            "__Host-authjs.csrf-token=a|b",
        ] {
            assert!(read(&[other]).is_empty(), "{other}");
        }
    }

    #[test]
    fn no_more_is_put_together_than_may_be_a_token() {
        let chunk = "a".repeat(4000);
        let many: Vec<_> = (0..100).map(|index| format!("authjs.session-token.{index}={chunk}")).collect();
        assert!(read(&[&many.join("; ")])[0].1.len() <= TOKEN_BYTES_MAX + chunk.len());
    }
}
