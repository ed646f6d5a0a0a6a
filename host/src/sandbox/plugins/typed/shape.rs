//! The types of plain functions, as far as JSON can carry them.

use wasmtime::component::types::Type;

/// How deep a type may be nested.
const MAX_DEPTH: usize = 32;

/// What a type is, with its parts. Types that share parts are written out, so their number is
/// bounded: see [`Budget`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Bool,
    Integer(Integer),
    Float32,
    Float64,
    Char,
    Text,
    /// `list<u8>`: in JSON a text in base64.
    Bytes,
    List(Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Vec<Field>),
    Variant(Vec<Case>),
    Enum(Vec<Name>),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
    Flags(Vec<Name>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integer {
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
}

impl Integer {
    /// The smallest and the largest.
    pub(super) fn bounds(self) -> (i128, i128) {
        match self {
            Self::U8 => (0, u8::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::U64 => (0, u64::MAX.into()),
            Self::S8 => (i8::MIN.into(), i8::MAX.into()),
            Self::S16 => (i16::MIN.into(), i16::MAX.into()),
            Self::S32 => (i32::MIN.into(), i32::MAX.into()),
            Self::S64 => (i64::MIN.into(), i64::MAX.into()),
        }
    }
}

/// A word of WIT, `two-words`, and the same in JSON, `two_words`: what scripts can write as they
/// write their own names. No two words of WIT become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) wit: String,
    pub(super) json: String,
}

impl Name {
    pub(super) fn new(wit: &str) -> Self {
        Self { wit: wit.to_owned(), json: wit.replace('-', "_") }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) shape: Shape,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    pub(super) name: Name,
    pub(super) shape: Option<Shape>,
}

/// How many parts the types of one component may still have when they are written out. A type of
/// thirty lines can stand for a billion parts.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Self {
        Self(20_000)
    }

    fn take(&mut self, count: usize) -> Result<(), String> {
        self.0 = self
            .0
            .checked_sub(count)
            .ok_or("the types are too large when they are written out as a schema")?;
        Ok(())
    }
}

/// What a type is.
///
/// # Errors
/// JSON has nothing for it, in words that go on after what has the type.
pub(super) fn of(ty: &Type, budget: &mut Budget) -> Result<Shape, String> {
    at(ty, budget, 0)
}

fn at(ty: &Type, budget: &mut Budget, depth: usize) -> Result<Shape, String> {
    if depth == MAX_DEPTH {
        return Err(format!("its type is nested more than {MAX_DEPTH} deep"));
    }
    budget.take(1)?;
    let mut part = |ty: &Type| at(ty, budget, depth + 1);
    Ok(match ty {
        Type::Bool => Shape::Bool,
        Type::U8 => Shape::Integer(Integer::U8),
        Type::U16 => Shape::Integer(Integer::U16),
        Type::U32 => Shape::Integer(Integer::U32),
        Type::U64 => Shape::Integer(Integer::U64),
        Type::S8 => Shape::Integer(Integer::S8),
        Type::S16 => Shape::Integer(Integer::S16),
        Type::S32 => Shape::Integer(Integer::S32),
        Type::S64 => Shape::Integer(Integer::S64),
        Type::Float32 => Shape::Float32,
        Type::Float64 => Shape::Float64,
        Type::Char => Shape::Char,
        Type::String => Shape::Text,
        Type::List(list) => match list.ty() {
            Type::U8 => Shape::Bytes,
            element => Shape::List(Box::new(part(&element)?)),
        },
        Type::Tuple(tuple) => {
            Shape::Tuple(tuple.types().map(|ty| part(&ty)).collect::<Result<_, _>>()?)
        }
        Type::Record(record) => {
            let field = |field: wasmtime::component::types::Field<'_>| {
                Ok(Field { name: Name::new(field.name), shape: part(&field.ty)? })
            };
            Shape::Record(record.fields().map(field).collect::<Result<_, String>>()?)
        }
        Type::Variant(variant) => {
            let case = |case: wasmtime::component::types::Case<'_>| {
                let shape = case.ty.as_ref().map(&mut part).transpose()?;
                Ok(Case { name: Name::new(case.name), shape })
            };
            Shape::Variant(variant.cases().map(case).collect::<Result<_, String>>()?)
        }
        Type::Enum(cases) => {
            budget.take(cases.names().len())?;
            Shape::Enum(cases.names().map(Name::new).collect())
        }
        Type::Flags(flags) => {
            budget.take(flags.names().len())?;
            Shape::Flags(flags.names().map(Name::new).collect())
        }
        Type::Option(option) => Shape::Option(Box::new(part(&option.ty())?)),
        Type::Result(result) => {
            let mut side = |ty: Option<Type>| {
                ty.map(|ty| part(&ty)).transpose().map(|shape| shape.map(Box::new))
            };
            Shape::Result(side(result.ok())?, side(result.err())?)
        }
        Type::Own(_) | Type::Borrow(_) => return Err(refused("a resource")),
        Type::Future(_) => return Err(refused("a future")),
        Type::Stream(_) => return Err(refused("a stream")),
        Type::ErrorContext => return Err(refused("an error context")),
        Type::Map(_) => return Err(refused("a map")),
        Type::FixedLengthList(_) => return Err(refused("a list of fixed length")),
    })
}

fn refused(what: &str) -> String {
    format!("its type has {what}, which JSON cannot carry")
}
