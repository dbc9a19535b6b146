//! Who is there, and what they did: tokens, sessions, failed attempts, and the record of it all.
//!
//! ```text
//! bearer token --\
//! session cookie --> Guard --> Actor {name, role} --> the route's or message's role (autobench_core::access) --> handler
//! auth message --/      \--> Audit: file and log
//! ```
//!
//! A token is known by its SHA-256 alone, and so is a session: neither the configuration nor a dump of this process's tables opens a door. The
//! token that somebody shows is compared with all that are known, each in constant time, unless too many wrong ones came from its address: then it
//! is not looked at, so that whoever guesses learns nothing. It knows nothing of HTTP or sockets.
//!
//! Without any token configured, which the configuration allows on loopback only, everybody is [`LOCAL`], an admin.

mod audit;
mod failures;
mod quota;
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
pub use audit::{Audit, AuditEntry, CHANNEL, Outcome, command_action};
use failures::Failures;
pub(crate) use failures::{network_of, share_of};
use sessions::{SessionId, Sessions};
pub use token::{NewToken, digest};

/// The name of whoever comes while no token is configured.
pub const LOCAL: &str = "local";

/// Fewest characters of a token. One that is shorter opens nothing, whatever the configuration has: short ones are guessed.
pub const TOKEN_CHARS_MIN: usize = 16;

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
    /// The session that was shown instead of the token. What began with it ends with it.
    session: Option<SessionId>,
}

impl Actor {
    /// Whoever comes while no token is configured.
    pub fn local() -> Self {
        Self {
            name: LOCAL.into(),
            role: Role::Admin,
            generation: 0,
            session: None,
        }
    }

    /// The same somebody, as a session has it.
    fn in_session(self, session: SessionId) -> Self {
        Self {
            session: Some(session),
            ..self
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
    /// So many that are not known came from there that none is looked at before this time is over.
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
                    session: None,
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
        if self.is_open() {
            let may_look = || self.inner.failures.lock().wait(from, Instant::now()).is_none();
            return Ok(Identity {
                actor: Some(Actor::local()),
                // Whoever shows another one is told so where the ingest's is asked for.
                is_ingest: shown.bearer.is_some_and(|token| self.is_ingest(token)) && may_look(),
            });
        }
        if let Some(token) = shown.bearer {
            return self.attempt(from, || {
                let is_ingest = self.is_ingest(token);
                let actor = if is_ingest {
                    None
                } else {
                    Some(self.of_token(token)?.actor)
                };
                Ok(Identity { actor, is_ingest })
            });
        }
        Ok(Identity {
            actor: shown.session.and_then(|secret| self.of_session(secret)),
            is_ingest: false,
        })
    }

    /// Whose token this is.
    pub fn authenticate(&self, token: &str, from: IpAddr) -> Result<Actor, Refused> {
        if self.is_open() {
            return Ok(Actor::local());
        }
        self.attempt(from, || Ok(self.of_token(token)?.actor))
    }

    /// A token that nobody knows was shown: counted and recorded, unless there were too many already.
    pub fn wrong_token(&self, from: IpAddr) -> Refused {
        match self.attempt::<()>(from, || Err(Unknown)) {
            Err(refused) => refused,
            Ok(()) => Refused::WrongToken,
        }
    }

    /// Looks at a token. Failures are counted per address and recorded; while there are too many of them, no token from there is looked at, so
    /// that a right one is answered as a wrong one. Sessions are not touched by it, and neither is what is open already.
    fn attempt<T>(&self, from: IpAddr, look: impl FnOnce() -> Result<T, Unknown>) -> Result<T, Refused> {
        let now = Instant::now();
        let mut failures = self.inner.failures.lock();
        if let Some(wait) = failures.wait(from, now) {
            drop(failures);
            self.inner.audit.leave_out(from);
            return Err(Refused::TooMany(wait));
        }
        let found = look();
        if let Ok(found) = found {
            return Ok(found);
        }
        failures.note(from, now);
        let is_last = failures.wait(from, now).is_some();
        drop(failures);
        self.inner.audit.record(&AuditEntry {
            actor: None,
            peer: Some(from),
            action: "shows a token that is not known",
            outcome: Outcome::Refused,
            detail: is_last.then_some("too many; no token from there is looked at for a while"),
        });
        Err(Refused::WrongToken)
    }

    /// Somebody whom nobody knows tried what takes a role.
    pub fn stranger(&self, from: IpAddr, what: &str) {
        self.inner.audit.record(&AuditEntry {
            actor: None,
            peer: Some(from),
            action: what,
            outcome: Outcome::Refused,
            detail: None,
        });
    }

    /// A session for a token: its secret goes to the browser and is kept here as a hash only. None while nobody needs a token.
    pub fn begin_session(&self, token: &str, from: IpAddr) -> Result<(Actor, Option<String>), Refused> {
        let actor = self.authenticate(token, from)?;
        if self.is_open() {
            return Ok((actor, None));
        }
        let secret = NewToken::random().reveal();
        let session = SessionId(digest(&secret));
        let mut sessions = self.inner.sessions.lock();
        sessions.begin(session, digest(token), Instant::now());
        Ok((actor.in_session(session), Some(secret)))
    }

    /// Ends a session. Gives whose it was; none if it was over.
    pub fn end_session(&self, secret: &str) -> Option<Actor> {
        let session = SessionId(digest(secret));
        let sha256 = self.inner.sessions.lock().end(&session, Instant::now())?;
        self.of_digest(&sha256)
            .map(|known| known.actor.in_session(session))
    }

    /// Whether this actor would still be let in: see [`Guard::why_over`].
    pub fn still_knows(&self, actor: &Actor) -> bool {
        self.why_over(actor).is_none()
    }

    /// Why this actor would not be let in any more. A token may have been taken out of the configuration, have another role there, or be another
    /// under the old name; a session may have ended.
    pub fn why_over(&self, actor: &Actor) -> Option<&'static str> {
        let tokens = self.inner.tokens.read();
        let is_known = match tokens.is_empty() {
            true => &*actor.name == LOCAL,
            false => tokens.iter().any(|known| known.is(actor)),
        };
        drop(tokens);
        if !is_known {
            return Some("the token is no longer what it was");
        }
        let session = actor.session?;
        let goes_on = self.inner.sessions.lock().goes_on(&session, Instant::now());
        (!goes_on).then_some("the session has ended")
    }

    fn of_session(&self, secret: &str) -> Option<Actor> {
        let session = SessionId(digest(secret));
        let token = self.inner.sessions.lock().touch(&session, Instant::now())?;
        self.of_digest(&token)
            .map(|known| known.actor.in_session(session))
    }

    fn of_token(&self, token: &str) -> Result<Known, Unknown> {
        self.of_digest(&digest(token))
            .filter(|_| is_long_enough(token))
            .ok_or(Unknown)
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
            && is_long_enough(token)
    }
}

/// A token was looked at and is not known.
struct Unknown;

impl Known {
    fn is(&self, actor: &Actor) -> bool {
        let Actor {
            name,
            role,
            generation,
            session: _,
        } = actor;
        (&self.actor.name, self.actor.role, self.actor.generation) == (name, *role, *generation)
    }
}

/// Whether a token has the characters that one has to have.
pub fn is_long_enough(token: &str) -> bool {
    token.chars().count() >= TOKEN_CHARS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenConfig;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OPEN: &str = "open sesame, I say";
    const LOOK: &str = "look, do not touch";
    const LINES: &str = "lines of a sidecar";

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
        let auth = auth(&[("lab", OPEN, Role::Operator), ("wall", LOOK, Role::Viewer)]);
        Guard::new(&auth, Some(LINES), Audit::nowhere())
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
        let lab = guard.identify(bearer(OPEN), HERE).unwrap().actor.unwrap();
        assert_eq!((&*lab.name, lab.role), ("lab", Role::Operator));
        for wrong in [
            "",
            "open sesame, I sa",
            "open sesame, I say ",
            "look, do not touch\0",
        ] {
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
        let (actor, secret) = guard.begin_session(LOOK, HERE).unwrap();
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
        let (actor, secret) = guard.begin_session(OPEN, HERE).unwrap();
        let secret = secret.unwrap();
        assert!(guard.still_knows(&actor));
        guard.set_tokens(&auth(&[("lab", OPEN, Role::Viewer)]));
        let now = guard.identify(cookie(&secret), HERE).unwrap().actor.unwrap();
        assert_eq!(now.role, Role::Viewer);
        assert!(!guard.still_knows(&actor));
        guard.set_tokens(&auth(&[("lab", "another", Role::Operator)]));
        assert_eq!(guard.identify(cookie(&secret), HERE), Ok(Identity::default()));
    }

    #[test]
    fn the_ingest_token_opens_the_ingest_and_nothing_else() {
        let guard = guard();
        let identity = guard.identify(bearer(LINES), HERE).unwrap();
        assert_eq!((identity.actor, identity.is_ingest), (None, true));
        let open = Guard::new(&AuthConfig::default(), Some(LINES), Audit::nowhere());
        assert!(open.identify(bearer(LINES), HERE).unwrap().is_ingest);
        assert!(!open.identify(bearer("other"), HERE).unwrap().is_ingest);
    }

    #[test]
    fn an_address_with_too_many_wrong_tokens_learns_nothing_and_the_others_do_not_wait() {
        let guard = guard();
        let session = guard.begin_session(OPEN, HERE).unwrap().1.unwrap();
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
        // Right ones are not told from wrong ones, and elsewhere nobody hears of it.
        for right in [OPEN, LINES] {
            assert!(matches!(
                guard.identify(bearer(right), HERE),
                Err(Refused::TooMany(_))
            ));
            assert!(guard.identify(bearer(right), there).is_ok());
        }
        assert_eq!(guard.authenticate("wrong", there), Err(Refused::WrongToken));
        // A session is no token, and whoever shows nothing has failed at nothing.
        assert!(guard.identify(cookie(&session), HERE).unwrap().actor.is_some());
        assert_eq!(
            guard.identify(Credentials::default(), HERE),
            Ok(Identity::default())
        );
    }

    #[test]
    fn another_token_under_the_old_name_is_somebody_else() {
        let guard = guard();
        let former = guard.authenticate(OPEN, HERE).unwrap();
        assert!(guard.still_knows(&former));
        let look = guard.authenticate(LOOK, HERE).unwrap();
        guard.set_tokens(&auth(&[
            ("lab", "a new one for the lab", Role::Operator),
            ("wall", LOOK, Role::Viewer),
        ]));
        assert!(!guard.still_knows(&former));
        assert!(guard.still_knows(&look), "nothing changed for this one");
        assert!(guard.still_knows(&guard.authenticate("a new one for the lab", HERE).unwrap()));
    }

    #[test]
    fn a_token_of_fewer_than_sixteen_characters_opens_nothing() {
        let short = "fifteen letters";
        assert_eq!(short.len() + 1, TOKEN_CHARS_MIN);
        let guard = Guard::new(
            &auth(&[("lab", short, Role::Operator)]),
            Some("short"),
            Audit::nowhere(),
        );
        for token in [short, "short"] {
            assert_eq!(guard.identify(bearer(token), HERE), Err(Refused::WrongToken));
        }
        assert_eq!(guard.begin_session(short, HERE), Err(Refused::WrongToken));
    }

    #[test]
    fn what_began_with_a_session_is_over_with_it() {
        let guard = guard();
        let (_, secret) = guard.begin_session(LOOK, HERE).unwrap();
        let secret = secret.unwrap();
        let by_session = guard.identify(cookie(&secret), HERE).unwrap().actor.unwrap();
        let by_token = guard.authenticate(LOOK, HERE).unwrap();
        assert!(guard.still_knows(&by_session));
        guard.end_session(&secret);
        assert_eq!(guard.why_over(&by_session), Some("the session has ended"));
        assert!(guard.still_knows(&by_token));
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
