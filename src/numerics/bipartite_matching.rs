//! The largest one-to-one matching between two sets.
//!
//! Hopcroft and Karp, "An n^(5/2) algorithm for maximum matchings in bipartite graphs" (1973).

use std::collections::VecDeque;

/// Who is matched with whom, one to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// `[left]`: the right partner of each.
    pub of_left: Vec<Option<usize>>,
    /// `[right]`: the left partner of each.
    pub of_right: Vec<Option<usize>>,
}

impl Matching {
    /// Nobody is matched yet.
    pub fn none(left: usize, right: usize) -> Self {
        Self { of_left: vec![None; left], of_right: vec![None; right] }
    }

    /// Matches two that are free.
    pub fn pair(&mut self, left: usize, right: usize) {
        self.of_left[left] = Some(right);
        self.of_right[right] = Some(left);
    }

    /// Makes as many pairs as possible, along the edges from every left index to its `neighbours` on the right.
    ///
    /// Whoever is matched before is so afterwards, though maybe with somebody else. Neighbours are not kept but asked for anew in
    /// every phase, of which there are mostly a handful. Always the same matching is made.
    pub fn complete<N: Iterator<Item = usize>>(&mut self, neighbours: impl Fn(usize) -> N) {
        const UNREACHED: u32 = u32::MAX;
        loop {
            // Steps along shortest alternating paths from whoever is free.
            let mut steps = vec![UNREACHED; self.of_left.len()];
            let free: Vec<usize> = (0..self.of_left.len()).filter(|&left| self.of_left[left].is_none()).collect();
            free.iter().for_each(|&left| steps[left] = 0);
            let mut queue: VecDeque<usize> = free.iter().copied().collect();
            // A path to a free right end has this many steps at most.
            let mut longest = None;
            while let Some(left) = queue.pop_front() {
                if longest.is_some_and(|longest| steps[left] >= longest) {
                    break;
                }
                for right in neighbours(left) {
                    match self.of_right[right] {
                        None => longest = longest.or(Some(steps[left] + 1)),
                        Some(owner) if steps[owner] == UNREACHED => {
                            steps[owner] = steps[left] + 1;
                            queue.push_back(owner);
                        }
                        Some(_) => {}
                    }
                }
            }
            if longest.is_none() {
                return;
            }
            let mut is_used = vec![false; self.of_right.len()];
            for left in free {
                self.augment(left, &neighbours, &steps, &mut is_used);
            }
        }
    }

    /// Matches a free left index along a path of rising `steps` through right ends that no other path uses, if there is one.
    fn augment<N: Iterator<Item = usize>>(
        &mut self,
        free: usize,
        neighbours: impl Fn(usize) -> N,
        steps: &[u32],
        is_used: &mut [bool],
    ) {
        let mut path: Vec<(usize, N, usize)> = vec![(free, neighbours(free), 0)];
        while let Some((left, open, taken)) = path.last_mut() {
            let Some(right) = open.next() else {
                path.pop();
                continue;
            };
            if is_used[right] {
                continue;
            }
            match self.of_right[right] {
                None => {
                    is_used[right] = true;
                    *taken = right;
                    for (left, _, right) in path {
                        self.pair(left, right);
                    }
                    return;
                }
                Some(owner) if steps[owner] == steps[*left] + 1 => {
                    is_used[right] = true;
                    *taken = right;
                    path.push((owner, neighbours(owner), 0));
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;

    /// The most pairs by Kuhn's simpler search.
    fn most_pairs(edges: &[Vec<usize>], right: usize) -> usize {
        fn search(left: usize, edges: &[Vec<usize>], owners: &mut [Option<usize>], seen: &mut [bool]) -> bool {
            for &right in &edges[left] {
                if !std::mem::replace(&mut seen[right], true)
                    && owners[right].is_none_or(|owner| search(owner, edges, owners, seen))
                {
                    owners[right] = Some(left);
                    return true;
                }
            }
            false
        }
        let mut owners = vec![None; right];
        (0..edges.len()).filter(|&left| search(left, edges, &mut owners, &mut vec![false; right])).count()
    }

    #[test]
    fn random_graphs_are_matched_as_far_as_possible_and_nobody_is_left() {
        for step in 0..400 {
            let mut generator = random::stream(3, "bipartite matching", step);
            let (left, right) = (1 + step as usize % 23, 1 + (step as usize / 5) % 19);
            let numbers = random::uniform(&mut generator, 1.0, left * right);
            let density = 0.05 + 0.4 * (step % 7) as f32 / 7.0;
            let edges: Vec<Vec<usize>> = (0..left)
                .map(|row| (0..right).filter(|column| numbers[row * right + column].abs() < density).collect())
                .collect();
            let mut matching = Matching::none(left, right);
            // A start that is not the best one.
            let start = (0..left).find_map(|left| Some((left, *edges[left].last()?)));
            if let Some((left, right)) = start {
                matching.pair(left, right);
            }
            matching.complete(|left| edges[left].iter().copied());
            let pairs: Vec<(usize, usize)> =
                matching.of_left.iter().enumerate().filter_map(|(left, right)| Some((left, (*right)?))).collect();
            assert_eq!(pairs.len(), most_pairs(&edges, right), "{edges:?}");
            assert_eq!(matching.of_right.iter().flatten().count(), pairs.len());
            for (left, right) in pairs {
                assert!(edges[left].contains(&right) && matching.of_right[right] == Some(left));
            }
            if let Some((left, right)) = start {
                assert!(matching.of_left[left].is_some() && matching.of_right[right].is_some());
            }
        }
    }
}
