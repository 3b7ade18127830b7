use super::*;

/// A Secret of Argo CD's, `name type key=value …`; a plus sign stands for a space in a value.
fn secret(text: &str) -> SecretData {
    let mut words = text.split(' ');
    let name = words.next().unwrap().to_owned();
    let labels = BTreeMap::from([(TYPE_LABEL.to_owned(), words.next().unwrap().to_owned())]);
    let pair = |word: &str| {
        let (key, value) = word.split_once('=').unwrap();
        (key.to_owned(), Secret::new(value.replace('+', " ")))
    };
    SecretData { name, labels, data: words.map(pair).collect() }
}

fn shown(choice: &Choice) -> String {
    if let Some((name, app)) = &choice.app {
        let installation = app.installation.map_or_else(|| "?".to_owned(), |number| number.to_string());
        return format!("app {} {installation} {} by {name}", app.id, app.api);
    }
    match &choice.access.auth {
        Auth::None => "none".to_owned(),
        Auth::Basic { username, password } => format!("{username}:{}", password.reveal()),
        Auth::Bearer(token) => format!("bearer {}", token.reveal()),
        Auth::SshKey { key } => format!("key {}", key.reveal().trim()),
    }
}

#[track_caller]
fn check(url: &str, project: &str, secrets: &[&str], expected: &str) {
    let secrets = secrets.iter().map(|text| secret(text)).collect();
    let sources = Sources { secrets, ..Sources::default() };
    match choose(&sources, url, project) {
        Ok(choice) => assert_eq!(shown(&choice), expected),
        Err(e) => assert!(e.to_string().contains(expected), "{e}"),
    }
}

const SHOP: &str = "https://git.example/org/shop.git";

#[test]
fn the_repositorys_own_secret_wins_by_its_normal_url() {
    check(SHOP, "p", &[], "none");
    check(SHOP, "p", &["a repository url=https://GIT.example/Org/shop username=u password=p"], "u:p");
    check(SHOP, "p", &["a repository url=https://git.example/org/shop2 password=p"], "none");
    check("git@host:org/a.git", "p", &["a repository url=ssh://git@host/org/a sshPrivateKey=k"], "key k");
    check(SHOP, "p", &["a other url=https://git.example/org/shop password=p"], "none");
}

#[test]
fn the_projects_own_secret_wins_over_one_of_no_project() {
    let url = "url=https://git.example/org/shop";
    let free = format!("a repository {url} username=free password=1");
    let mine = format!("b repository {url} username=mine password=1 project=p");
    let other = format!("c repository {url} username=other password=1 project=q");
    check(SHOP, "p", &[&free, &other, &mine], "mine:1");
    check(SHOP, "p", &[&other, &free], "free:1");
    check(SHOP, "p", &[&other], "none");
}

#[test]
fn the_longest_template_wins() {
    let host = "a repo-creds url=https://git.example username=host password=1";
    let org = "b repo-creds url=https://git.example/org username=org password=1";
    let other = "c repo-creds url=https://git.example/orgs username=other password=1";
    let empty = "d repo-creds username=empty password=1";
    check(SHOP, "p", &[host, org, other, empty], "org:1");
    check(SHOP, "p", &[other, empty, host], "host:1");
    check(SHOP, "p", &[other, empty], "none");
    // A Secret of the repository without credentials leaves them to the template.
    check(SHOP, "p", &["e repository url=https://git.example/org/shop name=shop", org], "org:1");
}

#[test]
fn what_may_write_goes_first() {
    let read = "a repository url=https://git.example/org/shop username=read password=1";
    let write = "b repository-write url=https://git.example/org/shop username=write password=1";
    let template = "c repo-write-creds url=https://git.example username=template password=1";
    check(SHOP, "p", &[read, write, template], "write:1");
    check(SHOP, "p", &[read, template], "template:1");
    check(SHOP, "p", &[read], "read:1");
}

#[test]
fn the_kind_of_credentials_must_fit_the_url() {
    let url = "url=https://git.example/org/shop";
    check(SHOP, "p", &[&format!("a repository {url} password=only")], "x-access-token:only");
    check(SHOP, "p", &[&format!("a repository {url} bearerToken=t password=p")], "bearer t");
    check(SHOP, "p", &[&format!("a repository {url} sshPrivateKey=k")], "or use an SSH URL");
    check(
        SHOP,
        "p",
        &[&format!("a repository {url} gcpServiceAccountKey=k")],
        "a Google service account's key",
    );
    check(
        SHOP,
        "p",
        &[&format!("a repository {url} useAzureWorkloadIdentity=true")],
        "an Azure workload identity",
    );
    check("git@h:a", "p", &["a repository url=git@h:a password=secret"], "or use an HTTPS URL");
    check("https://u:p@git.example/x", "p", &[], "u:p");
}

#[test]
fn no_error_tells_a_secret() {
    let sources = Sources {
        secrets: vec![secret("a repo-creds url=https://u:secret@git.example sshPrivateKey=secret")],
        ..Sources::default()
    };
    let error = choose(&sources, "https://u:secret@git.example/x", "p").unwrap_err();
    let shown = format!("{error} {error:?} {:?}", sources.secrets[0].data);
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn certificates_host_keys_and_switches_are_taken_over() {
    let mut sources = Sources {
        secrets: vec![secret(
            "a repository url=https://git.example:8443/x insecure=true proxy=http://p noProxy=h",
        )],
        own: None,
        tls_certs: BTreeMap::from([("git.example".to_owned(), "PEM".to_owned())]),
        known_hosts: Some("host key".to_owned()),
    };
    let access = choose(&sources, "https://git.example:8443/x.git", "p").unwrap().access;
    assert_eq!((access.ca_pem.as_deref(), access.known_hosts.as_deref()), (Some("PEM"), Some("host key")));
    assert_eq!((access.insecure, access.no_proxy.as_deref()), (true, Some("h")));
    assert_eq!(access.proxy.unwrap().reveal(), "http://p");
    sources.secrets = vec![secret("a repo-creds url=https://git.example insecure=true password=p")];
    assert!(!choose(&sources, "https://git.example/x", "p").unwrap().access.insecure);
}

#[test]
fn a_policys_own_secret_is_the_only_one_asked() {
    let own = secret(
        "own none url=https://git.example/org username=own password=1 ca.crt=OWN known_hosts=own+hosts",
    );
    let secrets =
        vec![secret("b repository-write url=https://git.example/org/shop username=write password=1")];
    let sources = Sources { secrets, own: Some(own), ..Sources::default() };
    let choice = choose(&sources, SHOP, "p").unwrap();
    assert_eq!(shown(&choice), "own:1");
    let access = choice.access;
    assert_eq!((access.ca_pem.as_deref(), access.known_hosts.as_deref()), (Some("OWN"), Some("own hosts")));
}

#[test]
fn a_policys_own_secret_goes_only_where_it_belongs() {
    let check = |url: &str, repo_url: &str, allowed: bool| {
        let own = secret(&format!("own none {url} username=own password=1"));
        let sources = Sources { own: Some(own), ..Sources::default() };
        let got = choose(&sources, repo_url, "p");
        assert_eq!(got.is_ok(), allowed, "{url} {repo_url}");
        if let Err(error) = got {
            assert!(matches!(error, CredentialsError::NotForThis { .. }), "{error}");
        }
    };
    check("url=https://git.example/org/shop.git", "https://git.example/org/shop", true);
    check("url=https://git.example/org", "https://git.example/org/shop.git", true);
    check("url=https://git.example/org", "https://git.example/organised/shop.git", false);
    check("url=https://git.example", "https://git.example.evil/shop.git", false);
    check("type=git", "https://git.example/org/shop", false);
}

#[test]
fn the_write_credentials_of_another_project_are_not_taken() {
    let url = "url=https://git.example/org/shop";
    let others = format!("a repository-write {url} username=others password=1 project=q");
    let mine = format!("b repository-write {url} username=mine password=1 project=p");
    let free = format!("c repository-write {url} username=free password=1");
    let read = format!("d repository {url} username=read password=1");
    check(SHOP, "p", &[&others, &mine, &free, &read], "mine:1");
    check(SHOP, "p", &[&others, &free, &read], "free:1");
    check(SHOP, "p", &[&others, &read], "read:1");
    // A template knows no project, whatever it says.
    check(
        SHOP,
        "p",
        &["e repo-write-creds url=https://git.example username=t password=1 project=q", &read],
        "t:1",
    );
    // A Secret for writing without credentials leaves them to its own template, and then to those for reading.
    let empty = format!("f repository-write {url}");
    check(SHOP, "p", &[&empty, "g repo-write-creds url=https://git.example username=t password=1"], "t:1");
    check(SHOP, "p", &[&empty, &read], "read:1");
}

#[test]
fn a_template_is_not_asked_where_the_secret_has_credentials_of_any_kind() {
    let template = "a repo-creds url=https://git.example username=t password=1";
    for credentials in ["username=u", "tlsClientCertData=c"] {
        let own = format!("b repository url=https://git.example/org/shop {credentials}");
        check(SHOP, "p", &[&own, template], "none");
    }
    check(SHOP, "p", &["b repository url=https://git.example/org/shop proxy=http://p", template], "t:1");
}

#[test]
fn a_template_fills_only_what_is_open() {
    let secrets = [
        "a repository url=https://git.example/org/shop proxy=http://own",
        "b repo-creds url=https://git.example password=1 proxy=http://template noProxy=h tlsClientCertData=c tlsClientCertKey=k",
    ];
    let sources = Sources { secrets: secrets.map(secret).to_vec(), ..Sources::default() };
    let access = choose(&sources, SHOP, "p").unwrap().access;
    assert_eq!((access.proxy.unwrap().reveal(), access.no_proxy), ("http://own", None));
    assert_eq!(access.client_cert_pem.unwrap().reveal(), "c\nk\n");
}

#[test]
fn a_github_app_is_found_in_a_secret_and_in_a_template() {
    let own =
        |more: &str| format!("a repository url=https://git.example/org/shop githubAppPrivateKey=k {more}");
    let full = "githubAppID=1 githubAppInstallationID=2";
    check(SHOP, "p", &[&own(full)], "app 1 2 https://api.github.com by a");
    for unknown in ["githubAppID=1", "githubAppID=1 githubAppInstallationID=0"] {
        check(SHOP, "p", &[&own(unknown)], "app 1 ? https://api.github.com by a");
    }
    let enterprise = format!(
        "b repo-creds url=https://git.example githubAppPrivateKey=k {full} githubAppEnterpriseBaseUrl=https://git.example/api/v3/"
    );
    check(SHOP, "p", &[&enterprise], "app 1 2 https://git.example/api/v3 by b");
    let write = format!("c repository-write url=https://git.example/org/shop githubAppPrivateKey=k {full}");
    check(SHOP, "p", &[&enterprise, &write], "app 1 2 https://api.github.com by c");
    // A password goes first, as in Argo CD.
    check(SHOP, "p", &[&own(&format!("{full} username=u password=p"))], "u:p");
    for (wrong, expected) in [
        ("githubAppInstallationID=2", "give it `githubAppID`"),
        ("githubAppID=one", "`githubAppID` is not a number"),
        ("githubAppID=1 githubAppInstallationID=-2", "`githubAppInstallationID` is not a number"),
        ("githubAppID=1 githubAppEnterpriseBaseUrl=ssh://git.example", "is not an HTTP URL"),
    ] {
        check(SHOP, "p", &[&own(wrong)], expected);
    }
    check(
        "git@h:a/b",
        "p",
        &[&format!("a repository url=git@h:a/b githubAppPrivateKey=k {full}")],
        "use an HTTPS URL",
    );
}

#[test]
fn the_apis_own_certificates_are_trusted_for_it() {
    let app = "a repository url=https://git.example/org/shop githubAppPrivateKey=k githubAppID=1 githubAppEnterpriseBaseUrl=https://api.example";
    let tls_certs = BTreeMap::from([
        ("api.example".to_owned(), "API".to_owned()),
        ("git.example".to_owned(), "GIT".to_owned()),
    ]);
    let sources = Sources { secrets: vec![secret(app)], tls_certs, ..Sources::default() };
    let choice = choose(&sources, SHOP, "p").unwrap();
    assert_eq!(choice.app.unwrap().1.ca_pem.as_deref(), Some("API"));
    assert_eq!(choice.access.ca_pem.as_deref(), Some("GIT"));
}
