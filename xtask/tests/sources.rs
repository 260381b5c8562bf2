//! Holds the text of the sources and guides against section 4 of the design: no switch anywhere skips a check of TLS.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// What turns checks off, in our libraries and in the commands and languages that a guide might use.
const SWITCHES: &[&str] = &[
    "danger_accept_invalid",
    "InsecureSkipVerify",
    "--insecure",
    "sslmode=disable",
    "no-check-certificate",
    "rejectUnauthorized",
];

/// May speak of what is not done, and this file names it.
const EXEMPT: &[&str] = &["docs/security.md", "CHANGELOG.md", "xtask/tests/sources.rs"];

/// What in this line turns a check off.
fn offence(line: &str) -> Option<String> {
    if let Some(switch) = SWITCHES.iter().find(|switch| line.contains(**switch)) {
        return Some((*switch).to_owned());
    }
    // `curl -k`, alone or among other short options.
    let (_, options) = line.split_once("curl")?;
    let short = |word: &&str| word.strip_prefix('-').is_some_and(|letters| !letters.starts_with('-'));
    let words = options.split(|c: char| c.is_whitespace() || "\"'`,()[]".contains(c));
    words.filter(short).find(|word| word.contains('k')).map(|word| format!("curl {word}"))
}

#[test]
fn no_tracked_file_turns_a_check_off() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(&root).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files = listed.split('\0').filter(|name| !name.is_empty() && !EXEMPT.contains(name));
    let mut looked_at = 0;
    // A file that is deleted, and not yet in the index, is still listed.
    for (name, content) in files.filter_map(|name| fs::read(root.join(name)).ok().map(|content| (name, content))) {
        for (number, line) in String::from_utf8_lossy(&content).lines().enumerate() {
            if let Some(found) = offence(line) {
                panic!("{name}:{}: `{found}` turns a check off", number + 1);
            }
        }
        looked_at += 1;
    }
    assert!(looked_at > 200, "{looked_at}");
}

#[test]
fn switches_are_found_and_honest_lines_are_not() {
    for bad in [
        "curl -k https://localhost",
        "    curl -sk https://localhost",
        r#"Command::new("curl").args(["--silent", "-k"])"#,
        "curl --insecure https://localhost",
        ".danger_accept_invalid_certs(true)",
        "tls.Config{InsecureSkipVerify: true}",
        "postgres://localhost/db?sslmode=disable",
        "wget --no-check-certificate",
    ] {
        assert!(offence(bad).is_some(), "{bad}");
    }
    for good in [
        "curl --cacert ca.pem --key key.pem https://localhost",
        "curl -sS --cacert ca.pem https://localhost/api/v1/keys",
        "sslmode=verify-full",
        "psql -k",
    ] {
        assert_eq!(offence(good), None, "{good}");
    }
}
