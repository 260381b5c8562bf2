//! What all protected routes have in common, in the OpenAPI document: the scope, and what may be answered instead.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, OpenApi, Paths, Ref, RefOr, ResponseBuilder, Schema};

use crate::Scope;

const PROBLEM: &str = "Problem";

/// The answers of every route, beside those that it names itself.
const COMMON: [(&str, &str); 6] = [
    ("400", "A part of the request is not allowed; `detail` names it"),
    ("401", "No valid token"),
    ("403", "The scope is missing, or the caller belongs to no tenant"),
    ("500", "The server failed, or a stored record was changed"),
    ("503", "The server, the issuer or the tenant is not available now; see `Retry-After`"),
    ("504", "It took too long"),
];
/// Those of routes that take a body.
const OF_BODIES: [(&str, &str); 2] = [("413", "The body has more than 2 MiB"), ("415", "The body is not JSON")];

/// Completes the operations of a route.
pub(crate) fn complete(paths: &mut Paths, scope: Scope) {
    for item in paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete] {
            let Some(operation) = operation else { continue };
            operation.security = Some(vec![SecurityRequirement::new("bearer", [scope.name()])]);
            answers(operation);
        }
    }
}

fn answers(operation: &mut Operation) {
    let of_bodies = OF_BODIES.iter().filter(|_| operation.request_body.is_some());
    let missing: Vec<_> = COMMON.iter().chain(of_bodies).collect();
    let responses = &mut operation.responses.responses;
    for (status, description) in missing {
        let answer = || RefOr::T(ResponseBuilder::new().description(*description).build());
        responses.entry((*status).to_owned()).or_insert_with(answer);
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) {
            let schema = Ref::from_schema_name(PROBLEM);
            let content = ContentBuilder::new().schema(Some(schema)).build();
            response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
        }
    }
}

/// The document with the schema that the answers refer to.
pub(crate) fn with_problem(mut document: OpenApi) -> OpenApi {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    let status = ObjectBuilder::new().schema_type(Type::Integer).description(Some("The HTTP status"));
    let id = text("Ours; the log has it").format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let mut problem = ObjectBuilder::new().description(Some("Problem details (RFC 9457)"));
    for (name, member) in [
        ("type", text("`/problems/<code>`")),
        ("title", text("The same for all problems of the type")),
        ("status", status),
        ("detail", text("What was wrong this time")),
        ("help", text("How to mend it")),
        ("instance", text("The path of the request")),
        ("request_id", id),
    ] {
        problem = problem.property(name, member);
    }
    for name in ["type", "title", "status", "help", "instance", "request_id"] {
        problem = problem.required(name);
    }
    let schemas = &mut document.components.get_or_insert_default().schemas;
    schemas.insert(PROBLEM.to_owned(), RefOr::T(Schema::Object(problem.build())));
    document
}
