//! The till and the portal: what becomes of the pages that a server sends its customers to.

use super::calls::bank_says;
use super::{NewCard, NewSubscription, Paying, Unpaid};
use crate::stripe::Stripe;
use crate::stripe::model::{CheckoutSession, Coupon, Mode, PortalSession};

/// Who stands at the till, and pays how.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// As typed in, where the session names no customer.
    pub email: Option<String>,
    /// As typed in.
    pub name: Option<String>,
    /// None where nothing is due, and none is wanted.
    pub card: Option<NewCard>,
    /// Whether the bank was told that it is really them.
    pub has_confirmed: bool,
    /// By the code that was typed in.
    pub coupon: Option<&'static Coupon>,
}

impl Stripe {
    /// A session at the till, open: nobody has paid yet.
    pub fn open_session(&mut self, session: CheckoutSession) -> String {
        let id = self.new_session_id();
        let mut session = CheckoutSession { id: id.clone(), status: "open", payment_status: "unpaid", ..session };
        session.opened.url = Some(format!("{}/c/pay/{id}", self.pages));
        self.sessions.insert(id.clone(), session);
        id
    }

    /// Nobody can go through an open session any more.
    pub fn expire_session(&mut self, id: &str) {
        let session = self.sessions.get_mut(id).expect("only a session that is there expires");
        assert_eq!(session.status, "open", "only an open session expires");
        session.status = "expired";
        let session = session.clone();
        self.emit("checkout.session.expired", session);
    }

    /// The code, where it is one that this session takes.
    pub fn coupon_of(&self, session: &str, code: &str) -> Option<&'static Coupon> {
        let takes = self.sessions.get(session).is_some_and(|session| session.opened.allows_promotion_codes);
        let known = self.coupons.iter().find(|coupon| coupon.code.eq_ignore_ascii_case(code.trim()));
        known.copied().filter(|_| takes)
    }

    /// Somebody goes through an open session. Where the bank says no, it stays as it was.
    pub fn complete_session(&mut self, id: &str, buyer: &Buyer) -> Result<(), Unpaid> {
        let mut session = self.sessions[id].clone();
        assert_eq!(session.status, "open", "a session is gone through once");
        session.opened.coupon = session.opened.coupon.or(buyer.coupon);
        session.amount_total = session.due();
        match &buyer.card {
            Some(card) => self.card_will_do(card, session.amount_total, buyer.has_confirmed)?,
            None if session.amount_total > 0 || session.opened.always_wants_card => return Err(Unpaid::NoCard),
            None => {}
        }
        let own = self.customers.get(&session.customer);
        session.email = own.and_then(|own| own.email.clone()).or_else(|| buyer.email.clone());
        session.name = buyer.name.clone().or_else(|| own.and_then(|own| own.name.clone()));
        let makes_customer = session.mode == Mode::Subscription || session.opened.makes_customer;
        if session.customer.is_empty() && makes_customer {
            let (email, name) = (session.email.as_deref(), session.name.as_deref());
            session.customer = self.sign_up_by_call(email, name, None);
        }
        session.status = "complete";
        match session.mode {
            Mode::Subscription => self.begin_at_till(session, buyer.card.as_ref()),
            Mode::Payment => {
                let paying = match session.amount_total {
                    0 => Paying::Free,
                    _ if session.opened.makes_invoice => Paying::Invoiced,
                    _ => Paying::AtOnce,
                };
                session.payment_status = "paid";
                let price = session.prices[0];
                self.pay_session(session, paying, price);
            }
        }
        Ok(())
    }

    /// Whether the bank lets a card be kept and, where something is due, be charged.
    pub fn card_will_do(&self, card: &NewCard, due: i64, has_confirmed: bool) -> Result<(), Unpaid> {
        match bank_says(&card.last4) {
            Err(Unpaid::NeedsAction) if has_confirmed => Ok(()),
            // This one is declined only when it is charged.
            Err(_) if due == 0 && card.last4 == "0341" => Ok(()),
            said => said,
        }
    }

    fn begin_at_till(&mut self, mut session: CheckoutSession, card: Option<&NewCard>) {
        let customer = session.customer.clone();
        let card = card.map(|card| self.attach_card(&customer, card.brand, &card.last4));
        let subscription = self.subscribe_and_pay(NewSubscription {
            quantity: session.opened.quantity,
            metadata: session.opened.subscription_metadata.clone(),
            trial_end: session.opened.trial_end,
            coupon: session.opened.coupon,
            ..NewSubscription::of(&customer, &session.prices)
        });
        if let Some(card) = card {
            self.give_subscription_card(&subscription, &card);
        }
        session.payment_status = if session.amount_total > 0 { "paid" } else { "no_payment_required" };
        session.invoice = Some(self.latest_invoice(&subscription));
        session.subscription = Some(subscription);
        self.finish_session(session);
    }

    /// A visit to the portal.
    pub fn open_portal(&mut self, customer: &str, return_url: Option<&str>) -> PortalSession {
        let id = self.ids.long("bps");
        let session = PortalSession {
            url: format!("{}/p/session/{id}", self.pages),
            id: id.clone(),
            customer: customer.to_owned(),
            return_url: return_url.map(str::to_owned),
            created: self.now,
        };
        self.portal_sessions.insert(id, session.clone());
        session
    }

    /// In the portal, another card for all that is paid; where the bank will not have it kept, the old one stays.
    pub fn change_card_in_portal(&mut self, customer: &str, card: &NewCard, has_confirmed: bool) -> Result<(), Unpaid> {
        self.card_will_do(card, 0, has_confirmed)?;
        self.change_card(customer, card.brand, &card.last4);
        Ok(())
    }
}
