//! Building one image, trying it, and holding two builds against each other.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::engine::Engine;
use super::plan::{Image, Inputs};
use crate::command::{output, root, say};

/// Builds the image, starts its program once and prints its size.
///
/// # Errors
/// When the build fails or the program does not start.
pub(crate) fn one(
    engine: &Engine,
    image: &Image,
    inputs: &Inputs,
    context: &Path,
    tag: &str,
    fresh: bool,
) -> Result<()> {
    let reference = image.reference(tag);
    build(engine, image, inputs, context, &reference, fresh)?;
    // As strict as a pod will be: what needs more would fail here.
    let mut trial = engine.docker(["run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL"]);
    trial.args(["--security-opt=no-new-privileges", &reference]).args(image.trial);
    let answer = output("trial", &mut trial).with_context(|| {
        format!(
            "{} is built but does not start; where GLIBC is named, the programs were compiled on a newer system than {}: \
             compile on Debian 12, or give --runtime-base",
            reference,
            inputs.base(image)
        )
    })?;
    let size: u64 = engine.inspect(&reference, "{{.Size}}")?.parse().context("docker's size is not a number")?;
    let base: u64 =
        engine.inspect(inputs.base(image), "{{.Size}}")?.parse().context("docker's size is not a number")?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    say(&format!(
        "{reference}: {:.1} MB ({:.1} MB on the base), starts: {}",
        megabytes(size),
        megabytes(size.saturating_sub(base)),
        answer.lines().next().unwrap_or_default().trim()
    ));
    Ok(())
}

/// Builds the image once more from nothing and compares the layers.
///
/// # Errors
/// When one differs.
pub(crate) fn again(engine: &Engine, image: &Image, inputs: &Inputs, context: &Path, tag: &str) -> Result<()> {
    let (first, second) = (image.reference(tag), format!("keyrealm/{}:twice", image.name));
    build(engine, image, inputs, context, &second, true)?;
    let layers = |reference: &str| engine.inspect(reference, "{{json .RootFS.Layers}}").and_then(|text| parse(&text));
    let (base, one, two) = (layers(inputs.base(image))?, layers(&first)?, layers(&second)?);
    output("docker image rm", &mut engine.docker(["image", "rm", &second]))?;
    let own = same_twice(&base, &one, &two).with_context(|| format!("{first} is not reproducible"))?;
    say(&format!("{first}: the same layers twice: {}", own.join(" ")));
    Ok(())
}

/// Takes away what builds of these images left without a name.
///
/// # Errors
/// When the engine fails.
pub(crate) fn prune(engine: &Engine) -> Result<()> {
    let filter = "--filter=label=org.opencontainers.image.vendor=Keyrealm";
    output("docker image prune", &mut engine.docker(["image", "prune", "--force", filter])).map(|_| ())
}

fn build(engine: &Engine, image: &Image, inputs: &Inputs, context: &Path, reference: &str, fresh: bool) -> Result<()> {
    let dockerfile = root().join("deployments/Dockerfile");
    let mut command = engine.docker(inputs.build(image, reference, &dockerfile, context, fresh));
    let built = command.stdin(std::process::Stdio::null()).output().context("cannot start docker")?;
    if !built.status.success() {
        bail!("docker build of {reference} fails: {}", String::from_utf8_lossy(&built.stderr).trim());
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).with_context(|| format!("docker's list of layers has another form: {text}"))
}

/// The layers above the base, if they are the same in both.
fn same_twice<'a>(base: &[String], one: &'a [String], two: &[String]) -> Result<&'a [String]> {
    let Some(own) = one.strip_prefix(base) else {
        bail!("the image does not stand on its base: {one:?} on {base:?}");
    };
    if own.is_empty() {
        bail!("the image has no layer of its own");
    }
    if one != two {
        bail!("the layers differ: {one:?} and {two:?}");
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn own_layers_are_those_above_the_base() {
        let (base, image) = (layers(&["a", "b"]), layers(&["a", "b", "c"]));
        assert_eq!(same_twice(&base, &image, &image.clone()).unwrap(), ["c"]);
        assert!(same_twice(&base, &image, &layers(&["a", "b", "d"])).is_err());
        assert!(same_twice(&base, &base, &base).is_err());
        assert!(same_twice(&layers(&["x"]), &image, &image).is_err());
    }
}
