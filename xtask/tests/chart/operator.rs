//! The operator's pod and what stands around it.

use serde_json::{Value, json};

use super::chart::{Chart, NAMESPACE, VARIANTS, of_kind, the};

/// What Pod Security `restricted` allows besides, as volumes.
const VOLUMES: &[&str] =
    &["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// The templates of pods in these objects, whatever holds them.
fn pods(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("containers").is_some().then_some(value);
            own.into_iter().chain(fields.values().flat_map(pods)).collect()
        }
        Value::Array(values) => values.iter().flat_map(pods).collect(),
        _ => Vec::new(),
    }
}

/// What of Pod Security `restricted` a pod breaks.
fn offences(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut hold = |held: bool, what: &str| {
        if !held {
            found.push(what.to_owned());
        }
    };
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        hold(pod.get(host).is_none_or(|value| value == false), host);
    }
    let own = &pod["securityContext"];
    hold(own.get("sysctls").is_none() && own["windowsOptions"].get("hostProcess").is_none(), "sysctls or hostProcess");
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        hold(kinds.clone().count() == 1 && kinds.clone().all(|kind| VOLUMES.contains(&kind.as_str())), "volume");
    }
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    for container in lists.iter().flat_map(|list| pod[*list].as_array().into_iter().flatten()) {
        let security = &container["securityContext"];
        // What a container does not say, its pod says for it.
        let said = |name: &str| security.get(name).or_else(|| own.get(name)).cloned().unwrap_or_default();
        hold(security["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
        hold(security.get("privileged").is_none_or(|value| value == false), "privileged");
        hold(security.get("procMount").is_none_or(|value| value == "Default"), "procMount");
        hold(security["capabilities"]["drop"] == json!(["ALL"]), "capabilities.drop");
        hold(security["capabilities"].get("add").is_none(), "capabilities.add");
        hold(said("runAsNonRoot") == true, "runAsNonRoot");
        hold(said("runAsUser").as_u64().is_some_and(|user| user > 0), "runAsUser");
        hold(said("seccompProfile")["type"] == "RuntimeDefault", "seccompProfile");
        let ports = container["ports"].as_array().into_iter().flatten();
        hold(ports.into_iter().all(|port| port.get("hostPort").is_none()), "hostPort");
        // Beyond what `restricted` asks.
        hold(security["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem");
        hold(container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"], "memory");
        hold(container["resources"]["requests"].get("cpu").is_some(), "cpu");
        hold(container["resources"]["limits"].get("memory").is_some(), "memory limit");
    }
    found
}

#[test]
fn every_pod_is_restricted() {
    let chart = Chart::new();
    for variant in VARIANTS {
        let objects = Value::Array(chart.objects(variant, &[]));
        let pods = pods(&objects);
        assert_eq!(pods.len(), 1, "{variant}");
        for pod in pods {
            assert_eq!(offences(pod), [] as [&str; 0], "{variant}");
            assert_eq!(pod["securityContext"]["runAsUser"], 65532);
            assert_eq!(pod["enableServiceLinks"], false);
            assert_eq!(pod["terminationGracePeriodSeconds"], 30);
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                assert_eq!(pod["containers"][0][probe]["exec"]["command"][0], "/operator", "{probe}");
            }
            let memory = json!({ "name": "run", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } });
            let mut volumes = vec![memory];
            let mut mounts = vec![json!({ "name": "run", "mountPath": "/run/keyrealm" })];
            if *variant == "everything" {
                let items = json!([{ "key": "ca.crt", "path": "ca.crt" }]);
                let secret = json!({ "secretName": "monitoring-ca", "items": items });
                volumes.push(json!({ "name": "metrics-clients", "secret": secret }));
                let mount = json!({ "name": "metrics-clients", "mountPath": "/metrics-clients", "readOnly": true });
                mounts.push(mount);
                let items = ["tls.crt", "tls.key", "ca.crt"].map(|key| json!({ "key": key, "path": key }));
                let secret = json!({ "secretName": "metrics-tls", "defaultMode": 0o440, "items": items });
                volumes.push(json!({ "name": "metrics-tls", "secret": secret }));
                mounts.push(json!({ "name": "metrics-tls", "mountPath": "/metrics-tls", "readOnly": true }));
            }
            assert_eq!(pod["volumes"], json!(volumes));
            assert_eq!(pod["containers"][0]["volumeMounts"], json!(mounts));
        }
    }
}

/// The check above can fail: each of these would be admitted by something weaker.
#[test]
fn what_is_not_restricted_is_found() {
    let objects = Chart::new().objects("defaults", &[]);
    let pod = &the(&objects, "Deployment")["spec"]["template"]["spec"];
    for (path, value, told) in [
        ("/hostNetwork", json!(true), "hostNetwork"),
        ("/volumes/0", json!({ "name": "x", "hostPath": { "path": "/" } }), "volume"),
        ("/securityContext/runAsNonRoot", json!(false), "runAsNonRoot"),
        ("/securityContext/runAsUser", json!(0), "runAsUser"),
        ("/securityContext/seccompProfile", json!({ "type": "Unconfined" }), "seccompProfile"),
        ("/securityContext/sysctls", json!([]), "sysctls or hostProcess"),
        ("/containers/0/securityContext/runAsUser", json!(0), "runAsUser"),
        ("/containers/0/securityContext/privileged", json!(true), "privileged"),
        ("/containers/0/securityContext/allowPrivilegeEscalation", json!(true), "allowPrivilegeEscalation"),
        ("/containers/0/securityContext/capabilities/drop", json!(["NET_RAW"]), "capabilities.drop"),
        ("/containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"]), "capabilities.add"),
        ("/containers/0/securityContext/readOnlyRootFilesystem", json!(false), "readOnlyRootFilesystem"),
        ("/containers/0/ports/0/hostPort", json!(9090), "hostPort"),
        ("/containers/0/resources/limits", json!({}), "memory limit"),
    ] {
        let mut pod = pod.clone();
        let (parent, name) = path.rsplit_once('/').unwrap();
        match pod.pointer_mut(parent).unwrap() {
            Value::Object(fields) => drop(fields.insert(name.to_owned(), value)),
            Value::Array(values) => values[name.parse::<usize>().unwrap()] = value,
            other => panic!("{other}"),
        }
        assert!(offences(&pod).iter().any(|offence| offence == told), "{path}: {:?}", offences(&pod));
    }
}

/// The settings of a variant's operator.
fn settings(objects: &[Value]) -> Vec<(String, String)> {
    let environment = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let setting = |one: &Value| {
        let field = || text(&one["valueFrom"]["fieldRef"]["fieldPath"]);
        let name = text(&one["name"]).unwrap();
        let name = name.strip_prefix("KEYREALM_OPERATOR__").unwrap().to_owned();
        (name, text(&one["value"]).or_else(field).unwrap())
    };
    environment.as_array().unwrap().iter().map(setting).collect()
}

#[test]
fn the_operator_is_told_what_the_values_say() {
    let chart = Chart::new();
    let expected = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let tagged = |name: &str| format!("keyrealm/{name}:{}", env!("CARGO_PKG_VERSION"));
    let by_default = expected(&[
        ("POD__NAME", "metadata.name"),
        ("POD__NAMESPACE", "metadata.namespace"),
        ("WATCH__NAMESPACES", ""),
        ("LEASE__ENABLED", "true"),
        ("LEASE__NAME", "test-keyrealm"),
        ("LEASE__NAMESPACE", NAMESPACE),
        ("SERVER__ADMIN__ADDRESS", "0.0.0.0:9090"),
        ("IMAGES__KMS", &tagged("kms")),
        ("IMAGES__IDENTITY", &tagged("identity")),
        ("IMAGES__POSTGRES", "keyrealm/postgres:15"),
        ("IMAGES__PULL_POLICY", "IfNotPresent"),
        ("TELEMETRY__FORMAT", "json"),
        ("TELEMETRY__LEVEL", "info"),
    ]);
    assert_eq!(settings(&chart.objects("defaults", &[])), by_default);
    let two = settings(&chart.objects("namespaced", &[]));
    assert!(two.contains(&("WATCH__NAMESPACES".to_owned(), "team-a,team-b".to_owned())), "{two:?}");
    let all = settings(&chart.objects("everything", &[]));
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    for (name, value) in [
        ("LEASE__NAME", "keys-lease"),
        ("IMAGES__KMS", &format!("registry.example/kms@{digest}")),
        ("IMAGES__IDENTITY", "registry.example/identity:b"),
        ("IMAGES__PULL_POLICY", "Never"),
        ("TELEMETRY__LEVEL", "info,operator=debug"),
        ("SERVER__ADMIN__CLIENT_CA", "/metrics-clients/ca.crt"),
        ("SERVER__ADMIN__TLS__CERTIFICATE", "/metrics-tls/tls.crt"),
        ("SERVER__ADMIN__TLS__KEY", "/metrics-tls/tls.key"),
        ("SERVER__ADMIN__TLS__CA", "/metrics-tls/ca.crt"),
        ("LEASE__RETRY_SECONDS", "1"),
    ] {
        assert!(all.contains(&(name.to_owned(), value.to_owned())), "{name}: {all:?}");
    }
}

#[test]
fn the_arguments_and_names_are_those_of_the_image() {
    let objects = Chart::new().objects("everything", &[]);
    let pod = &the(&objects, "Deployment")["spec"]["template"]["spec"];
    let digest = format!("registry.example:5000/keyrealm/operator@sha256:{}", "0123456789abcdef".repeat(4));
    assert_eq!(pod["containers"][0]["image"], digest);
    assert_eq!(pod["containers"][0]["args"], json!(["run"]));
    assert!(pod["containers"][0].get("command").is_none(), "the entry point is the image's");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "registry" }]));
}

#[test]
fn several_replicas_are_spread_and_one_is_not_held_back() {
    let chart = Chart::new();
    let one = chart.objects("defaults", &[]);
    assert!(of_kind(&one, "PodDisruptionBudget").is_empty(), "a node with a single one could not be drained");
    let pod = &the(&one, "Deployment")["spec"]["template"]["spec"];
    assert!(pod.get("affinity").is_none() && pod.get("topologySpreadConstraints").is_none());

    let two = chart.objects("ha", &[]);
    let deployment = &the(&two, "Deployment")["spec"];
    assert_eq!(deployment["replicas"], 2);
    assert_eq!(deployment["strategy"]["rollingUpdate"], json!({ "maxSurge": 1, "maxUnavailable": 0 }));
    let budget = &the(&two, "PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    let pod = &deployment["template"]["spec"];
    let apart = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    let zones = &pod["topologySpreadConstraints"][0];
    for selector in [&budget["selector"], &apart["labelSelector"], &zones["labelSelector"]] {
        assert_eq!(*selector, deployment["selector"], "they speak of the operator's pods");
    }
}

/// The pods carry what Service, budget, policy and Deployment look for, whatever labels are added.
#[test]
fn selectors_find_the_pods_and_do_not_change_with_the_version() {
    let chart = Chart::new();
    for variant in VARIANTS {
        let objects = chart.objects(variant, &[]);
        let deployment = &the(&objects, "Deployment")["spec"];
        let labels = &deployment["template"]["metadata"]["labels"];
        let selectors = [
            &deployment["selector"]["matchLabels"],
            &the(&objects, "Service")["spec"]["selector"],
            &the(&objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        ];
        for (name, value) in selectors.iter().flat_map(|selector| selector.as_object().unwrap()) {
            assert_eq!(labels[name], *value, "{variant}: {name}");
            assert!(!name.contains("version") && !name.contains("chart"), "{name}");
        }
    }
}

#[test]
fn only_the_needed_flows_are_open() {
    let chart = Chart::new();
    let objects = chart.objects("defaults", &[]);
    let policy = &the(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let ports = |flow: &Value| -> Vec<u64> {
        flow["ports"].as_array().unwrap().iter().map(|port| port["port"].as_u64().unwrap()).collect()
    };
    let flows = |direction: &str| policy[direction].as_array().unwrap().iter().map(ports).collect::<Vec<_>>();
    assert_eq!(flows("ingress"), [[9090]]);
    assert_eq!(flows("egress"), [vec![53, 53], vec![443, 6443], vec![5432]]);

    let objects = chart.objects("everything", &[]);
    let policy = &the(&objects, "NetworkPolicy")["spec"];
    let from = json!([{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } }]);
    assert_eq!(policy["ingress"][0]["from"], from);
    assert_eq!(policy["egress"][0]["to"][1], json!({ "ipBlock": { "cidr": "169.254.20.10/32" } }));
    assert_eq!(policy["egress"][1]["to"], json!([{ "ipBlock": { "cidr": "10.0.0.1/32" } }]));
    assert_eq!(policy["egress"][2]["to"].as_array().unwrap().len(), 2);

    let closed = chart.objects("defaults", &["--set", "networkPolicy.enabled=false"]);
    assert!(of_kind(&closed, "NetworkPolicy").is_empty());
}

#[test]
fn what_is_switched_off_is_not_there() {
    let chart = Chart::new();
    let objects = chart.objects("defaults", &["--set", "service.enabled=false"]);
    assert!(of_kind(&objects, "Service").is_empty() && of_kind(&objects, "FlowSchema").is_empty());
    let account = ["--set", "serviceAccount.create=false", "--set", "serviceAccount.name=mine"];
    let objects = chart.objects("defaults", &account);
    assert!(of_kind(&objects, "ServiceAccount").is_empty());
    assert_eq!(the(&objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"], "mine");
    let budget = ["--set", "podDisruptionBudget.enabled=false"];
    assert!(of_kind(&chart.objects("ha", &budget), "PodDisruptionBudget").is_empty());
}
