//! The bearer token of a request (RFC 6750).

use rocket::Request;

/// The scheme, which is written in any case.
const SCHEME: &str = "Bearer";

/// What `Authorization: Bearer …` holds. A header that comes twice says two things: it is not looked at.
pub(super) fn of<'r>(request: &'r Request<'_>) -> Option<&'r str> {
    let mut given = request.headers().get("authorization");
    match (given.next(), given.next()) {
        (Some(value), None) => read(value),
        _ => None,
    }
}

fn read(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "] {
            assert_eq!(read(value), Some("a.b.c"), "{value}");
        }
    }

    #[test]
    fn another_scheme_or_none_or_no_token_is_not_read() {
        for value in ["", "Bearer", "Bearer ", "Bearera.b.c", "a.b.c", "Basic a.b.c", "Bearer\ta.b.c"] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
