//! Brings libgit2 together with our own transports, and sets what it keeps for the whole process.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use git2::transport::Transport;
use git2::{ConfigLevel, Remote};

use super::access::Access;
use super::advert::Wanted;
use super::error::{Class, Failure};
use super::{http, ssh};

/// What libgit2 may keep of objects, as they are on the disk: a small one takes five times of that in memory, and a
/// walk over years of commits asks for none of them twice.
const OBJECT_CACHE_BYTES: libc_ssize = 4 * 1024 * 1024;
/// How much of a pack file libgit2 maps at a time, and of all of them.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
const MAPPED_BYTES: usize = 32 * 1024 * 1024;

/// How much longer the pause before the next try may get each time: the length of a push by somebody else.
const PAUSE_STEP: Duration = Duration::from_millis(20);
/// The longest such pause: there is a minute for all of it.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long a server may take to begin an answer, so that a dead one is known before the deadline of a whole fetch.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(30);

#[allow(non_camel_case_types, reason = "the name of C's type, without a dependency for it")]
type libc_ssize = isize;

/// One call of ours: what it may use, until when, and why it failed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) access: Access,
    pub(crate) deadline: Instant,
    /// How long a server may be silent before it answers at all.
    pub(crate) first_byte: Duration,
    failure: Mutex<Option<Failure>>,
    wanted: Mutex<Wanted>,
    pub(crate) http: OnceLock<reqwest::Client>,
    pub(crate) ssh: OnceLock<ssh::Files>,
}

thread_local! {
    // libgit2 makes transports on the thread that calls it, and tells them nothing but a URL.
    static CURRENT: RefCell<Option<Arc<Session>>> = const { RefCell::new(None) };
}

/// Keeps a session as the thread's current one.
pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(Option::take);
    }
}

impl Session {
    pub(crate) fn new(access: &Access, deadline: Instant) -> Arc<Self> {
        let (failure, wanted, first_byte) = (Mutex::default(), Mutex::default(), FIRST_BYTE_MAX);
        let (http, ssh) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { access: access.clone(), deadline, first_byte, failure, wanted, http, ssh })
    }

    /// Makes this the session of all transports that libgit2 makes on this thread.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        CURRENT.with_borrow_mut(|current| *current = Some(Arc::clone(self)));
        Entered(())
    }

    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which references the next connection is about, and forgets what went wrong before: a connection that
    /// broke off after it was of use explains nothing later.
    pub(crate) fn begin(&self, wanted: Wanted) {
        *self.failure() = None;
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    /// The references that this connection is about.
    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes why a transport gave up; the first reason counts.
    pub(crate) fn fail(&self, mut failure: Failure) -> Failure {
        failure.message = self.access.hush(&failure.message);
        self.failure().get_or_insert(failure).clone()
    }

    /// Turns libgit2's error into ours, by the transport's own reason if there is one.
    pub(crate) fn explain(&self, error: &git2::Error) -> Failure {
        let failure = self.failure().take().unwrap_or_else(|| Failure::from_git2(error));
        Failure { message: self.access.hush(&failure.message), ..failure }
    }

    /// The same for a transport that is used without libgit2.
    pub(crate) fn explain_io(&self, error: &std::io::Error) -> Failure {
        self.failure().take().unwrap_or_else(|| Failure::new(Class::Other, error.to_string()))
    }

    /// Waits a moment before the next try, longer each time and never as long as somebody else who tries too.
    pub(crate) fn pause(&self, attempts: u32) {
        let longest = PAUSE_STEP.saturating_mul(attempts).min(PAUSE_MAX);
        // The standard library's only source of chance: each of these has keys of its own.
        let chance = RandomState::new().build_hasher().finish() % 1000;
        let pause = longest.mul_f64(f64::from(u16::try_from(chance).unwrap_or_default()) / 1000.0);
        std::thread::sleep(pause.min(self.deadline.saturating_duration_since(Instant::now())));
    }

    /// Whether the time is up.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// The runtime of all network traffic, apart from the daemon's: libgit2 calls us on blocking threads.
pub(crate) fn runtime() -> Result<&'static tokio::runtime::Runtime, Failure> {
    static RUNTIME: OnceLock<Result<tokio::runtime::Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("lastgood-git").enable_all();
        builder.build().map_err(|e| e.to_string())
    });
    made.as_ref().map_err(|e| Failure::new(Class::Other, format!("no runtime for network traffic: {e}")))
}

/// Prepares libgit2, once for the process and before any other use of it.
pub(crate) fn init() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    // reqwest panics without a provider for TLS; the program may have installed this one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    DONE.get_or_init(|| set_up().map_err(|e| e.message().to_owned())).clone()
}

#[allow(
    unsafe_code,
    reason = "libgit2's options are global; they are set once, before any other thread uses it"
)]
fn set_up() -> Result<(), git2::Error> {
    // SAFETY: `init` runs this once, and every use of libgit2 in this crate goes through `Git`, which calls `init`
    // first; so no other thread reads these globals while they are written.
    unsafe {
        // A person's or an image's own configuration must not rewrite URLs, and an unreadable one breaks everything.
        for level in [ConfigLevel::System, ConfigLevel::Global, ConfigLevel::XDG, ConfigLevel::ProgramData] {
            git2::opts::set_search_path(level, "")?;
        }
        git2::opts::set_cache_max_size(OBJECT_CACHE_BYTES)?;
        git2::opts::set_mwindow_size(WINDOW_BYTES)?;
        git2::opts::set_mwindow_mapped_limit(MAPPED_BYTES)?;
        for scheme in ["http", "https"] {
            git2::transport::register(scheme, |remote| transport(remote, true))?;
        }
        for scheme in ["ssh", "git+ssh", "ssh+git"] {
            git2::transport::register(scheme, |remote| transport(remote, false))?;
        }
    }
    Ok(())
}

fn transport(remote: &Remote<'_>, http: bool) -> Result<Transport, git2::Error> {
    let Some(session) = CURRENT.with_borrow(Clone::clone) else {
        return Err(git2::Error::from_str("a transport was made outside of a session; please report this"));
    };
    if http {
        Transport::smart(remote, true, http::Http::new(session))
    } else {
        Transport::smart(remote, false, ssh::Ssh::new(session))
    }
}
