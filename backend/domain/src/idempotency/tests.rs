//! Who may do a request, and what it is answered.

use tollgate_shared::clock::from_unix;
use tollgate_shared::{Rng, Secrets};

use super::*;

const START: i64 = 1_750_000_000;

fn sealer() -> Sealer {
    Sealer::new(&Secrets::parse("an-encryption-key-of-32-characters").unwrap())
}

/// The rows, so many seconds after the start.
fn at(seconds: i64, rows: &[RememberedRequest]) -> UnitOfWork {
    let mut work = UnitOfWork::new(from_unix(START + seconds).unwrap(), Rng::seeded(1));
    work.add_loaded(rows.to_vec());
    work
}

fn rows(work: &UnitOfWork) -> Vec<RememberedRequest> {
    work.all().cloned().collect()
}

fn request(body: &str) -> Request {
    Request::new("user_1", "POST /api/api-keys", "a key", "/api/api-keys", body.as_bytes())
}

fn claimed(work: &mut UnitOfWork, holder: &str) -> Claim {
    match claim(work, &sealer(), &request("{}"), holder) {
        Ok(Known::Claimed(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

fn answered(work: &mut UnitOfWork, claim: &Claim) -> Result<(), Refused> {
    answer(work, &sealer(), claim, &Answer { status: 201, body: b"tg_live_secret".to_vec() })
}

#[test]
fn an_answer_is_given_again_for_a_day() {
    let mut work = at(0, &[]);
    let first = claimed(&mut work, "first");
    answered(&mut work, &first).unwrap();
    let rows = rows(&work);
    assert!(!rows[0].answer.as_ref().unwrap().windows(6).any(|bytes| bytes == b"secret"), "it is encrypted");
    let later = claim(&mut at(86_399, &rows), &sealer(), &request("{}"), "second");
    assert_eq!(later, Ok(Known::Answered(Answer { status: 201, body: b"tg_live_secret".to_vec() })));
    let anew = claimed(&mut at(86_400, &rows), "third");
    assert_eq!(anew.first_at, from_unix(START + 86_400).unwrap());
}

#[test]
fn who_takes_a_request_over_is_about_the_same() {
    let mut work = at(0, &[]);
    let first = claimed(&mut work, "first");
    assert_eq!(first.subject, None);
    note_subject(&mut work, &first, "sub_1").unwrap();
    let rows = rows(&work);
    let mut work = at(30, &rows);
    let second = claimed(&mut work, "second");
    assert_eq!((second.is_repeat, second.subject.as_deref()), (true, Some("sub_1")));
    // It was only slow, and has done nothing yet.
    assert_eq!(note_subject(&mut work, &first, "sub_2"), Err(Refused::InProgress));
    assert_eq!(claimed(&mut at(86_400, &rows), "third").subject, None, "by then it is another request");
}

#[test]
fn a_key_is_good_for_one_request() {
    let mut work = at(0, &[]);
    claimed(&mut work, "first");
    let other = claim(&mut work, &sealer(), &request(r#"{"name": "other"}"#), "second");
    assert_eq!(other, Err(Refused::Mismatch));
}

#[test]
fn a_key_is_one_users_and_one_routes() {
    let ids =
        [("user_1", "a", "b"), ("user_2", "a", "b"), ("user_1", "aa", "b"), ("user_1", "a", "c"), ("user_1a", "", "b")]
            .map(|(user, route, key)| Request::new(user, route, key, "/", b"").id);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[test]
fn who_died_with_a_request_is_succeeded() {
    let mut work = at(0, &[]);
    let first = claimed(&mut work, "first");
    let rows = rows(&work);
    assert_eq!(claim(&mut at(29, &rows), &sealer(), &request("{}"), "second"), Err(Refused::InProgress));
    let mut work = at(30, &rows);
    let second = claimed(&mut work, "second");
    assert_eq!(second.first_at, first.first_at, "for others it is the same act");
    assert!(second.is_repeat && !first.is_repeat);
    // It was only slow: what it did is not kept.
    assert_eq!(answered(&mut work, &first), Err(Refused::InProgress));
    release(&mut work, &first);
    answered(&mut work, &second).unwrap();
    assert_eq!(answered(&mut work, &second), Err(Refused::InProgress), "there is one answer");
}

#[test]
fn what_failed_may_be_tried_again_at_once() {
    let mut work = at(0, &[]);
    let first = claimed(&mut work, "first");
    release(&mut work, &first);
    assert_eq!(claimed(&mut work, "second").holder, "second");
    let mut work = at(0, &rows(&work));
    assert_eq!(claim(&mut work, &sealer(), &request("other"), "third"), Err(Refused::Mismatch));
}

#[test]
fn an_answer_under_a_lost_key_is_not_done_again() {
    let mut work = at(0, &[]);
    let first = claimed(&mut work, "first");
    answered(&mut work, &first).unwrap();
    let other = Sealer::new(&Secrets::parse("another-encryption-key-of-32-char").unwrap());
    assert_eq!(claim(&mut work, &other, &request("{}"), "second"), Err(Refused::Sealed));
}
