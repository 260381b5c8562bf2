//! Tools that are built from Go modules: a folder with `go.mod` and `go.sum` each, no Go source of ours. The binary lies
//! in the tool cache under the hash of all that decides it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use keyrealm_crypto::sha256_hex;

use crate::command::{output, root, run, say};
use crate::{lock, need, space};

/// Sources, build cache and binary of one tool, with room to spare.
const SPACE: u64 = 3 * 1024;

/// A tool.
pub(crate) struct Tool {
    /// Its folder below `xtask/tools`.
    pub(crate) folder: &'static str,
    /// The package that is the program.
    pub(crate) package: &'static str,
    /// The module whose version the program reports, and the variable that it reports.
    pub(crate) version: (&'static str, &'static str),
    /// The name of the program.
    pub(crate) binary: &'static str,
}

/// The program, built where it is not in the cache.
///
/// # Errors
/// When Go is missing or too old, the disk is full or the build fails; then the cache is as before.
pub(crate) fn build(tool: &Tool) -> Result<PathBuf> {
    let source = root().join("xtask/tools").join(tool.folder);
    let read = |name: &str| {
        let path = source.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (module, sums) = (read("go.mod")?, read("go.sum")?);
    let flags = flags(tool, &module)?;
    let tools = need::cache()?.join("tools");
    let folder = tools.join(format!("{}-{}", tool.folder, key(&module, &sums, &flags)));
    let program = folder.join(tool.binary);
    if program.is_file() {
        return Ok(program);
    }
    check_go(&module)?;
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    let _lock = lock::take(&tools.join(format!("{}.lock", tool.folder)), &format!("{} is being built", tool.binary))?;
    space::require(&tools, SPACE, &format!("building {}", tool.binary))?;
    // A build that was interrupted left it; only a whole one gets the name that is looked for.
    let half = tools.join(format!("{}.half", tool.folder));
    if half.exists() {
        say(&format!("{} is half-made: it is removed", half.display()));
        fs::remove_dir_all(&half).with_context(|| format!("cannot remove {}", half.display()))?;
    }
    fs::create_dir(&half).with_context(|| format!("cannot make {}", half.display()))?;
    let mut go = Command::new("go");
    go.arg("build").args(&flags).arg("-o").arg(half.join(tool.binary)).arg(tool.package);
    go.current_dir(&source).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
    run(&format!("building {} from Go modules (some minutes, once)", tool.binary), &mut go)?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::rename(&half, &folder).with_context(|| format!("cannot name {}", folder.display()))?;
    Ok(program)
}

fn flags(tool: &Tool, module: &str) -> Result<Vec<String>> {
    let (name, variable) = tool.version;
    let version = required(module, name)
        .with_context(|| format!("xtask/tools/{}/go.mod does not require {name}", tool.folder))?;
    let linker = format!("-ldflags=-s -w -X {variable}={version}");
    Ok(vec!["-trimpath".into(), "-mod=readonly".into(), "-buildvcs=false".into(), linker])
}

fn key(module: &str, sums: &str, flags: &[String]) -> String {
    let mut hash = sha256_hex(format!("{module}\0{sums}\0{}", flags.join("\0")).as_bytes());
    hash.truncate(16);
    hash
}

/// The version of a module that `go.mod` requires.
fn required<'a>(module: &'a str, name: &str) -> Option<&'a str> {
    module.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        if words.next() == Some(name) { words.next() } else { None }
    })
}

/// Go, at least as new as the module says.
fn check_go(module: &str) -> Result<()> {
    let wanted = module.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or("1.24").trim();
    let mend = format!("install Go {wanted} or newer from https://go.dev/dl/ (Debian's is too old) and put it on PATH");
    if need::find("go").is_none() {
        bail!("Go is not installed; {mend}");
    }
    let text = output("go version", Command::new("go").arg("version").env("GOTOOLCHAIN", "local").current_dir("/"))?;
    let Some(found) = text.split_whitespace().find_map(|word| word.strip_prefix("go1.").map(|_| word)) else {
        bail!("cannot read the version of Go in {text:?}; {mend}");
    };
    let found = found.trim_start_matches("go");
    if numbers(found) < numbers(wanted) {
        bail!("Go {found} is too old; {mend}");
    }
    Ok(())
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>())
        .map(|digits| digits.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str =
        "module x\n\ngo 1.24.9\n\nrequire (\n\tgithub.com/a/b v1.2.3\n\tgithub.com/c v0.1.0 // indirect\n)\n";

    #[test]
    fn the_key_changes_with_what_decides_the_binary() {
        let flags = ["-trimpath".to_owned()];
        let key_of = |sums, flags: &[String]| key(MODULE, sums, flags);
        assert_eq!(key_of("a", &flags), key_of("a", &flags));
        assert_ne!(key_of("a", &flags), key_of("b", &flags));
        assert_ne!(key_of("a", &flags), key_of("a", &[]));
    }

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert_eq!(required(MODULE, "github.com/a/b"), Some("v1.2.3"));
        assert_eq!(required(MODULE, "github.com/a"), None);
        assert!(numbers("1.9") < numbers("1.24.9"));
        assert!(numbers("1.26.8") > numbers("1.24.9"));
        assert!(numbers("1.27rc1") > numbers("1.24.9"));
    }
}
