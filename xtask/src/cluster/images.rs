//! Images into the node: archives are imported; the pause image is written here, as it is one file.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use keyrealm_crypto::sha256_hex;
use serde_json::{Value, json};

use super::layout::Layout;
use crate::command::quietly;

/// Loads an archive (of `docker save`, or an OCI layout) into the node.
///
/// # Errors
/// When containerd does not take it.
pub(crate) fn import(layout: &Layout, archive: &Path) -> Result<()> {
    let mut import = Command::new("ctr");
    import.arg("--address").arg(layout.containerd()).args(["--namespace", "k8s.io", "images", "import"]).arg(archive);
    quietly(&mut import).with_context(|| format!("cannot load {}", archive.display()))?;
    Ok(())
}

/// Writes an OCI archive of an image with one static program and nothing else.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn single_program(archive: &Path, name: &str, program: &Path) -> Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "pause", &fs::read(program)?, 0o755)?;
    let layer = layer.into_inner()?;
    let layer_digest = digest(&layer);
    let config = serde_json::to_vec(&json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    }))?;
    let descriptor = |kind: &str, digest: &str, size: usize| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size});
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &digest(&config), config.len()),
        "layers": [descriptor("layer.v1.tar", &layer_digest, layer.len())],
    }))?;
    let mut entry = descriptor("manifest.v1+json", &digest(&manifest), manifest.len());
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("annotations".to_owned(), json!({"io.containerd.image.name": name}));
    }
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    // Whole or not at all.
    let half = archive.with_extension("half");
    let mut image = tar::Builder::new(fs::File::create(&half)?);
    append(&mut image, "oci-layout", json_bytes(&json!({"imageLayoutVersion": "1.0.0"})).as_slice(), 0o644)?;
    append(&mut image, "index.json", json_bytes(&index).as_slice(), 0o644)?;
    for blob in [&layer, &config, &manifest] {
        let path = format!("blobs/{}", digest(blob).replace(':', "/"));
        append(&mut image, &path, blob, 0o644)?;
    }
    image.into_inner()?.sync_all()?;
    fs::rename(&half, archive).with_context(|| format!("cannot write {}", archive.display()))
}

fn append<W: std::io::Write>(archive: &mut tar::Builder<W>, name: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    archive.append_data(&mut header, name, content).with_context(|| format!("cannot write {name}"))
}

fn json_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

/// As images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_gives_the_same_archive() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "not really").unwrap();
        let archives = ["a.tar", "b.tar"].map(|name| folder.path().join(name));
        for archive in &archives {
            single_program(archive, "keyrealm.dev/pause:bed", &program).unwrap();
        }
        let [a, b] = archives.map(|archive| fs::read(archive).unwrap());
        assert!(a == b && a.len() > 2048);
        let listed = tar::Archive::new(a.as_slice()).entries().unwrap().count();
        assert_eq!(listed, 5);
    }
}
