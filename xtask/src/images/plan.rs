//! What images there are and how `docker build` is asked for one: plain data.

use std::path::Path;

#[cfg(test)]
use super::base::Base;

/// An image of the workspace; its name is also that of its target in the Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Image {
    /// `keyrealm/<name>`.
    pub(crate) name: &'static str,
    /// The package of the workspace.
    pub(crate) package: &'static str,
    /// Its program.
    pub(crate) binary: &'static str,
    /// The tag, where it is not the one that was asked for.
    tag: Option<&'static str>,
    /// What shows that the image's program starts.
    pub(crate) trial: &'static [&'static str],
}

/// All images.
pub(crate) const IMAGES: &[Image] = &[
    Image { name: "kms", package: "kms", binary: "kms", tag: None, trial: &["--version"] },
    Image { name: "identity", package: "identity", binary: "identity", tag: None, trial: &["--version"] },
    Image { name: "demo", package: "demo", binary: "demo", tag: None, trial: &["--version"] },
    Image { name: "operator", package: "operator", binary: "operator", tag: None, trial: &["--version"] },
    Image {
        name: "postgres",
        package: "postgres-entrypoint",
        binary: "postgres-entrypoint",
        // The version of PostgreSQL, as in the official image.
        tag: Some("15"),
        trial: &["postgres", "--version"],
    },
];

impl Image {
    /// Name and tag.
    pub(crate) fn reference(&self, tag: &str) -> String {
        format!("keyrealm/{}:{}", self.name, self.tag.unwrap_or(tag))
    }
}

/// What a cluster is given: every image under the tag and, with the same layers, as the chart names it by default.
pub(crate) fn references(tag: &str, version: &str) -> Vec<String> {
    let mut all: Vec<String> = IMAGES.iter().flat_map(|image| [tag, version].map(|tag| image.reference(tag))).collect();
    all.sort();
    all.dedup();
    all
}

/// What the images are built on and described by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inputs {
    pub(crate) runtime_base: String,
    pub(crate) server_base: String,
    pub(crate) version: String,
    pub(crate) revision: String,
}

impl Inputs {
    /// The base of an image.
    pub(crate) fn base(&self, image: &Image) -> &str {
        if image.name == "postgres" { &self.server_base } else { &self.runtime_base }
    }

    /// The arguments of `docker` that build the image from binaries that are handed in.
    pub(crate) fn build(
        &self,
        image: &Image,
        reference: &str,
        dockerfile: &Path,
        context: &Path,
        fresh: bool,
    ) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["build", "--quiet", "--target", image.name, "--tag", reference].map(str::to_owned).into();
        if fresh {
            arguments.push("--no-cache".to_owned());
        }
        arguments.extend(["--file".to_owned(), dockerfile.display().to_string()]);
        for (name, value) in [
            ("BINARIES", "handed"),
            // Nothing compiles inside: the stage that would is the empty image.
            ("COMPILER_BASE", "scratch"),
            ("RUNTIME_BASE", &self.runtime_base),
            ("POSTGRES_BASE", &self.server_base),
            ("VERSION", &self.version),
            ("REVISION", &self.revision),
        ] {
            arguments.extend(["--build-arg".to_owned(), format!("{name}={value}")]);
        }
        arguments.push(context.display().to_string());
        arguments
    }
}

/// The public defaults of the Dockerfile, for the test that holds it to [`Base`].
#[cfg(test)]
fn defaults(dockerfile: &str) -> Vec<(&str, &str)> {
    dockerfile.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::root;

    fn dockerfile() -> String {
        std::fs::read_to_string(root().join("deployments/Dockerfile")).unwrap()
    }

    fn inputs() -> Inputs {
        let [runtime_base, server_base, version, revision] = ["base:1", "server:1", "0.1.0", "abc"].map(str::to_owned);
        Inputs { runtime_base, server_base, version, revision }
    }

    #[test]
    fn the_programs_are_compiled_inside_too() {
        let dockerfile = dockerfile();
        let compiled: Vec<&str> = dockerfile.split_whitespace().collect();
        for image in IMAGES {
            assert!(compiled.windows(2).any(|pair| pair[0] == "-p" && pair[1] == image.package));
            let pair = format!("{}:{}", image.name, image.binary);
            assert!(compiled.iter().any(|word| word.trim_end_matches(';') == pair), "{pair}");
        }
    }

    #[test]
    fn every_image_is_a_target_with_its_binary_at_the_root() {
        let dockerfile = dockerfile();
        for image in IMAGES {
            assert!(dockerfile.contains(&format!(" AS {}\n", image.name)), "{}", image.name);
            assert!(dockerfile.contains(&format!("ENTRYPOINT [\"/{}\"]", image.binary)), "{}", image.name);
        }
    }

    /// What keeps the layers the same twice, and what a client without BuildKit can read.
    #[test]
    fn the_final_stages_only_copy_to_the_root() {
        let dockerfile = dockerfile();
        let (_, last) = dockerfile.split_once(" AS binaries\n").unwrap();
        for line in last.lines().map(str::trim) {
            assert!(!line.starts_with("RUN") && !line.starts_with("WORKDIR") && !line.starts_with("ADD"), "{line}");
            assert!(!line.starts_with("COPY") || line.ends_with(" /"), "{line}");
        }
        assert!(!dockerfile.contains("# syntax"), "it would pull a frontend image");
        assert!(!dockerfile.contains("--mount"), "it needs BuildKit");
    }

    #[test]
    fn the_public_bases_are_those_of_the_dockerfile() {
        let text = dockerfile();
        let defaults = defaults(&text);
        assert!(defaults.contains(&("RUNTIME_BASE", Base::Runtime.public())), "{defaults:?}");
        assert!(defaults.contains(&("POSTGRES_BASE", Base::Server.public())), "{defaults:?}");
    }

    /// Under pull policy IfNotPresent nothing is pulled then.
    #[test]
    fn what_is_loaded_is_what_the_chart_names_by_default() {
        let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
        let chart = read("charts/keyrealm/Chart.yaml");
        let version = chart.lines().find_map(|line| line.strip_prefix("appVersion: ")).unwrap().trim_matches('"');
        assert_eq!(version, env!("CARGO_PKG_VERSION"), "what `images --load` tags");
        let loaded = references("dev", version);
        let values = read("charts/keyrealm/values.yaml");
        let lines: Vec<&str> = values.lines().map(str::trim).collect();
        let mut named = 0;
        for (at, repository) in
            lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.strip_prefix("repository: ")?)))
        {
            let tag = lines[at..].iter().find_map(|line| line.strip_prefix("tag: ")).unwrap().trim_matches('"');
            let image = format!("{repository}:{}", if tag.is_empty() { version } else { tag });
            assert!(loaded.contains(&image), "{image}: {loaded:?}");
            named += 1;
        }
        assert_eq!((named, loaded.len()), (4, 9), "{loaded:?}");
        assert_eq!(references(version, version).len(), 5);
    }

    #[test]
    fn binaries_are_handed_in_and_nothing_compiles_inside() {
        let image = IMAGES[0];
        assert_eq!(image.reference("dev"), "keyrealm/kms:dev");
        let server = IMAGES.iter().find(|image| image.name == "postgres").unwrap();
        assert_eq!(server.reference("dev"), "keyrealm/postgres:15");
        let arguments = inputs().build(&image, "keyrealm/kms:dev", Path::new("/d"), Path::new("/c"), true).join(" ");
        for wanted in
            ["--target kms --tag keyrealm/kms:dev --no-cache --file /d", "BINARIES=handed", "RUNTIME_BASE=base:1"]
        {
            assert!(arguments.contains(wanted), "{arguments}");
        }
        assert!(arguments.ends_with(" /c"), "{arguments}");
    }
}
