//! What a user's token leads to in the database: a row for whoever is new, and the customers whose verified e-mail address
//! it names. Both are looked for at each request and hardly ever written.

use std::collections::BTreeSet;

use tollgate_domain::apply::Touched;
use tollgate_domain::audit::Cause;
use tollgate_domain::customers::by_email;
use tollgate_domain::entitlements;
use tollgate_domain::users::{self, SignIn};
use tracing::info;

use super::claims::Claims;
use crate::app::App;
use crate::http::error::ApiError;

/// Brings what is known of the user into step with the token that they showed.
pub(super) async fn settle(app: &App, user_id: &str, claims: &Claims) -> Result<(), ApiError> {
    let sign_in = SignIn {
        user_id: user_id.to_owned(),
        email: claims.email().map(str::to_owned),
        name: claims.name().map(str::to_owned),
        is_admin: claims.has_role().then(|| claims.is_admin()),
    };
    let email = claims.verified_email();
    let mut tx = app.read().await?;
    let known = users::load(&mut tx, user_id).await?;
    let unlinked = match email {
        Some(email) => by_email::unlinked(&mut tx, email).await?,
        None => Vec::new(),
    };
    drop(tx);
    if unlinked.is_empty() && known.is_some_and(|known| known.after(&sign_in) == known) {
        return Ok(());
    }
    let touched = Touched {
        customers: unlinked.iter().cloned().collect(),
        users: BTreeSet::from([user_id.to_owned()]),
        ..Touched::default()
    };
    let written = app.write(&touched, |work| {
        users::note_sign_in(work, &sign_in);
        let mut claimed = 0;
        for customer in &unlinked {
            if email.is_some_and(|email| by_email::claim(work, &app.settings.plans, customer, email, user_id)) {
                entitlements::follow(work, &app.settings, Cause::user(None), customer);
                claimed += 1;
            }
        }
        Ok::<_, ApiError>(claimed)
    });
    let (claimed, _) = written.await?;
    if claimed > 0 {
        info!("linked {claimed} customers to whoever signed in with their verified e-mail address");
    }
    Ok(())
}
