//! The only place that writes objects. Every call has a time limit; none is made by a process that does not lead.

use std::fmt::Display;
use std::time::Duration;

use http::{Request, header};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PartialObjectMeta};
use kube::core::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::child::{Applied, Child, ChildAction, ChildRef, Seen, decide};
use crate::context::Context;
use crate::document::{Document, manager, without_nulls};
use crate::error::{ApiError, foreign};
use crate::stores::{Entry, Kind};

/// The longest that a call may take.
pub const CALL: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
/// JSON is YAML, too.
const APPLY: &str = "application/apply-patch+yaml";
/// Answers carry no more than metadata: no Secret's content comes back.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

type Metadata = PartialObjectMeta<DynamicObject>;

/// What [`Context::ensure`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// Nothing: it is as it shall be.
    Kept,
    /// Made it.
    Created(Seen),
    /// Set it right.
    Applied(Seen),
    /// Nothing: it is on its way out, and is made anew once it has gone.
    Waiting,
}

impl Context {
    /// Makes an object so, if it is not. Somebody else's object is never changed.
    ///
    /// # Errors
    /// [`ApiError::Foreign`] when the name is taken, and when a call fails.
    pub async fn ensure(&self, child: &Child) -> Result<Ensured, ApiError> {
        let document = Document::of(child);
        let entry = self.stores.entry(&child.at);
        let applied = self.applied.get(&child.at);
        let seen = entry.as_ref().map(|entry| entry.seen.as_ref());
        match (decide(child, &document.hash, seen, applied.as_ref()), entry) {
            (ChildAction::Create, _) | (_, None) => match self.post(child, &document.value(None)).await? {
                Posted::New(entry) => {
                    self.remember(child, &document.hash, &entry.seen);
                    Ok(Ensured::Created(Seen::clone(&entry.seen)))
                }
                Posted::Ours(entry) if entry.seen.deleting => Ok(Ensured::Waiting),
                Posted::Ours(entry) => self.apply(child, &document, &entry).await,
            },
            (ChildAction::Keep, _) => {
                self.metrics.write_skipped();
                Ok(Ensured::Kept)
            }
            (ChildAction::Apply, Some(entry)) => self.apply(child, &document, &entry).await,
            (ChildAction::Wait, _) => Ok(Ensured::Waiting),
            (ChildAction::Foreign, Some(entry)) => Err(foreign(&child.at, &entry.seen)),
        }
    }

    /// Makes an object that must never be replaced or changed (an irreplaceable Secret). One of ours that is there is kept as
    /// it is.
    ///
    /// # Errors
    /// As [`Context::ensure`].
    pub async fn create_once(&self, child: &Child) -> Result<Ensured, ApiError> {
        let kept = |entry: &Entry| match (entry.seen.belongs_to(&child.ownership), entry.seen.deleting) {
            (false, _) => Err(foreign(&child.at, &entry.seen)),
            (true, true) => Ok(Ensured::Waiting),
            (true, false) => Ok(Ensured::Kept),
        };
        if let Some(entry) = self.stores.entry(&child.at) {
            return kept(&entry);
        }
        match self.post(child, &Document::of(child).value(None)).await? {
            Posted::New(entry) => Ok(Ensured::Created(Seen::clone(&entry.seen))),
            Posted::Ours(entry) => kept(&entry),
        }
    }

    /// Reads a Secret with its content. Call it only when its resourceVersion is not the one that you know.
    ///
    /// # Errors
    /// When the call fails. A Secret that is not there is none.
    pub async fn read_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, ApiError> {
        let at = format!("Secret {namespace}/{name}");
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        timed("read", &at, api.get_opt(name)).await
    }

    /// Deletes an object that was seen, and no other one that has its name by now.
    ///
    /// # Errors
    /// When the call fails. An object that is gone already is none.
    pub async fn delete_child(&self, at: &ChildRef, seen: &Seen) -> Result<(), ApiError> {
        self.may("delete", at)?;
        let preconditions = if at.kind.has_generation() {
            json!({"uid": seen.uid})
        } else {
            json!({"uid": seen.uid, "resourceVersion": seen.resource_version})
        };
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
            "preconditions": preconditions,
        });
        let request = request("DELETE", &path(at, true), JSON, &options);
        match send::<Value>(&self.client, "delete", at, request).await {
            Ok(answer) if answer.get("kind").and_then(Value::as_str) == Some("Status") => {
                self.stores.forget_child(at, &seen.uid);
                Ok(())
            }
            Ok(answer) => {
                // It stays until its finalizers are gone.
                if let Ok(left) = serde_json::from_value::<Metadata>(answer) {
                    self.stores.wrote_child(at, &left.metadata);
                }
                Ok(())
            }
            Err(ApiError::Refused { code: 404, .. }) => {
                self.stores.forget_child(at, &seen.uid);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Sets or takes our finalizer. Nothing else of the object is touched.
    ///
    /// # Errors
    /// When the call fails, or somebody changed the finalizers meanwhile. An object that is gone already needs none taken.
    pub async fn set_finalizer<K: Kind>(&self, object: &K, present: bool) -> Result<(), ApiError> {
        let at = place(object);
        let finalizers = object.finalizers();
        let uid = json!({"op": "test", "path": "/metadata/uid", "value": object.uid()});
        let patch = match (finalizers.iter().position(|one| one == crds::FINALIZER), present) {
            (None, false) | (Some(_), true) => return Ok(()),
            (None, true) if finalizers.is_empty() => json!([
                uid,
                {"op": "test", "path": "/metadata/finalizers", "value": null},
                {"op": "add", "path": "/metadata/finalizers", "value": [crds::FINALIZER]},
            ]),
            (None, true) => json!([
                uid,
                {"op": "test", "path": "/metadata/finalizers", "value": finalizers},
                {"op": "add", "path": "/metadata/finalizers/-", "value": crds::FINALIZER},
            ]),
            (Some(index), false) => {
                let path = format!("/metadata/finalizers/{index}");
                json!([
                    uid,
                    {"op": "test", "path": path, "value": crds::FINALIZER},
                    {"op": "remove", "path": path},
                ])
            }
        };
        self.may("patch the finalizers of", &at)?;
        let path = format!("{}?fieldManager={}", own_path(object), K::KIND.manager());
        let request = request("PATCH", &path, JSON_PATCH, &patch).map(full);
        match send::<K>(&self.client, "patch the finalizers of", &at, request).await {
            Ok(new) => {
                self.stores.wrote(new);
                Ok(())
            }
            Err(ApiError::Refused { code: 404, .. }) if !present => Ok(()),
            // A test that fails is answered as an invalid request.
            Err(ApiError::Refused { code: 422, message, verb, at }) => Err(ApiError::Conflict { verb, at, message }),
            Err(error) => Err(error),
        }
    }

    /// Writes the status, when it differs from what the object has. Transitions of Ready and Stalled become events.
    ///
    /// # Errors
    /// When the call fails. An object that is gone, or another one by now, is none.
    pub async fn patch_status<K: Kind>(&self, object: &K, status: &Value, manager: &str) -> Result<(), ApiError> {
        let (at, status) = (place(object), without_nulls(status));
        // The pass may have begun before the last write of it was known.
        let newest = K::feed(&self.stores).store().get(&ObjectRef::from_obj(object));
        let newest = newest.filter(|newest| newest.uid() == object.uid());
        let object = newest.as_deref().unwrap_or(object);
        if without_nulls(&object.status()) == status {
            self.metrics.write_skipped();
            return Ok(());
        }
        self.may("patch the status of", &at)?;
        let document = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": object.name_any(), "namespace": object.namespace(), "uid": object.uid()},
            "status": status,
        });
        let path = format!("{}/status?fieldManager={manager}&force=true", own_path(object));
        let request = request("PATCH", &path, APPLY, &document).map(full);
        match send::<K>(&self.client, "patch the status of", &at, request).await {
            Ok(new) => {
                self.events.transitions(object, new.conditions());
                self.stores.wrote(new);
                Ok(())
            }
            Err(ApiError::Refused { code: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn post(&self, child: &Child, document: &Value) -> Result<Posted, ApiError> {
        let at = &child.at;
        self.may("create", at)?;
        let path = format!("{}?fieldManager={}", path(at, false), manager(child).manager());
        match send::<Metadata>(&self.client, "create", at, request("POST", &path, JSON, document)).await {
            Ok(new) => Ok(Posted::New(self.stores.wrote_child(at, &new.metadata))),
            Err(ApiError::Conflict { .. }) => {
                let there = request("GET", &self::path(at, true), JSON, &Value::Null);
                let there = send::<Metadata>(&self.client, "read", at, there).await?;
                let entry = Entry::of(&there.metadata);
                if !entry.seen.belongs_to(&child.ownership) {
                    return Err(foreign(at, &entry.seen));
                }
                Ok(Posted::Ours(self.stores.wrote_child(at, &there.metadata)))
            }
            Err(error) => Err(error),
        }
    }

    async fn apply(&self, child: &Child, document: &Document, entry: &Entry) -> Result<Ensured, ApiError> {
        let at = &child.at;
        self.may("apply", at)?;
        if let Some((index, manager)) = &entry.posted {
            self.take_over(at, &entry.seen, *index, manager).await?;
        }
        // Not another object that has its name by now.
        let body = document.value(Some(&entry.seen.uid));
        let path = format!("{}?fieldManager={}&force=true", path(at, true), manager(child).manager());
        let new = send::<Metadata>(&self.client, "apply", at, request("PATCH", &path, APPLY, &body)).await;
        if let Err(ApiError::Conflict { .. } | ApiError::Refused { code: 404, .. }) = &new {
            self.stores.forget_child(at, &entry.seen.uid);
        }
        let entry = self.stores.wrote_child(at, &new?.metadata);
        self.remember(child, &document.hash, &entry.seen);
        Ok(Ensured::Applied(Seen::clone(&entry.seen)))
    }

    /// What was made by POST is owned by an entry that server-side apply takes no fields away from: it becomes one of apply.
    async fn take_over(&self, at: &ChildRef, seen: &Seen, index: usize, manager: &str) -> Result<(), ApiError> {
        let path_of = |field: &str| format!("/metadata/managedFields/{index}/{field}");
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": seen.uid},
            {"op": "test", "path": path_of("manager"), "value": manager},
            {"op": "test", "path": path_of("operation"), "value": "Update"},
            {"op": "replace", "path": path_of("operation"), "value": "Apply"},
        ]);
        let path = format!("{}?fieldManager={manager}", path(at, true));
        match send::<Metadata>(&self.client, "take over the fields of", at, request("PATCH", &path, JSON_PATCH, &patch))
            .await
        {
            Ok(new) => {
                self.stores.wrote_child(at, &new.metadata);
                Ok(())
            }
            Err(ApiError::Refused { code: 404 | 422, verb, at: name, message }) => {
                // The next pass reads it as it is.
                self.stores.forget_child(at, &seen.uid);
                Err(ApiError::Conflict { verb, at: name, message })
            }
            Err(error) => Err(error),
        }
    }

    fn remember(&self, child: &Child, hash: &str, seen: &Seen) {
        let (uid, version) = (seen.uid.clone(), seen.version(child.at.kind));
        self.applied.set(&child.at, Applied { uid, hash: hash.to_owned(), version });
    }

    fn may(&self, verb: &'static str, at: &(dyn Display + Sync)) -> Result<(), ApiError> {
        self.leadership.check().map_err(|_| ApiError::NotLeading { verb, at: at.to_string() })
    }
}

enum Posted {
    New(Entry),
    /// It was there, and is ours.
    Ours(Entry),
}

fn path(at: &ChildRef, named: bool) -> String {
    let (api_version, _, plural) = at.kind.api();
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let name = if named { format!("/{}", at.name) } else { String::new() };
    format!("/{root}/{api_version}/namespaces/{}/{plural}{name}", at.namespace)
}

fn own_path<K: Kind>(object: &K) -> String {
    format!("{}/{}", K::url_path(&(), object.namespace().as_deref()), object.name_any())
}

fn place<K: Kind>(object: &K) -> String {
    format!("{} {}/{}", K::KIND.name(), object.namespace().unwrap_or_default(), object.name_any())
}

type Prepared = Result<Request<Vec<u8>>, http::Error>;

fn request(method: &str, path: &str, content: &str, body: &Value) -> Prepared {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, content)
        .header(header::ACCEPT, METADATA)
        .body(bytes)
}

/// The whole object as answer.
fn full(mut request: Request<Vec<u8>>) -> Request<Vec<u8>> {
    request.headers_mut().insert(header::ACCEPT, http::HeaderValue::from_static(JSON));
    request
}

async fn send<T: DeserializeOwned>(
    client: &Client,
    verb: &'static str,
    at: &(dyn Display + Sync),
    request: Prepared,
) -> Result<T, ApiError> {
    let refuse =
        |error: http::Error| ApiError::Refused { verb, at: at.to_string(), code: 0, message: error.to_string() };
    timed(verb, &at.to_string(), client.request::<T>(request.map_err(refuse)?)).await
}

async fn timed<T>(
    verb: &'static str,
    at: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => answer.map_err(|error| ApiError::of(verb, &at, &error)),
        Err(_) => Err(ApiError::Timeout { verb, at: at.to_owned(), seconds: CALL.as_secs() }),
    }
}
