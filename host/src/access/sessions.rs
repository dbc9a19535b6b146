//! Sessions: what a page has instead of a token.

use std::collections::HashMap;
use std::time::Instant;

use super::SESSION_IDLE;

/// Sessions at once. When one more begins, the one that was not used for the longest time ends.
const CAPACITY: usize = 256;

/// Sessions of one token at once. When one more begins, the one of that token that was not used for the longest time ends, so that one bearer who
/// begins sessions without end ends nobody else's.
const PER_TOKEN: usize = 32;

/// Names a session: the hash of its secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionId(pub(super) [u8; 32]);

/// Nothing of it belongs into a log.
impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionId")
    }
}

/// By the hash of the session's secret. Looking one up takes a time that depends on that hash, of which nobody outside can choose or learn a bit.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<SessionId, Session>);

#[derive(Debug)]
struct Session {
    /// The hash of the token that it was given for: what that token may do, or whether it is still known, is looked up each time.
    token: [u8; 32],
    used_at: Instant,
}

impl Sessions {
    pub(super) fn begin(&mut self, session: SessionId, token: [u8; 32], now: Instant) {
        self.forget_idle(now);
        let of_token = |session: &Session| session.token == token;
        while self.0.values().filter(|session| of_token(session)).count() >= PER_TOKEN {
            self.end_idlest(of_token);
        }
        if self.0.len() >= CAPACITY && !self.end_idlest(of_token) {
            self.end_idlest(|_| true);
        }
        self.0.insert(session, Session { token, used_at: now });
    }

    /// The token of a session that is used now.
    pub(super) fn touch(&mut self, session: &SessionId, now: Instant) -> Option<[u8; 32]> {
        self.forget_idle(now);
        let session = self.0.get_mut(session)?;
        session.used_at = now;
        Some(session.token)
    }

    /// Whether what began with a session may go on. An open socket or stream uses its session, so that one is never idle.
    pub(super) fn goes_on(&mut self, session: &SessionId, now: Instant) -> bool {
        match self.0.get_mut(session) {
            Some(session) => {
                session.used_at = now;
                true
            }
            None => false,
        }
    }

    pub(super) fn end(&mut self, session: &SessionId, now: Instant) -> Option<[u8; 32]> {
        self.forget_idle(now);
        self.0.remove(session).map(|session| session.token)
    }

    /// Ends the one of these that was not used for the longest time. False if there is none.
    fn end_idlest(&mut self, among: impl Fn(&Session) -> bool) -> bool {
        let idlest = self
            .0
            .iter()
            .filter(|(_, session)| among(session))
            .min_by_key(|(_, session)| session.used_at)
            .map(|(key, _)| *key);
        idlest.is_some_and(|key| self.0.remove(&key).is_some())
    }

    fn forget_idle(&mut self, now: Instant) {
        self.0
            .retain(|_, session| now.saturating_duration_since(session.used_at) < SESSION_IDLE);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token(number: usize) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn key(number: usize) -> SessionId {
        SessionId(token(number))
    }

    #[test]
    fn a_session_that_is_not_used_for_twelve_hours_is_over() {
        let start = Instant::now();
        let mut sessions = Sessions::default();
        sessions.begin(key(1), token(100), start);
        let almost = SESSION_IDLE - Duration::from_secs(1);
        assert_eq!(sessions.touch(&key(1), start + almost), Some(token(100)));
        assert_eq!(sessions.touch(&key(1), start + almost + almost), Some(token(100)));
        assert_eq!(
            sessions.touch(&key(1), start + almost + almost + SESSION_IDLE),
            None
        );
    }

    #[test]
    fn what_goes_on_keeps_its_session() {
        let start = Instant::now();
        let mut sessions = Sessions::default();
        sessions.begin(key(1), token(100), start);
        let almost = SESSION_IDLE - Duration::from_secs(1);
        assert!(sessions.goes_on(&key(1), start + almost));
        assert!(sessions.touch(&key(1), start + almost + almost).is_some());
        sessions.end(&key(1), start + almost + almost);
        assert!(!sessions.goes_on(&key(1), start + almost + almost));
    }

    #[test]
    fn many_sessions_of_one_token_cost_nobody_elses() {
        let start = Instant::now();
        let mut sessions = Sessions::default();
        sessions.begin(key(0), token(100), start);
        for number in 1..=CAPACITY * 2 {
            let later = start + Duration::from_millis(number as u64);
            sessions.begin(key(number), token(101), later);
        }
        let end = start + Duration::from_secs(60);
        assert_eq!(sessions.touch(&key(0), end), Some(token(100)));
        let left = (1..=CAPACITY * 2).filter(|number| sessions.touch(&key(*number), end).is_some());
        let left: Vec<_> = left.collect();
        assert_eq!(left, (CAPACITY * 2 - 31..=CAPACITY * 2).collect::<Vec<_>>());
    }

    #[test]
    fn the_one_too_many_costs_the_one_that_was_idle_longest() {
        let start = Instant::now();
        let mut sessions = Sessions::default();
        for number in 0..CAPACITY {
            sessions.begin(
                key(number),
                token(1000 + number / 8),
                start + Duration::from_millis(number as u64),
            );
        }
        let later = start + Duration::from_secs(60);
        assert!(sessions.touch(&key(0), later).is_some());
        sessions.begin(key(CAPACITY), token(999), later);
        assert_eq!(sessions.0.len(), CAPACITY);
        assert!(sessions.touch(&key(0), later).is_some());
        assert!(sessions.touch(&key(1), later).is_none());
        assert!(sessions.touch(&key(CAPACITY), later).is_some());
    }
}
