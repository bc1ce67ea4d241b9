//! A button that a signed-in user presses: once for each name that the caller gives it.

use rocket::Request;
use rocket::outcome::try_outcome;
use rocket::request::{self, FromRequest};

use super::view::View;
use crate::app::App;
use crate::http::auth::User;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Argument, Operation};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, Attempt, IdempotentBody};
use crate::http::stripe::failures;

/// A request of a signed-in [`User`], who is refused as that guard refuses them.
pub(super) struct Press<'r> {
    app: &'r App,
    user: User,
    context: &'r RequestContext,
}

/// Who asks for what, and for the how manieth time.
pub(super) struct Asked<'a> {
    pub(super) app: &'a App,
    pub(super) user: &'a User,
    pub(super) context: &'a RequestContext,
    pub(super) attempt: Attempt,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Press<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        let user = try_outcome!(User::from_request(request).await);
        request::Outcome::Success(Self { app: App::of(request), user, context: RequestContext::of(request) })
    }
}

/// What is pressed is done at Stripe.
impl Argument for Press<'_> {
    fn describe(operation: &mut Operation) {
        User::describe(operation);
        for failure in failures() {
            operation.refuse(failure);
        }
    }
}

impl Press<'_> {
    /// Does what is asked by `act`, once for each `Idempotency-Key`: sent again it is answered as it was.
    pub(super) async fn once<'a, T, V, F>(
        &'a self,
        request: IdempotentBody<T>,
        act: impl FnOnce(Asked<'a>, T) -> F + Send,
    ) -> Result<Answer<V>, ApiError>
    where
        V: View,
        F: Future<Output = Result<V, ApiError>> + Send,
    {
        let done = request.once(self.app, &self.user, |body, attempt| {
            let asked = Asked { app: self.app, user: &self.user, context: self.context, attempt };
            let acting = Box::pin(act(asked, body));
            async move { acting.await.map(|view| Answer::new(view.status(), &view)) }
        });
        done.await
    }
}
