//! Which of some names somebody may have meant.

/// How many are told.
const MAX_TOLD: usize = 3;

/// Names are compared up to this length.
const MAX_CHARACTERS: usize = 64;

/// Up to three names that `wanted` may be a slip of, the nearest first.
pub fn nearest<'a>(wanted: &str, names: &[&'a str]) -> Vec<&'a str> {
    let plain = |name: &str| -> Vec<char> {
        let letters = name.chars().filter(|c| c.is_alphanumeric()).take(MAX_CHARACTERS);
        letters.flat_map(char::to_lowercase).collect()
    };
    let wanted = plain(wanted);
    let mut near: Vec<(usize, usize, &str)> = Vec::new();
    for (nth, name) in names.iter().enumerate() {
        let name_plain = plain(name);
        let longest = wanted.len().max(name_plain.len()).max(1);
        let apart = distance(&wanted, &name_plain);
        let contained = wanted.len() >= 3
            && name_plain.len() >= 3
            && (contains(&name_plain, &wanted) || contains(&wanted, &name_plain));
        if apart * 5 <= longest * 2 || contained {
            near.push((apart, nth, name));
        }
    }
    near.sort_unstable();
    near.into_iter().take(MAX_TOLD).map(|(_, _, name)| name).collect()
}

fn contains(long: &[char], short: &[char]) -> bool {
    long.windows(short.len().max(1)).any(|part| part == short)
}

/// Letters to change, add or leave out.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (nth, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = nth + 1;
        for (at, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
