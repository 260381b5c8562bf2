//! Every variant for every supported version of Kubernetes, held against the API.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::chart::{Chart, DEFINITIONS, VARIANTS, helm, of_kind, said, source, the, xtask};

const VERSIONS: &[&str] = &["1.33.0", "1.34.4", "1.35.0", "1.36.0", "1.37.2"];
/// Those that there are schemas of: what is valid in both is valid between them.
const SCHEMAS: &[&str] = &["1.34.4", "1.37.2"];

#[test]
fn lint_finds_nothing() {
    let chart = Chart::new();
    let path = chart.path().display().to_string();
    for variant in VARIANTS {
        let values = source().join(format!("ci/{variant}-values.yaml")).display().to_string();
        let output = helm(&["lint", "--strict", "--quiet", &path, "--values", &values]);
        assert!(output.status.success(), "{variant}: {}", said(&output));
    }
}

#[test]
fn every_variant_is_valid_for_every_version() {
    let chart = Chart::new();
    let folder = tempfile::tempdir().unwrap();
    for variant in VARIANTS {
        for version in VERSIONS {
            let text = chart.text(variant, &["--kube-version", version]);
            fs::write(folder.path().join(format!("{variant}-{version}.yaml")), text).unwrap();
        }
    }
    let path = folder.path().display().to_string();
    for schemas in SCHEMAS {
        let output =
            xtask("kubeconform", &["-strict", "-kubernetes-version", schemas, "-output", "json", "-summary", &path]);
        assert!(output.status.success(), "{schemas}: {}", said(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["summary"]["skipped"], 0, "{summary}");
        assert!(summary["summary"]["valid"].as_u64().unwrap() >= 5 * 50, "{summary}");
    }
}

/// The schemas find what the API server would refuse: else the test above says nothing.
#[test]
fn a_wrong_manifest_is_found() {
    let text = Chart::new().text("everything", &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.yaml");
    for (right, wrong, told) in [
        ("readOnlyRootFilesystem: true", "readOnlyRootFileSystem: true", "readOnlyRootFileSystem"),
        ("containerPort: 9090", "containerPort: admin", "got string, want integer"),
        ("serviceAccountName: keys-operator", "serviceAccountName: null", "got null, want string"),
        ("verbs: [get, update]", "verb: [get, update]", "verb"),
        ("args: [run]", "args: [run]\n          args: [run]", "args"),
        ("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n", "could not find schema"),
    ] {
        assert_eq!(text.matches(right).count(), 1, "{right}");
        fs::write(&file, text.replace(right, wrong)).unwrap();
        let output = xtask("kubeconform", &["-strict", &file.display().to_string()]);
        assert!(!output.status.success() && said(&output).contains(told), "{wrong}: {}", said(&output));
    }
}

#[test]
fn an_older_kubernetes_is_refused() {
    let output = Chart::new().template(&["--kube-version", "1.32.9"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("requires kubeVersion: >=1.33.0-0"), "{}", said(&output));
    // What providers add to a version is no older version.
    let output = Chart::new().template(&["--kube-version", "v1.33.1-eks-1234"]);
    assert!(output.status.success(), "{}", said(&output));
}

/// Nothing runs beside the release: a hook that fails leaves a release that neither upgrades nor goes.
#[test]
fn there_are_no_hooks_and_no_secrets() {
    let chart = Chart::new();
    for variant in VARIANTS {
        let objects = chart.objects(variant, &[]);
        assert!(of_kind(&objects, "Secret").is_empty() && of_kind(&objects, "Job").is_empty(), "{variant}");
        for object in &objects {
            assert!(object["metadata"]["annotations"].get("helm.sh/hook").is_none(), "{object}");
        }
    }
}

#[test]
fn a_second_render_is_the_first() {
    let chart = Chart::new();
    assert_eq!(chart.text("everything", &[]), chart.text("everything", &[]));
}

#[test]
fn every_object_says_whose_it_is() {
    let chart = Chart::new();
    for variant in VARIANTS {
        for object in chart.objects(variant, &[]) {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm", "{object}");
            assert_eq!(labels["app.kubernetes.io/instance"], "test", "{object}");
        }
    }
    // Another release beside it, of another name, takes none of them.
    for object in chart.objects("defaults", &[]).iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
        assert!(object["metadata"]["name"].as_str().unwrap().starts_with("test-keyrealm"), "{object}");
    }
    let named = chart.objects("everything", &[]);
    assert!(named.iter().all(|object| object["metadata"]["labels"]["team"] == "platform"));
}

#[test]
fn another_chart_may_depend_on_it() {
    let chart = Chart::new();
    let parent = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(parent.path().join(name), text).unwrap();
    write(
        "Chart.yaml",
        "apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n  - {name: keyrealm, version: 0.1.0, condition: keyrealm.enabled}\n",
    );
    write("values.yaml", "global: {region: north}\nkeyrealm: {enabled: true, replicas: 2}\n");
    fs::create_dir(parent.path().join("charts")).unwrap();
    let copied = Command::new("cp").arg("-r").arg(chart.path()).arg(parent.path().join("charts/keyrealm")).status();
    assert!(copied.unwrap().success());
    let path = parent.path().display().to_string();
    let output = helm(&["template", "test", &path]);
    assert!(output.status.success() && said(&output).contains("replicas: 2"), "{}", said(&output));
    let output = helm(&["template", "test", &path, "--set", "keyrealm.enabled=false"]);
    assert!(output.status.success() && output.stdout.trim_ascii().is_empty(), "{}", said(&output));
}

#[test]
fn the_package_has_what_is_installed_and_no_tests() {
    let chart = Chart::new();
    let folder = tempfile::tempdir().unwrap();
    let [path, target] = [chart.path(), folder.path()].map(|path| path.display().to_string());
    let output = helm(&["package", &path, "--destination", &target]);
    assert!(output.status.success(), "{}", said(&output));
    let package = folder.path().join(format!("keyrealm-{}.tgz", env!("CARGO_PKG_VERSION")));
    let listed = Command::new("tar").arg("--list").arg("--gzip").arg("--file").arg(package).output().unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    for wanted in ["values.schema.json", "README.md", "templates/crds.yaml", "templates/NOTES.txt"] {
        assert!(names.contains(&format!("keyrealm/{wanted}\n")), "{wanted}: {names}");
    }
    assert_eq!(names.matches("keyrealm/files/crds/").count(), DEFINITIONS.len(), "{names}");
    assert!(!names.contains("keyrealm/ci/"), "{names}");
}

/// What is printed after an installation can be pasted.
#[test]
fn the_notes_are_three_commands() {
    let chart = Chart::new();
    // `helm install` asks a cluster, even for a dry run; a template of this copy takes the notes in.
    let template = r#"notes: {{ include (print $.Template.BasePath "/NOTES.txt") . | quote }}"#;
    fs::write(chart.path().join("templates/notes.yaml"), template).unwrap();
    let notes = |arguments: &[&str]| {
        let output = chart.template(&[&["--show-only", "templates/notes.yaml"], arguments].concat());
        assert!(output.status.success(), "{}", said(&output));
        let document: Value = serde_yaml::from_slice(&output.stdout).unwrap();
        document["notes"].as_str().unwrap().to_owned()
    };
    let text = notes(&[]);
    assert_eq!(text.lines().filter(|line| line.starts_with("kubectl ")).count(), 3, "{text}");
    assert!(text.contains("rollout status deployment/test-keyrealm") && text.contains("\nEND\n"), "{text}");
    let text = notes(&["--set", "watch.namespaces={team-a,team-b}", "--set", "crds.enabled=false"]);
    assert!(text.contains("--namespace team-a apply") && text.contains("crds.enabled: false"), "{text}");
}

/// One number: what is installed is what was built.
#[test]
fn its_version_is_the_workspaces() {
    let text = fs::read_to_string(source().join("Chart.yaml")).unwrap();
    let about: Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(
        (&about["version"], &about["appVersion"]),
        (&env!("CARGO_PKG_VERSION").into(), &env!("CARGO_PKG_VERSION").into())
    );
    let objects = Chart::new().objects("defaults", &[]);
    let pod = &the(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], format!("keyrealm/operator:{}", env!("CARGO_PKG_VERSION")));
}
