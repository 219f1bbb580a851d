//! The matrix whose eigenvectors relax the normalised cut.

use faer::{Col, Mat, Side};

use super::random;

/// Steps of the Lanczos iteration, after which its outermost vectors have converged unless their eigenvalues are all but
/// equal.
const STEPS: usize = 64;

/// Steps after which it is looked how far the iteration has come.
const STEPS_BETWEEN_LOOKS: usize = 8;

/// A direction of this length is rounding: all that the start can reach has been seen.
const LEAST_LENGTH: f64 = 1e-10;

/// D^-½ W D^-½ of a symmetric W, and the diagonal of D^-½; D holds the sums of the rows of W.
///
/// A row of zeros stays one, and its entry of D^-½ is zero.
///
/// # Shapes
/// affinities `[N, N]` → `[N, N]` and `[N]`
pub fn normalise(affinities: &Mat<f64>) -> (Mat<f64>, Vec<f64>) {
    let nodes = affinities.nrows();
    let inverse_roots: Vec<f64> = (0..nodes)
        .map(|row| (0..nodes).map(|column| affinities[(row, column)]).sum::<f64>())
        .map(|degree| if degree > 0.0 { degree.sqrt().recip() } else { 0.0 })
        .collect();
    let normalised = Mat::from_fn(nodes, nodes, |row, column| {
        affinities[(row, column)] * inverse_roots[row] * inverse_roots[column]
    });
    (normalised, inverse_roots)
}

/// The solution y of (D − W) y = λ D y with the second smallest λ, and the diagonal of D; the first is constant. None where
/// there is none.
///
/// # Shapes
/// affinities `[N, N]` → `[N]` and `[N]`
pub fn second_solution(affinities: &Mat<f64>) -> Option<(Vec<f64>, Vec<f64>)> {
    let nodes = affinities.nrows();
    let degrees: Vec<f64> =
        (0..nodes).map(|row| (0..nodes).map(|column| affinities[(row, column)]).sum::<f64>()).collect();
    let product = |vector: &Col<f64>| affinities * vector;
    second_solution_by_products(&degrees, STEPS, 0.0, product).map(|solution| (solution, degrees))
}

/// The same of a W that is known by its row sums, the diagonal of D, and by products with it: at most so many of them, or until
/// the solution's residual is below `tolerance`, where the largest eigenvalue is 1.
///
/// D^-½ times the eigenvector of the second largest eigenvalue of D^-½ W D^-½, by Lanczos iteration: a few dozen products with
/// W, where all eigenvectors cost N³. Of several equal ones it is any.
/// Source: Golub and Van Loan, "Matrix Computations", 10.1, with every direction made orthogonal to all before.
///
/// # Shapes
/// degrees `[N]` → `[N]`
pub fn second_solution_by_products(
    degrees: &[f64],
    most_steps: usize,
    tolerance: f64,
    product: impl Fn(&Col<f64>) -> Col<f64>,
) -> Option<Vec<f64>> {
    let nodes = degrees.len();
    let inverse_root = |&degree: &f64| if degree > 0.0 { degree.sqrt().recip() } else { 0.0 };
    let inverse_roots: Vec<f64> = degrees.iter().map(inverse_root).collect();
    let scaled = |vector: &Col<f64>| Col::from_fn(nodes, |node| vector[node] * inverse_roots[node]);
    let mut first = Col::from_fn(nodes, |node| degrees[node].max(0.0).sqrt());
    let length = first.norm_l2();
    if length == 0.0 {
        return None;
    }
    first /= length;

    // Everything is kept orthogonal to the first eigenvector, D^½ 1, so that the second is the outermost.
    let mut basis = vec![first];
    let orthogonal = |mut vector: Col<f64>, basis: &[Col<f64>]| {
        // Twice is enough for all that rounding leaves.
        for direction in basis.iter().chain(basis) {
            let share = direction.transpose() * &vector;
            vector -= share * direction;
        }
        let length = vector.norm_l2();
        (length > LEAST_LENGTH).then(|| (vector / length, length))
    };
    let start = random::uniform(&mut random::stream(0, "lanczos", 0), 1.0, nodes);
    let mut next = orthogonal(Col::from_fn(nodes, |node| f64::from(start[node])), &basis);
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    let mut outermost = None;
    while let Some((direction, length)) = next.filter(|_| diagonal.len() < most_steps) {
        let product = scaled(&product(&scaled(&direction)));
        diagonal.push(direction.transpose() * &product);
        beside.push(length);
        basis.push(direction);
        next = orthogonal(product, &basis);
        let beyond = next.as_ref().map_or(0.0, |(_, length)| *length);
        let is_last = next.is_none() || diagonal.len() == most_steps;
        if is_last || (tolerance > 0.0 && diagonal.len().is_multiple_of(STEPS_BETWEEN_LOOKS)) {
            let coefficients = outermost_of_tridiagonal(&diagonal, &beside)?;
            let residual = beyond * coefficients.last().copied().unwrap_or(0.0).abs();
            outermost = Some(coefficients);
            if residual <= tolerance {
                break;
            }
        }
    }
    let coefficients = outermost?;
    let component = |node: usize| -> f64 {
        coefficients.iter().zip(&basis[1..]).map(|(coefficient, direction)| coefficient * direction[node]).sum()
    };
    Some((0..nodes).map(|node| component(node) * inverse_roots[node]).collect())
}

/// The eigenvector of the largest eigenvalue of a symmetric matrix with these entries on and, but for the first, above its
/// diagonal.
fn outermost_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> Option<Vec<f64>> {
    let steps = diagonal.len();
    let tridiagonal = Mat::from_fn(steps, steps, |row, column| match row.abs_diff(column) {
        0 => diagonal[row],
        1 => beside[row.max(column)],
        _ => 0.0,
    });
    let decomposition = tridiagonal.self_adjoint_eigen(Side::Lower).ok()?;
    Some((0..steps).map(|step| decomposition.U()[(step, steps - 1)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_iteration_finds_what_the_whole_decomposition_does() {
        // Fewer and more than the iteration keeps.
        for nodes in [2, 5, 40, 150] {
            let values = random::uniform(&mut random::stream(3, "test", nodes as u64), 1.0, 3 * nodes);
            let features = Mat::from_fn(nodes, 3, |node, channel| f64::from(values[3 * node + channel]));
            let affinities = Mat::from_fn(nodes, nodes, |row, column| {
                (0..3).map(|channel| features[(row, channel)] * features[(column, channel)]).sum::<f64>().max(0.0)
            });
            let (found, degrees) = second_solution(&affinities).unwrap();
            let (normalised, inverse_roots) = normalise(&affinities);
            let decomposition = normalised.self_adjoint_eigen(Side::Lower).unwrap();
            let expected: Vec<f64> =
                (0..nodes).map(|node| decomposition.U()[(node, nodes - 2)] * inverse_roots[node]).collect();
            let (mut product, mut lengths) = (0.0, [0.0, 0.0]);
            for ((one, other), degree) in found.iter().zip(&expected).zip(&degrees) {
                product += degree * one * other;
                lengths = [lengths[0] + degree * one * one, lengths[1] + degree * other * other];
            }
            let cosine = product.abs() / (lengths[0] * lengths[1]).sqrt();
            assert!(cosine > 1.0 - 1e-6, "{nodes} nodes: {cosine}");
        }
    }

    #[test]
    fn graphs_without_affinity_have_no_solution() {
        assert_eq!(second_solution(&Mat::zeros(3, 3)), None);
        assert_eq!(second_solution(&Mat::zeros(0, 0)), None);
        assert_eq!(second_solution(&Mat::from_fn(1, 1, |_, _| 1.0)), None);
        // All equal: every vector beside the first is a solution.
        assert!(second_solution(&Mat::from_fn(9, 9, |_, _| 0.5)).is_some());
    }
}
