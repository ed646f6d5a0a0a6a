//! `#[tool]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, Expr, FnArg, GenericArgument, Ident, ItemFn, LitStr, Pat, PatIdent, PatType,
    PathArguments, Result, ReturnType, Type, TypePath, parse_quote,
};

use crate::docs::{self, Doc};

/// What stands in the attribute's parentheses.
#[derive(Default)]
struct Said {
    name: Option<LitStr>,
    title: Option<LitStr>,
    read_only: bool,
    idempotent: bool,
    destructive: bool,
}

impl Said {
    fn parse(attribute: TokenStream) -> Result<Self> {
        let mut said = Self::default();
        let parser = syn::meta::parser(|meta| {
            let flag = |flag: &mut bool| {
                *flag = true;
                Ok(())
            };
            if meta.path.is_ident("name") {
                said.name = Some(meta.value()?.parse()?);
                Ok(())
            } else if meta.path.is_ident("title") {
                said.title = Some(meta.value()?.parse()?);
                Ok(())
            } else if meta.path.is_ident("read_only") {
                flag(&mut said.read_only)
            } else if meta.path.is_ident("idempotent") {
                flag(&mut said.idempotent)
            } else if meta.path.is_ident("destructive") {
                flag(&mut said.destructive)
            } else {
                Err(meta.error(
                    "a tool has `name = \"…\"`, `title = \"…\"`, `read_only`, `idempotent` and `destructive`",
                ))
            }
        });
        syn::parse::Parser::parse2(parser, attribute)?;
        if said.read_only && said.destructive {
            return Err(Error::new(
                Span::call_site(),
                "a tool that is `read_only` destroys nothing: it cannot be `destructive`",
            ));
        }
        Ok(said)
    }
}

/// One argument of the function.
struct Argument {
    /// The variable that holds it: not its own name, which may be the function's too.
    variable: Ident,
    name: String,
    /// As the function takes it.
    given: Type,
    /// As it is read: without references.
    owned: Type,
    description: String,
    presence: Presence,
}

enum Presence {
    Required,
    /// An `Option`.
    Optional,
    /// With this value.
    Default(Expr),
}

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let said = Said::parse(attribute)?;
    let span = item.span();
    let mut function: ItemFn = syn::parse2(item)
        .map_err(|_| Error::new(span, "#[tool] stands on a function: `async fn name(…) -> …`"))?;
    check_signature(&function)?;
    let doc = Doc::of(&function.attrs);
    let arguments = take_arguments(&mut function, &doc)?;
    check_described(&function, &doc, &arguments)?;

    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let name = tool_name(&said, ident)?;
    let title = match &said.title {
        Some(title) => quote!(::core::option::Option::Some(#title)),
        None => quote!(::core::option::Option::None),
    };
    let description = &doc.description;
    let Said { read_only, idempotent, destructive, .. } = said;
    let schema = arguments.iter().map(Argument::schema);
    let taken = arguments.iter().map(Argument::taken);
    let passed = arguments.iter().map(Argument::passed);
    let (answer, fallible) = returned(&function.sig.output);
    let answer_span = answer.span();
    let awaited = function.sig.asyncness.map(|_| quote!(.await));
    let into_output = quote_spanned!(answer_span=> toolcell::__private::Answer::into_output);
    let output = if fallible {
        quote! {
            match answer {
                ::core::result::Result::Ok(answer) => #into_output(answer),
                ::core::result::Result::Err(error) => {
                    toolcell::Output::error(::std::format!("{error:#}"))
                }
            }
        }
    } else {
        quote!(#into_output(answer))
    };
    // A tool without arguments takes none from them.
    let mutable = (!arguments.is_empty()).then(|| quote!(mut));
    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "the tool has its function's name")]
        #visibility enum #ident {}

        impl toolcell::__private::Tool for #ident {
            const NAME: &'static str = #name;

            fn definition() -> toolcell::__private::Definition {
                #[allow(unused_imports, reason = "one of the two says whether the answer has a schema")]
                use toolcell::__private::{KnownShape as _, UnknownShape as _};
                #[allow(unused_mut, reason = "there may be no argument")]
                let mut __schema = toolcell::__private::Schema::new();
                #(#schema)*
                let output_schema = (&toolcell::__private::Shape::<#answer>::of()).object_schema();
                let hints = toolcell::__private::Hints {
                    read_only: #read_only,
                    idempotent: #idempotent,
                    destructive: #destructive,
                };
                toolcell::__private::Definition::new(
                    #name, #title, #description, __schema, output_schema, hints,
                )
            }

            fn call(#mutable __arguments: toolcell::__private::Arguments) -> toolcell::__private::Running {
                ::std::boxed::Box::pin(async move {
                    #(#taken)*
                    __arguments.end()?;
                    let answer = #ident(#(#passed),*) #awaited;
                    ::core::result::Result::Ok(#output)
                })
            }
        }
    })
}

fn check_signature(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    let wrong = |span: Span, message: &str| Err(Error::new(span, message));
    if let Some(parameter) = signature.generics.params.first() {
        return wrong(
            parameter.span(),
            "a tool has no generic parameters: its schema is made of the types as they stand here",
        );
    }
    if let Some(unsafety) = &signature.unsafety {
        return wrong(
            unsafety.span(),
            "a tool is called by a model, which keeps no promises: not `unsafe`",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return wrong(variadic.span(), "a tool takes its arguments by name: no `...`");
    }
    match &signature.output {
        ReturnType::Type(_, answer) if matches!(**answer, Type::ImplTrait(_)) => {
            wrong(answer.span(), "say the type that the tool answers: a schema is made of it")
        }
        _ => Ok(()),
    }
}

/// The name that the attribute gives, or the function's.
fn tool_name(said: &Said, ident: &Ident) -> Result<String> {
    let (name, span) = match &said.name {
        Some(name) => (name.value(), name.span()),
        None => (ident.unraw().to_string(), ident.span()),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(Error::new(
            span,
            "a tool's name is 1 to 64 of A-Z, a-z, 0-9, `_`, `-` and `.`",
        ));
    }
    Ok(name)
}

/// Reads the arguments, and takes their attributes from the function: the compiler knows none there.
fn take_arguments(function: &mut ItemFn, doc: &Doc) -> Result<Vec<Argument>> {
    let mut arguments = Vec::new();
    for input in &mut function.sig.inputs {
        let argument = match input {
            FnArg::Receiver(receiver) => {
                return Err(Error::new(
                    receiver.span(),
                    "a tool is a plain function without `self`; what it keeps is in `toolcell::state`",
                ));
            }
            FnArg::Typed(argument) => argument,
        };
        let variable = quote::format_ident!("__argument_{}", arguments.len());
        arguments.push(take_argument(argument, variable, doc)?);
    }
    Ok(arguments)
}

fn take_argument(argument: &mut PatType, variable: Ident, doc: &Doc) -> Result<Argument> {
    let Pat::Ident(PatIdent { ident, by_ref: None, subpat: None, .. }) = &*argument.pat else {
        return Err(Error::new(
            argument.pat.span(),
            "an argument has a plain name, which is what callers give it by",
        ));
    };
    let name = ident.unraw().to_string();
    let mut default = None;
    let attributes = std::mem::take(&mut argument.attrs);
    let own = docs::text(&attributes);
    for attribute in attributes {
        if attribute.path().is_ident("default") {
            default = Some(default_of(&attribute)?);
        } else if attribute.path().is_ident("doc") {
        } else {
            argument.attrs.push(attribute);
        }
    }
    let given = (*argument.ty).clone();
    let owned = owned(&given)?;
    let optional = option_of(&owned).is_some();
    let presence = match default {
        Some(expression) if optional => {
            return Err(Error::new(
                expression.span(),
                "an `Option` is `None` when the argument is absent: give a default to its inner type",
            ));
        }
        Some(expression) => Presence::Default(expression),
        None if optional => Presence::Optional,
        None => Presence::Required,
    };
    let description =
        if own.is_empty() { doc.argument(&name).unwrap_or_default().to_owned() } else { own };
    Ok(Argument { variable, name, given, owned, description, presence })
}

fn default_of(attribute: &Attribute) -> Result<Expr> {
    match &attribute.meta {
        syn::Meta::Path(_) => Ok(parse_quote!(::core::default::Default::default())),
        syn::Meta::List(list) => {
            let expression: Expr = list.parse_args()?;
            // A literal text for a `String`.
            Ok(match &expression {
                Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(_), .. }) => {
                    parse_quote!(::core::convert::Into::into(#expression))
                }
                _ => expression,
            })
        }
        syn::Meta::NameValue(pair) => {
            Err(Error::new(pair.span(), "a default stands in parentheses: `#[default(5)]`"))
        }
    }
}

/// A section `# Arguments` that names what is not there has gone stale.
fn check_described(function: &ItemFn, doc: &Doc, arguments: &[Argument]) -> Result<()> {
    let unknown =
        doc.names().find(|name| !arguments.iter().any(|argument| argument.name == **name));
    match unknown {
        Some(name) => Err(Error::new(
            function.sig.ident.span(),
            format!(
                "the doc comment describes an argument `{name}`, which the function does not have"
            ),
        )),
        None => Ok(()),
    }
}

impl Argument {
    fn schema(&self) -> TokenStream {
        let Self { name, owned, description, .. } = self;
        let span = self.given.span();
        match &self.presence {
            Presence::Required => {
                quote_spanned!(span=> __schema.required::<#owned>(#name, #description);)
            }
            Presence::Optional => {
                quote_spanned!(span=> __schema.optional::<#owned>(#name, #description);)
            }
            Presence::Default(default) => quote_spanned! {span=>
                let __default: #owned = #default;
                __schema.with_default::<#owned>(#name, #description, &__default);
            },
        }
    }

    fn taken(&self) -> TokenStream {
        let Self { variable, name, owned, .. } = self;
        let span = self.given.span();
        match &self.presence {
            Presence::Required => {
                quote_spanned!(span=> let #variable: #owned = __arguments.take(#name)?;)
            }
            Presence::Optional => quote_spanned! {span=>
                let #variable: #owned = __arguments.take_or(#name, || ::core::option::Option::None)?;
            },
            Presence::Default(default) => quote_spanned! {span=>
                let #variable: #owned = __arguments.take_or(#name, || #default)?;
            },
        }
    }

    /// The owned value as the function takes it.
    fn passed(&self) -> TokenStream {
        let variable = &self.variable;
        if matches!(self.given, Type::Reference(_)) {
            return quote!(&#variable);
        }
        match option_of(&self.given) {
            Some(Type::Reference(_)) => quote!(#variable.as_deref()),
            _ => quote!(#variable),
        }
    }
}

/// The type of which a reference is lent: `&str` is read as a `String`, `&[T]` as a `Vec<T>`.
fn owned(given: &Type) -> Result<Type> {
    if let Some(Type::Reference(_)) = option_of(given) {
        let inner = owned(option_of(given).expect("it is an option"))?;
        return Ok(parse_quote!(::core::option::Option<#inner>));
    }
    let Type::Reference(reference) = given else { return Ok(given.clone()) };
    if let Some(mutability) = &reference.mutability {
        return Err(Error::new(
            mutability.span(),
            "nobody looks at an argument after the call: take it by value, or by `&`",
        ));
    }
    Ok(match &*reference.elem {
        Type::Path(TypePath { qself: None, path }) if path.is_ident("str") => {
            parse_quote!(::std::string::String)
        }
        Type::Slice(slice) => {
            let element = &slice.elem;
            parse_quote!(::std::vec::Vec<#element>)
        }
        other => other.clone(),
    })
}

/// The inner type of an `Option`.
fn option_of(given: &Type) -> Option<&Type> {
    generic_of(given, "Option")
}

fn generic_of<'a>(given: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(TypePath { qself: None, path }) = given else { return None };
    let last = path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(generics) = &last.arguments else { return None };
    match generics.args.first()? {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    }
}

/// The type of the answer, and whether it comes in a `Result`.
fn returned(output: &ReturnType) -> (Type, bool) {
    match output {
        ReturnType::Default => (parse_quote!(()), false),
        ReturnType::Type(_, answer) => match generic_of(answer, "Result") {
            Some(value) => (value.clone(), true),
            None => ((**answer).clone(), false),
        },
    }
}
