//! The best one-to-one assignment between two sets.
//!
//! The linear assignment problem, solved by shortest augmenting paths with dual prices: Kuhn, "The Hungarian method for
//! the assignment problem" (1955); Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse
//! linear assignment problems" (1987).

/// For every row, the column it is assigned to, such that the sum of the assigned weights is largest.
///
/// Exactly min(rows, columns) pairs are made, also where a weight is negative: with weights ≥ 0 this is the matching of
/// maximum weight. Of equally good assignments always the same one is returned. Time O(min² · max) of the two sizes.
///
/// # Shapes
/// - `weights`: `[rows, columns]`, row-major, rows = length / columns
/// - result: `[rows]`, with none for a row that is left over
///
/// # Panics
/// If `weights` is no whole number of rows, or holds a number that is not finite.
pub fn maximum_assignment(weights: &[f64], columns: usize) -> Vec<Option<usize>> {
    assert!(weights.iter().all(|weight| weight.is_finite()), "every weight must be finite");
    if columns == 0 {
        assert!(weights.is_empty(), "no columns, but {} weights", weights.len());
        return Vec::new();
    }
    let rows = weights.len() / columns;
    assert_eq!(weights.len(), rows * columns, "rows of {columns} weights must be whole");
    if rows <= columns {
        cheapest_partners(rows, columns, |row, column| -weights[row * columns + column]).into_iter().map(Some).collect()
    } else {
        let mut assigned = vec![None; rows];
        let partners = cheapest_partners(columns, rows, |column, row| -weights[row * columns + column]);
        for (column, row) in partners.into_iter().enumerate() {
            assigned[row] = Some(column);
        }
        assigned
    }
}

/// For each of `few` agents, the one of `many` tasks (few ≤ many) it takes at the least total cost.
///
/// Agents come in one by one. Each follows the cheapest path of reduced costs cost − agent price − task price (never
/// negative) through tasks already taken to a free one, and the owners along the path move over by one.
fn cheapest_partners(few: usize, many: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    const FREE: usize = usize::MAX;
    let mut agent_prices = vec![0.0; few];
    let mut task_prices = vec![0.0; many];
    let mut tasks = vec![FREE; few];
    let mut owners = vec![FREE; many];
    for newcomer in 0..few {
        let mut distances = vec![f64::INFINITY; many];
        let mut reached_from = vec![newcomer; many];
        let mut settled: Vec<usize> = Vec::new();
        let mut open: Vec<usize> = (0..many).collect();
        let (mut agent, mut path_length) = (newcomer, 0.0);
        let free_task = loop {
            // There is an open task: every settled one is owned, and fewer than `few` are.
            let mut nearest = 0;
            for (place, &task) in open.iter().enumerate() {
                let length = path_length + cost(agent, task) - agent_prices[agent] - task_prices[task];
                if length < distances[task] {
                    distances[task] = length;
                    reached_from[task] = agent;
                }
                if distances[task] < distances[open[nearest]] {
                    nearest = place;
                }
            }
            let task = open.remove(nearest);
            path_length = distances[task];
            if owners[task] == FREE {
                break task;
            }
            settled.push(task);
            agent = owners[task];
        };

        // Prices move so that every reduced cost stays ≥ 0 and is 0 along the path.
        agent_prices[newcomer] += path_length;
        for task in settled {
            agent_prices[owners[task]] += path_length - distances[task];
            task_prices[task] -= path_length - distances[task];
        }

        let mut task = free_task;
        loop {
            let agent = reached_from[task];
            owners[task] = agent;
            let given_up = std::mem::replace(&mut tasks[agent], task);
            if agent == newcomer {
                break;
            }
            task = given_up;
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;

    fn total(weights: &[f64], columns: usize, assigned: &[Option<usize>]) -> f64 {
        assigned
            .iter()
            .enumerate()
            .filter_map(|(row, column)| column.map(|column| weights[row * columns + column]))
            .sum()
    }

    /// The largest sum over all ways to make `pairs` more pairs from `row` on.
    fn brute_force(weights: &[f64], columns: usize, row: usize, taken: &mut Vec<bool>, pairs: usize) -> f64 {
        if pairs == 0 {
            return 0.0;
        }
        let rows = weights.len() / columns;
        if rows - row < pairs {
            return f64::NEG_INFINITY;
        }
        let mut best = brute_force(weights, columns, row + 1, taken, pairs);
        for column in 0..columns {
            if !taken[column] {
                taken[column] = true;
                let rest = brute_force(weights, columns, row + 1, taken, pairs - 1);
                best = best.max(weights[row * columns + column] + rest);
                taken[column] = false;
            }
        }
        best
    }

    #[test]
    fn small_cases() {
        type Case = (&'static [f64], usize, &'static [Option<usize>]);
        let cases: [Case; 6] = [
            (&[], 3, &[]),
            (&[5.0], 1, &[Some(0)]),
            (&[1.0, 2.0, 3.0], 3, &[Some(2)]),
            (&[1.0, 3.0, 2.0], 1, &[None, Some(0), None]),
            // The best pair of all, (0, 0), is worth less than the other two together.
            (&[9.0, 8.0, 8.0, 1.0], 2, &[Some(1), Some(0)]),
            (&[-1.0, -5.0, -2.0, -3.0], 2, &[Some(0), Some(1)]),
        ];
        for (weights, columns, expected) in cases {
            assert_eq!(maximum_assignment(weights, columns), expected, "{weights:?}");
        }
    }

    #[test]
    fn random_matrices_agree_with_trying_everything() {
        for step in 0..600 {
            let mut generator = random::stream(5, "assignment", step);
            let (rows, columns) = (1 + step as usize % 6, 1 + (step as usize / 6) % 6);
            let mut weights: Vec<f64> =
                random::uniform(&mut generator, 1.0, rows * columns).into_iter().map(f64::from).collect();
            if step % 2 == 0 {
                // Many ties and zeros, as overlaps have.
                weights.iter_mut().for_each(|weight| *weight = (*weight * 2.0).round().max(0.0));
            }
            let assigned = maximum_assignment(&weights, columns);
            let mut partners: Vec<usize> = assigned.iter().flatten().copied().collect();
            partners.sort_unstable();
            partners.dedup();
            assert_eq!(partners.len(), rows.min(columns), "every pair is made once");
            let best = brute_force(&weights, columns, 0, &mut vec![false; columns], rows.min(columns));
            assert!((total(&weights, columns, &assigned) - best).abs() < 1e-12, "{rows}x{columns} {weights:?}");
        }
    }
}
