//! Who wrote an Application, and which ones it writes itself, in Argo CD's own marks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::engine::facts::{AppKey, Origin};

/// The API group of Argo CD's own kinds.
const GROUP: &str = "argoproj.io";

/// Who wrote the Application `app`: the `ApplicationSet` that owns it, or the Application of which it is a resource.
///
/// The annotation names the object that carries it: one that was copied along from another object says nothing. The
/// label says it where Argo CD tracks by labels.
pub(super) fn parent(
    app: &AppKey,
    owners: &[OwnerReference],
    tracking_id: Option<&str>,
    label: Option<&str>,
    own_namespace: &str,
) -> Option<Origin> {
    if let Some(set) = owners.iter().find(|owner| is_set(owner)) {
        return Some(Origin::ApplicationSet(AppKey::new(&app.namespace, &set.name)));
    }
    let instance = match tracking_id {
        Some(id) => instance_of(id, app)?,
        None => label?,
    };
    // Names in Kubernetes hold no underscore.
    let parent = match instance.split_once('_') {
        Some((namespace, name)) => AppKey::new(namespace, name),
        None => AppKey::new(own_namespace, instance),
    };
    (parent != *app && !instance.is_empty()).then_some(Origin::Application(parent))
}

fn is_set(owner: &OwnerReference) -> bool {
    owner.kind == "ApplicationSet" && owner.api_version.split('/').next() == Some(GROUP)
}

/// The instance in `instance:argoproj.io/Application:namespace/name`, if it is about this Application.
fn instance_of<'a>(id: &'a str, app: &AppKey) -> Option<&'a str> {
    let (instance, object) = id.split_once(':')?;
    (object == format!("{GROUP}/Application:{}/{}", app.namespace, app.name)).then_some(instance)
}

/// An Application's resource that defines applications.
pub(super) fn child(group: &str, kind: &str, namespace: &str, name: &str) -> Option<Origin> {
    let key = AppKey::new(namespace, name);
    match (group, kind) {
        (GROUP, "Application") => Some(Origin::Application(key)),
        (GROUP, "ApplicationSet") => Some(Origin::ApplicationSet(key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_the_set_or_the_application_that_the_marks_name() {
        let app = AppKey::new("argocd", "shop");
        let owner = |api_version: &str, kind: &str| OwnerReference {
            api_version: api_version.into(),
            kind: kind.into(),
            name: "shops".into(),
            ..OwnerReference::default()
        };
        let set = owner("argoproj.io/v1alpha1", "ApplicationSet");
        let other = owner("example.io/v1", "ApplicationSet");
        let id = "root:argoproj.io/Application:argocd/shop";
        let check = |owners: &[OwnerReference], id, label, expected: Option<&str>| {
            let found = parent(&app, owners, id, label, "argocd");
            assert_eq!(found.map(|origin| origin.to_string()).as_deref(), expected, "{id:?} {label:?}");
        };
        check(&[set], Some(id), None, Some("ApplicationSet argocd/shops"));
        check(&[other], Some(id), Some("x"), Some("Application argocd/root"));
        check(&[], None, Some("root"), Some("Application argocd/root"));
        check(&[], None, Some("team_root"), Some("Application team/root"));
        check(&[], None, None, None);
        // Copied along from another object, or about itself.
        check(&[], Some("root:argoproj.io/Application:argocd/blog"), Some("root"), None);
        check(&[], Some("root:apps/Deployment:argocd/shop"), None, None);
        check(&[], Some("rubbish"), None, None);
        check(&[], None, Some("shop"), None);
        check(&[], Some(":argoproj.io/Application:argocd/shop"), None, None);
    }
}
