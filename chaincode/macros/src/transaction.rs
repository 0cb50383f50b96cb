//! One function of a contract: what its attributes and its signature say.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ImplItemFn, LitStr, Pat, PathArguments,
    Result, ReturnType, Token, Type, parse_quote, punctuated::Punctuated, spanned::Spanned,
};

use crate::case::wire_name;

/// What a function is to its contract.
#[derive(Debug)]
pub(crate) enum Role {
    Transaction(Box<Transaction>),
    Before,
    Around,
    After,
    Unknown,
}

/// A function that the contract calls.
#[derive(Debug)]
pub(crate) struct Function {
    ident: Ident,
    is_async: bool,
    /// Parameters behind the stub.
    pub(crate) parameters: Vec<Parameter>,
}

impl Function {
    /// A call with these arguments, its error turned into a `ContractError`.
    pub(crate) fn call(&self, arguments: TokenStream) -> TokenStream {
        let ident = &self.ident;
        let wait = self.is_async.then(|| quote!(.await));
        quote!(self.#ident(#arguments) #wait.map_err(::fabric_shim::ContractError::from))
    }
}

/// A transaction function.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) name: String,
    pub(crate) evaluate: bool,
    pub(crate) returns: Type,
}

/// A parameter of a transaction function.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// The type that is decoded; of `Option<T>` it is `T`, of `&str` it is `String`.
    pub(crate) decoded: Type,
    pub(crate) optional: bool,
    pub(crate) by_reference: bool,
}

/// Reads a function's role and takes the marks off it. `None` when it has no mark.
pub(crate) fn read(function: &mut ImplItemFn) -> Result<Option<(Function, Role)>> {
    let mut marks = vec![];
    function.attrs.retain(|attribute| {
        let name = attribute
            .path()
            .segments
            .last()
            .map(|last| last.ident.to_string());
        let is_mark = matches!(
            name.as_deref(),
            Some("transaction" | "before" | "around" | "after" | "unknown")
        );
        if is_mark {
            marks.push((name.unwrap_or_default(), attribute.clone()));
        }
        !is_mark
    });
    let Some((mark, attribute)) = marks.pop() else {
        return Ok(None);
    };
    if let Some((_, second)) = marks.first() {
        return Err(Error::new(second.span(), "a function has one role"));
    }
    check_signature(function)?;
    let is_transaction = mark == "transaction";
    let parameters = parameters(function, is_transaction)?;
    let role = match mark.as_str() {
        "transaction" => Role::Transaction(Box::new(transaction(function, &attribute)?)),
        "before" => Role::Before,
        "around" => Role::Around,
        "after" => Role::After,
        _ => Role::Unknown,
    };
    check_count(function, &role, parameters.len())?;
    let function = Function {
        ident: function.sig.ident.clone(),
        is_async: function.sig.asyncness.is_some(),
        parameters,
    };
    Ok(Some((function, role)))
}

fn check_signature(function: &ImplItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(generic) = signature.generics.params.first() {
        return Err(Error::new(
            generic.span(),
            "a contract's function is not generic",
        ));
    }
    match signature.receiver() {
        Some(receiver) if receiver.reference.is_some() && receiver.mutability.is_none() => Ok(()),
        _ => Err(Error::new(
            signature.ident.span(),
            "a contract's function takes &self: its state is the ledger's",
        )),
    }
}

fn check_count(function: &ImplItemFn, role: &Role, count: usize) -> Result<()> {
    let (fits, expected) = match role {
        Role::Transaction(_) => return Ok(()),
        Role::Before => (count == 0, "(&self, ctx: &Stub)"),
        Role::Around => (count == 1, "(&self, ctx: &Stub, next: Next<'_>)"),
        Role::After => (
            count <= 1,
            "(&self, ctx: &Stub) or (&self, ctx: &Stub, result: &[u8])",
        ),
        Role::Unknown => (
            count == 0 || count == 2,
            "(&self, ctx: &Stub) or (&self, ctx: &Stub, function: &str, args: &[Vec<u8>])",
        ),
    };
    if fits {
        return Ok(());
    }
    let message = format!("this hook takes {expected}");
    Err(Error::new(function.sig.span(), message))
}

fn parameters(function: &ImplItemFn, is_transaction: bool) -> Result<Vec<Parameter>> {
    let mut inputs = function.sig.inputs.iter().skip(1);
    let missing = || {
        let message = "the first parameter behind &self is the stub: ctx: &Stub";
        Error::new(function.sig.ident.span(), message)
    };
    match inputs.next() {
        Some(FnArg::Typed(stub)) if matches!(*stub.ty, Type::Reference(_)) => {}
        _ => return Err(missing()),
    }
    let mut parameters: Vec<Parameter> = vec![];
    for input in inputs {
        let FnArg::Typed(typed) = input else {
            continue;
        };
        let name = match &*typed.pat {
            Pat::Ident(pattern) => pattern.ident.to_string(),
            other => return Err(Error::new(other.span(), "a parameter has a plain name")),
        };
        let parameter = if is_transaction {
            parameter(name, &typed.ty)?
        } else {
            Parameter {
                name,
                decoded: (*typed.ty).clone(),
                optional: false,
                by_reference: false,
            }
        };
        if is_transaction && !parameter.optional && parameters.iter().any(|known| known.optional) {
            let message = "a required parameter cannot stand behind an optional one";
            return Err(Error::new(typed.span(), message));
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

fn parameter(name: String, ty: &Type) -> Result<Parameter> {
    let name = name.trim_start_matches('_').to_owned();
    if let Type::Reference(reference) = ty {
        let decoded = match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => parse_quote!(::std::string::String),
            Type::Slice(slice) => {
                let item = &slice.elem;
                parse_quote!(::std::vec::Vec<#item>)
            }
            other => other.clone(),
        };
        return Ok(Parameter {
            name,
            decoded,
            optional: false,
            by_reference: true,
        });
    }
    let inner = argument_of(ty, "Option");
    Ok(Parameter {
        name,
        decoded: inner.cloned().unwrap_or_else(|| ty.clone()),
        optional: inner.is_some(),
        by_reference: false,
    })
}

fn transaction(function: &ImplItemFn, attribute: &Attribute) -> Result<Transaction> {
    let mut name = wire_name(&function.sig.ident.to_string());
    let mut evaluate = false;
    if !matches!(attribute.meta, syn::Meta::Path(_)) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("submit") {
                evaluate = false;
            } else if meta.path.is_ident("evaluate") {
                evaluate = true;
            } else if meta.path.is_ident("name") {
                name = check_name(&meta.value()?.parse()?)?;
            } else {
                return Err(meta.error("expected submit, evaluate or name = \"…\""));
            }
            Ok(())
        })?;
    }
    let ReturnType::Type(_, result) = &function.sig.output else {
        let message = "a transaction function returns a Result";
        return Err(Error::new(function.sig.ident.span(), message));
    };
    let returns = argument_of(result, "Result")
        .cloned()
        .ok_or_else(|| Error::new(result.span(), "a transaction function returns a Result"))?;
    Ok(Transaction {
        name,
        evaluate,
        returns,
    })
}

fn check_name(name: &LitStr) -> Result<String> {
    let text = name.value();
    if text.is_empty() || text.contains(':') {
        return Err(Error::new(
            name.span(),
            "a function's name is not empty and has no colon",
        ));
    }
    Ok(text)
}

/// The first type argument of `Name<…>`.
fn argument_of<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    let Type::Path(path) = ty else {
        return None;
    };
    let last = path
        .path
        .segments
        .last()
        .filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// The arguments of `#[contract(…)]`.
#[derive(Debug)]
pub(crate) struct ContractArguments {
    pub(crate) name: Option<LitStr>,
    pub(crate) codec: Option<syn::Path>,
}

impl syn::parse::Parse for ContractArguments {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self {
            name: None,
            codec: None,
        };
        for pair in Punctuated::<syn::MetaNameValue, Token![,]>::parse_terminated(input)? {
            let value = &pair.value;
            if pair.path.is_ident("name") {
                let name: LitStr = parse_quote!(#value);
                arguments.name = Some(name);
            } else if pair.path.is_ident("codec") {
                arguments.codec = Some(parse_quote!(#value));
            } else {
                return Err(Error::new(
                    pair.span(),
                    "expected name = \"…\" or codec = Type",
                ));
            }
        }
        Ok(arguments)
    }
}
