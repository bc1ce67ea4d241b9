//! Whether a licence lets a machine work, and if not, why: the answer of `validate`.

use crate::licenses::License;
use crate::licenses::machines::Machine;

/// Whether a licence lets a machine work. Of several reasons why not, the one that stands first here is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was typed cannot be a key: a letter of it is wrong.
    Mistyped,
    /// Nobody has that key.
    Unknown,
    /// An operator took the licence away.
    Revoked,
    /// The subscription behind it waits.
    Suspended,
    /// The subscription behind it ended.
    Expired,
    /// The machine holds no seat.
    NotActivated,
    /// It holds one of those that the licence no longer has.
    TooManyMachines,
    /// It may work.
    Valid,
}

impl Verdict {
    /// What keeps the licence from letting any machine work, if something does.
    pub fn against(license: &License) -> Option<Self> {
        match license.status.as_str() {
            "active" => None,
            "revoked" => Some(Self::Revoked),
            "expired" => Some(Self::Expired),
            _ => Some(Self::Suspended),
        }
    }

    /// The verdict on the machine with that fingerprint; `machines` hold the licence's seats, in the order in which they
    /// took them. Where there are more of them than seats, those that came first keep theirs.
    pub fn of<'m>(license: &License, machines: impl IntoIterator<Item = &'m Machine>, fingerprint_hash: &str) -> Self {
        if let Some(verdict) = Self::against(license) {
            return verdict;
        }
        let place = machines.into_iter().position(|machine| machine.fingerprint_hash == fingerprint_hash);
        match place {
            None => Self::NotActivated,
            Some(before) if before as i64 >= license.max_activations => Self::TooManyMachines,
            Some(_) => Self::Valid,
        }
    }

    /// What a program decides by. A mistyped key and an unknown one are the same to it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Mistyped | Self::Unknown => "NOT_FOUND",
            Self::Revoked => "REVOKED",
            Self::Suspended => "SUSPENDED",
            Self::Expired => "EXPIRED",
            Self::NotActivated => "NOT_ACTIVATED",
            Self::TooManyMachines => "TOO_MANY_MACHINES",
            Self::Valid => "VALID",
        }
    }

    /// What a person reads: what is wrong, and what to do.
    pub fn message(self) -> &'static str {
        match self {
            Self::Mistyped => "this is not a licence key: it was mistyped, compare it letter by letter",
            Self::Unknown => "nobody has this licence key, though it is well formed; check that it is the right one",
            Self::Revoked => "the licence was revoked; ask those who sold it",
            Self::Suspended => "the licence is suspended: its subscription is on hold or its payment is overdue",
            Self::Expired => "the licence has expired: its subscription ended; a new one brings the same key back",
            Self::NotActivated => "the licence is not active on this machine; activate it here",
            Self::TooManyMachines => {
                "the licence is active on more machines than its plan allows, and others were first; deactivate one of them"
            }
            Self::Valid => "the licence is valid on this machine",
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn license(status: &str, max_activations: i64) -> License {
        License {
            id: "lic_1".to_owned(),
            customer_id: "cus_1".to_owned(),
            key: "a key".to_owned(),
            status: status.to_owned(),
            tier: "pro".to_owned(),
            plan_id: None,
            max_activations,
            expires_at: None,
            revoked_at: None,
            last_seq: 0,
            created_at: from_unix(0).unwrap(),
            grace_ends_at: None,
            cancels_at: None,
        }
    }

    fn machines(fingerprints: &[&str]) -> Vec<Machine> {
        let machine = |fingerprint: &&str| Machine {
            id: format!("mac_{fingerprint}"),
            license_id: "lic_1".to_owned(),
            fingerprint_hash: (*fingerprint).to_owned(),
            name: None,
            platform: None,
            app_version: None,
            activated_at: from_unix(0).unwrap(),
            last_seen_at: from_unix(0).unwrap(),
            deactivated_at: None,
            seat_of: Some("lic_1".to_owned()),
        };
        fingerprints.iter().map(machine).collect()
    }

    #[test]
    fn what_is_wrong_with_the_licence_is_said_before_what_is_with_the_machine() {
        for (status, code) in [("revoked", "REVOKED"), ("suspended", "SUSPENDED"), ("expired", "EXPIRED")] {
            for fingerprint in ["first", "nowhere"] {
                let verdict = Verdict::of(&license(status, 1), &machines(&["first"]), fingerprint);
                assert_eq!(verdict.code(), code);
            }
        }
    }

    #[test]
    fn of_too_many_machines_those_that_came_first_stay_valid() {
        let machines = machines(&["first", "second", "third"]);
        let codes = |max_activations| {
            let license = license("active", max_activations);
            ["first", "second", "third", "nowhere"].map(|it| Verdict::of(&license, &machines, it).code())
        };
        assert_eq!(codes(3), ["VALID", "VALID", "VALID", "NOT_ACTIVATED"]);
        assert_eq!(codes(1), ["VALID", "TOO_MANY_MACHINES", "TOO_MANY_MACHINES", "NOT_ACTIVATED"]);
        assert_eq!(codes(0), ["TOO_MANY_MACHINES", "TOO_MANY_MACHINES", "TOO_MANY_MACHINES", "NOT_ACTIVATED"]);
    }

    #[test]
    fn a_status_that_a_newer_release_made_lets_nobody_work() {
        assert_eq!(Verdict::of(&license("on_loan", 1), &machines(&["first"]), "first"), Verdict::Suspended);
    }

    #[test]
    fn a_mistyped_key_is_told_from_an_unknown_one_by_its_message_alone() {
        assert_eq!(Verdict::Mistyped.code(), Verdict::Unknown.code());
        assert_ne!(Verdict::Mistyped.message(), Verdict::Unknown.message());
    }
}
