//! The signs of an owner: the class of its marks, and the shape of its points.

use crate::picture::{
    chart::Owner,
    palette::{Shape, shape},
};

/// The class and the machine of an owner's marks.
pub(super) fn class(owner: Owner) -> String {
    match owner {
        Owner::Machine(number) => format!("class=\"m m{number}\" data-machine=\"{number}\""),
        Owner::Nobody => "class=\"m n\"".to_owned(),
        Owner::All => "class=\"m a\"".to_owned(),
    }
}

/// The outline of a point. All shapes of one radius have about the same area.
pub(super) fn point(owner: Owner, (x, y): (f64, f64), radius: f64) -> String {
    let r = radius;
    match shape(owner) {
        Shape::Circle => {
            let (left, wide) = (x - r, 2.0 * r);
            format!("M{left:.1} {y:.1}a{r:.1} {r:.1} 0 1 0 {wide:.1} 0a{r:.1} {r:.1} 0 1 0 -{wide:.1} 0z")
        }
        Shape::Square => {
            let half = 0.89 * r;
            let (left, top, side) = (x - half, y - half, 2.0 * half);
            format!("M{left:.1} {top:.1}h{side:.1}v{side:.1}h-{side:.1}z")
        }
        Shape::Triangle => {
            let (top, half, high) = (y - 1.35 * r, 1.25 * r, 2.2 * r);
            format!("M{x:.1} {top:.1}l{half:.1} {high:.1}h-{:.1}z", 2.0 * half)
        }
        Shape::Diamond => {
            let (top, half) = (y - 1.3 * r, 1.3 * r);
            format!("M{x:.1} {top:.1}l{half:.1} {half:.1}l-{half:.1} {half:.1}l-{half:.1} -{half:.1}z")
        }
    }
}
