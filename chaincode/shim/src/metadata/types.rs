//! Schemas of the types that may stand in a contract's signatures.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Schema, Schemas};

/// A type that describes itself with a JSON schema. `#[derive(ContractType)]` implements it for
/// structs and enums, after their serde attributes.
pub trait ContractType {
    /// The type's name in the metadata.
    fn type_name() -> String;

    /// The schema, or a reference to it.
    fn schema(schemas: &mut Schemas) -> Schema;

    /// Whether a member of this type may be left out.
    #[must_use]
    fn is_optional() -> bool {
        false
    }
}

macro_rules! plain {
    ($($type:ty => $name:literal, $schema:expr;)*) => {$(
        impl ContractType for $type {
            fn type_name() -> String {
                $name.to_owned()
            }

            fn schema(_: &mut Schemas) -> Schema {
                $schema
            }
        }
    )*};
}

fn integer(format: &str) -> Schema {
    Schema::of_type("integer").with("format", format)
}

fn natural(format: &str) -> Schema {
    integer(format).with("minimum", 0)
}

plain! {
    bool => "bool", Schema::of_type("boolean");
    i8 => "i8", integer("int8");
    i16 => "i16", integer("int16");
    i32 => "i32", integer("int32");
    i64 => "i64", integer("int64");
    isize => "isize", integer("int64");
    u8 => "u8", natural("uint8");
    u16 => "u16", natural("uint16");
    u32 => "u32", natural("uint32");
    u64 => "u64", natural("uint64");
    usize => "usize", natural("uint64");
    f32 => "f32", Schema::of_type("number").with("format", "float");
    f64 => "f64", Schema::of_type("number").with("format", "double");
    char => "char", Schema::of_type("string").with("minLength", 1).with("maxLength", 1);
    String => "String", Schema::of_type("string");
    str => "String", Schema::of_type("string");
    () => "Unit", Schema::of_type("null");
    serde_json::Value => "Value", Schema::any();
}

impl<T: ContractType> ContractType for Option<T> {
    fn type_name() -> String {
        format!("Option_{}", T::type_name())
    }

    fn schema(schemas: &mut Schemas) -> Schema {
        T::schema(schemas)
    }

    fn is_optional() -> bool {
        true
    }
}

impl<T: ContractType + ?Sized> ContractType for Box<T> {
    fn type_name() -> String {
        T::type_name()
    }

    fn schema(schemas: &mut Schemas) -> Schema {
        T::schema(schemas)
    }

    fn is_optional() -> bool {
        T::is_optional()
    }
}

macro_rules! sequence {
    ($($type:ident $(<$hasher:ident>)? $unique:literal;)*) => {$(
        impl<T: ContractType, $($hasher)?> ContractType for $type<T, $($hasher)?> {
            fn type_name() -> String {
                format!("List_{}", T::type_name())
            }

            fn schema(schemas: &mut Schemas) -> Schema {
                let items = T::schema(schemas).into_value();
                let array = Schema::of_type("array").with("items", items);
                if $unique { array.with("uniqueItems", true) } else { array }
            }
        }
    )*};
}

sequence! {
    Vec false;
    BTreeSet true;
    HashSet<S> true;
}

impl<T: ContractType, const N: usize> ContractType for [T; N] {
    fn type_name() -> String {
        format!("Array{N}_{}", T::type_name())
    }

    fn schema(schemas: &mut Schemas) -> Schema {
        let array = Schema::of_type("array").with("items", T::schema(schemas).into_value());
        array.with("minItems", N).with("maxItems", N)
    }
}

macro_rules! map {
    ($($type:ident $(<$hasher:ident>)?;)*) => {$(
        impl<K, V: ContractType, $($hasher)?> ContractType for $type<K, V, $($hasher)?> {
            fn type_name() -> String {
                format!("Map_{}", V::type_name())
            }

            fn schema(schemas: &mut Schemas) -> Schema {
                let values = V::schema(schemas).into_value();
                Schema::of_type("object").with("additionalProperties", values)
            }
        }
    )*};
}

map! {
    BTreeMap;
    HashMap<S>;
}

macro_rules! tuple {
    ($($($part:ident)+;)*) => {$(
        impl<$($part: ContractType),+> ContractType for ($($part,)+) {
            fn type_name() -> String {
                let parts = [$($part::type_name()),+];
                format!("Tuple_{}", parts.join("_"))
            }

            fn schema(schemas: &mut Schemas) -> Schema {
                Schema::tuple(vec![$($part::schema(schemas)),+])
            }
        }
    )*};
}

tuple! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}
