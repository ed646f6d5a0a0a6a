//! "Did you mean …?": names that resemble a name which is not there.

/// How alike two names must be, from 0 to 1, for one to be offered in place of the other.
const ALIKE: f64 = 0.6;

/// Characters of a name that are compared. Names come from upstreams too, and comparing takes
/// time in proportion to the product of both lengths.
const COMPARED_CHARS: usize = 128;

/// Up to `n` of the candidates that resemble a name, the most similar first.
///
/// Names of tools are compared as a whole and by what follows their first dot, so that the right
/// tool of the wrong server is found as well. Candidates that resemble it too little are left out.
///
/// ```
/// use toolcell::grants::nearest;
///
/// assert_eq!(nearest("serach.papers", ["search.papers", "time.now"], 3), ["search.papers"]);
/// ```
pub fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    n: usize,
) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.cmp(b)));
    scored.into_iter().take(n).map(|(_, candidate)| candidate).collect()
}

/// How alike two names are, from 0 to 1.
fn likeness(name: &str, candidate: &str) -> f64 {
    // The same tool of another server comes after the same name with a typing error.
    const OTHER_SERVER: f64 = 0.9;
    let whole = similarity(name, candidate);
    match (tool_part(name), tool_part(candidate)) {
        (None, None) => whole,
        (tool, other) => {
            let tools = similarity(tool.unwrap_or(name), other.unwrap_or(candidate));
            whole.max(tools * OTHER_SERVER)
        }
    }
}

fn tool_part(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, tool)| tool).filter(|tool| !tool.is_empty())
}

/// Counts edits, not a common beginning: `read_file` and `read_dir` are different tools.
fn similarity(one: &str, other: &str) -> f64 {
    // Case and the kind of separator are what a model gets wrong most.
    let plain = |text: &str| -> String {
        let chars = text.chars().take(COMPARED_CHARS);
        chars.filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (one, other) = (plain(one), plain(other));
    if one.is_empty() || other.is_empty() {
        return 0.0;
    }
    strsim::normalized_damerau_levenshtein(&one, &other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, candidates: &[&'static str], expected: &[&str]) {
        assert_eq!(nearest(name, candidates.iter().copied(), 3), expected, "{name}");
    }

    #[test]
    fn the_most_similar_names_come_first() {
        let tools = ["search.search_papers", "search.read_paper", "time.get_current_time"];
        check("search.search_paper", &tools, &["search.search_papers", "search.read_paper"]);
        check("time.getCurrentTime", &tools, &["time.get_current_time"]);
        check("clock.get_current_time", &tools, &["time.get_current_time"]);
        check("search_papers", &tools, &["search.search_papers", "search.read_paper"]);
        check("mail.send", &tools, &[]);
        check("comand", &["command", "cwd", "env"], &["command"]);
    }

    #[test]
    fn equal_scores_keep_a_fixed_order() {
        check("ax", &["ab", "ac", "aa", "ad"], &[]);
        check("abcx", &["abcd", "abca", "abcc", "abcb"], &["abca", "abcb", "abcc"]);
    }

    #[test]
    fn long_names_are_cut_before_they_are_compared() {
        let long = "x".repeat(1 << 20);
        assert_eq!(nearest(&long, [long.as_str()], 1).len(), 1);
    }
}
