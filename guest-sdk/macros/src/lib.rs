//! The macros of `toolcell-guest`, which re-exports and documents them.

mod docs;
mod import;
mod tool;

use proc_macro::TokenStream;

/// Makes a tool of a function. Documented where `toolcell-guest` re-exports it.
#[proc_macro_attribute]
pub fn tool(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let original = proc_macro2::TokenStream::from(item.clone());
    tool::expand(attribute.into(), item.into())
        .unwrap_or_else(|error| and_say(&original, &error))
        .into()
}

/// Makes functions of granted tools. Documented where `toolcell-guest` re-exports it.
#[proc_macro]
pub fn import_tools(input: TokenStream) -> TokenStream {
    import::expand(input.into()).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// The error beside the function as it is, so that the compiler does not miss the function as well.
fn and_say(item: &proc_macro2::TokenStream, error: &syn::Error) -> proc_macro2::TokenStream {
    let error = error.to_compile_error();
    match syn::parse2::<syn::ItemFn>(item.clone()) {
        Ok(mut function) => {
            for input in &mut function.sig.inputs {
                if let syn::FnArg::Typed(argument) = input {
                    argument.attrs.clear();
                }
            }
            quote::quote!(#function #error)
        }
        Err(_) => quote::quote!(#item #error),
    }
}
