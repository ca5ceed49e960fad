//! Passwords: hashed with argon2id, away from the threads that serve, and
//! only a few at a time, because each takes 19 MiB.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier};
use chassis::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// Stands in for the hash of a user who is not there or has no password, so
/// that such a login takes as long as any other. No password fits it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$8mR0d5FhU1sXo3c9vZk2QJw7yNqLbTgPfEaCiMxDuHs";

/// How many may wait for a turn; more than that would wait for seconds.
const WAITING: usize = 128;

/// A password in clear. Has no `Debug`, and is wiped when dropped.
pub(crate) struct Password(Zeroizing<String>);

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(Zeroizing::new(password))
    }
}

/// Hashes and verifies passwords. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// As many at a time as there are cores, and at least two.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
        Self {
            running: Arc::new(Semaphore::new(cores)),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// The hash of a new password, with its salt and cost, as a PHC string.
    pub(crate) async fn hash(&self, password: Password) -> Result<String> {
        self.run(move || {
            let hash = Argon2::default().hash_password(password.0.as_bytes());
            Ok(hash.map_err(Error::internal)?.to_string())
        })
        .await
    }

    /// Whether it is the password that was hashed; never, if there is no
    /// hash, though it takes as long.
    pub(crate) async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool> {
        self.run(move || {
            let right = verify(&password, hash.as_deref().unwrap_or(NOBODY))?;
            Ok(right && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turn().await?;
        // The turn ends with the work, also when the client has gone away.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(Error::internal)?
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Error::Exhausted {
            reason: "TOO_MANY_LOGINS",
            message: "too many logins at once; try again in a moment".into(),
        })?;
        let turn = self.running.clone().acquire_owned().await;
        turn.map_err(Error::internal)
    }
}

fn verify(password: &Password, hash: &str) -> Result<bool> {
    let hash = PasswordHash::new(hash).map_err(Error::internal)?;
    match Argon2::default().verify_password(password.0.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(error) => Err(Error::internal(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        text.to_owned().into()
    }

    #[tokio::test]
    async fn only_the_password_that_was_hashed_is_right() {
        let passwords = Passwords::new();
        let hash = passwords.hash(password("correct horse")).await.unwrap();
        let verify = |text: &str| passwords.verify(password(text), Some(hash.clone()));
        assert!(verify("correct horse").await.unwrap());
        assert!(!verify("correct horse ").await.unwrap());
        assert!(!verify("").await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_a_right_password() {
        assert!(!Passwords::new().verify(password(""), None).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_costs_as_much_as_anybody() {
        let hash = Passwords::new().hash(password("x")).await.unwrap();
        let cost = |phc: &str| {
            let hash = PasswordHash::new(phc).unwrap();
            let output = hash.hash.unwrap().len();
            (hash.algorithm, hash.version, hash.params, output)
        };
        assert_eq!(cost(NOBODY), cost(&hash));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_to_come_again() {
        let passwords = Passwords::new();
        let _all = passwords.waiting.clone().acquire_many_owned(128).await;
        let refused = passwords.verify(password("x"), None).await;
        assert!(matches!(refused, Err(Error::Exhausted { .. })));
    }
}
