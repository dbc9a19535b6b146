//! Who is there, and what they did: tokens, sessions, failed attempts, and the record of it all.
//!
//! ```text
//! bearer token --\
//! session cookie --> Guard --> Actor {name, role} --> the route's or message's role (autobench_core::access) --> handler
//! auth message --/      \--> Audit: file and log
//! ```
//!
//! A token is known by its SHA-256 alone, and so is a session: neither the configuration nor a dump of this process's tables opens a door. The
//! token that somebody shows is compared with all that are known, each in constant time. It knows nothing of HTTP or sockets.
//!
//! Without any token configured, which the configuration allows on loopback only, everybody is [`LOCAL`], an admin.

mod audit;
mod failures;
mod sessions;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use autobench_core::access::Role;
use parking_lot::{Mutex, RwLock};
use subtle::ConstantTimeEq;

use crate::config::AuthConfig;
pub use audit::{Audit, AuditEntry, CHANNEL, Outcome};
use failures::Failures;
use sessions::Sessions;
pub use token::{NewToken, digest};

/// The name of whoever comes while no token is configured.
pub const LOCAL: &str = "local";

/// How long a session lives without being used.
pub const SESSION_IDLE: Duration = Duration::from_secs(12 * 3600);

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The token's name, or [`LOCAL`].
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// Which token of that name: another one under the old name is somebody else.
    generation: u64,
}

impl Actor {
    /// Whoever comes while no token is configured.
    pub fn local() -> Self {
        Self {
            name: LOCAL.into(),
            role: Role::Admin,
            generation: 0,
        }
    }
}

/// What a request shows of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The token of an `Authorization` header.
    pub bearer: Option<&'a str>,
    /// The session's secret of a cookie.
    pub session: Option<&'a str>,
}

/// Who that is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Somebody who is known; none if nothing was shown, or a session that is over.
    pub actor: Option<Actor>,
    /// Whether the token of the log ingest was shown.
    pub is_ingest: bool,
}

/// Why somebody is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The token is not known.
    WrongToken,
    /// It is not known, and so many such came from there that one more is to come after this time only.
    TooMany(Duration),
}

/// Knows who somebody is. Cheap to clone; every clone is the same guard.
#[derive(Debug, Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tokens: RwLock<Vec<Known>>,
    /// The newest token's generation.
    generation: AtomicU64,
    ingest: Option<[u8; 32]>,
    sessions: Mutex<Sessions>,
    /// Wrong tokens.
    failures: Mutex<Failures>,
    /// Attempts without any token. They bound only what is recorded: a program that was given none must not keep out its neighbours.
    strangers: Mutex<Failures>,
    audit: Audit,
}

#[derive(Debug, Clone)]
struct Known {
    actor: Actor,
    sha256: [u8; 32],
}

impl Guard {
    /// A guard that lets everybody in as [`LOCAL`] and records nothing.
    pub fn open() -> Self {
        Self::new(&AuthConfig::default(), None, Audit::nowhere())
    }

    /// A guard for these tokens. `ingest_token` is that of the log ingest, if it has one.
    pub fn new(auth: &AuthConfig, ingest_token: Option<&str>, audit: Audit) -> Self {
        let guard = Self {
            inner: Arc::new(Inner {
                tokens: RwLock::default(),
                generation: AtomicU64::new(0),
                ingest: ingest_token.map(digest),
                sessions: Mutex::default(),
                failures: Mutex::default(),
                strangers: Mutex::default(),
                audit,
            }),
        };
        guard.set_tokens(auth);
        guard
    }

    /// Other tokens are known from now on. Sessions of a token that is gone, or is another under the old name, end.
    pub fn set_tokens(&self, auth: &AuthConfig) {
        let mut tokens = self.inner.tokens.write();
        let known = auth.tokens.iter().map(|(name, token)| {
            let same = |known: &&Known| *known.actor.name == **name && known.sha256 == token.sha256;
            let generation = match tokens.iter().find(same) {
                Some(known) => known.actor.generation,
                None => self.inner.generation.fetch_add(1, Ordering::Relaxed) + 1,
            };
            Known {
                actor: Actor {
                    name: name.as_str().into(),
                    role: token.role,
                    generation,
                },
                sha256: token.sha256,
            }
        });
        let known = known.collect();
        *tokens = known;
    }

    /// Whether nobody needs a token.
    pub fn is_open(&self) -> bool {
        self.inner.tokens.read().is_empty()
    }

    /// Whether the log ingest has a token of its own.
    pub fn has_ingest_token(&self) -> bool {
        self.inner.ingest.is_some()
    }

    /// The record of what was done.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// Who shows these credentials. Nothing shown, and a session that is over, is nobody and no failure; a wrong token is one.
    pub fn identify(&self, shown: Credentials<'_>, from: IpAddr) -> Result<Identity, Refused> {
        let is_open = self.is_open();
        if let Some(token) = shown.bearer {
            let is_ingest = self.is_ingest(token);
            let actor = if is_open { Some(Actor::local()) } else { None };
            if is_ingest || is_open {
                return Ok(Identity { actor, is_ingest });
            }
            let actor = Some(self.authenticate(token, from)?);
            return Ok(Identity { actor, is_ingest });
        }
        let actor = if is_open {
            Some(Actor::local())
        } else {
            shown.session.and_then(|secret| self.of_session(secret))
        };
        Ok(Identity {
            actor,
            is_ingest: false,
        })
    }

    /// Whose token this is. A known one is taken whatever else came from its address: whoever guesses keeps out no neighbour. Failures are
    /// counted per address, and recorded.
    pub fn authenticate(&self, token: &str, from: IpAddr) -> Result<Actor, Refused> {
        if self.is_open() {
            return Ok(Actor::local());
        }
        match self.of_token(token) {
            Some(known) => Ok(known.actor),
            None => Err(self.wrong_token(from)),
        }
    }

    /// A token that nobody knows was shown: counted and recorded, unless there were too many already.
    pub fn wrong_token(&self, from: IpAddr) -> Refused {
        if let Some(wait) = self.inner.failures.lock().wait(from, Instant::now()) {
            return Refused::TooMany(wait);
        }
        self.failed(&self.inner.failures, from, "shows a token that is not known");
        Refused::WrongToken
    }

    /// Somebody whom nobody knows tried what takes a role.
    pub fn stranger(&self, from: IpAddr, what: &str) {
        self.failed(&self.inner.strangers, from, what);
    }

    /// A session for a token: its secret goes to the browser and is kept here as a hash only. None while nobody needs a token.
    pub fn begin_session(&self, token: &str, from: IpAddr) -> Result<(Actor, Option<String>), Refused> {
        let actor = self.authenticate(token, from)?;
        if self.is_open() {
            return Ok((actor, None));
        }
        let secret = NewToken::random().reveal();
        let sha256 = digest(token);
        self.inner
            .sessions
            .lock()
            .begin(digest(&secret), sha256, Instant::now());
        Ok((actor, Some(secret)))
    }

    /// Ends a session. Gives whose it was; none if it was over.
    pub fn end_session(&self, secret: &str) -> Option<Actor> {
        let sha256 = self.inner.sessions.lock().end(&digest(secret), Instant::now())?;
        self.of_digest(&sha256).map(|known| known.actor)
    }

    /// Whether this actor would still be let in. A token may have been taken out of the configuration, have another role there, or be another
    /// under the old name.
    pub fn still_knows(&self, actor: &Actor) -> bool {
        let tokens = self.inner.tokens.read();
        if tokens.is_empty() {
            return &*actor.name == LOCAL;
        }
        tokens.iter().any(|known| known.actor == *actor)
    }

    fn of_session(&self, secret: &str) -> Option<Actor> {
        let token = self
            .inner
            .sessions
            .lock()
            .touch(&digest(secret), Instant::now())?;
        self.of_digest(&token).map(|known| known.actor)
    }

    fn of_token(&self, token: &str) -> Option<Known> {
        self.of_digest(&digest(token))
    }

    /// Looks at every token, also behind the one that fits: how long it takes says nothing.
    fn of_digest(&self, sha256: &[u8; 32]) -> Option<Known> {
        let tokens = self.inner.tokens.read();
        let mut found = None;
        for known in tokens.iter() {
            if bool::from(known.sha256.ct_eq(sha256)) {
                found = Some(known.clone());
            }
        }
        found
    }

    fn is_ingest(&self, token: &str) -> bool {
        self.inner
            .ingest
            .is_some_and(|known| bool::from(known.ct_eq(&digest(token))))
    }

    fn failed(&self, counted: &Mutex<Failures>, from: IpAddr, what: &str) {
        // The one that fills the bucket is recorded as such, those behind it are not: nobody shall fill the record from outside.
        let noted = counted.lock().note(from, Instant::now());
        let detail = match noted {
            failures::Noted::Counted => None,
            failures::Noted::Full => Some("too many; further ones from there are not recorded for a while"),
            failures::Noted::Beyond => return,
        };
        self.inner.audit.record(&AuditEntry {
            actor: None,
            peer: Some(from),
            action: what,
            outcome: Outcome::Refused,
            detail,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenConfig;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn auth(tokens: &[(&str, &str, Role)]) -> AuthConfig {
        let token = |token: &str, role| TokenConfig {
            sha256: digest(token),
            role,
        };
        AuthConfig {
            tokens: tokens
                .iter()
                .map(|(name, secret, role)| ((*name).to_owned(), token(secret, *role)))
                .collect(),
        }
    }

    fn guard() -> Guard {
        let auth = auth(&[
            ("lab", "open sesame", Role::Operator),
            ("wall", "look", Role::Viewer),
        ]);
        Guard::new(&auth, Some("lines"), Audit::nowhere())
    }

    fn bearer(token: &str) -> Credentials<'_> {
        Credentials {
            bearer: Some(token),
            session: None,
        }
    }

    fn cookie(secret: &str) -> Credentials<'_> {
        Credentials {
            bearer: None,
            session: Some(secret),
        }
    }

    #[test]
    fn a_token_names_its_bearer_and_a_wrong_one_nobody() {
        let guard = guard();
        let lab = guard
            .identify(bearer("open sesame"), HERE)
            .unwrap()
            .actor
            .unwrap();
        assert_eq!((&*lab.name, lab.role), ("lab", Role::Operator));
        for wrong in ["", "open sesam", "open sesame ", "look\0"] {
            assert_eq!(guard.identify(bearer(wrong), HERE), Err(Refused::WrongToken));
        }
        assert_eq!(
            guard.identify(Credentials::default(), HERE),
            Ok(Identity::default())
        );
    }

    #[test]
    fn a_session_is_its_tokens_until_it_is_ended() {
        let guard = guard();
        let (actor, secret) = guard.begin_session("look", HERE).unwrap();
        let secret = secret.unwrap();
        assert_eq!(
            guard.identify(cookie(&secret), HERE).unwrap().actor,
            Some(actor.clone())
        );
        assert_eq!(guard.end_session(&secret), Some(actor));
        assert_eq!(guard.identify(cookie(&secret), HERE), Ok(Identity::default()));
        assert_eq!(guard.end_session(&secret), None);
        assert_eq!(guard.begin_session("wrong", HERE), Err(Refused::WrongToken));
    }

    #[test]
    fn a_token_that_is_taken_away_ends_its_sessions_and_a_new_role_holds_at_once() {
        let guard = guard();
        let (actor, secret) = guard.begin_session("open sesame", HERE).unwrap();
        let secret = secret.unwrap();
        assert!(guard.still_knows(&actor));
        guard.set_tokens(&auth(&[("lab", "open sesame", Role::Viewer)]));
        let now = guard.identify(cookie(&secret), HERE).unwrap().actor.unwrap();
        assert_eq!(now.role, Role::Viewer);
        assert!(!guard.still_knows(&actor));
        guard.set_tokens(&auth(&[("lab", "another", Role::Operator)]));
        assert_eq!(guard.identify(cookie(&secret), HERE), Ok(Identity::default()));
    }

    #[test]
    fn the_ingest_token_opens_the_ingest_and_nothing_else() {
        let guard = guard();
        let identity = guard.identify(bearer("lines"), HERE).unwrap();
        assert_eq!((identity.actor, identity.is_ingest), (None, true));
        let open = Guard::new(&AuthConfig::default(), Some("lines"), Audit::nowhere());
        assert!(open.identify(bearer("lines"), HERE).unwrap().is_ingest);
        assert!(!open.identify(bearer("other"), HERE).unwrap().is_ingest);
    }

    #[test]
    fn an_address_with_too_many_wrong_tokens_waits_and_the_others_do_not() {
        let guard = guard();
        let there: IpAddr = "192.0.2.9".parse().unwrap();
        let mut wrong = 0;
        while guard.authenticate("wrong", HERE) == Err(Refused::WrongToken) {
            wrong += 1;
            assert!(wrong < 1000);
        }
        assert_eq!(wrong, 10);
        assert!(matches!(
            guard.authenticate("wrong", HERE),
            Err(Refused::TooMany(_))
        ));
        assert_eq!(guard.authenticate("wrong", there), Err(Refused::WrongToken));
        // Whoever knows is kept out by nobody, and whoever shows nothing has failed at nothing.
        assert!(guard.authenticate("open sesame", HERE).is_ok());
        assert!(guard.identify(bearer("lines"), HERE).unwrap().is_ingest);
        assert_eq!(
            guard.identify(Credentials::default(), HERE),
            Ok(Identity::default())
        );
    }

    #[test]
    fn another_token_under_the_old_name_is_somebody_else() {
        let guard = guard();
        let former = guard.authenticate("open sesame", HERE).unwrap();
        let look = guard.authenticate("look", HERE).unwrap();
        guard.set_tokens(&auth(&[
            ("lab", "a new one", Role::Operator),
            ("wall", "look", Role::Viewer),
        ]));
        assert!(!guard.still_knows(&former));
        assert!(guard.still_knows(&look), "nothing changed for this one");
        assert!(guard.still_knows(&guard.authenticate("a new one", HERE).unwrap()));
    }

    #[test]
    fn without_tokens_everybody_is_local() {
        let guard = Guard::open();
        for shown in [Credentials::default(), bearer("x"), cookie("x")] {
            assert_eq!(guard.identify(shown, HERE).unwrap().actor, Some(Actor::local()));
        }
        assert_eq!(guard.begin_session("x", HERE), Ok((Actor::local(), None)));
    }
}
