//! Links to what is kept: `toolcell://results/ID/PART?page=N`.

use std::fmt;

/// How every link begins.
const PREFIX: &str = "toolcell://results/";

/// Longer texts are no links of ours.
const MAX_BYTES: usize = 200;

/// Where a part of a result is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server::mcp) struct Link {
    pub(in crate::server::mcp) id: String,
    pub(in crate::server::mcp) part: String,
    /// Counted from 1; the first if it names none.
    pub(in crate::server::mcp) page: Option<usize>,
}

/// Why a link leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server::mcp) enum LinkError {
    /// It is not one of ours.
    #[error("it is no link to a result: those look like {PREFIX}ID/stdout?page=2")]
    Malformed,
    /// There is nothing there, or nothing for this caller.
    #[error(
        "there is no such result, or it is kept no longer: run the script again, and return or \
         print less at once"
    )]
    Gone,
    /// The part has fewer pages.
    #[error("there is no page {number}: the pages are 1 to {pages}")]
    NoPage {
        /// The page that was asked for.
        number: usize,
        /// How many there are.
        pages: usize,
    },
}

impl Link {
    pub(in crate::server::mcp) fn new(id: &str, part: &str, page: Option<usize>) -> Self {
        Self { id: id.to_owned(), part: part.to_owned(), page }
    }

    /// Whether a URI is for us to read.
    pub(in crate::server::mcp) fn is_ours(uri: &str) -> bool {
        uri.starts_with(PREFIX)
    }

    /// Reads a link as written.
    ///
    /// # Errors
    /// It is none.
    pub(in crate::server::mcp) fn read(uri: &str) -> Result<Self, LinkError> {
        if uri.len() > MAX_BYTES {
            return Err(LinkError::Malformed);
        }
        let rest = uri.trim().strip_prefix(PREFIX).ok_or(LinkError::Malformed)?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, q)| (path, Some(q)));
        let (id, part) = path.split_once('/').ok_or(LinkError::Malformed)?;
        let page = match query {
            None => None,
            Some(query) => {
                let number = query.strip_prefix("page=").ok_or(LinkError::Malformed)?;
                Some(number.parse().map_err(|_| LinkError::Malformed)?)
            }
        };
        Ok(Self::new(id, part, page))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}", self.id, self.part)?;
        match self.page {
            Some(page) => write!(f, "?page={page}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_they_are_written() {
        for link in [Link::new("0a", "stdout", None), Link::new("0a", "value", Some(12))] {
            assert_eq!(Link::read(&link.to_string()), Ok(link));
        }
        for no_link in [
            "",
            "https://example.com/",
            "toolcell://results/",
            "toolcell://results/a",
            "toolcell://results/a/b?page=",
            "toolcell://results/a/b?page=-1",
            "toolcell://results/a/b?size=1",
            &format!("toolcell://results/{}/b", "a".repeat(300)),
        ] {
            assert_eq!(Link::read(no_link), Err(LinkError::Malformed), "{no_link}");
        }
    }
}
