//! Members of a JSON object, read so that none can spoil the rest: one of an unexpected type is void, and what is not
//! asked for is skipped without being built. (What JSON can write and Rust cannot hold, a number such as `1e999` or half
//! of a surrogate pair, is void too, unless it stands in place of an object or a list.)
//!
//! `serde_json` skips iteratively, so nesting cannot exhaust the stack: only what [`view!`] names is descended into.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What an object says in one of its members.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Field<T> {
    /// Nothing: there is no such member, or it is an object without members.
    #[default]
    Absent,
    /// `null`, or something of an unexpected type.
    Void,
    /// This.
    Set(T),
}

impl<T> Field<T> {
    /// The value, if there is one.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Void => None,
        }
    }

    /// The value, if there is one.
    pub(crate) fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Void => None,
        }
    }

    /// The value, if there is one.
    pub(crate) fn as_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Void => None,
        }
    }

    /// Whether the object says anything in this member, if only `null`.
    pub(crate) fn is_named(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl<T: Default> Field<T> {
    /// The value, or one that says nothing.
    pub(crate) fn or_default(self) -> T {
        self.value().unwrap_or_default()
    }
}

/// What can stand in a member.
pub(crate) trait Read<'de>: Sized {
    /// Reads whatever is there; fails only where the text is no JSON.
    fn read<D: Deserializer<'de>>(json: D) -> Result<Field<Self>, D::Error>;
}

impl<'de, T: Read<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        T::read(json)
    }
}

/// Laying the members that an event gives as previous over those of its object: objects member by member, all else whole.
pub(crate) trait Overlay {
    /// Takes over what `previous` says.
    fn overlay(&mut self, previous: Self);
}

impl<T: Overlay> Overlay for Field<T> {
    fn overlay(&mut self, previous: Self) {
        match (self, previous) {
            (_, Self::Absent) => {}
            (Self::Set(value), Self::Set(previous)) => value.overlay(previous),
            (field, previous) => *field = previous,
        }
    }
}

/// An object of which some members are read.
pub(crate) trait Members<'de>: Default {
    /// Reads the value of `name` if it is one of ours; `false` leaves it unread.
    fn member<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error>;

    /// What a mere text in place of the object says: for those that Stripe gives as an id or expanded.
    fn of_text(_text: &str) -> Option<Self> {
        None
    }
}

/// Declares an object by the members that we read: `name: Type`, or `name "as it is called": Type`.
macro_rules! view {
    ($(#[$doc:meta])* struct $view:ident $(<$t:ident>)? { $($field:ident $($name:literal)?: $type:ty,)* } $(of_text $of_text:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $view $(<$t>)? { $(pub(crate) $field: $crate::field::Field<$type>,)* }

        impl $(<$t>)? Default for $view $(<$t>)? {
            fn default() -> Self {
                Self { $($field: $crate::field::Field::Absent,)* }
            }
        }

        impl<'de $(, $t: $crate::field::Read<'de>)?> $crate::field::Members<'de> for $view $(<$t>)? {
            fn member<A: serde::de::MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
                $(if name == $crate::field::view!(@name $field $($name)?).as_bytes() {
                    self.$field = map.next_value()?;
                    return Ok(true);
                })*
                Ok(false)
            }

            $(fn of_text(text: &str) -> Option<Self> {
                $of_text(text)
            })?
        }

        impl<'de $(, $t: $crate::field::Read<'de>)?> $crate::field::Read<'de> for $view $(<$t>)? {
            fn read<D: serde::de::Deserializer<'de>>(json: D) -> Result<$crate::field::Field<Self>, D::Error> {
                json.deserialize_any($crate::field::Object::new())
            }
        }

        impl $(<$t: $crate::field::Overlay>)? $crate::field::Overlay for $view $(<$t>)? {
            fn overlay(&mut self, previous: Self) {
                $($crate::field::Overlay::overlay(&mut self.$field, previous.$field);)*
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}
pub(crate) use view;

/// Reads an object of [`Members`]; anything else is void.
pub(crate) struct Object<T>(PhantomData<T>);

impl<T> Object<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

/// The answers of a visitor to what it does not expect.
macro_rules! void {
    ($($visit:ident($type:ty))*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok(Field::Void)
        })*

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Field::Void)
        }
    };
}

impl<'de, T: Members<'de>> Visitor<'de> for Object<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = T::default();
        let mut is_empty = true;
        while let Some(name) = map.next_key::<Name<'de>>()? {
            is_empty = false;
            if !object.member(&name.0, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(if is_empty { Field::Absent } else { Field::Set(object) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(seq)?;
        Ok(Field::Void)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::of_text(text).map_or(Field::Void, Field::Set))
    }

    void! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) }
}

/// A member's name. As bytes, since as text half of a surrogate pair would be an error.
struct Name<'de>(Cow<'de, [u8]>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_bytes<E: serde::de::Error>(self, name: &'de [u8]) -> Result<Self::Value, E> {
                // As bytes it is not checked for what JSON has escaped.
                if name.iter().any(|byte| *byte < b' ') {
                    return Err(E::custom("control character in a name"));
                }
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_vec())))
            }
        }

        json.deserialize_bytes(Bytes)
    }
}

impl<'de, T: Read<'de>> Read<'de> for Vec<T> {
    /// The elements that can be read.
    fn read<D: Deserializer<'de>>(json: D) -> Result<Field<Self>, D::Error> {
        struct Elements<T>(PhantomData<T>);

        impl<'de, T: Read<'de>> Visitor<'de> for Elements<T> {
            type Value = Field<Vec<T>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element::<Field<T>>()? {
                    elements.extend(element.value());
                }
                Ok(Field::Set(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_map(map)?;
                Ok(Field::Void)
            }

            void! { visit_str(&str) visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) }
        }

        json.deserialize_any(Elements(PhantomData))
    }
}

impl<T> Overlay for Vec<T> {
    fn overlay(&mut self, previous: Self) {
        *self = previous;
    }
}
