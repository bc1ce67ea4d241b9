//! Customers.

use crate::field::view;
use crate::normalize::{Metadata, Normalize, Unreadable, object, required_id};
use crate::scalar::{Flag, Id, Seconds, Text};

object! {
    /// A customer.
    pub struct Customer {
        /// `cus_…`
        pub id: String,
        /// As the customer or the operator wrote it.
        pub name: Option<String>,
        /// As the customer wrote it.
        pub email: Option<String>,
        /// Whether it is gone, which is for good.
        pub deleted: bool,
        /// `pm_…`; `invoice_settings.default_payment_method`.
        pub default_payment_method: Option<String>,
        /// `metadata.user_id`, when it is not blank.
        pub user_id: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
        /// `card_…` or `src_…`: what is charged where neither the customer nor the subscription has a default of the
        /// newer kind. Read since the second version of this form.
        pub default_source: Option<String>,
    }
}

impl Customer {
    /// Whether this is all that Stripe says when it is asked for one that was deleted: its id, and that it was.
    pub fn is_name_of_deleted(&self) -> bool {
        self.deleted && self.created.is_none()
    }

    /// The version of this form: one more with each field that is added, so that a state that was kept before can be
    /// told from one in which the field is empty.
    pub const VERSION: u32 = 2;

    /// What a release that knew only `version` of this form would have read.
    #[must_use]
    pub fn at_version(mut self, version: u32) -> Self {
        if version < 2 {
            self.default_source = None;
        }
        self
    }
}

view! {
    /// A customer as it is sent.
    struct CustomerJson {
        id: Id, name: Text, email: Text, deleted: Flag, invoice_settings: InvoiceSettings, default_source: Id,
        metadata: Metadata, created: Seconds,
    }
}
view! {
    /// How a customer's invoices are made and paid.
    struct InvoiceSettings { default_payment_method: Id, }
}

impl Normalize for CustomerJson {
    type Output = Customer;

    fn normalize(self) -> Result<Customer, Unreadable> {
        Ok(Customer {
            id: required_id(self.id)?,
            name: self.name.text(),
            email: self.email.text(),
            deleted: self.deleted.flag().unwrap_or_default(),
            default_payment_method: self.invoice_settings.or_default().default_payment_method.text(),
            user_id: self.metadata.or_default().user_id.text(),
            created: self.created.seconds(),
            default_source: self.default_source.text(),
        })
    }
}
