//! URIs of several servers in one list. A URI stays what it is as long as it is one server's; of
//! several, the first server's keeps it, and the others' are qualified: `toolcell:SERVER:URI`.

/// What stands before a qualified URI.
const QUALIFIED: &str = "toolcell:";

/// A URI, or a template of URIs, that means this server's whatever others have.
pub(super) fn qualify(server: &str, uri: &str) -> String {
    format!("{QUALIFIED}{server}:{uri}")
}

/// Takes a qualified URI apart: the server, and its own URI.
pub(super) fn qualified(uri: &str) -> Option<(&str, &str)> {
    let (server, own) = uri.strip_prefix(QUALIFIED)?.split_once(':')?;
    (!server.is_empty() && !own.is_empty()).then_some((server, own))
}

/// How well a template (RFC 6570) fits a URI: the more of it is literal, the better. Nothing if it
/// does not fit. Values are not looked at: the server does that.
pub(super) fn fit(template: &str, uri: &str) -> Option<usize> {
    let literals = literals(template)?;
    let (first, rest) = literals.split_first()?;
    let mut left = uri.strip_prefix(first)?;
    let Some((last, middle)) = rest.split_last() else {
        // A template without an expression is one URI.
        return left.is_empty().then_some(first.len());
    };
    for literal in middle {
        left = &left[left.find(literal)? + literal.len()..];
    }
    left.ends_with(last).then(|| literals.iter().map(|literal| literal.len()).sum())
}

/// What stands before, between and after the expressions. Nothing if their braces do not match.
fn literals(template: &str) -> Option<Vec<&str>> {
    let (mut literals, mut rest) = (Vec::new(), template);
    while let Some((literal, after)) = rest.split_once('{') {
        literals.push(literal);
        rest = after.split_once('}')?.1;
    }
    literals.push(rest);
    Some(literals)
}

/// The scheme of a URI.
pub(super) fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (!scheme.is_empty() && scheme.chars().all(fits)).then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qualified_uri_is_the_servers_own_again() {
        let uri = qualify("my-server", "demo://a/b?c=d:e");
        assert_eq!(uri, "toolcell:my-server:demo://a/b?c=d:e");
        assert_eq!(qualified(&uri), Some(("my-server", "demo://a/b?c=d:e")));
        for odd in ["toolcell:", "toolcell::x", "toolcell:a:", "toolcell:a", "demo://x"] {
            assert_eq!(qualified(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_more_literal_template_fits_better() {
        #[track_caller]
        fn check(template: &str, uri: &str, expected: Option<usize>) {
            assert_eq!(fit(template, uri), expected, "{template} {uri}");
        }
        check("demo://text/{id}", "demo://text/7", Some(12));
        check("demo://{+path}", "demo://text/7", Some(7));
        check("demo://{a}/x/{b}.txt", "demo://1/x/2.txt", Some(14));
        check("demo://{a}/x/{b}.txt", "demo://1/y/2.txt", None);
        check("demo://fixed", "demo://fixed", Some(12));
        check("demo://fixed", "demo://fixed/more", None);
        check("{whatever}", "x:y", Some(0));
        check("a{b}a", "a", None);
        check("demo://{broken", "demo://x", None);
    }

    #[test]
    fn schemes_are_read_as_they_are_written() {
        assert_eq!(scheme("file:///x"), Some("file"));
        assert_eq!(scheme("no scheme: x"), None);
        assert_eq!(scheme("plain"), None);
    }
}
