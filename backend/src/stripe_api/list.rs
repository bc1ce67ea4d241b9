//! Pages of Stripe's lists, the newest first.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::stripe_api::Answer;
use crate::stripe_api::error::CallError;

/// How many objects a page has at most: Stripe gives no more.
pub const OBJECTS_MAX: usize = 100;

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<'a> {
    /// Its objects, as they were sent.
    #[serde(borrow, rename = "data")]
    pub objects: Vec<&'a RawValue>,
    /// Whether there is another one.
    pub has_more: bool,
}

/// Something that is listed.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// The next page begins after the last one's.
    pub id: String,
    /// When it was made, Unix seconds.
    pub created: i64,
}

impl<'a> Page<'a> {
    /// Reads the page that was answered.
    pub fn of(answer: &'a Answer) -> Result<Self, CallError> {
        serde_json::from_slice(&answer.body).map_err(|_| CallError::UnexpectedResponse("it is no list"))
    }

    /// The last of its objects; none of an empty one.
    pub fn last(&self) -> Result<Option<Listed>, CallError> {
        let read = |object: &&RawValue| serde_json::from_str(object.get());
        let last = self.objects.last().map(read).transpose();
        last.map_err(|_| CallError::UnexpectedResponse("it lists something without id or time"))
    }
}
