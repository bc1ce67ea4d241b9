//! Users: whoever signed in at the company's own application, by what their tokens say.

pub mod view;

use std::collections::BTreeSet;

use tollgate_db::{DbError, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

record! {
    /// A row of `users`.
    pub struct User in "users" {
        /// The subject of the user's tokens.
        pub id: String,
        /// What the newest token that has one calls the user's e-mail address.
        pub email: Option<String>,
        /// What the user is called: by the tokens, until the user chose a name here.
        pub name: Option<String>,
        /// Whether the user did.
        pub has_chosen_name: bool,
        /// `user` or `admin`: what the newest token that has a role says. What a request may do is said by its own token.
        pub role: String,
        /// When the user was first seen.
        pub created_at: Timestamp,
    }
}

/// What a token says of the user whose it is. What it does not say is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignIn {
    /// Its subject.
    pub user_id: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// Whether the role is `admin`.
    pub is_admin: Option<bool>,
}

impl User {
    /// A row of which only the name is known.
    pub fn placeholder(now: Timestamp, id: &str) -> Self {
        let id = id.to_owned();
        Self { id, email: None, name: None, has_chosen_name: false, role: "user".to_owned(), created_at: now }
    }

    /// The row after a sign-in. The same row means that there is nothing to write.
    pub fn after(&self, sign_in: &SignIn) -> Self {
        let mut row = self.clone();
        row.email = sign_in.email.clone().or(row.email);
        if !row.has_chosen_name {
            row.name = sign_in.name.clone().or(row.name);
        }
        if let Some(is_admin) = sign_in.is_admin {
            if is_admin { "admin" } else { "user" }.clone_into(&mut row.role);
        }
        row
    }
}

/// The user `id`, if they have signed in before.
pub async fn load(tx: &mut Tx, id: &str) -> Result<Option<User>, DbError> {
    Ok(tx.load("id", &BTreeSet::from([id.to_owned()]), Lock::None).await?.pop())
}

/// Notes what a token says of its user.
pub fn note_sign_in(work: &mut UnitOfWork, sign_in: &SignIn) {
    let id = &*sign_in.user_id;
    let known = work.get_cloned(id).unwrap_or_else(|| User::placeholder(work.now(), id));
    let row = known.after(sign_in);
    if row != known {
        work.insert(row);
    }
}

/// Calls the user by a name of their own choice, or by none.
pub fn rename(work: &mut UnitOfWork, id: &str, name: Option<String>) {
    let known = work.get_cloned(id).unwrap_or_else(|| User::placeholder(work.now(), id));
    work.insert(User { name, has_chosen_name: true, ..known });
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn row() -> User {
        let row = User::placeholder(from_unix(1_750_000_000).unwrap(), "user_1");
        User { email: Some("ada@example.com".to_owned()), name: Some("Ada".to_owned()), ..row }
    }

    fn saying(email: Option<&str>, name: Option<&str>, is_admin: Option<bool>) -> SignIn {
        let [email, name] = [email, name].map(|text| text.map(str::to_owned));
        SignIn { user_id: "user_1".to_owned(), email, name, is_admin }
    }

    #[test]
    fn a_token_that_says_nothing_new_changes_nothing() {
        for same in [saying(None, None, None), saying(Some("ada@example.com"), Some("Ada"), Some(false))] {
            assert_eq!(row().after(&same), row());
        }
    }

    #[test]
    fn a_user_is_called_as_the_token_says_until_they_choose() {
        let other = saying(Some("a@example.com"), Some("Countess"), Some(true));
        let after = row().after(&other);
        assert_eq!((after.email.as_deref(), after.name.as_deref()), (Some("a@example.com"), Some("Countess")));
        assert_eq!(after.role, "admin");
        let chosen = User { name: None, has_chosen_name: true, ..row() };
        assert_eq!(chosen.after(&other).name, None);
    }
}
