//! What `URL` does, by the `url` crate, which follows the same standard as browsers do.

use url::{Url, quirks};

/// A URL's text in its normal form.
pub(crate) fn parse(text: &str, base: Option<&str>) -> Option<String> {
    let base = match base {
        Some(base) => Some(Url::parse(base).ok()?),
        None => None,
    };
    Url::options().base_url(base.as_ref()).parse(text).ok().map(Into::into)
}

/// A part of a URL that [`parse`] gave.
pub(crate) fn part(url: &str, name: &str) -> String {
    let Ok(url) = Url::parse(url) else { return String::new() };
    match name {
        "href" => quirks::href(&url).to_owned(),
        "origin" => quirks::origin(&url),
        "protocol" => quirks::protocol(&url).to_owned(),
        "username" => quirks::username(&url).to_owned(),
        "password" => quirks::password(&url).to_owned(),
        "host" => quirks::host(&url).to_owned(),
        "hostname" => quirks::hostname(&url).to_owned(),
        "port" => quirks::port(&url).to_owned(),
        "pathname" => quirks::pathname(&url).to_owned(),
        "search" => quirks::search(&url).to_owned(),
        _ => quirks::hash(&url).to_owned(),
    }
}

/// The URL with a part set; none if it cannot be.
pub(crate) fn set(url: &str, name: &str, value: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    match name {
        "href" => quirks::set_href(&mut url, value).ok()?,
        "protocol" => quirks::set_protocol(&mut url, value).ok()?,
        "username" => quirks::set_username(&mut url, value).ok()?,
        "password" => quirks::set_password(&mut url, value).ok()?,
        "host" => quirks::set_host(&mut url, value).ok()?,
        "hostname" => quirks::set_hostname(&mut url, value).ok()?,
        "port" => quirks::set_port(&mut url, value).ok()?,
        "pathname" => quirks::set_pathname(&mut url, value),
        "search" => quirks::set_search(&mut url, value),
        _ => quirks::set_hash(&mut url, value),
    }
    Some(url.into())
}

/// Text with `%41` made `A`; what is no UTF-8 becomes U+FFFD.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |nth: usize| after.get(nth).and_then(|&byte| char::from(byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
