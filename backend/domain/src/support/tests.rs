//! What happens to tickets.

use tollgate_shared::Rng;
use tollgate_shared::clock::from_unix;

use super::search::Search;
use super::*;

fn now() -> Timestamp {
    from_unix(1_750_000_000).unwrap()
}

fn work() -> UnitOfWork {
    UnitOfWork::new(now(), Rng::seeded(1))
}

fn new(user_id: &str) -> NewTicket {
    NewTicket {
        user_id: user_id.to_owned(),
        subject: "It does not start".to_owned(),
        text: "Since today.".to_owned(),
        category: None,
        priority: "normal".to_owned(),
        license_id: None,
    }
}

fn operator() -> ActedBy {
    ActedBy { actor: "ada".to_owned(), claimed_name: None, request_id: "req_1".to_owned(), reason: None }
}

fn response(status: Option<TicketStatus>, is_internal: bool) -> Response {
    Response { text: "Try again.".to_owned(), status, is_internal }
}

#[test]
fn tickets_are_numbered_in_order_of_opening() {
    let mut work = work();
    let numbers: Vec<_> = (0..3).map(|_| open(&mut work, new("user_1")).unwrap().number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn a_user_opens_twenty_a_day_and_the_next_when_the_first_is_a_day_old() {
    let mut work = work();
    for number in 0..20 {
        let ticket = open(&mut work, new("user_1")).unwrap();
        let created_at = now() - Duration::hours(23) + Duration::minutes(number);
        work.insert(Ticket { created_at, ..ticket });
    }
    let until = now() + Duration::hours(1);
    assert_eq!(open(&mut work, new("user_1")), Err(SupportError::TooMany { until }));
    assert!(open(&mut work, new("user_2")).is_ok(), "others are not kept from it");
    let oldest = work.all().find(|row: &&Ticket| row.number == 1).cloned().unwrap();
    work.insert(Ticket { created_at: now() - Duration::days(1), ..oldest });
    assert!(open(&mut work, new("user_1")).is_ok());
}

#[test]
fn an_answer_changes_how_a_ticket_stands_and_a_note_does_not() {
    let mut work = work();
    let id = open(&mut work, new("user_1")).unwrap().id;
    for (status, is_internal, stands) in [
        (None, true, "open"),
        (None, false, "answered"),
        (Some(TicketStatus::Closed), false, "closed"),
        (Some(TicketStatus::Open), true, "open"),
    ] {
        let (ticket, message) = respond(&mut work, &operator(), &id, response(status, is_internal)).unwrap();
        assert_eq!((&*ticket.status, message.is_internal), (stands, is_internal));
        assert_eq!(messages_in(&work, &id).last(), Some(&message));
    }
}

#[test]
fn what_the_customer_writes_opens_a_ticket_again() {
    let mut work = work();
    let id = open(&mut work, new("user_1")).unwrap().id;
    assert_eq!(close(&mut work, "user_1", &id).unwrap().status, "closed");
    assert_eq!(add(&mut work, "user_1", &id, "Still.".to_owned()).unwrap().status, "open");
    let texts: Vec<_> = messages_in(&work, &id).into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["Since today.", "Still."]);
    assert_eq!(add(&mut work, "user_2", &id, "Mine?".to_owned()), Err(SupportError::Unknown));
    assert_eq!(close(&mut work, "user_2", &id), Err(SupportError::Unknown));
}

#[test]
fn a_ticket_holds_so_many_messages() {
    let mut work = work();
    let ticket = open(&mut work, new("user_1")).unwrap();
    let id = ticket.id.clone();
    work.insert(Ticket { last_message: MESSAGES_MAX - 1, ..ticket });
    assert!(add(&mut work, "user_1", &id, "One more.".to_owned()).is_ok());
    assert_eq!(add(&mut work, "user_1", &id, "And one.".to_owned()), Err(SupportError::Full));
    assert!(respond(&mut work, &operator(), &id, response(None, false)).is_ok(), "an operator may still answer");
}

#[test]
fn what_somebody_types_is_a_number_an_id_or_a_user() {
    assert_eq!(Search::typed("  "), None);
    assert_eq!(Search::typed("#12"), Some(Search::Number(12)));
    assert_eq!(Search::typed(" 12 "), Some(Search::Number(12)));
    assert_eq!(Search::typed("tkt_1"), Some(Search::Id("tkt_1".to_owned())));
    assert_eq!(Search::typed("lic_1"), Some(Search::License("lic_1".to_owned())));
    assert_eq!(Search::typed("user_1"), Some(Search::User("user_1".to_owned())));
}
