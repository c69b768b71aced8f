//! Colours and shapes of machines, one choice for file, page and screen.
//!
//! The first seven colours are those of Okabe and Ito, which differ for most colour-blind readers too. Where
//! there are more machines, hues repeat in other shades and marks change their shape.

use super::chart::Owner;

/// Red, green and blue.
pub type Rgb = [u8; 3];

/// Colours of the first machines on a light background (Okabe and Ito, without their yellow, which is too
/// pale on white).
const LIGHT: [Rgb; 7] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    [0x7a, 0x51, 0x95],
];

/// Colours of the same hues, in the same order, for a dark background.
const DARK: [Rgb; 7] = [
    [0x4d, 0xa6, 0xe0],
    [0xff, 0x8c, 0x42],
    [0x2f, 0xc9, 0x9d],
    [0xea, 0xa3, 0xc8],
    [0xf6, 0xc3, 0x4b],
    [0xa3, 0xd9, 0xfb],
    [0xb7, 0x94, 0xd6],
];

/// Two successive hues of further machines differ by the golden angle, in degrees: no two of a dozen are
/// close.
const GOLDEN_ANGLE: f64 = 137.507_764;

/// The shape of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A disc: machines 1 to 7, and what is no machine.
    Circle,
    /// A square: machines 8 to 14.
    Square,
    /// A triangle: machines 15 to 21.
    Triangle,
    /// A diamond: machines 22 to 28. Then shapes begin again.
    Diamond,
}

/// The colour of an owner's marks.
pub fn rgb(owner: Owner, is_dark: bool) -> Rgb {
    match (owner, is_dark) {
        (Owner::Machine(number), _) => of_machine(place(number), is_dark),
        (Owner::Nobody, false) => [0x8c, 0x8c, 0x8c],
        (Owner::Nobody, true) => [0x90, 0x90, 0x90],
        (Owner::All, false) => [0x44, 0x44, 0x44],
        (Owner::All, true) => [0xd0, 0xd0, 0xd0],
    }
}

/// A colour as SVG and CSS write it: `#0072b2`.
pub fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// The shape of an owner's points.
pub fn shape(owner: Owner) -> Shape {
    const SHAPES: [Shape; 4] = [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond];
    match owner {
        Owner::Machine(number) => SHAPES[place(number) / LIGHT.len() % SHAPES.len()],
        Owner::Nobody | Owner::All => Shape::Circle,
    }
}

/// Machines are numbered from 1.
fn place(number: u32) -> usize {
    number.saturating_sub(1) as usize
}

fn of_machine(place: usize, is_dark: bool) -> Rgb {
    let first = if is_dark { &DARK } else { &LIGHT };
    first.get(place).copied().unwrap_or_else(|| {
        let hue = (place as f64 * GOLDEN_ANGLE) % 360.0;
        if is_dark { of_hue(hue, 0.60, 0.68) } else { of_hue(hue, 0.65, 0.42) }
    })
}

/// The colour of a hue in degrees, with saturation and lightness from 0 to 1.
fn of_hue(hue: f64, saturation: f64, lightness: f64) -> Rgb {
    let amplitude = saturation * lightness.min(1.0 - lightness);
    [0.0, 8.0, 4.0].map(|shift| {
        let k = (shift + hue / 30.0) % 12.0;
        let value = lightness - amplitude * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2.1).
    fn luminance(rgb: Rgb) -> f64 {
        let [red, green, blue] = rgb.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    #[test]
    fn colours_stand_out_from_their_background() {
        for number in 1..=40 {
            let [light, dark] = [false, true].map(|is_dark| luminance(rgb(Owner::Machine(number), is_dark)));
            assert!(1.05 / (light + 0.05) > 2.0, "machine {number} on white");
            assert!((dark + 0.05) / (luminance([0x16, 0x18, 0x1d]) + 0.05) > 4.0, "machine {number} on dark");
        }
    }

    #[test]
    fn machines_differ_in_colour_or_shape() {
        let look = |number| (rgb(Owner::Machine(number), false), shape(Owner::Machine(number)) as u8);
        for a in 1..=28 {
            for b in 1..a {
                assert_ne!(look(a), look(b), "machines {a} and {b}");
            }
        }
        assert_eq!(hex(rgb(Owner::Machine(1), false)), "#0072b2");
        assert_eq!(of_hue(0.0, 1.0, 0.5), [255, 0, 0]);
        assert_eq!(of_hue(120.0, 1.0, 0.5), [0, 255, 0]);
    }
}
