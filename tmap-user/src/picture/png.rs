//! SVG as PNG, with a font of its own: no file of the system decides how a picture looks.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

/// The font's name.
const FONT: &str = "DejaVu Sans";

/// Pixels per pixel of the SVG: a picture as wide as a page then has 300 dots per inch.
const SCALE: f32 = 2.0;

/// Renders a picture of this room, and returns the PNG's bytes.
///
/// # Errors
/// If the picture is too large for memory, or isn't one that this room draws.
pub fn png(svg: &str) -> anyhow::Result<Vec<u8>> {
    let options = Options { fontdb: Arc::clone(fonts()), font_family: FONT.to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("cannot read the picture's SVG")?;
    let size = tree.size().to_int_size().scale_by(SCALE).context("the picture has no size")?;
    let mut pixels = Pixmap::new(size.width(), size.height()).context("the picture is too large")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().context("cannot encode the picture as PNG")
}

fn fonts() -> &'static Arc<Database> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    FONTS.get_or_init(|| {
        let mut fonts = Database::new();
        for font in [dejavu::sans::regular(), dejavu::sans::bold()] {
            fonts.load_font_data(font.to_vec());
        }
        fonts.set_sans_serif_family(FONT);
        Arc::new(fonts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Chart, svg};

    #[test]
    fn words_are_drawn_with_the_font_inside() {
        let draw = |text: &str| {
            png(&format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"90\" height=\"30\" \
                 font-family=\"DejaVu Sans\"><text y=\"20\">{text}</text></svg>"
            ))
            .expect("a picture")
        };
        assert_ne!(draw("phase ± µs"), draw(""));
        assert_eq!(draw("phase"), draw("phase"));
        assert!(png("no picture").is_err());
        let none: &[Chart] = &[];
        assert!(png(&svg::stack(none, svg::Theme::Light)).is_ok());
    }
}
