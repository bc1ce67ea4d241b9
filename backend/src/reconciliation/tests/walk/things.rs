//! What users have of ours and Stripe knows nothing of: machines in the seats of their licences, and API keys.

use super::*;

/// How many machines there are: more than a licence of the smallest plan has seats.
const MACHINES: usize = 5;

/// What there has to be, by what was answered.
#[derive(Default)]
pub(super) struct Things {
    /// The machines in the seats of each licence: what the app knows each by, and its id.
    machines: BTreeMap<String, BTreeMap<String, String>>,
    keys: BTreeMap<String, Key>,
}

struct Key {
    user: String,
    /// As it was shown, if it was.
    secret: Option<String>,
    is_good: bool,
}

impl Walk {
    /// Somebody's app says something of its machine, or its user frees the seat.
    pub(super) async fn somebody_is_at_a_machine(&mut self, user: &str) {
        let Some(license) = self.one_of(&self.licenses_of(user).await) else { return };
        let (id, name) = (text(&license["id"]), format!("machine_{}", self.below(MACHINES)));
        let seats = self.things.machines.entry(id.clone()).or_default();
        if self.rng.unit() < 0.3 {
            let Some(machine) = seats.remove(&name) else { return };
            let path = format!("/api/license/machines/{machine}");
            let freed = self.scene.app.as_user(Method::Delete, &path, &signed_in_for_years(user)).await;
            assert_eq!(freed.status, 204, "{freed:?}\n{}", self.told());
            return self.tell(format!("{user} frees {machine}"));
        }
        let body = json!({ "licenseKey": license["key"], "machineId": name });
        let answer = self.scene.app.post("/api/license/activate", &body).await;
        let seats = self.things.machines.entry(id.clone()).or_default();
        let (is_held, taken) = (seats.contains_key(&name), seats.len() as i64);
        let expected = match license["status"].as_str() {
            Some("active") if is_held => 200,
            Some("active") if license["maxActivations"].as_i64() > Some(taken) => 201,
            Some("active") => 409,
            _ => 403,
        };
        if expected == 201 {
            seats.insert(name, text(&answer.json()["machine"]["id"]));
        }
        self.tell(format!("{user} activates on {id}: {} {}", answer.status, answer.body));
        assert_eq!(answer.status, expected, "{license}\n{}", self.told());
    }

    /// A user makes, rolls, revokes or reveals an API key.
    pub(super) async fn somebody_has_keys(&mut self, user: &str) {
        let held: Vec<_> = self.keys_of(user).await.iter().map(|key| text(&key["id"])).collect();
        for id in &held {
            let given = || Key { user: user.to_owned(), secret: None, is_good: true };
            self.things.keys.entry(id.clone()).or_insert_with(given);
        }
        let (id, act) = (self.one_of(&held), self.below(4));
        let is_good = id.as_ref().is_some_and(|id| self.things.keys[id].is_good);
        let (answer, expected) = match (act, &id) {
            (0, _) | (_, None) => {
                let made = self.press(user, "/api/api-keys", &json!({})).await;
                // Who is no customer, not yet or no longer, gets none.
                let expected = if made.status == 404 { 404 } else { 201 };
                (made, expected)
            }
            (1, Some(id)) => {
                let rolled = self.press(user, &format!("/api/api-keys/{id}/roll"), &json!({})).await;
                (rolled, if is_good { 201 } else { 409 })
            }
            (2, Some(id)) => {
                let path = format!("/api/api-keys/{id}");
                (self.scene.app.as_user(Method::Delete, &path, &signed_in_for_years(user)).await, 204)
            }
            (_, Some(id)) => {
                let known = self.things.keys[id].secret.is_some();
                let revealed = self.press(user, &format!("/api/api-keys/{id}/reveal"), &json!({})).await;
                (revealed, if is_good && !known { 200 } else { 409 })
            }
        };
        self.tell(format!("{user} has keys, {act} of {id:?}: {}", answer.status));
        assert_eq!(answer.status, expected, "{answer:?}\n{}", self.told());
        if let (1 | 2, Some(id), true) = (act, &id, answer.status < 400) {
            self.things.keys.get_mut(id).unwrap().is_good = false;
        }
        if let 200 | 201 = answer.status {
            let key = Key { user: user.to_owned(), secret: Some(text(&answer.json()["key"])), is_good: true };
            self.things.keys.insert(text(&answer.json()["id"]), key);
        }
    }

    /// What of all that is not as it has to be.
    pub(super) async fn wrong_things(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for user in (0..USERS).map(user) {
            for license in self.licenses_of(&user).await {
                let seen: BTreeSet<_> = rows(&license["machines"]).iter().map(|machine| text(&machine["id"])).collect();
                let known = self.things.machines.get(&text(&license["id"]));
                let expected: BTreeSet<_> = known.into_iter().flat_map(BTreeMap::values).cloned().collect();
                if seen != expected {
                    wrong.push(format!("{}: machines {seen:?}, expected {expected:?}", license["id"]));
                }
            }
            let seen = self.keys_of(&user).await;
            let good = |key: &&Value| key["revokedAt"].is_null();
            let seen: BTreeSet<_> = seen.iter().filter(good).map(|key| text(&key["id"])).collect();
            let own = self.things.keys.iter().filter(|(_, key)| key.user == user);
            for (id, key) in own {
                if key.is_good != seen.contains(id) {
                    wrong.push(format!("{id} of {user}: expected {}", key.is_good));
                }
            }
        }
        for (id, key) in &self.things.keys {
            let Some(secret) = &key.secret else { continue };
            let verdict = self.scene.app.post("/v1/api-keys/verify", &json!({ "key": secret })).await.json();
            if verdict["valid"] != key.is_good || (key.is_good && verdict["keyId"] != *id) {
                wrong.push(format!("{id}: expected {}, {verdict}", key.is_good));
            }
        }
        wrong
    }

    async fn licenses_of(&self, user: &str) -> Vec<Value> {
        self.see(user, "/api/license").await
    }

    async fn keys_of(&self, user: &str) -> Vec<Value> {
        self.see(user, "/api/api-keys?limit=100").await
    }

    async fn see(&self, user: &str, path: &str) -> Vec<Value> {
        let answer = self.scene.app.as_user(Method::Get, path, &signed_in_for_years(user)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        rows(&answer.json()["data"])
    }
}

fn rows(list: &Value) -> Vec<Value> {
    list.as_array().unwrap().clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
