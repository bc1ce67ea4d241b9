//! Prices, by what a plan can recognise them by.

use crate::field::{Field, view};
use crate::normalize::object;
use crate::scalar::{Id, Text, fit_id, storable};

object! {
    /// What a price can be recognised by.
    pub struct PriceRef {
        /// `price_…`, or a plan's id from before prices.
        pub id: Option<String>,
        /// The name that an operator gave it. Invoice lines have it up to 2024 only.
        pub lookup_key: Option<String>,
        /// `prod_…`
        pub product: Option<String>,
    }
}

view! {
    /// A price, there as its id or expanded; or a plan, which is what prices were before 2020.
    struct PriceJson { id: Id, lookup_key: Text, product: Id, }
    of_text |text: &str| Some(PriceJson { id: Field::Set(Id(fit_id(storable(text.into()))?)), ..PriceJson::default() })
}

impl PriceJson {
    /// Our form of it.
    pub(crate) fn reference(self) -> PriceRef {
        PriceRef { id: self.id.text(), lookup_key: self.lookup_key.text(), product: self.product.text() }
    }
}
