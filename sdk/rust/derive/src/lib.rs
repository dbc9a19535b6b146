//! The derive macro of `autobench-sdk`.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{
    Attribute, Data, DataEnum, DataStruct, DeriveInput, Error, Field, Fields, LitStr, Result,
    parse_macro_input,
};

/// Makes a struct with named fields, or an enum without content, a member of a slice; see `autobench_sdk::Slice`.
///
/// On a field, `#[slice(absent)]` takes the member away when the option is `None`, and `#[slice(json)]` publishes a value of any type that
/// serde can write as one value. `#[serde(rename = "...")]` and `#[serde(rename_all = "...")]` give the names.
#[proc_macro_derive(Slice, attributes(slice, serde))]
pub fn derive_slice(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<Tokens> {
    let case = Serde::read(&input.attrs)?.rename_all;
    match &input.data {
        Data::Struct(data) => expand_struct(input, data, case),
        Data::Enum(data) => expand_enum(input, data, case),
        Data::Union(_) => Err(Error::new_spanned(input, "a union cannot be a member of a slice")),
    }
}

fn expand_struct(input: &DeriveInput, data: &DataStruct, case: Case) -> Result<Tokens> {
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(input, "a slice is a struct with named fields"));
    };
    let members = fields
        .named
        .iter()
        .map(|field| StructMember::read(field, case))
        .collect::<Result<Vec<_>>>()?;

    let sizes: Vec<_> = members.iter().map(StructMember::places).collect();
    let places = members.iter().map(StructMember::list_places);
    let inserts = members.iter().map(StructMember::insert);
    let reads = members.iter().map(StructMember::read_back);
    let diffs = members.iter().map(StructMember::diff);
    let steps = &sizes;

    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::autobench_sdk::Member for #name #arguments #bounds {
            const PLACES: usize = 1 #(+ #sizes)*;

            fn places(path: &mut ::std::string::String, places: &mut ::std::vec::Vec<::std::string::String>) {
                places.push(::std::clone::Clone::clone(path));
                let length = path.len();
                #( #places path.truncate(length); )*
            }

            fn json(&self) -> ::autobench_sdk::private::Json {
                let mut object = ::autobench_sdk::private::Map::new();
                #( #inserts )*
                ::autobench_sdk::private::Json::Object(object)
            }

            fn value(&self) -> ::autobench_sdk::Value {
                ::autobench_sdk::Value::Json(::autobench_sdk::Member::json(self).to_string())
            }

            fn from_json(json: &::autobench_sdk::private::Json) -> ::core::option::Option<Self> {
                let object = json.as_object()?;
                let mut this = <Self as ::core::default::Default>::default();
                #( #reads )*
                ::core::option::Option::Some(this)
            }

            fn diff(&self, old: &Self, place: usize, changes: &mut ::autobench_sdk::Changes<'_>) {
                let place = place + 1;
                #( #diffs let place = place + #steps; )*
                let _ = place;
            }
        }
    })
}

fn expand_enum(input: &DeriveInput, data: &DataEnum, case: Case) -> Result<Tokens> {
    let (mut arms, mut back) = (Vec::new(), Vec::new());
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                variant,
                "only enums without content have a place; use #[slice(json)] at the field",
            ));
        }
        let text = Serde::read(&variant.attrs)?
            .rename
            .unwrap_or_else(|| case.of_variant(&variant.ident.to_string()));
        let ident = &variant.ident;
        arms.push(quote! { Self::#ident => #text, });
        back.push(quote! { #text => ::core::option::Option::Some(Self::#ident), });
    }
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::autobench_sdk::Member for #name {
            const PLACES: usize = 1;

            fn places(path: &mut ::std::string::String, places: &mut ::std::vec::Vec<::std::string::String>) {
                places.push(::std::clone::Clone::clone(path));
            }

            fn json(&self) -> ::autobench_sdk::private::Json {
                let text: &str = match self { #( #arms )* };
                ::autobench_sdk::private::Json::String(text.to_owned())
            }

            fn value(&self) -> ::autobench_sdk::Value {
                let text: &str = match self { #( #arms )* };
                ::autobench_sdk::Value::Text(text.to_owned())
            }

            fn from_json(json: &::autobench_sdk::private::Json) -> ::core::option::Option<Self> {
                match json.as_str()? {
                    #( #back )*
                    _ => ::core::option::Option::None,
                }
            }

            fn diff(&self, old: &Self, place: usize, changes: &mut ::autobench_sdk::Changes<'_>) {
                if ::core::mem::discriminant(self) != ::core::mem::discriminant(old) {
                    changes.set(place, ::autobench_sdk::Member::value(self));
                }
            }
        }
    })
}

/// One field of a struct.
struct StructMember<'a> {
    field: &'a Field,
    name: String,
    absent: bool,
    json: bool,
}

impl<'a> StructMember<'a> {
    fn read(field: &'a Field, case: Case) -> Result<Self> {
        let mut member = Self {
            field,
            name: String::new(),
            absent: false,
            json: false,
        };
        for attribute in field
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("slice"))
        {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("absent") {
                    member.absent = true;
                } else if meta.path.is_ident("json") {
                    member.json = true;
                } else {
                    return Err(meta.error("expected `absent` or `json`"));
                }
                Ok(())
            })?;
        }
        if member.absent && member.json {
            return Err(Error::new_spanned(
                field,
                "`absent` and `json` do not go together",
            ));
        }
        let ident = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        let ident = ident.strip_prefix("r#").unwrap_or(&ident);
        member.name = Serde::read(&field.attrs)?
            .rename
            .unwrap_or_else(|| case.of_field(ident));
        Ok(member)
    }

    fn places(&self) -> Tokens {
        let kind = &self.field.ty;
        if self.json {
            quote! { 1 }
        } else {
            quote! { <#kind as ::autobench_sdk::Member>::PLACES }
        }
    }

    fn list_places(&self) -> Tokens {
        let kind = &self.field.ty;
        let step = format!("/{}", self.name.replace('~', "~0").replace('/', "~1"));
        if self.json {
            quote! { path.push_str(#step); places.push(::std::clone::Clone::clone(path)); }
        } else {
            quote! { path.push_str(#step); <#kind as ::autobench_sdk::Member>::places(path, places); }
        }
    }

    fn insert(&self) -> Tokens {
        let (ident, name) = (&self.field.ident, &self.name);
        if self.json {
            quote! { object.insert(#name.to_owned(), ::autobench_sdk::private::json_of(&self.#ident)); }
        } else if self.absent {
            quote! {
                if let ::core::option::Option::Some(value) = &self.#ident {
                    object.insert(#name.to_owned(), ::autobench_sdk::Member::json(value));
                }
            }
        } else {
            quote! { object.insert(#name.to_owned(), ::autobench_sdk::Member::json(&self.#ident)); }
        }
    }

    fn read_back(&self) -> Tokens {
        let (ident, name) = (&self.field.ident, &self.name);
        let read = if self.json {
            quote! { ::autobench_sdk::private::json_into(value)? }
        } else {
            quote! { ::autobench_sdk::Member::from_json(value)? }
        };
        // A member that may be absent was `None` when it is; another one is new in this version.
        let missing = self
            .absent
            .then(|| quote! { else { this.#ident = ::core::option::Option::None; } });
        quote! {
            if let ::core::option::Option::Some(value) = object.get(#name) {
                this.#ident = #read;
            } #missing
        }
    }

    fn diff(&self) -> Tokens {
        let ident = &self.field.ident;
        let function = match (self.json, self.absent) {
            (true, _) => quote! { ::autobench_sdk::private::json_diff },
            (_, true) => quote! { ::autobench_sdk::private::absent_diff },
            _ => quote! { ::autobench_sdk::Member::diff },
        };
        quote! { #function(&self.#ident, &old.#ident, place, changes); }
    }
}

/// What serde's attributes say of names.
#[derive(Default)]
struct Serde {
    rename: Option<String>,
    rename_all: Case,
}

impl Serde {
    fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("serde"))
        {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") && meta.input.peek(syn::Token![=]) {
                    found.rename = Some(meta.value()?.parse::<LitStr>()?.value());
                } else if meta.path.is_ident("rename_all") && meta.input.peek(syn::Token![=]) {
                    found.rename_all = Case::read(&meta.value()?.parse::<LitStr>()?)?;
                } else if [
                    "flatten",
                    "tag",
                    "content",
                    "untagged",
                    "transparent",
                    "with",
                    "serialize_with",
                ]
                .iter()
                .any(|name| meta.path.is_ident(name))
                {
                    return Err(meta.error("this changes the JSON in a way that a slice does not follow"));
                } else if meta.input.peek(syn::Token![=]) {
                    meta.value()?.parse::<syn::Expr>()?;
                } else if meta.input.peek(syn::token::Paren) {
                    meta.parse_nested_meta(|_| Ok(()))?;
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}

/// How names are written.
#[derive(Clone, Copy, Default)]
enum Case {
    #[default]
    AsWritten,
    Camel,
    Kebab,
    Lower,
    Pascal,
    Snake,
}

impl Case {
    fn read(text: &LitStr) -> Result<Self> {
        Ok(match text.value().as_str() {
            "camelCase" => Self::Camel,
            "kebab-case" => Self::Kebab,
            "lowercase" => Self::Lower,
            "PascalCase" => Self::Pascal,
            "snake_case" => Self::Snake,
            _ => {
                return Err(Error::new_spanned(
                    text,
                    "a slice knows camelCase, kebab-case, lowercase, PascalCase, snake_case",
                ));
            }
        })
    }

    /// From the snake case of a field.
    fn of_field(self, name: &str) -> String {
        let words = || name.split('_').filter(|word| !word.is_empty());
        match self {
            // serde leaves fields as they are in these, because they are snake case already.
            Self::AsWritten | Self::Lower | Self::Snake => name.to_owned(),
            Self::Kebab => name.replace('_', "-"),
            Self::Pascal => words().map(capitalised).collect(),
            Self::Camel => uncapitalised(&words().map(capitalised).collect::<String>()),
        }
    }

    /// From the Pascal case of a variant.
    fn of_variant(self, name: &str) -> String {
        let separated = |separator: char| {
            let mut text = String::new();
            for (index, letter) in name.char_indices() {
                if index > 0 && letter.is_uppercase() {
                    text.push(separator);
                }
                text.push(letter.to_ascii_lowercase());
            }
            text
        };
        match self {
            Self::AsWritten | Self::Pascal => name.to_owned(),
            Self::Lower => name.to_ascii_lowercase(),
            Self::Camel => uncapitalised(name),
            Self::Snake => separated('_'),
            Self::Kebab => separated('-'),
        }
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| format!("{}{}", first.to_ascii_uppercase(), letters.as_str()))
        .unwrap_or_default()
}

fn uncapitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| format!("{}{}", first.to_ascii_lowercase(), letters.as_str()))
        .unwrap_or_default()
}
