//! The colours of machines and pictures as CSS variables that follow the page's theme.

use crate::picture::svg;

/// Declarations such as `--m1:light-dark(#0072b2,#4da6e0);` for machines up to number `last`.
pub(super) fn variables(last: u32) -> String {
    let (light, dark) = (svg::style(last, false), svg::style(last, true));
    let declarations = |css: &str| -> Vec<(String, String)> {
        css.split(';')
            .filter_map(|one| one.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let both = declarations(&light).into_iter().zip(declarations(&dark));
    both.map(|((name, light), (_, dark))| format!("{name}:light-dark({light},{dark});")).collect()
}

#[cfg(test)]
mod tests {
    use super::variables;

    #[test]
    fn each_variable_has_a_colour_for_both_themes() {
        let css = variables(3);
        assert!(css.contains("--m3:light-dark(#009e73,#2fc99d);") && !css.contains("--m4"), "{css}");
        assert!(css.contains("--chart-ink:light-dark("), "{css}");
    }
}
