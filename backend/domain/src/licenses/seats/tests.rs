//! Who gets a seat, who keeps it and who gives it up, without a database.

use proptest::prelude::*;
use tollgate_db::UnitOfWork;
use tollgate_shared::Rng;
use tollgate_shared::clock::from_unix;

use super::*;
use crate::events::LicenseEvent;
use crate::licenses::LicenseLog;

const LICENSE: &str = "lic_1";
const STALE_AFTER: Duration = Duration::days(30);

/// A licence and its machines, in one unit of work after the other, as transactions are.
struct Seats {
    now: Timestamp,
    license: License,
    log: LicenseLog,
    machines: Vec<Machine>,
    told: Vec<(String, serde_json::Value)>,
}

impl Seats {
    fn of(max_activations: i64) -> Self {
        let now = from_unix(1_750_000_000).unwrap();
        let license = License {
            id: LICENSE.to_owned(),
            customer_id: "cus_1".to_owned(),
            key: "a key".to_owned(),
            status: "active".to_owned(),
            tier: "pro".to_owned(),
            plan_id: None,
            max_activations,
            expires_at: None,
            revoked_at: None,
            last_seq: 0,
            created_at: now,
            grace_ends_at: None,
            cancels_at: None,
        };
        let log = LicenseLog { license_id: LICENSE.to_owned(), last_seq: 0 };
        Self { now, license, log, machines: Vec::new(), told: Vec::new() }
    }

    fn days_later(&mut self, days: i64) -> &mut Self {
        self.now += Duration::days(days);
        self
    }

    fn write<T>(&mut self, rule: impl FnOnce(&mut UnitOfWork) -> T) -> T {
        let mut work = UnitOfWork::new(self.now, Rng::system());
        work.add_loaded(vec![self.license.clone()]);
        work.add_loaded(vec![self.log.clone()]);
        work.add_loaded(self.machines.clone());
        let done = rule(&mut work);
        work.release_savepoint();
        self.log = work.get_cloned(LICENSE).unwrap();
        self.machines = machines::of_license(&work, LICENSE).into_iter().cloned().collect();
        let told = work.appended().map(|event: &LicenseEvent| (event.r#type.clone(), event.data.0.clone()));
        self.told.extend(told);
        done
    }

    fn activate(&mut self, fingerprint: &str) -> Result<Activation, ActivateError> {
        let info = MachineInfo {
            fingerprint_hash: fingerprint.to_owned(),
            name: Some(fingerprint.to_owned()),
            platform: None,
            app_version: None,
        };
        self.now += Duration::seconds(1);
        let refusal = refusal(self.now, STALE_AFTER, &self.license, &self.machines, fingerprint);
        let activated = self.write(|work| activate(work, STALE_AFTER, LICENSE, &info));
        assert_eq!(refusal.as_ref(), activated.as_ref().err(), "both say the same while nobody else acts");
        activated
    }

    fn id_of(&self, fingerprint: &str) -> Option<String> {
        let machine = self.machines.iter().find(|machine| machine.fingerprint_hash == fingerprint)?;
        Some(machine.id.clone())
    }

    fn deactivate(&mut self, fingerprint: &str) {
        if let Some(id) = self.id_of(fingerprint) {
            self.now += Duration::seconds(1);
            self.write(|work| deactivate(work, STALE_AFTER, &id, DeactivationReason::App));
        }
    }

    /// As a heartbeat tells it.
    fn see(&mut self, fingerprint: &str) {
        let now = self.now;
        self.machines.iter_mut().find(|machine| machine.fingerprint_hash == fingerprint).unwrap().see(now, None);
    }

    fn holders(&self) -> Vec<&str> {
        self.machines.iter().map(|machine| &*machine.fingerprint_hash).collect()
    }

    fn verdict(&self, fingerprint: &str) -> &'static str {
        Verdict::of(&self.license, &self.machines, fingerprint).code()
    }

    /// What the apps were told: event, machine, reason.
    fn told(&self) -> Vec<String> {
        let line = |(event_type, data): &(String, serde_json::Value)| {
            let reason = data["reason"].as_str().unwrap_or("-");
            format!("{event_type} {} {reason}", data["machine"]["name"].as_str().unwrap())
        };
        self.told.iter().map(line).collect()
    }
}

#[test]
fn the_last_seat_is_given_once() {
    let mut seats = Seats::of(2);
    assert!(seats.activate("a").unwrap().is_new);
    assert!(seats.activate("b").unwrap().is_new);
    let Err(ActivateError::NoSeatLeft { machines }) = seats.activate("c") else { panic!("there is no seat") };
    assert_eq!(machines.iter().map(|machine| &*machine.fingerprint_hash).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(seats.holders(), ["a", "b"]);
}

#[test]
fn the_same_machine_has_one_seat_however_often_it_asks() {
    let mut seats = Seats::of(1);
    let first = seats.activate("a").unwrap().machine;
    let again = seats.activate("a").unwrap();
    assert!(!again.is_new);
    assert_eq!((&again.machine.id, again.machine.activated_at), (&first.id, first.activated_at));
    assert!(again.machine.last_seen_at > first.last_seen_at);
    assert_eq!(seats.told(), ["machine_activated a -"]);
}

#[test]
fn what_an_app_leaves_out_stays_as_it_was() {
    let mut seats = Seats::of(1);
    seats.activate("a").unwrap();
    let info = MachineInfo {
        fingerprint_hash: "a".to_owned(),
        name: None,
        platform: Some("linux".to_owned()),
        app_version: Some("2.0".to_owned()),
    };
    let machine = seats.days_later(1).write(|work| activate(work, STALE_AFTER, LICENSE, &info)).unwrap().machine;
    assert_eq!(machine.name.as_deref(), Some("a"));
    assert_eq!((machine.platform.as_deref(), machine.app_version.as_deref()), (Some("linux"), Some("2.0")));
}

#[test]
fn a_licence_that_lets_nobody_work_is_refused_on_its_old_machine_too() {
    let mut seats = Seats::of(2);
    seats.activate("a").unwrap();
    for (status, verdict) in
        [("revoked", Verdict::Revoked), ("suspended", Verdict::Suspended), ("expired", Verdict::Expired)]
    {
        seats.license.status = status.to_owned();
        for fingerprint in ["a", "b"] {
            assert_eq!(seats.activate(fingerprint).unwrap_err(), ActivateError::Unusable(verdict));
        }
    }
    assert_eq!(seats.holders(), ["a"]);
}

#[test]
fn a_seat_that_was_given_up_is_there_for_another_machine() {
    let mut seats = Seats::of(1);
    let first = seats.activate("a").unwrap().machine;
    seats.deactivate("a");
    seats.deactivate("a");
    assert!(seats.activate("b").unwrap().is_new);
    seats.deactivate("b");
    let second = seats.activate("a").unwrap();
    assert!(second.is_new && second.machine.id != first.id, "an activation that ended is over for good");
    let told = seats.told();
    assert_eq!(told[..2], ["machine_activated a -", "machine_deactivated a app"]);
    assert_eq!(told.len(), 5);
}

#[test]
fn a_silent_machine_keeps_its_seat_until_somebody_needs_it() {
    let mut seats = Seats::of(2);
    seats.activate("a").unwrap();
    seats.days_later(100).activate("b").unwrap();
    assert_eq!(seats.holders(), ["a", "b"]);
    assert_eq!(seats.verdict("a"), "VALID");
    seats.activate("c").unwrap();
    assert_eq!(seats.holders(), ["b", "c"]);
    assert_eq!(seats.told()[2..], ["machine_deactivated a stale", "machine_activated c -"]);
}

#[test]
fn of_several_silent_machines_the_longest_silent_one_goes() {
    let mut seats = Seats::of(3);
    for fingerprint in ["a", "b", "c"] {
        seats.activate(fingerprint).unwrap();
    }
    seats.days_later(1).see("a");
    seats.days_later(40).activate("d").unwrap();
    assert_eq!(seats.holders(), ["a", "c", "d"]);
}

#[test]
fn a_machine_that_was_heard_of_in_time_keeps_its_seat() {
    let mut seats = Seats::of(1);
    seats.activate("a").unwrap();
    seats.days_later(29).activate("b").unwrap_err();
    seats.see("a");
    seats.days_later(29).activate("b").unwrap_err();
    seats.days_later(1).activate("b").unwrap();
}

#[test]
fn with_fewer_seats_the_first_machines_stay_valid() {
    let mut seats = Seats::of(3);
    for fingerprint in ["a", "b", "c"] {
        seats.activate(fingerprint).unwrap();
    }
    seats.license.max_activations = 1;
    assert_eq!(["a", "b", "c"].map(|it| seats.verdict(it)), ["VALID", "TOO_MANY_MACHINES", "TOO_MANY_MACHINES"]);
    assert!(!seats.activate("c").unwrap().is_new, "it has the seat that it has");
    assert_eq!(seats.verdict("c"), "TOO_MANY_MACHINES");
    seats.deactivate("a");
    assert_eq!(seats.verdict("b"), "VALID");
    seats.license.max_activations = 3;
    assert_eq!(seats.verdict("c"), "VALID");
}

#[test]
fn a_machine_that_came_too_late_gets_a_silent_ones_seat() {
    let mut seats = Seats::of(3);
    for fingerprint in ["a", "b", "c"] {
        seats.activate(fingerprint).unwrap();
    }
    seats.license.max_activations = 1;
    seats.days_later(40).see("b");
    seats.activate("c").unwrap();
    assert_eq!(seats.holders(), ["a", "b", "c"], "one silent machine is not enough: nobody is put out for nothing");
    seats.days_later(40).activate("c").unwrap();
    assert_eq!(seats.holders(), ["c"]);
    assert_eq!(seats.verdict("c"), "VALID");
}

#[test]
fn a_plan_without_seats_gives_none() {
    let mut seats = Seats::of(0);
    assert_eq!(seats.activate("a").unwrap_err(), ActivateError::NoSeatLeft { machines: vec![] });
}

#[derive(Clone, Debug)]
enum Act {
    Activate(usize),
    Deactivate(usize),
    Seats(i64),
    Status(&'static str),
    Days(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..8_usize).prop_map(Act::Activate),
        2 => (0..8_usize).prop_map(Act::Deactivate),
        1 => (0..5_i64).prop_map(Act::Seats),
        1 => prop::sample::select(vec!["active", "active", "suspended", "revoked"]).prop_map(Act::Status),
        1 => (1..40_i64).prop_map(Act::Days),
    ];
    prop::collection::vec(act, 0..60)
}

proptest! {
    #[test]
    fn never_more_machines_are_let_in_than_there_are_seats(acts in acts()) {
        let mut seats = Seats::of(3);
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        for act in acts {
            match act {
                Act::Activate(index) => {
                    let got = seats.activate(names[index]);
                    if let Ok(Activation { is_new: true, .. }) = got {
                        prop_assert!(seats.machines.len() as i64 <= seats.license.max_activations);
                        prop_assert_eq!(seats.verdict(names[index]), "VALID");
                    }
                }
                Act::Deactivate(index) => seats.deactivate(names[index]),
                Act::Seats(max) => seats.license.max_activations = max,
                Act::Status(status) => seats.license.status = status.to_owned(),
                Act::Days(days) => drop(seats.days_later(days)),
            }
            let valid = names.into_iter().filter(|name| seats.verdict(name) == "VALID").count() as i64;
            prop_assert!(valid <= seats.license.max_activations);
            let mut holders = seats.holders();
            holders.sort_unstable();
            holders.dedup();
            prop_assert_eq!(holders.len(), seats.machines.len(), "a machine holds one seat");
        }
        // Each seat that is held was told of, and each that was given up.
        let balance = seats.told.iter().map(|(event_type, _)| if event_type == "machine_activated" { 1 } else { -1 });
        prop_assert_eq!(balance.sum::<i64>(), seats.machines.len() as i64);
        prop_assert_eq!(seats.log.last_seq as usize, seats.told.len());
    }
}
