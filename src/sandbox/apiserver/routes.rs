//! URLs and methods.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Query, Request, State};
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Fault;
use super::error::ApiError;
use super::kinds::Resource;
use super::parts::Part;
use super::select::Selector;
use super::store::{Preconditions, Store};
use super::watch::{WatchOrder, body as watch_body, start_version};
use crate::sandbox::json::{at, text};

/// The largest request body, as the API server's limit.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// What every request needs.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) faults: watch::Receiver<Fault>,
}

/// What a URL names.
struct Target {
    resource: &'static Resource,
    namespace: Option<String>,
    name: Option<String>,
    part: Part,
}

/// Answers any request.
pub(crate) async fn answer(State(mut context): State<Context>, request: Request) -> Response {
    loop {
        let fault = *context.faults.borrow_and_update();
        match fault {
            Fault::None | Fault::DropWatches => break,
            Fault::Unavailable | Fault::Stopped => return refuse(&ApiError::unavailable()),
            Fault::Hang => {
                if context.faults.changed().await.is_err() {
                    pending::<()>().await;
                }
            }
        }
    }
    let (parts, body) = request.into_parts();
    let query = match Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri) {
        Ok(Query(query)) => query,
        Err(error) => return refuse(&ApiError::bad_request(error)),
    };
    if parts.method == Method::GET
        && let Some(answer) = discovery(parts.uri.path())
    {
        return respond(StatusCode::OK, &answer);
    }
    let Some(target) = Target::parse(&parts.uri) else {
        // As the real one for a group, version or kind that it does not have: no Status object.
        let mut response = Response::new(Body::from("404 page not found\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let body = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return refuse(&ApiError::bad_request(error)),
    };
    let result = if parts.method == Method::GET {
        read(&context, &target, &query, &parts.headers)
    } else if query.contains_key("dryRun") {
        Err(ApiError::bad_request("the sandbox has no dryRun"))
    } else {
        write(&context.store, &target, &parts.method, &parts.headers, &body)
    };
    result.unwrap_or_else(|error| refuse(&error))
}

fn discovery(path: &str) -> Option<Value> {
    match path {
        "/version" => Some(json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0+lastgood-sandbox",
                                   "platform": "linux/amd64"})),
        "/livez" | "/readyz" | "/healthz" => Some(json!("ok")),
        "/api/v1" => Resource::discovery("", "v1"),
        _ => {
            let (group, version) = path.strip_prefix("/apis/")?.split_once('/')?;
            Resource::discovery(group, version)
        }
    }
}

impl Target {
    fn parse(uri: &Uri) -> Option<Self> {
        let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty());
        let (group, version) = match segments.next()? {
            "api" => ("", segments.next()?),
            "apis" => (segments.next()?, segments.next()?),
            _ => return None,
        };
        let rest: Vec<&str> = segments.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && *rest != ["status"] => {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(*name), None),
            [plural, name, subresource] => (plural, Some(*name), Some(*subresource)),
            _ => return None,
        };
        let resource = Resource::find(group, version, plural)?;
        let part = match subresource {
            None => Part::Main,
            Some("status") if resource.status => Part::Status,
            Some(_) => return None,
        };
        Some(Self { resource, namespace, name: name.map(str::to_owned), part })
    }
}

fn read(
    context: &Context,
    target: &Target,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let parameter = |name: &str| query.get(name).map(String::as_str);
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let shape: fn(&Value) -> Value =
        if accept.contains("as=PartialObjectMetadata") { only_metadata } else { Value::clone };
    if let Some(name) = &target.name {
        let namespace = target.namespace.as_deref().unwrap_or_default();
        let found = context.store.get(target.resource, namespace, name);
        let object = found.ok_or_else(|| ApiError::not_found(target.resource, name))?;
        return Ok(respond(StatusCode::OK, &shape(&object)));
    }
    let selector = Selector::parse(
        parameter("labelSelector").unwrap_or_default(),
        parameter("fieldSelector").unwrap_or_default(),
    )?;
    let yes = |name: &str| matches!(parameter(name), Some("true" | "1"));
    if yes("watch") {
        let timeout = parameter("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
        let order = WatchOrder {
            resource: target.resource,
            namespace: target.namespace.clone(),
            selector,
            from: start_version(parameter("resourceVersion"))?,
            initial_events: yes("sendInitialEvents"),
            bookmarks: yes("allowWatchBookmarks"),
            timeout: timeout.map(Duration::from_secs),
            shape,
        };
        let mut response = Response::new(watch_body(&context.store, context.faults.clone(), order));
        set_json(&mut response);
        return Ok(response);
    }
    list_page(context, target, &selector, parameter("limit"), parameter("continue"), shape)
}

/// One page of a list. Later pages are of now, but carry the version of the first one, so that a watch from it
/// replays whatever changed in between.
fn list_page(
    context: &Context,
    target: &Target,
    selector: &Selector,
    limit: Option<&str>,
    token: Option<&str>,
    shape: fn(&Value) -> Value,
) -> Result<Response, ApiError> {
    let (mut version, objects) = context.store.snapshot(target.resource, target.namespace.as_deref());
    let mut after = None;
    if let Some(token) = token.filter(|token| !token.is_empty()) {
        let (first, place) = token
            .split_once('/')
            .and_then(|(version, place)| Some((version.parse().ok()?, place.split_once('/')?)))
            .ok_or_else(|| ApiError::bad_request("continue key is not valid"))?;
        context.store.since(first)?;
        version = first;
        after = Some(place);
    }
    let limit = limit.and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let place = |object: &Value| {
        (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned())
    };
    let mut rest = objects.iter().filter(|object| selector.matches(object)).filter(|object| {
        after.is_none_or(|(namespace, name)| place(object) > (namespace.to_owned(), name.to_owned()))
    });
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let left = rest.count();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let (Some(last), 1..) = (page.last(), left) {
        let (namespace, name) = place(last);
        metadata = json!({"resourceVersion": version.to_string(), "remainingItemCount": left,
                          "continue": format!("{version}/{namespace}/{name}")});
    }
    let items: Vec<Value> = page.into_iter().map(|object| shape(object)).collect();
    let list = json!({"kind": format!("{}List", target.resource.kind), "metadata": metadata, "items": items,
                      "apiVersion": target.resource.api_version()});
    Ok(respond(StatusCode::OK, &list))
}

fn write(
    store: &Store,
    target: &Target,
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let (resource, part) = (target.resource, target.part);
    let namespace = target.namespace.as_deref().unwrap_or_default();
    if resource.namespaced && target.namespace.is_none() {
        return Err(ApiError::not_allowed());
    }
    let parse = || -> Result<Value, ApiError> { serde_json::from_slice(body).map_err(ApiError::bad_request) };
    let (code, object) = match (method, target.name.as_deref()) {
        (&Method::POST, None) => {
            (StatusCode::CREATED, store.create(resource, namespace, belongs(target, parse()?)?)?)
        }
        (&Method::PUT, Some(name)) => {
            let object = belongs(target, parse()?)?;
            (StatusCode::OK, store.replace(resource, namespace, name, part, &object)?)
        }
        (&Method::PATCH, Some(name)) => {
            let kind =
                headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            match kind.split(';').next().unwrap_or_default().trim() {
                "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                    (StatusCode::OK, store.patch(resource, namespace, name, part, &parse()?)?)
                }
                other => return Err(ApiError::media_type(other)),
            }
        }
        (&Method::DELETE, Some(name)) => {
            let options = if body.is_empty() { Value::Null } else { parse()? };
            let given = |pointer: &str| at(&options, pointer)?.as_str().map(str::to_owned);
            let expect = Preconditions {
                uid: given("/preconditions/uid"),
                resource_version: given("/preconditions/resourceVersion"),
                now: options.get("gracePeriodSeconds").and_then(Value::as_i64) == Some(0),
            };
            (StatusCode::OK, store.delete_if(resource, namespace, name, &expect)?)
        }
        _ => return Err(ApiError::not_allowed()),
    };
    Ok(respond(code, &object))
}

/// Refuses a body that names another object than the URL does.
fn belongs(target: &Target, object: Value) -> Result<Value, ApiError> {
    let resource = target.resource;
    let (api_version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
    if (!api_version.is_empty() && api_version != resource.api_version())
        || (!kind.is_empty() && kind != resource.kind)
    {
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{api_version}\" cannot be handled as a {}",
            resource.kind
        )));
    }
    for (what, pointer, wanted) in
        [("name", "/metadata/name", &target.name), ("namespace", "/metadata/namespace", &target.namespace)]
    {
        let given = text(&object, pointer);
        if let Some(wanted) = wanted
            && !given.is_empty()
            && given != wanted
        {
            return Err(ApiError::bad_request(format!(
                "the {what} of the object ({given}) does not match the {what} on the URL ({wanted})"
            )));
        }
    }
    Ok(object)
}

fn only_metadata(object: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object.get("metadata")})
}

fn refuse(error: &ApiError) -> Response {
    respond(StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &error.status())
}

fn respond(code: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = code;
    set_json(&mut response);
    response
}

fn set_json(response: &mut Response) {
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
}
