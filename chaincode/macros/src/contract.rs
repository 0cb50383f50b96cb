//! `#[contract]`: the `Contract` implementation beside the `impl` block it stands on.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ImplItem, ItemImpl, Result, Type, parse_quote, spanned::Spanned};

use crate::transaction::{self, ContractArguments, Function, Parameter, Role, Transaction};

/// Functions by role.
#[derive(Debug, Default)]
struct Functions {
    transactions: Vec<(Function, Transaction)>,
    before: Option<Function>,
    around: Option<Function>,
    after: Option<Function>,
    unknown: Option<Function>,
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments: ContractArguments = syn::parse2(arguments)?;
    let mut block: ItemImpl = syn::parse2(item)?;
    if let Some((_, path, _)) = &block.trait_ {
        return Err(Error::new(
            path.span(),
            "#[contract] stands on an inherent impl block",
        ));
    }
    let functions = collect(&mut block)?;
    let name = match &arguments.name {
        Some(name) if name.value().is_empty() => {
            return Err(Error::new(name.span(), "a contract's name is not empty"));
        }
        Some(name) => name.value(),
        None => type_name(&block.self_ty)?,
    };
    let codec = arguments
        .codec
        .unwrap_or_else(|| parse_quote!(::fabric_shim::Json));
    let self_ty = &block.self_ty;
    let (impl_generics, _, where_clause) = block.generics.split_for_impl();
    let infos = functions
        .transactions
        .iter()
        .map(|(_, transaction)| info(transaction));
    let descriptions = functions.transactions.iter().map(describe);
    let call = call(&functions, &codec);
    Ok(quote! {
        #block

        #[automatically_derived]
        impl #impl_generics ::fabric_shim::Contract for #self_ty #where_clause {
            fn name(&self) -> &str {
                #name
            }

            fn transactions(&self) -> &'static [::fabric_shim::TransactionInfo] {
                const { &[#(#infos),*] }
            }

            fn describe(
                &self,
                schemas: &mut ::fabric_shim::metadata::Schemas,
            ) -> ::std::vec::Vec<::fabric_shim::metadata::TransactionMetadata> {
                let _ = &schemas;
                ::std::vec![#(#descriptions),*]
            }

            #call
        }
    })
}

fn collect(block: &mut ItemImpl) -> Result<Functions> {
    let mut functions = Functions::default();
    for item in &mut block.items {
        let ImplItem::Fn(item) = item else {
            continue;
        };
        let span = item.sig.ident.span();
        let Some((function, role)) = transaction::read(item)? else {
            continue;
        };
        let hook = match role {
            Role::Transaction(transaction) => {
                let mut known = functions.transactions.iter();
                if known.any(|(_, known)| known.name == transaction.name) {
                    let message = format!("two functions are called {}", transaction.name);
                    return Err(Error::new(span, message));
                }
                functions.transactions.push((function, *transaction));
                continue;
            }
            Role::Before => &mut functions.before,
            Role::Around => &mut functions.around,
            Role::After => &mut functions.after,
            Role::Unknown => &mut functions.unknown,
        };
        if hook.replace(function).is_some() {
            return Err(Error::new(span, "a contract has each hook once"));
        }
    }
    Ok(functions)
}

fn type_name(ty: &Type) -> Result<String> {
    if let Type::Path(path) = ty
        && let Some(last) = path.path.segments.last()
    {
        return Ok(last.ident.to_string());
    }
    Err(Error::new(
        ty.span(),
        "give the contract a name: #[contract(name = \"…\")]",
    ))
}

fn info(transaction: &Transaction) -> TokenStream {
    let name = &transaction.name;
    let access = access(transaction);
    quote!(::fabric_shim::TransactionInfo { name: #name, access: #access })
}

fn access(transaction: &Transaction) -> TokenStream {
    if transaction.evaluate {
        quote!(::fabric_shim::Access::Evaluate)
    } else {
        quote!(::fabric_shim::Access::Submit)
    }
}

fn describe((function, transaction): &(Function, Transaction)) -> TokenStream {
    let parameters = function.parameters.iter().map(|parameter| {
        let Parameter {
            name,
            decoded,
            optional,
            ..
        } = parameter;
        quote! {
            ::fabric_shim::metadata::ParameterMetadata {
                name: #name,
                required: !#optional,
                schema: ::fabric_shim::__value_schema!(#decoded, schemas)
                    .unwrap_or_else(::fabric_shim::metadata::Schema::any),
            }
        }
    });
    let name = &transaction.name;
    let access = access(transaction);
    let returns = &transaction.returns;
    quote! {
        ::fabric_shim::metadata::TransactionMetadata {
            name: #name,
            access: #access,
            parameters: ::std::vec![#(#parameters),*],
            returns: ::fabric_shim::__value_schema!(#returns, schemas),
        }
    }
}

fn call(functions: &Functions, codec: &syn::Path) -> TokenStream {
    let arms = functions.transactions.iter().enumerate();
    let arms = arms.map(|(index, (function, transaction))| {
        let body = run(function, transaction, codec);
        quote!(::fabric_shim::Target::Function(#index) => { #body })
    });
    let unknown = unknown(functions.unknown.as_ref());
    let before = functions.before.as_ref().map(|hook| {
        let call = hook.call(quote!(ctx));
        quote!(#call?;)
    });
    let around = match &functions.around {
        Some(hook) => hook.call(quote!(ctx, ::fabric_shim::Next::new(run))),
        None => quote!(run.await),
    };
    let after = functions.after.as_ref().map(|hook| {
        let call = if hook.parameters.is_empty() {
            hook.call(quote!(ctx))
        } else {
            hook.call(quote!(ctx, &result))
        };
        quote!(#call?;)
    });
    quote! {
        fn call<'a>(
            &'a self,
            ctx: &'a ::fabric_shim::Stub,
            target: ::fabric_shim::Target<'a>,
            args: &'a [::std::vec::Vec<u8>],
        ) -> ::fabric_shim::__private::BoxFuture<'a, ::fabric_shim::TransactionResult> {
            ::std::boxed::Box::pin(async move {
                #before
                let run: ::fabric_shim::__private::BoxFuture<'a, ::fabric_shim::TransactionResult> =
                    ::std::boxed::Box::pin(async move {
                        match target {
                            #(#arms)*
                            ::fabric_shim::Target::Function(_) => ::core::result::Result::Err(
                                ::fabric_shim::__private::unknown_function(self, ""),
                            ),
                            ::fabric_shim::Target::Unknown(function) => { #unknown }
                        }
                    });
                let result = #around?;
                #after
                ::core::result::Result::Ok(result)
            })
        }
    }
}

fn run(function: &Function, transaction: &Transaction, codec: &syn::Path) -> TokenStream {
    let names: Vec<syn::Ident> = (0..function.parameters.len())
        .map(|index| quote::format_ident!("argument_{index}"))
        .collect();
    let decode = function.parameters.iter().enumerate().zip(&names);
    let decode = decode.map(|((index, parameter), variable)| {
        let Parameter { name, decoded, .. } = parameter;
        let read = if parameter.optional {
            quote!(optional_argument)
        } else {
            quote!(argument)
        };
        quote! {
            let #variable = ::fabric_shim::__private::#read::<#decoded, #codec>(args, #index, #name)?;
        }
    });
    let pass = function.parameters.iter().zip(&names);
    let pass = pass.map(|(parameter, variable)| {
        if parameter.by_reference {
            quote!(&#variable)
        } else {
            quote!(#variable)
        }
    });
    let count = function.parameters.len();
    let call = function.call(quote!(ctx, #(#pass),*));
    let returns = &transaction.returns;
    quote! {
        ::fabric_shim::__private::check_count(args, #count)?;
        #(#decode)*
        let value: #returns = #call?;
        ::fabric_shim::__private::encode::<#returns, #codec>(&value)
    }
}

fn unknown(hook: Option<&Function>) -> TokenStream {
    match hook {
        None => quote! {
            ::core::result::Result::Err(::fabric_shim::__private::unknown_function(self, function))
        },
        Some(hook) => {
            let call = if hook.parameters.is_empty() {
                hook.call(quote!(ctx))
            } else {
                hook.call(quote!(ctx, function, args))
            };
            quote! {
                let value = #call?;
                ::fabric_shim::__private::encode::<_, ::fabric_shim::Json>(&value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of the error that a block with these items causes.
    fn refusal(arguments: &str, items: &str) -> String {
        let block = format!("impl Assets {{ {items} }}");
        let expanded = expand(arguments.parse().unwrap(), block.parse().unwrap());
        expanded.expect_err("the block is wrong").to_string()
    }

    #[test]
    fn mistakes_are_told_where_they_are_made() {
        let function = |signature: &str| format!("#[transaction(submit)] async fn f({signature}");
        for (items, message) in [
            (
                function("ctx: &Stub) -> Result<(), E> {}"),
                "a contract's function takes &self: its state is the ledger's",
            ),
            (
                function("&mut self, ctx: &Stub) -> Result<(), E> {}"),
                "a contract's function takes &self: its state is the ledger's",
            ),
            (
                function("&self) -> Result<(), E> {}"),
                "the first parameter behind &self is the stub: ctx: &Stub",
            ),
            (
                function("&self, id: String) -> Result<(), E> {}"),
                "the first parameter behind &self is the stub: ctx: &Stub",
            ),
            (
                function("&self, ctx: &Stub) {}"),
                "a transaction function returns a Result",
            ),
            (
                function("&self, ctx: &Stub) -> String {}"),
                "a transaction function returns a Result",
            ),
            (
                function("&self, ctx: &Stub, a: Option<u8>, b: u8) -> Result<(), E> {}"),
                "a required parameter cannot stand behind an optional one",
            ),
            (
                function("&self, ctx: &Stub, (a, b): (u8, u8)) -> Result<(), E> {}"),
                "a parameter has a plain name",
            ),
            (
                "#[transaction] async fn f<T>(&self, ctx: &Stub) -> Result<(), E> {}".to_owned(),
                "a contract's function is not generic",
            ),
            (
                "#[transaction(read)] async fn f(&self, ctx: &Stub) -> Result<(), E> {}".to_owned(),
                "expected submit, evaluate or name = \"…\"",
            ),
            (
                "#[transaction(name = \"a:b\")] fn f(&self, ctx: &Stub) -> Result<(), E> {}"
                    .to_owned(),
                "a function's name is not empty and has no colon",
            ),
            (
                "#[before] #[after] async fn f(&self, ctx: &Stub) -> Result<(), E> {}".to_owned(),
                "a function has one role",
            ),
            (
                "#[before] async fn f(&self, ctx: &Stub, x: u8) -> Result<(), E> {}".to_owned(),
                "this hook takes (&self, ctx: &Stub)",
            ),
            (
                "#[before] fn f(&self, ctx: &Stub) -> Result<(), E> {}
                 #[before] fn g(&self, ctx: &Stub) -> Result<(), E> {}"
                    .to_owned(),
                "a contract has each hook once",
            ),
            (
                "#[transaction] fn get_x(&self, ctx: &Stub) -> Result<(), E> {}
                 #[transaction(name = \"GetX\")] fn g(&self, ctx: &Stub) -> Result<(), E> {}"
                    .to_owned(),
                "two functions are called GetX",
            ),
        ] {
            assert_eq!(refusal("", &items), message, "{items}");
        }
    }

    #[test]
    fn the_contracts_own_arguments_are_checked() {
        for (arguments, message) in [
            ("name = \"\"", "a contract's name is not empty"),
            ("title = \"x\"", "expected name = \"…\" or codec = Type"),
        ] {
            assert_eq!(refusal(arguments, ""), message);
        }
    }

    #[test]
    fn functions_without_a_mark_stay_what_they_are() {
        let block = "impl Assets { fn plain(&mut self) -> u8 { 1 } }";
        let expanded = expand(TokenStream::new(), block.parse().unwrap()).unwrap();
        let text = expanded.to_string();
        assert!(text.contains("fn plain (& mut self) -> u8 { 1 }"), "{text}");
        assert!(
            text.contains("\"Assets\""),
            "the type's name is the contract's"
        );
    }
}
