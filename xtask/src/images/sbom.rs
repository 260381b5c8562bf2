//! The bill of materials of a program: a CycloneDX 1.5 document of the crates that it is made of, with the checksums of
//! `Cargo.lock`. It has no time and no random number, so that the same lock file gives the same bytes.
//!
//! Features are those of the whole workspace: a document may name a crate that its program leaves out, never the reverse.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde_json::{Value, json};

use crate::command::root;

/// All crates of the workspace, and what the lock file says of them.
pub(crate) struct Materials {
    metadata: Metadata,
    checksums: BTreeMap<(String, String), String>,
}

/// Reads what cargo knows, for the platform of this machine.
///
/// # Errors
/// When cargo fails or the lock file cannot be read.
pub(crate) fn read() -> Result<Materials> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), platform])
        .exec()
        .context("cargo metadata fails")?;
    let path = root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Materials { metadata, checksums: checksums(&lock) })
}

impl Materials {
    /// The document of a package's program.
    ///
    /// # Errors
    /// When the workspace has no such package.
    pub(crate) fn document(&self, package: &str) -> Result<String> {
        let of_workspace = self.metadata.workspace_packages();
        let own = of_workspace.iter().find(|candidate| candidate.name.as_str() == package);
        let own = own.with_context(|| format!("the workspace has no package {package}"))?;
        let edges = self.reached(&own.id)?;
        let others = edges.keys().filter(|id| **id != &own.id);
        let components: Vec<Value> =
            others.map(|id| self.component(self.package(id)?, "library")).collect::<Result<_>>()?;
        let mut dependencies = Vec::new();
        for (id, targets) in &edges {
            let targets: Vec<String> = targets.iter().map(|id| self.package(id).map(url)).collect::<Result<_>>()?;
            dependencies.push(json!({ "ref": url(self.package(id)?), "dependsOn": targets }));
        }
        let document = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": { "component": self.component(own, "application")? },
            "components": components,
            "dependencies": dependencies,
        });
        Ok(format!("{document:#}\n"))
    }

    /// What is linked in, directly or not, each with what it uses itself.
    fn reached<'a>(&'a self, from: &'a PackageId) -> Result<BTreeMap<&'a PackageId, BTreeSet<&'a PackageId>>> {
        let resolve = self.metadata.resolve.as_ref().context("cargo metadata has no resolved graph")?;
        let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let mut edges: BTreeMap<&PackageId, BTreeSet<&PackageId>> = BTreeMap::new();
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            if edges.contains_key(id) {
                continue;
            }
            let node = nodes.get(id).with_context(|| format!("{id} is not in the resolved graph"))?;
            let linked = node
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
            let targets: BTreeSet<&PackageId> = linked.map(|dependency| &dependency.pkg).collect();
            open.extend(&targets);
            edges.insert(id, targets);
        }
        Ok(edges)
    }

    fn package(&self, id: &PackageId) -> Result<&Package> {
        let found = self.metadata.packages.iter().find(|package| &package.id == id);
        found.with_context(|| format!("{id} is not in cargo metadata"))
    }

    fn component(&self, package: &Package, kind: &str) -> Result<Value> {
        let (name, version) = (package.name.to_string(), package.version.to_string());
        let mut component = json!({
            "type": kind,
            "bom-ref": url(package),
            "name": name,
            "version": version,
            "purl": url(package),
        });
        let fields = component.as_object_mut().context("a component is an object")?;
        if let Some(licence) = &package.license {
            fields.insert("licenses".to_owned(), json!([{ "expression": licence.replace('/', " OR ") }]));
        }
        if let Some(checksum) = self.checksums.get(&(name, version)) {
            fields.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": checksum }]));
        }
        Ok(component)
    }
}

/// The package's URL (purl), which is also its reference inside the document.
fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

/// The checksums of a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let entries = lock.split("[[package]]").skip(1).filter_map(|entry| {
        let field = |name: &str| {
            let line = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
            Some(line.trim_end_matches('"').to_owned())
        };
        Some(((field("name")?, field("version")?), field("checksum")?))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_what_is_linked_in_and_is_the_same_twice() {
        let materials = read().unwrap();
        let text = materials.document("kms").unwrap();
        assert_eq!(text, read().unwrap().document("kms").unwrap());
        let document: Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> =
            document["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"aws-lc-rs") && names.contains(&"keyrealm-base"), "{names:?}");
        assert!(!names.contains(&"keyrealm-testkit"), "what only tests use is not in the program");
        assert_eq!(document["metadata"]["component"]["name"], "kms");
        let tokio = document["components"].as_array().unwrap().iter().find(|one| one["name"] == "tokio").unwrap();
        assert_eq!(tokio["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert!(materials.document("nothing").is_err());
    }

    #[test]
    fn checksums_are_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([(("a".into(), "1.0.0".into()), "ff".into())]));
    }
}
