use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};

use super::*;

fn service(name: &str, product: &str, ports: Value) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {LABEL: product}},
        "spec": {"selector": {LABEL: product, "realm": "demo"}, "ports": ports},
    }))
    .unwrap()
}

fn pod(name: &str, ready: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"containers": [
            {"name": "sidecar", "ports": [{"containerPort": 1}, {"name": "public", "containerPort": 2, "protocol": "UDP"}]},
            {"name": "kms", "ports": [{"name": "public", "containerPort": 8080}, {"name": "admin", "containerPort": 9999}]},
        ]},
        "status": {"phase": "Running", "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": ready, "reason": "ContainersNotReady"},
        ]},
    }))
    .unwrap()
}

fn kms(services: &[Service], port: u16) -> Result<Route, ResolveError> {
    route(services, "demo", "kms", port)
}

#[test]
fn the_service_is_found_by_label_and_port() {
    let services = [
        service("identity", "identity", json!([{"port": 443, "targetPort": 8082}])),
        service("kms-internal", "kms", json!([{"port": 8443}])),
        service("kms", "kms", json!([{"port": 443, "protocol": "UDP"}, {"port": 443, "targetPort": "public"}])),
    ];
    let found = kms(&services, 443).unwrap();
    assert_eq!((found.service.as_str(), &found.port), ("kms", &PodPort::Named("public".into())));
    assert_eq!(found.selector, "app.kubernetes.io/name=kms,realm=demo");
    assert_eq!(kms(&services, 8443).unwrap().port, PodPort::Number(8443), "without targetPort it is the port itself");
    assert_eq!(route(&services, "demo", "identity", 443).unwrap().port, PodPort::Number(8082));
}

#[test]
fn a_headless_service_beside_the_other_one_does_not_count() {
    let mut headless = service("kms-headless", "kms", json!([{"port": 443}]));
    headless.spec.as_mut().unwrap().cluster_ip = Some("None".into());
    let both = [headless.clone(), service("kms", "kms", json!([{"port": 443, "targetPort": 8080}]))];
    assert_eq!(kms(&both, 443).unwrap().service, "kms");
    assert_eq!(kms(&[headless], 443).unwrap().service, "kms-headless");
}

#[test]
fn what_is_wrong_with_the_services_is_told() {
    let told = |services: &[Service]| kms(services, 443).unwrap_err().to_string();
    let text = told(&[service("identity", "identity", json!([{"port": 443}]))]);
    assert!(text.contains("namespace demo has no Service") && text.contains("app.kubernetes.io/name=kms"), "{text}");
    let text = told(&[service("kms", "kms", json!([{"port": 8080}, {"port": 8443}]))]);
    assert!(text.contains("443 of --kms-url") && text.contains("kms (8080 8443)"), "{text}");
    let two = ["a", "b"].map(|name| service(name, "kms", json!([{"port": 443}])));
    assert!(told(&two).contains("a, b"));
    let mut bare = service("kms", "kms", json!([{"port": 443}]));
    bare.spec.as_mut().unwrap().selector = None;
    assert!(told(&[bare]).contains("demo/kms has no selector"));
}

#[test]
fn ports_are_resolved_in_the_pod() {
    let services = [service("kms", "kms", json!([{"port": 443, "targetPort": "public"}]))];
    let found = kms(&services, 443).unwrap();
    let whole = pod("kms-1", "True");
    assert_eq!(found.port_in(&whole), Ok(8080), "the TCP one");
    assert_eq!(found.to_admin().port_in(&whole), Ok(9999), "by its name");
    let mut bare = whole;
    for container in &mut bare.spec.as_mut().unwrap().containers {
        container.ports = None;
    }
    assert_eq!(found.to_admin().port_in(&bare), Ok(9090), "by its number");
    let text = found.port_in(&bare).unwrap_err().to_string();
    assert!(text.contains("`public`") && text.contains("kms-1"), "{text}");
}

#[test]
fn only_ready_pods_that_stay_are_taken() {
    let found = kms(&[service("kms", "kms", json!([{"port": 443}]))], 443).unwrap();
    let mut leaving = pod("kms-0", "True");
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let pods = [pod("kms-3", "True"), leaving.clone(), pod("kms-2", "False"), pod("kms-1", "True")];
    let names: Vec<&str> = found.ready(&pods).unwrap().into_iter().map(pod_name).collect();
    assert_eq!(names, ["kms-1", "kms-3"]);

    let mut stuck = pod("kms-2", "False");
    stuck.status.as_mut().unwrap().container_statuses = serde_json::from_value(json!([
        {"name": "kms", "image": "", "imageID": "", "ready": false, "restartCount": 0,
         "state": {"waiting": {"reason": "ImagePullBackOff"}}},
    ]))
    .unwrap();
    let text = found.ready(&[leaving, stuck, pod("kms-4", "False")]).unwrap_err().to_string();
    for part in ["kms-0 is terminating", "kms-2 is Running (ImagePullBackOff)", "kms-4 is Running (ContainersNotReady)"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = found.ready(&[]).unwrap_err().to_string();
    assert!(text.contains("no pod has the labels app.kubernetes.io/name=kms,realm=demo"), "{text}");
}
