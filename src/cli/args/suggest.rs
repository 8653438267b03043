//! What was probably meant.

/// The name nearest to `typed`, if one is near enough to be meant.
pub fn near<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let letters = typed.trim_start_matches('-').len();
    let worth = |name: &&str| {
        // A beginning, cut off: --mem.
        let begun = letters >= 3 && name.starts_with(typed);
        if begun { 0 } else { distance(typed, name) }
    };
    names.min_by_key(worth).filter(|best| worth(best) <= letters / 3)
}

/// Letters to be put in, left out, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &letter) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, &other) in b.iter().enumerate() {
            let mut least = (row[j] + usize::from(letter != other)).min(row[j + 1] + 1);
            least = least.min(next[j] + 1);
            if i > 0 && j > 0 && letter == b[j - 1] && a[i - 1] == other {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("--tiemout", "--timeout"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn the_near_one_is_meant() {
        let names = ["--dir", "--timeout", "--memory", "--max-fds"];
        let of = |typed| near(typed, names.into_iter());
        assert_eq!(of("--tiemout"), Some("--timeout"));
        assert_eq!(of("--dirs"), Some("--dir"));
        assert_eq!(of("--mem"), Some("--memory"));
        assert_eq!(of("--max-files"), Some("--max-fds"));
        assert_eq!(of("--xyz"), None);
        // Every other letter is another word.
        let names = ["--per", "--env", "--net", "--fuel", "--dir"];
        for other in ["--user", "--init", "--rm", "-v", "-d", "--cpus", "--file"] {
            assert_eq!(near(other, names.into_iter()), None, "{other}");
        }
    }
}
