//! Values of any kind, which say themselves what they are good for.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The values of a visitor for what is neither a list nor an object.
macro_rules! for_single_values {
    ($atom:pat => $value:expr) => {
        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("any value")
        }

        fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
            let $atom = Atom::Number(f64::from(u8::from(value)));
            Ok($value)
        }

        fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
            let $atom = Atom::Integer(value);
            Ok($value)
        }

        fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
            let $atom = i64::try_from(value).map_or(Atom::Number(value as f64), Atom::Integer);
            Ok($value)
        }

        fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
            let $atom = Atom::Number(value);
            Ok($value)
        }

        fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
            let $atom = Atom::Text(value.to_string());
            Ok($value)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            let $atom = Atom::Nothing;
            Ok($value)
        }
    };
}

/// Passes over an object.
fn pass_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Passes over a list.
fn pass_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// The entries of a list in their order; none for what is no list.
pub struct Entries<T>(pub Vec<T>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries(Vec::new())
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;
    for_single_values!(_ => Entries(Vec::new()));

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        pass_object(object).map(|()| Entries(Vec::new()))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor(PhantomData))
    }
}

/// An object; none for what is no object.
pub struct Object<T>(pub Option<T>);

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;
    for_single_values!(_ => Object(None));

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        pass_list(list).map(|()| Object(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(|object| Object(Some(object)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// A number, a text, a truth value (1 or 0) or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Atom {
    #[default]
    Nothing,
    Integer(i64),
    Number(f64),
    Text(String),
}

/// What identifies an image, a category or an annotation; `"7"`, 7 and 7.0 are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    Number(i64),
    Text(String),
}

impl Atom {
    pub fn id(&self) -> Option<Id> {
        match self {
            Atom::Nothing => None,
            Atom::Integer(number) => Some(Id::Number(*number)),
            Atom::Number(number) if number.fract() == 0.0 && number.abs() < 2f64.powi(53) => {
                Some(Id::Number(*number as i64))
            }
            Atom::Number(number) => Some(Id::Text(number.to_string())),
            Atom::Text(text) => Some(text.trim().parse().map_or_else(|_| Id::Text(text.clone()), Id::Number)),
        }
    }

    /// Not a number for what is none.
    pub fn number(&self) -> f64 {
        match self {
            Atom::Nothing => f64::NAN,
            Atom::Integer(number) => *number as f64,
            Atom::Number(number) => *number,
            Atom::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
        }
    }

    /// A whole number above 0.
    pub fn length(&self) -> Option<usize> {
        let number = self.number();
        (number >= 1.0 && number.fract() == 0.0 && number < 2f64.powi(32)).then_some(number as usize)
    }

    pub fn is_true(&self) -> bool {
        match self {
            Atom::Text(text) => !["", "0", "false", "no"].contains(&text.trim().to_lowercase().as_str()),
            other => other.number() != 0.0 && !other.number().is_nan(),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Atom::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Id::Number(number) => number.fmt(formatter),
            Id::Text(text) => text.fmt(formatter),
        }
    }
}

struct AtomVisitor;

impl<'de> Visitor<'de> for AtomVisitor {
    type Value = Atom;
    for_single_values!(atom => atom);

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        pass_list(list).map(|()| Atom::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        pass_object(object).map(|()| Atom::Nothing)
    }
}

impl<'de> Deserialize<'de> for Atom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AtomVisitor)
    }
}

/// A box, key-points or a segmentation, as far as it is made of numbers; what is none among them is not a number.
#[derive(Debug, Default)]
pub enum Shape {
    #[default]
    Nothing,
    /// One list of numbers.
    Flat(Vec<f64>),
    /// A list of lists of numbers.
    Lists(Vec<Part>),
    Runs {
        size: Vec<f64>,
        counts: RawCounts,
    },
}

/// The numbers of one list, with those of lists within it.
#[derive(Debug)]
pub struct Part {
    pub numbers: Vec<f64>,
    pub is_nested: bool,
}

#[derive(Debug)]
pub enum RawCounts {
    Lengths(Vec<f64>),
    Compressed(String),
}

/// A number, or a list.
enum Element {
    Single(Atom),
    List(Part),
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;
    for_single_values!(atom => Element::Single(atom));

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut part = Part { numbers: Vec::new(), is_nested: false };
        while let Some(element) = list.next_element()? {
            match element {
                Element::Single(atom) => part.numbers.push(atom.number()),
                Element::List(inner) => {
                    part.numbers.extend(inner.numbers);
                    part.is_nested = true;
                }
            }
        }
        Ok(Element::List(part))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        pass_object(object).map(|()| Element::Single(Atom::Nothing))
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;
    for_single_values!(_ => Shape::Nothing);

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut numbers, mut lists) = (Vec::new(), Vec::new());
        while let Some(element) = list.next_element()? {
            match element {
                Element::Single(atom) => numbers.push(atom.number()),
                Element::List(part) => lists.push(part),
            }
        }
        Ok(if lists.is_empty() { Shape::Flat(numbers) } else { Shape::Lists(lists) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let (mut size, mut counts) = (Vec::new(), None);
        while let Some(key) = object.next_key::<Atom>()? {
            match (key.text(), object.next_value()?) {
                (Some("size"), Element::List(part)) => size = part.numbers,
                (Some("counts"), Element::List(part)) => counts = Some(RawCounts::Lengths(part.numbers)),
                (Some("counts"), Element::Single(Atom::Text(text))) => counts = Some(RawCounts::Compressed(text)),
                _ => {}
            }
        }
        Ok(counts.map_or(Shape::Nothing, |counts| Shape::Runs { size, counts }))
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}
