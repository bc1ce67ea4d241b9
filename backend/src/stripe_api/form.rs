//! The form that a call carries: names with brackets, as Stripe reads them.

use std::fmt::Write as _;

/// Names and values, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The same with one more member: `items[0][price]`.
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// The same with one more member where there is a value.
    pub fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As `application/x-www-form-urlencoded`, for a body or a query.
    pub fn encoded(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            if !text.is_empty() {
                text.push('&');
            }
            encode(name, &mut text);
            text.push('=');
            encode(value, &mut text);
        }
        text
    }
}

fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("a text takes any text");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_percent_encoded() {
        let form = Form::default()
            .with("items[0][price]", "price_1")
            .with("cancel_at", "")
            .with_some("metadata[user_id]", Some("Zoë & co=1+1"))
            .with_some("trial_end", None::<i64>);
        let expected = "items%5B0%5D%5Bprice%5D=price_1&cancel_at=&metadata%5Buser_id%5D=Zo%C3%AB%20%26%20co%3D1%2B1";
        assert_eq!(form.encoded(), expected);
        assert!(Form::default().is_empty() && Form::default().encoded().is_empty());
    }
}
