//! Over TLS with an authority of one's own, with client certificates, with tokens, and by way of a proxy.

use std::time::Duration;

use lastgood::act::git::{Access, Auth, Secret};
use lastgood::engine::action::RevertOutcome;

use super::git_http::{GitServer, PASSWORD, USER};
use super::proxy::Proxy;
use super::tls::{Authority, Certified, TlsListener};
use super::{Daemon, Story, already, failed, order, pushed, refused};

const WITHIN: Duration = Duration::from_secs(20);

struct Secure {
    story: Story,
    server: GitServer,
    ca_pem: String,
}

impl Secure {
    /// A server whose certificate is for `localhost`; with client certificates if `clients` is given.
    fn new(clients: Option<&Authority>) -> Self {
        let authority = Authority::new();
        let shown = authority.certify("localhost");
        Self::showing(&shown, authority.pem, clients)
    }

    fn showing(shown: &Certified, ca_pem: String, clients: Option<&Authority>) -> Self {
        let story = Story::new();
        let around = |tcp| TlsListener::new(tcp, shown, clients);
        let server = GitServer::start_on(story.world.dir.path(), "https://localhost", around);
        Self { story, server, ca_pem }
    }

    fn access(&self) -> Access {
        let auth = Auth::Basic { username: USER.into(), password: Secret::new(PASSWORD) };
        let ca_pem = Some(self.ca_pem.clone());
        Access { auth, ca_pem, ..Access::new(&self.server.url("repo.git")) }
    }

    fn revert(&self, access: &Access) -> RevertOutcome {
        let order = order(&access.url, &self.story.good, &self.story.bad);
        Daemon::new().revert_with(&order, access, WITHIN)
    }
}

fn pem(certified: &Certified) -> Secret {
    Secret::new(format!("{}\n{}\n", certified.certificate, certified.key))
}

#[test]
fn a_revert_goes_over_tls_with_an_authority_of_ones_own() {
    let secure = Secure::new(None);
    let access = secure.access();
    for untrusted in [
        Access { ca_pem: None, ..access.clone() },
        Access { ca_pem: Some(Authority::new().pem), ..access.clone() },
    ] {
        let error = failed(secure.revert(&untrusted));
        assert!(error.contains("certificate") && error.contains(&access.url), "{error}");
    }
    let misnamed = Access { url: access.url.replace("localhost", "127.0.0.1"), ..access.clone() };
    let error = failed(secure.revert(&misnamed));
    assert!(error.contains("certificate not valid for name"), "{error}");
    let rubbish = Access { ca_pem: Some("rubbish".into()), ..access.clone() };
    assert!(failed(secure.revert(&rubbish)).contains("certificate"));
    assert!(secure.server.log().is_empty(), "a password went to a server that is not trusted");

    assert_eq!(pushed(secure.revert(&access)).revert.as_str(), secure.story.world.tip());
    already(secure.revert(&Access { ca_pem: None, insecure: true, ..access }));
}

/// `openssl req -x509` makes a self-signed certificate an authority too, and such a one is what people give.
#[test]
fn a_certificate_that_certifies_itself_is_trusted_if_it_was_given() {
    let shown = Authority::itself("localhost");
    let secure = Secure::showing(&shown, shown.certificate.clone(), None);
    pushed(secure.revert(&secure.access()));
    let misnamed = Access { url: secure.access().url.replace("localhost", "127.0.0.1"), ..secure.access() };
    let error = failed(secure.revert(&misnamed));
    assert!(error.contains("certificate not valid for name"), "{error}");
    let other = Access { ca_pem: Some(Authority::itself("localhost").certificate), ..secure.access() };
    assert!(failed(secure.revert(&other)).contains("certificate"));
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_it() {
    let clients = Authority::new();
    let secure = Secure::new(Some(&clients));
    let access = secure.access();
    let stranger = Authority::new().certify("lastgood");
    for client_cert_pem in [None, Some(pem(&stranger))] {
        // TLS 1.3 refuses after the client believes that all is well: the words are the server's alert, or those of a
        // request on a connection that is gone.
        failed(secure.revert(&Access { client_cert_pem, ..access.clone() }));
        assert_eq!(secure.story.world.tip(), secure.story.bad);
    }
    let broken = Some(Secret::new("-----BEGIN CERTIFICATE-----\nrubbish"));
    let error = failed(secure.revert(&Access { client_cert_pem: broken, ..access.clone() }));
    assert!(error.contains("cannot be used"), "{error}");

    let known = Access { client_cert_pem: Some(pem(&clients.certify("lastgood"))), ..access };
    pushed(secure.revert(&known));
    already(secure.revert(&Access { ca_pem: None, insecure: true, ..known }));
}

#[test]
fn a_token_opens_the_door() {
    let secure = Secure::new(None);
    *secure.server.faults.bearer.lock().unwrap() = Some("t0ken".into());
    let with = |token: &str| Access { auth: Auth::Bearer(Secret::new(token)), ..secure.access() };
    let refusal = refused(secure.revert(&with("another")));
    assert!(
        refusal.to_string().contains("not authorised") && !refusal.to_string().contains("another"),
        "{refusal}"
    );
    pushed(secure.revert(&with("t0ken")));
}

#[test]
fn no_redirect_leads_out_of_tls() {
    let secure = Secure::new(None);
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    plain.set_nonblocking(true).unwrap();
    let port = plain.local_addr().unwrap().port();
    for auth in [secure.access().auth, Auth::None] {
        *secure.server.faults.redirect.lock().unwrap() = Some(format!("http://localhost:{port}"));
        let error = failed(secure.revert(&Access { auth, ..secure.access() }));
        assert!(error.contains("redirects to http://localhost"), "{error}");
        assert!(plain.accept().is_err(), "somebody called without TLS");
    }
}

#[test]
fn a_proxy_is_gone_through_and_hears_no_password_of_the_repositorys() {
    let secure = Secure::new(None);
    let proxy = Proxy::start(Some("proxy-authorization: basic cHJveHk6b3Blbg=="));
    let by = |user: &str| {
        let proxy = Some(Secret::new(format!("http://{user}{}", proxy.address)));
        Access { proxy, ..secure.access() }
    };
    for user in ["", "proxy:wr0ng@"] {
        let error = failed(secure.revert(&by(user)));
        assert!(error.contains("proxy") && !error.contains("wr0ng"), "{error}");
    }
    assert!(secure.server.log().is_empty());
    pushed(secure.revert(&by("proxy:open@")));
    let port = secure.server.address.port();
    for head in proxy.heads() {
        assert!(head.starts_with(&format!("connect localhost:{port} ")), "{head}");
        assert!(!head.contains("\r\nauthorization"), "{head}");
    }
}

#[test]
fn a_proxy_serves_plain_http_too_unless_the_host_is_excepted() {
    let story = Story::new();
    let server = GitServer::start(story.world.dir.path());
    let proxy = Proxy::start(None);
    let auth = Auth::Basic { username: USER.into(), password: Secret::new(PASSWORD) };
    let url = server.url("repo.git");
    let access = |no_proxy: Option<&str>| Access {
        auth: auth.clone(),
        proxy: Some(Secret::new(format!("http://{}", proxy.address))),
        no_proxy: no_proxy.map(str::to_owned),
        ..Access::new(&url)
    };
    let revert =
        |access: &Access| Daemon::new().revert_with(&order(&url, &story.good, &story.bad), access, WITHIN);
    for no_proxy in ["127.0.0.1", "elsewhere, 127.0.0.0/8", "*"] {
        revert(&access(Some(no_proxy)));
        assert!(proxy.heads().is_empty(), "{no_proxy}");
    }
    already(revert(&access(Some("elsewhere"))));
    assert!(proxy.heads()[0].starts_with(&format!("get {url}/info/refs")), "{:?}", proxy.heads());

    let gone = Access { proxy: Some(Secret::new("http://u:s3cret@127.0.0.1:1")), ..access(None) };
    let error = failed(revert(&gone));
    assert!(error.contains("no answer from") && !error.contains("s3cret"), "{error}");
}
