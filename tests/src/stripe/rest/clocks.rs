//! Test clocks, as far as an account can have one: its own, on which all of its customers are. Making one stops the time;
//! advancing it lets everything happen that is due until then.

use serde_json::{Value, json};

use super::refused::{Answer, Refused};
use super::{Asked, State, number};
use crate::stripe::DAY;

/// The clock that was made.
pub(super) struct TestClock {
    id: String,
    name: Option<String>,
    created: i64,
}

/// Does what a call about clocks asks for; `None` for all others.
pub(super) fn called(state: &mut State, asked: &Asked) -> Option<Answer> {
    let rest = asked.call.split_once("/v1/test_helpers/test_clocks")?.1;
    let (method, path) = (asked.call.split(' ').next()?, rest.trim_start_matches('/').split('/').collect::<Vec<_>>());
    Some(match (method, &path[..]) {
        ("POST", [""]) => create(state, asked),
        ("GET", [""]) => {
            let data: Vec<_> = shown(state).into_iter().collect();
            let url = "/v1/test_helpers/test_clocks";
            Ok(json!({ "object": "list", "url": url, "has_more": false, "data": data }))
        }
        ("GET", [id]) => known(state, id),
        ("POST", [id, "advance"]) => known(state, id).and_then(|_| {
            go_on(state, asked)?;
            known(state, id)
        }),
        _ => Err(Refused::no_such_call(&asked.call)),
    })
}

fn create(state: &mut State, asked: &Asked) -> Answer {
    go_on(state, asked)?;
    // From here on it is moved by hand alone.
    state.keeps_time = None;
    let (id, created) = (state.stripe.ids.long("clock"), state.stripe.now);
    state.test_clock = Some(TestClock { id: id.clone(), name: asked.value("name").map(str::to_owned), created });
    known(state, &id)
}

fn go_on(state: &mut State, asked: &Asked) -> Result<(), Refused> {
    let then = number(asked, "frozen_time").ok_or_else(|| Refused::needs("frozen_time"))?;
    if then < state.stripe.now {
        let message = "The `frozen_time` must be in the future of the account: its time does not go back.";
        return Err(Refused::invalid(400, None, message).about("frozen_time"));
    }
    state.stripe.advance_to(then);
    Ok(())
}

fn known(state: &State, id: &str) -> Answer {
    let clock = shown(state).filter(|clock| clock["id"] == id);
    clock.ok_or_else(|| Refused::no_such("billing clock", id))
}

fn shown(state: &State) -> Option<Value> {
    let TestClock { id, name, created } = state.test_clock.as_ref()?;
    Some(json!({
        "id": id,
        "object": "test_helpers.test_clock",
        "created": created,
        "deletes_after": created + 30 * DAY,
        "frozen_time": state.stripe.now,
        "livemode": false,
        "name": name,
        "status": "ready",
        "status_details": {},
    }))
}
