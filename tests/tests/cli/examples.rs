//! Pictures and examples of output in documents are what the command makes today.

use tmap_tests::{command::binary, examples};

#[test]
fn pictures_and_examples_are_up_to_date() {
    let made = examples::all(binary()).expect("examples");
    assert!(made.len() > 6, "{} files", made.len());
    let stale: Vec<String> =
        made.iter().filter(|made| made.is_stale()).map(|made| made.path.display().to_string()).collect();
    assert!(stale.is_empty(), "stale: {}; run: cargo xtask pictures", stale.join(", "));
}
