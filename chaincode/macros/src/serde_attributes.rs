//! The serde attributes that change what a type looks like as JSON.

use syn::{Attribute, LitStr, Result, Token, meta::ParseNestedMeta, parenthesized};

use crate::case::Case;

/// What `#[serde(…)]` says about a type, a variant or a member.
#[derive(Debug, Default)]
pub(crate) struct SerdeAttributes {
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) rename_all_fields: Option<Case>,
    pub(crate) tag: Option<String>,
    pub(crate) content: Option<String>,
    /// Another type that stands for this one: `from`, `try_from`, `into`.
    pub(crate) stand_in: Option<syn::Type>,
    pub(crate) untagged: bool,
    pub(crate) transparent: bool,
    pub(crate) deny_unknown_fields: bool,
    pub(crate) default: bool,
    pub(crate) skip: bool,
    pub(crate) flatten: bool,
    /// The value is written by a function, so its type says nothing about its form.
    pub(crate) custom: bool,
}

impl SerdeAttributes {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut read = Self::default();
        for attribute in attributes {
            if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| read.take(&meta))?;
            }
        }
        Ok(read)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(ToString::to_string);
        match name.as_deref().unwrap_or_default() {
            "rename" => self.rename = directed(meta)?.map(|name| name.value()),
            "rename_all" => self.rename_all = case(meta)?,
            "rename_all_fields" => self.rename_all_fields = case(meta)?,
            "tag" => self.tag = Some(text(meta)?.value()),
            "content" => self.content = Some(text(meta)?.value()),
            "from" | "try_from" | "into" => self.stand_in = Some(text(meta)?.parse()?),
            "untagged" => self.untagged = true,
            "transparent" => self.transparent = true,
            "deny_unknown_fields" => self.deny_unknown_fields = true,
            "skip" | "skip_deserializing" => self.skip = true,
            "flatten" => self.flatten = true,
            "default" => {
                self.default = true;
                skip_value(meta)?;
            }
            "with" | "serialize_with" | "deserialize_with" => {
                self.custom = true;
                skip_value(meta)?;
            }
            _ => skip_value(meta)?,
        }
        Ok(())
    }
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    meta.value()?.parse()
}

/// `name = "x"`, or `name(serialize = "x", deserialize = "y")`, of which the second counts,
/// since arguments are read more often than written.
fn directed(meta: &ParseNestedMeta<'_>) -> Result<Option<LitStr>> {
    if meta.input.peek(Token![=]) {
        return text(meta).map(Some);
    }
    let mut found = None;
    meta.parse_nested_meta(|inner| {
        let value = text(&inner)?;
        if inner.path.is_ident("deserialize") || found.is_none() {
            found = Some(value);
        }
        Ok(())
    })?;
    Ok(found)
}

fn case(meta: &ParseNestedMeta<'_>) -> Result<Option<Case>> {
    directed(meta)?.map(|name| Case::parse(&name)).transpose()
}

fn skip_value(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<syn::Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        let inner;
        parenthesized!(inner in meta.input);
        inner.parse::<proc_macro2::TokenStream>()?;
    }
    Ok(())
}
