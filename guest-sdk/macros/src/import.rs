//! `import_tools!`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, FnArg, Ident, LitStr, Pat, Result, ReturnType, Signature, Token, Type,
    TypePath, Visibility, braced, parse_quote,
};

/// `"server", { fn …; fn …; }`
struct Import {
    server: LitStr,
    tools: Vec<Imported>,
}

struct Imported {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
}

impl Parse for Import {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let server = input.parse()?;
        input.parse::<Token![,]>()?;
        let body;
        braced!(body in input);
        input.parse::<Option<Token![,]>>()?;
        let mut tools = Vec::new();
        while !body.is_empty() {
            tools.push(Imported {
                attributes: body.call(Attribute::parse_outer)?,
                visibility: body.parse()?,
                signature: body.parse()?,
            });
            body.parse::<Token![;]>().map_err(|error| {
                Error::new(error.span(), "the server has the body: end with `;`")
            })?;
        }
        Ok(Self { server, tools })
    }
}

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let import: Import = syn::parse2(input)?;
    let server = import.server.value();
    if server.is_empty() || server.contains('.') {
        return Err(Error::new(import.server.span(), "a server's name has no dot: `\"search\"`"));
    }
    import.tools.into_iter().map(|tool| function(&server, tool)).collect()
}

fn function(server: &str, tool: Imported) -> Result<TokenStream> {
    let Imported { attributes, visibility, mut signature } = tool;
    if signature.asyncness.is_none() {
        return Err(Error::new(signature.fn_token.span(), "a call is awaited: `async fn`"));
    }
    let mut name = signature.ident.unraw().to_string();
    let mut kept = Vec::new();
    for attribute in attributes {
        if attribute.path().is_ident("name") {
            let other: LitStr = match &attribute.meta {
                syn::Meta::NameValue(pair) => {
                    let value = &pair.value;
                    syn::parse2(quote!(#value))?
                }
                other => return Err(Error::new(other.span(), "write `#[name = \"the.tool\"]`")),
            };
            name = other.value();
        } else {
            kept.push(attribute);
        }
    }
    let full = format!("{server}.{name}");
    let mut members = Vec::new();
    for input in &signature.inputs {
        members.push(member(input)?);
    }
    let answer: Type = match &signature.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, answer) => (**answer).clone(),
    };
    let is = |name: &str| {
        matches!(&answer, Type::Path(TypePath { path, .. })
            if path.segments.last().is_some_and(|segment| segment.ident == name))
    };
    if is("Result") {
        return Err(Error::new(
            answer.span(),
            "say only what the tool answers: the function returns a `Result<_, toolcell::CallError>` of it",
        ));
    }
    let awaited = if is("Output") {
        quote!(__call.await)
    } else if is("String") {
        quote!(__call.text().await)
    } else if matches!(&answer, Type::Tuple(tuple) if tuple.elems.is_empty()) {
        quote!(__call.await.map(|_| ()))
    } else {
        quote!(__call.json().await)
    };
    signature.output = parse_quote!(-> ::core::result::Result<#answer, toolcell::CallError>);
    let words = format!("Calls `{full}`.\n\n# Errors\nAs those of any call.");
    let documented = kept.iter().any(|attribute| attribute.path().is_ident("doc"));
    let documentation = (!documented).then(|| quote!(#[doc = #words]));
    Ok(quote! {
        #(#kept)*
        #documentation
        #visibility #signature {
            #[allow(unused_mut, reason = "there may be no argument")]
            let mut __arguments = toolcell::__private::Named::new();
            #(#members)*
            let __call = __arguments.call(#full);
            #awaited
        }
    })
}

/// Puts an argument among the others; an `Option` that is `None` is left out.
fn member(input: &FnArg) -> Result<TokenStream> {
    let argument = match input {
        FnArg::Receiver(receiver) => {
            return Err(Error::new(receiver.span(), "a tool has no `self`"));
        }
        FnArg::Typed(argument) => argument,
    };
    let Pat::Ident(pattern) = &*argument.pat else {
        return Err(Error::new(
            argument.pat.span(),
            "an argument has the name that the tool gives it",
        ));
    };
    let ident: &Ident = &pattern.ident;
    let name = ident.unraw().to_string();
    let optional = matches!(&*argument.ty, Type::Path(TypePath { path, .. })
        if path.segments.last().is_some_and(|segment| segment.ident == "Option"));
    Ok(if optional {
        quote! {
            if let ::core::option::Option::Some(__value) = &#ident {
                __arguments.add(#name, __value);
            }
        }
    } else {
        quote!(__arguments.add(#name, &#ident);)
    })
}
