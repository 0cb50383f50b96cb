//! `#[derive(ContractType)]`: a JSON schema that agrees with what serde writes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Field, Fields, GenericParam, Lit, Result,
    Variant, parse_quote, spanned::Spanned,
};

use crate::{case::Case, serde_attributes::SerdeAttributes};

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let attributes = SerdeAttributes::read(&input.attrs)?;
    let (inline, schema) = match &input.data {
        Data::Struct(data) => of_struct(&data.fields, &attributes)?,
        Data::Enum(data) => of_enum(data, &attributes)?,
        Data::Union(_) => return Err(Error::new(input.span(), "a union has no JSON form")),
    };
    let schema = match &attributes.stand_in {
        Some(other) => quote!(<#other as ::fabric_shim::ContractType>::schema(schemas)),
        None if inline => schema,
        None => quote! {
            schemas.component(&<Self as ::fabric_shim::ContractType>::type_name(), |schemas| {
                let _ = &schemas;
                #schema
            })
        },
    };
    let keywords = keywords(&input.attrs)?;
    Ok(implementation(
        input,
        &attributes,
        &quote!(#schema #keywords),
    ))
}

fn implementation(
    mut input: DeriveInput,
    attributes: &SerdeAttributes,
    schema: &TokenStream,
) -> TokenStream {
    let parameters: Vec<_> = input
        .generics
        .type_params()
        .map(|p| p.ident.clone())
        .collect();
    for parameter in &mut input.generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter
                .bounds
                .push(parse_quote!(::fabric_shim::ContractType));
        }
    }
    let ident = &input.ident;
    let name = attributes
        .rename
        .clone()
        .unwrap_or_else(|| ident.to_string());
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics ::fabric_shim::ContractType for #ident #type_generics #where_clause {
            fn type_name() -> ::std::string::String {
                let parts: &[::std::string::String] = &[
                    ::std::string::String::from(#name),
                    #(<#parameters as ::fabric_shim::ContractType>::type_name()),*
                ];
                parts.join("_")
            }

            fn schema(
                schemas: &mut ::fabric_shim::metadata::Schemas,
            ) -> ::fabric_shim::metadata::Schema {
                let _ = &schemas;
                #schema
            }
        }
    }
}

/// Whether the schema stands in place instead of in a component, and the schema.
fn of_struct(fields: &Fields, attributes: &SerdeAttributes) -> Result<(bool, TokenStream)> {
    match fields {
        Fields::Named(named) if attributes.transparent => match named.named.first() {
            Some(field) => Ok((true, of_field(field)?)),
            None => Err(Error::new(
                named.span(),
                "a transparent struct has a member",
            )),
        },
        Fields::Named(_) => Ok((
            false,
            members(fields, attributes, attributes.rename_all, None)?,
        )),
        Fields::Unnamed(unnamed) if unnamed.unnamed.len() == 1 => {
            Ok((true, of_field(&unnamed.unnamed[0])?))
        }
        Fields::Unnamed(_) => Ok((true, tuple(fields)?)),
        Fields::Unit => Ok((
            true,
            quote!(::fabric_shim::metadata::Schema::of_type("null")),
        )),
    }
}

fn of_enum(data: &DataEnum, attributes: &SerdeAttributes) -> Result<(bool, TokenStream)> {
    let mut names = vec![];
    let mut alternatives = vec![];
    let mut plain = !attributes.untagged && attributes.tag.is_none();
    for variant in &data.variants {
        let own = SerdeAttributes::read(&variant.attrs)?;
        if own.skip {
            continue;
        }
        plain &= matches!(variant.fields, Fields::Unit);
        let ident = variant.ident.to_string();
        let spelled = attributes.rename_all.map(|case| case.of_variant(&ident));
        let name = own.rename.clone().or(spelled).unwrap_or(ident);
        alternatives.push(alternative(variant, &name, attributes, &own)?);
        names.push(name);
    }
    if plain {
        let strings = quote!(::fabric_shim::metadata::Schema::one_of_strings(&[#(#names),*]));
        return Ok((true, strings));
    }
    let one_of = quote!(::fabric_shim::metadata::Schema::one_of(
        ::std::vec![#(#alternatives),*]
    ));
    Ok((false, one_of))
}

fn alternative(
    variant: &Variant,
    name: &str,
    container: &SerdeAttributes,
    own: &SerdeAttributes,
) -> Result<TokenStream> {
    let schema = quote!(::fabric_shim::metadata::Schema);
    let word = quote!(#schema::one_of_strings(&[#name]));
    let case = own.rename_all.or(container.rename_all_fields);
    let tag = container.tag.as_deref();
    let tag_inside = tag.filter(|_| container.content.is_none() && !container.untagged);
    let content = match &variant.fields {
        Fields::Unit => None,
        Fields::Named(_) => {
            let tag = tag_inside.map(|tag| (tag, name));
            Some(members(&variant.fields, own, case, tag)?)
        }
        Fields::Unnamed(one) if one.unnamed.len() == 1 => Some(of_field(&one.unnamed[0])?),
        Fields::Unnamed(_) => Some(tuple(&variant.fields)?),
    };
    let named = matches!(variant.fields, Fields::Named(_));
    Ok(match (tag, &container.content, content) {
        _ if container.untagged && matches!(variant.fields, Fields::Unit) => {
            quote!(#schema::of_type("null"))
        }
        (None, _, Some(content)) if container.untagged => content,
        (None, _, None) => word,
        (None, _, Some(content)) => {
            quote!(#schema::object(::std::vec![(#name, #content)], &[#name]))
        }
        (Some(tag), Some(inner), Some(content)) => quote! {
            #schema::object(::std::vec![(#tag, #word), (#inner, #content)], &[#tag, #inner])
        },
        (Some(_), None, Some(members)) if named => members,
        (Some(tag), None, Some(_)) => {
            // The members of the inner type stand beside the tag; they are described there.
            quote!(#schema::object(::std::vec![(#tag, #word)], &[#tag]))
        }
        (Some(tag), _, None) => quote!(#schema::object(::std::vec![(#tag, #word)], &[#tag])),
    })
}

fn tuple(fields: &Fields) -> Result<TokenStream> {
    let items = fields.iter().map(of_field).collect::<Result<Vec<_>>>()?;
    Ok(quote!(::fabric_shim::metadata::Schema::tuple(
        ::std::vec![#(#items),*]
    )))
}

/// The object that named members make, with a tag among them for an internally tagged enum.
fn members(
    fields: &Fields,
    container: &SerdeAttributes,
    case: Option<Case>,
    tag: Option<(&str, &str)>,
) -> Result<TokenStream> {
    let mut pushes = vec![];
    let mut open = !container.deny_unknown_fields;
    for field in fields {
        let own = SerdeAttributes::read(&field.attrs)?;
        if own.skip {
            continue;
        }
        if own.flatten {
            open = true;
            continue;
        }
        let ident = field
            .ident
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let ident = ident.trim_start_matches("r#").to_owned();
        let spelled = case.map(|case| case.of_field(&ident));
        let name = own.rename.clone().or(spelled).unwrap_or(ident);
        let schema = of_field(field)?;
        let ty = &field.ty;
        let may_be_absent = own.default || container.default;
        pushes.push(quote! {
            members.push((#name, #schema));
            if !#may_be_absent && !::fabric_shim::__is_optional!(#ty) {
                required.push(#name);
            }
        });
    }
    let tag = tag.map(|(tag, name)| {
        quote! {
            members.push((#tag, ::fabric_shim::metadata::Schema::one_of_strings(&[#name])));
            required.push(#tag);
        }
    });
    let closed = (!open).then(|| quote!(.with("additionalProperties", false)));
    Ok(quote! {{
        let mut members = ::std::vec::Vec::new();
        let mut required: ::std::vec::Vec<&str> = ::std::vec::Vec::new();
        #tag
        #(#pushes)*
        ::fabric_shim::metadata::Schema::object(members, &required) #closed
    }})
}

fn of_field(field: &Field) -> Result<TokenStream> {
    let attributes = SerdeAttributes::read(&field.attrs)?;
    let keywords = keywords(&field.attrs)?;
    let ty = &field.ty;
    if attributes.custom {
        return Ok(quote!(::fabric_shim::metadata::Schema::any() #keywords));
    }
    Ok(quote!(::fabric_shim::__schema!(#ty, schemas) #keywords))
}

/// `#[contract_type(max_length = 10)]` becomes `.with("maxLength", 10)`.
fn keywords(attributes: &[Attribute]) -> Result<TokenStream> {
    let mut keywords = TokenStream::new();
    for attribute in attributes {
        if !attribute.path().is_ident("contract_type") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            let ident = meta.path.require_ident()?;
            let keyword = Case::Camel.of_field(&ident.to_string());
            let value: Lit = meta.value()?.parse()?;
            keywords.extend(quote!(.with(#keyword, #value)));
            Ok(())
        })?;
    }
    Ok(keywords)
}
