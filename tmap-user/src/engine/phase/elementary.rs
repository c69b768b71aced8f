//! Exponentials and logarithms of many values.
//!
//! Both are polynomials without branches, so the compiler computes several values side by side, and every
//! processor gives the same result, which a C library doesn't promise. The polynomials interpolate at
//! Chebyshev's nodes.

/// 1.5 times 2^23: a float of this size has no fraction, so adding it rounds to whole numbers.
pub(super) const ROUNDER: f32 = 12_582_912.0;

/// The natural logarithm of 2 in two parts. The upper part has few bits, so that its products with small
/// whole numbers are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// The arguments of [`exp`] are clamped to plus and minus this: results stay normal numbers.
const LARGEST: f32 = 87.0;

/// e to the power of `x`, with a relative error below 3e-7.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-LARGEST, LARGEST);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let r = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    let p = ((1.392_625_1e-3 * r + 8.363_233e-3) * r + 4.166_655_4e-2) * r + 1.666_657_7e-1;
    let p = p * r + 0.5;
    // The lowest bits of `shifted` are the whole number; they become the exponent.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    (p * r * r + r + 1.0) * power
}

/// The natural logarithm of a normal, positive `x`, with an error below 1e-7 or 2e-7 of the result.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    // `x` is 2^exponent times a number between the roots of 1/2 and of 2.
    let exponent = x.to_bits().wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits()).cast_signed() >> 23;
    let m = f32::from_bits(x.to_bits().wrapping_sub((exponent << 23).cast_unsigned())) - 1.0;
    let p = ((6.971_61e-2 * m - 1.147_973_4e-1) * m + 1.168_542e-1) * m - 1.242_568_7e-1;
    let p = ((p * m + 1.424_905_8e-1) * m - 1.666_780_2e-1) * m + 2.000_071_6e-1;
    let p = (p * m - 2.499_999_7e-1) * m + 3.333_333e-1;
    let square = m * m;
    let exponent = exponent as f32;
    (m + (p * m * square - 0.5 * square + exponent * LN_2_LOW)) + exponent * LN_2_HIGH
}

/// The number of sums that [`sum`] makes side by side.
const LANES: usize = 16;

/// The sum of `values`, whose order the compiler may not change in a plain sum.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// The largest of `values`; minus infinity where there are none.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut tops = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        tops.iter_mut().zip(chunk).for_each(|(top, value)| *top = larger(*value, *top));
    }
    tops.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

/// The smallest of `values`; infinity where there are none.
pub(super) fn smallest(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::INFINITY, |a, b| if b < a { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library() {
        for i in -86_000..86_000 {
            let x = i as f32 * 1e-3;
            let error = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(error.abs() < 3e-7, "{x}: {error}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(0.0) == 1.0);
    }

    #[test]
    fn logarithms_are_those_of_the_library() {
        for i in -86_000..86_000 {
            let x = (i as f32 * 1e-3).exp();
            let truth = f64::from(x).ln();
            let error = f64::from(ln(x)) - truth;
            assert!(error.abs() < 1e-7 + 2e-7 * truth.abs(), "{x}: {error}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn sums_and_largest_of_any_number_of_values() {
        for count in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..count).map(|i| ((i * 7) % 11) as f32 - 3.0).collect();
            assert_eq!(sum(&values), values.iter().sum::<f32>());
            assert_eq!(largest(&values), values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
