//! Payment methods: cards and the like.

use std::collections::BTreeMap;

use serde::de::{Deserializer, MapAccess};

use crate::field::{Field, Members, Object, Overlay, Read, view};
use crate::normalize::{Normalize, Unreadable, customer, object, required_id};
use crate::scalar::{Id, Text};

object! {
    /// A payment method.
    pub struct PaymentMethod {
        /// `pm_…`
        pub id: String,
        /// `cus_…`; for one that was just detached, whose it was.
        pub customer: Option<String>,
        /// A card's brand; for another kind, its type.
        pub brand: Option<String>,
        /// The last four digits of a card or an account, where there are such.
        pub last4: Option<String>,
    }
}

/// A payment method. What it is, is in a member that is called as its `type`.
#[derive(Clone, Debug, Default)]
pub(crate) struct PaymentMethodJson {
    id: Field<Id>,
    customer: Field<Id>,
    customer_account: Field<Id>,
    method_type: Field<Text>,
    details: BTreeMap<Vec<u8>, Instrument>,
}
view! {
    /// What a payer would recognise a payment method by.
    struct Instrument { brand: Text, last4: Text, }
}

impl<'de> Members<'de> for PaymentMethodJson {
    fn member<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        match name {
            b"id" => self.id = map.next_value()?,
            b"customer" => self.customer = map.next_value()?,
            b"customer_account" => self.customer_account = map.next_value()?,
            b"type" => self.method_type = map.next_value()?,
            _ => {
                // `type` may come after what it names.
                if let Field::Set(instrument) = map.next_value()? {
                    self.details.insert(name.to_vec(), instrument);
                }
            }
        }
        Ok(true)
    }
}

impl<'de> Read<'de> for PaymentMethodJson {
    fn read<D: Deserializer<'de>>(json: D) -> Result<Field<Self>, D::Error> {
        json.deserialize_any(Object::new())
    }
}

impl Overlay for PaymentMethodJson {
    fn overlay(&mut self, previous: Self) {
        self.customer.overlay(previous.customer);
        self.customer_account.overlay(previous.customer_account);
    }
}

impl Normalize for PaymentMethodJson {
    type Output = PaymentMethod;

    fn normalize(mut self) -> Result<PaymentMethod, Unreadable> {
        let method_type = self.method_type.text();
        let instrument = self.details.remove(method_type.as_deref().unwrap_or("card").as_bytes()).unwrap_or_default();
        Ok(PaymentMethod {
            id: required_id(self.id)?,
            customer: customer(self.customer, self.customer_account),
            brand: instrument.brand.text().or(method_type),
            last4: instrument.last4.text(),
        })
    }
}
