//! The files that applications are made of.

/// A Deployment of two replicas and a ConfigMap; `tag` decides how its pods behave.
pub(crate) fn web(app: &str, tag: &str) -> String {
    deployment(app, tag, 600)
}

/// The same, called failed by Kubernetes itself after `progress_deadline` seconds without progress.
pub(crate) fn deployment(app: &str, tag: &str, progress_deadline: u32) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {app}
spec:
  replicas: 2
  revisionHistoryLimit: 2
  progressDeadlineSeconds: {progress_deadline}
  selector:
    matchLabels: {{ app: {app} }}
  template:
    metadata:
      labels: {{ app: {app} }}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: registry.example/{app}:{tag}
"
    )
}

/// A ConfigMap with one line of text.
pub(crate) fn config(name: &str, line: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  line: {line}\n")
}

/// A Job that Argo CD runs before each sync; with the tag `fail` it fails, and the sync with it.
pub(crate) fn migration(app: &str, tag: &str) -> String {
    format!(
        "\
apiVersion: batch/v1
kind: Job
metadata:
  name: {app}-migration
  annotations:
    argocd.argoproj.io/hook: PreSync
    argocd.argoproj.io/hook-delete-policy: BeforeHookCreation
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers:
        - name: migrate
          image: registry.example/{app}-migration:{tag}
"
    )
}

/// A Helm chart: Chart.yaml, and templates that its values.yaml fills.
pub(crate) const CHART: [(&str, &str); 3] = [
    ("Chart.yaml", "apiVersion: v2\nname: helm-guestbook\ndescription: A guestbook.\nversion: 0.1.0\n"),
    (
        "templates/deployment.yaml",
        "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: { app: {{ .Release.Name | quote }} }
  template:
    metadata:
      labels: { app: {{ .Release.Name | quote }} }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: guestbook
          image: \"{{ .Values.image.repository }}:{{ .Values.image.tag }}\"
",
    ),
    (
        "templates/banner.yaml",
        "\
{{- if .Values.banner.enabled }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-banner
data:
  text: {{ .Values.banner.text | quote }}
{{- end }}
",
    ),
];

/// The chart's values.
pub(crate) fn values(tag: &str, banner: bool) -> String {
    format!(
        "\
replicas: 2
image:
  repository: registry.example/guestbook
  tag: {tag}
banner:
  enabled: {banner}
  text: Welcome
"
    )
}
