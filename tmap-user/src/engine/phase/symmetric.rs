//! Small symmetric positive definite systems, solved by Cholesky decomposition.

use smallvec::{SmallVec, smallvec};

/// Numbers of a vector or a matrix. Those of a straight line, which most lines are, need no memory of their
/// own.
pub(super) type Numbers = SmallVec<[f64; 4]>;

/// A symmetric matrix of order `n`, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Symmetric {
    n: usize,
    values: Numbers,
}

impl Symmetric {
    /// A diagonal matrix.
    pub(super) fn diagonal(values: &[f64]) -> Self {
        let n = values.len();
        let mut matrix = Self { n, values: smallvec![0.0; n * n] };
        for (i, value) in values.iter().enumerate() {
            matrix.values[i * n + i] = *value;
        }
        matrix
    }

    /// Adds `weight` times the outer product of `vector` with itself.
    #[inline(always)]
    pub(super) fn add_square(&mut self, weight: f64, vector: &[f64]) {
        // Of the bends of a line, a moment has felt few.
        for (row, a) in self.values.chunks_exact_mut(self.n).zip(vector).filter(|(_, a)| **a != 0.0) {
            let scaled = weight * a;
            row.iter_mut().zip(vector).for_each(|(value, b)| *value += scaled * b);
        }
    }

    /// Adds `weight` times another matrix of this order.
    pub(super) fn add(&mut self, weight: f64, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(value, more)| *value += weight * more);
    }

    /// Adds a matrix of order 2 to one: its upper left, its two equal ones and its lower right.
    pub(super) fn add_two_by_two(&mut self, [aa, ab, bb]: [f64; 3]) {
        self.values.iter_mut().zip([aa, ab, ab, bb]).for_each(|(value, more)| *value += more);
    }

    /// The matrix with `more` added to its diagonal.
    pub(super) fn plus_diagonal(&self, more: &[f64]) -> Self {
        let mut sum = self.clone();
        for (i, value) in more.iter().enumerate() {
            sum.values[i * self.n + i] += value;
        }
        sum
    }

    /// The element at `row` and `column`.
    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.n + column]
    }

    /// Logarithm of the determinant with `more` added to the diagonal; infinite where the sum isn't positive
    /// definite.
    pub(super) fn log_determinant_with(&self, more: &[f64]) -> f64 {
        if let (&[aa, ab, _, bb], &[more_a, more_b]) = (&self.values[..], more) {
            let determinant = (aa + more_a) * (bb + more_b) - ab * ab;
            return if aa + more_a > 0.0 && determinant > 0.0 { determinant.ln() } else { f64::INFINITY };
        }
        self.plus_diagonal(more).factor().map_or(f64::INFINITY, |factor| factor.log_determinant())
    }

    /// The Cholesky factor; `None` where the matrix isn't positive definite.
    pub(super) fn factor(&self) -> Option<Factor> {
        let n = self.n;
        let mut lower: Numbers = smallvec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let dot: f64 = (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
                let rest = self.values[i * n + j] - dot;
                if i == j {
                    if rest <= 0.0 {
                        return None;
                    }
                    lower[i * n + i] = rest.sqrt();
                } else {
                    lower[i * n + j] = rest / lower[j * n + j];
                }
            }
        }
        Some(Factor { n, lower })
    }
}

/// The Cholesky factor: a lower triangle whose product with its transpose is the matrix.
#[derive(Clone, Debug)]
pub(super) struct Factor {
    n: usize,
    lower: Numbers,
}

impl Factor {
    /// Solves the system for a right-hand side.
    pub(super) fn solve(&self, right: &[f64]) -> Numbers {
        let n = self.n;
        let mut x = Numbers::from_slice(right);
        for i in 0..n {
            let dot: f64 = (0..i).map(|k| self.lower[i * n + k] * x[k]).sum();
            x[i] = (x[i] - dot) / self.lower[i * n + i];
        }
        for i in (0..n).rev() {
            let dot: f64 = (i + 1..n).map(|k| self.lower[k * n + i] * x[k]).sum();
            x[i] = (x[i] - dot) / self.lower[i * n + i];
        }
        x
    }

    /// Logarithm of the matrix's determinant.
    pub(super) fn log_determinant(&self) -> f64 {
        (0..self.n).map(|i| 2.0 * self.lower[i * self.n + i].ln()).sum()
    }

    /// The quadratic form of `vector` with the matrix's inverse.
    pub(super) fn inverse_form(&self, vector: &[f64]) -> f64 {
        self.solve(vector).iter().zip(vector).map(|(a, b)| a * b).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_and_measures() {
        let mut matrix = Symmetric::diagonal(&[2.0, 1.0, 0.5]);
        matrix.add_square(1.0, &[1.0, 2.0, -1.0]);
        let factor = matrix.factor().unwrap();
        let x = factor.solve(&[1.0, 0.0, 2.0]);
        for i in 0..3 {
            let back: f64 = (0..3).map(|j| matrix.at(i, j) * x[j]).sum();
            assert!((back - [1.0, 0.0, 2.0][i]).abs() < 1e-12);
        }
        // det(D + v v') = det(D) (1 + v' D^-1 v) = 1 * (1 + 0.5 + 4 + 2).
        assert!((factor.log_determinant() - 7.5_f64.ln()).abs() < 1e-12);
        assert!((factor.inverse_form(&[0.0, 0.0, 0.0])).abs() < 1e-12);
        let more = Symmetric::diagonal(&[1.0, 0.5, 0.25]);
        let mut rest = Symmetric::diagonal(&[1.0, 0.5, 0.25]);
        rest.add_square(1.0, &[1.0, 2.0, -1.0]);
        assert!((rest.log_determinant_with(&[1.0, 0.5, 0.25]) - factor.log_determinant()).abs() < 1e-12);
        assert!((more.log_determinant_with(&[0.0; 3]) - 0.125_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn two_by_two_is_the_same_by_hand() {
        let mut matrix = Symmetric::diagonal(&[2.0, 1.0]);
        matrix.add_square(0.5, &[1.0, -3.0]);
        let factor = matrix.plus_diagonal(&[0.1, 0.2]).factor().unwrap();
        assert!((matrix.log_determinant_with(&[0.1, 0.2]) - factor.log_determinant()).abs() < 1e-12);
        assert_eq!(Symmetric::diagonal(&[1.0, -1.0]).log_determinant_with(&[0.0, 0.0]), f64::INFINITY);
    }

    #[test]
    fn refuses_what_is_no_covariance() {
        assert!(Symmetric::diagonal(&[1.0, -1.0]).factor().is_none());
    }
}
