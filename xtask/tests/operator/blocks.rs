//! The commands of a page that are for a cluster.

use std::path::Path;

/// Its blocks that begin with ```` ```sh bed ````, each as one script.
pub(crate) fn blocks(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line == "```sh bed") {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        found.push(block.join("\n"));
    }
    assert!(!found.is_empty(), "{page} has no block for a cluster");
    found
}
