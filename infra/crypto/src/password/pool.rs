//! The bounded pool in which passwords are hashed: a flood of log-ins queues up here and not on the async threads.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use keyrealm_base::Random;
use tokio::sync::oneshot;

use super::PasswordHash;
use crate::SecretBytes;

/// Longest password that is hashed, in bytes; more is only work for nothing.
const MAX_PASSWORD: usize = 1024;

/// Each with where the answer goes.
enum Job {
    Verify(PasswordHash, SecretBytes, oneshot::Sender<bool>),
    Create([u8; 32], SecretBytes, oneshot::Sender<PasswordHash>),
}

impl Job {
    fn run(self) {
        // Whoever asked may be gone: then the work is saved.
        match self {
            Self::Verify(hash, password, reply) if !reply.is_closed() => {
                let _ = reply.send(hash.matches(&password));
            }
            Self::Create(salt, password, reply) if !reply.is_closed() => {
                let _ = reply.send(PasswordHash::salted(salt, &password));
            }
            Self::Verify(..) | Self::Create(..) => {}
        }
    }
}

/// Why a password was not checked or hashed.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum PasswordPoolError {
    /// The queue is full: answer 503 with `Retry-After`.
    #[error("too many log-ins are waiting; try again in a few seconds")]
    Busy,
    /// The password is longer than any that is ever checked.
    #[error("the password is longer than {MAX_PASSWORD} bytes")]
    TooLong,
    /// The threads could not be started.
    #[error("cannot start the password threads: {0}")]
    Start(String),
}

/// A few threads with a bounded queue. Dropping the last handle ends them.
#[derive(Clone)]
pub struct PasswordPool {
    jobs: mpsc::SyncSender<Job>,
}

impl PasswordPool {
    /// Starts `threads` threads; at most `queue` passwords wait.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(threads: usize, queue: usize) -> Result<Self, PasswordPoolError> {
        let (jobs, receiver) = mpsc::sync_channel::<Job>(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        for index in 0..threads.max(1) {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new()
                .name(format!("password-{index}"))
                .spawn(move || work(&receiver))
                .map_err(|error| PasswordPoolError::Start(error.to_string()))?;
        }
        Ok(Self { jobs })
    }

    /// Whether the password belongs to the hash. A password over 1024 bytes never does.
    ///
    /// # Errors
    /// [`PasswordPoolError::Busy`] when the queue is full.
    pub async fn verify(&self, hash: PasswordHash, password: SecretBytes) -> Result<bool, PasswordPoolError> {
        if password.expose().len() > MAX_PASSWORD {
            return Ok(false);
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Verify(hash, password, reply), answer).await
    }

    /// Hashes a password with a fresh salt.
    ///
    /// # Errors
    /// [`PasswordPoolError::TooLong`] for a password over 1024 bytes, [`PasswordPoolError::Busy`] when the queue is full.
    pub async fn create(&self, password: SecretBytes, random: &dyn Random) -> Result<PasswordHash, PasswordPoolError> {
        if password.expose().len() > MAX_PASSWORD {
            return Err(PasswordPoolError::TooLong);
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Create(random.bytes(), password, reply), answer).await
    }

    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Result<T, PasswordPoolError> {
        self.jobs.try_send(job).map_err(|_| PasswordPoolError::Busy)?;
        answer.await.map_err(|_| PasswordPoolError::Busy)
    }
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // Only one thread waits inside the lock, and it holds nothing else.
        let job = match jobs.lock() {
            Ok(receiver) => receiver.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        job.run();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    #[tokio::test]
    async fn answers_and_refuses_when_full() {
        let pool = PasswordPool::start(1, 1).unwrap();
        let hash = PasswordHash::create(&SecretBytes::copy_of(b"pw"), &SystemRandom);
        assert_eq!(pool.verify(hash.clone(), SecretBytes::copy_of(b"pw")).await, Ok(true));
        assert_eq!(pool.verify(hash.clone(), SecretBytes::copy_of(b"no")).await, Ok(false));
        assert_eq!(pool.verify(hash.clone(), SecretBytes::new(vec![b'x'; 2000])).await, Ok(false));
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (pool, hash) = (pool.clone(), hash.clone());
            set.spawn(async move { pool.verify(hash, SecretBytes::copy_of(b"pw")).await });
        }
        let answers = set.join_all().await;
        assert!(answers.contains(&Ok(true)) && answers.contains(&Err(PasswordPoolError::Busy)));
        assert!(!answers.contains(&Ok(false)));
    }

    #[tokio::test]
    async fn hashes_with_a_salt_of_its_own_and_within_the_same_bounds() {
        let pool = PasswordPool::start(1, 1).unwrap();
        let secret = |text: &[u8]| SecretBytes::copy_of(text);
        let first = pool.create(secret(b"pw"), &SystemRandom).await.ok().unwrap();
        let second = pool.create(secret(b"pw"), &SystemRandom).await.ok().unwrap();
        assert!(first != second && first.matches(&secret(b"pw")) && !first.matches(&secret(b"no")));
        assert!(first.to_string().parse::<PasswordHash>().is_ok());
        let long = pool.create(SecretBytes::new(vec![b'x'; 1025]), &SystemRandom).await.err();
        assert_eq!(long, Some(PasswordPoolError::TooLong));
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let pool = pool.clone();
            set.spawn(async move { pool.create(SecretBytes::copy_of(b"pw"), &SystemRandom).await.err() });
        }
        let answers = set.join_all().await;
        assert!(answers.contains(&None) && answers.contains(&Some(PasswordPoolError::Busy)));
    }
}
