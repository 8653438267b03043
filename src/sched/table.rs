//! Tables whose places are used again.

/// Cuts the free places off the end of a table, and what it and the list of its free places
/// have allocated and do not need. Low places are taken first from then on, so that the end
/// becomes free.
pub(crate) fn truncate_free<T>(places: &mut Vec<T>, free: &mut Vec<usize>) {
    free.sort_unstable_by(|a, b| b.cmp(a));
    let len = places.len();
    let ends = free.iter().enumerate().take_while(|(nth, place)| **place + nth + 1 == len).count();
    free.drain(..ends);
    places.truncate(len - ends);
    places.shrink_to_fit();
    free.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_keeps_its_place() {
        let mut places = vec!["a", "-", "b", "-", "-"];
        let mut free = vec![3, 1, 4];
        truncate_free(&mut places, &mut free);
        assert_eq!((places, free), (vec!["a", "-", "b"], vec![1]));
        let (mut places, mut free) = (vec!["-", "-"], vec![0, 1]);
        truncate_free(&mut places, &mut free);
        assert_eq!((places.len(), free.len()), (0, 0));
        truncate_free(&mut places, &mut free);
    }
}
