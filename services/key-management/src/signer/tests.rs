use super::*;
use migrations::keys::Migrator;

/// Replicas on one database, and the clock of all.
struct Replicas {
    _folder: tempfile::TempDir,
    clock: Clock,
    store: Store,
    signers: [Signer; 2],
}

const DAY: TimeDelta = TimeDelta::days(1);

async fn replicas() -> Replicas {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let file = folder.path().join("keys.sqlite");
    let store = Store::sqlite::<Migrator>(&file, &clock).await.unwrap();
    Replicas {
        signers: [signer(&store, &clock, 1), signer(&store, &clock, 1)],
        _folder: folder,
        clock,
        store,
    }
}

fn signer(store: &Store, clock: &Clock, master: u8) -> Signer {
    Signer::new(
        store.clone(),
        Arc::new(MasterKey::new(&[master; 32]).unwrap()),
        clock.clone(),
        &Settings::default(),
        Revocations::default(),
    )
}

impl Replicas {
    /// All look at once, as their tasks do.
    async fn look(&self) {
        let [one, other] = &self.signers;
        let (one, other) = tokio::join!(one.look(), other.look());
        one.unwrap();
        other.unwrap();
    }

    /// The key with which all sign.
    async fn signs(&self) -> i64 {
        let [one, other] = &self.signers;
        let (one, other) = (one.signing().await.unwrap(), other.signing().await.unwrap());
        assert_eq!(one.0.kid, other.0.kid, "all sign with the same");
        one.0.number
    }

    async fn published(&self) -> usize {
        self.signers[0].public().await.unwrap().len()
    }
}

#[tokio::test]
async fn replicas_rotate_on_schedule_to_the_same_key_and_forget_the_old_one() {
    let replicas = replicas().await;
    replicas.look().await;
    assert_eq!((replicas.signs().await, replicas.published().await), (1, 1));

    replicas.clock.advance(DAY * 90 - TimeDelta::minutes(11));
    replicas.look().await;
    assert_eq!(all(&replicas.store).await.unwrap().len(), 1, "it is early");

    replicas.clock.advance(TimeDelta::minutes(2));
    replicas.look().await;
    assert_eq!((replicas.signs().await, replicas.published().await), (1, 2));

    replicas.clock.advance(TimeDelta::minutes(10));
    assert_eq!((replicas.signs().await, replicas.published().await), (2, 2));
    replicas.look().await;
    assert_eq!(
        all(&replicas.store).await.unwrap().len(),
        2,
        "one of both made it"
    );

    replicas.clock.advance(TimeDelta::minutes(70));
    replicas.look().await;
    assert_eq!((replicas.signs().await, replicas.published().await), (2, 1));
    replicas.look().await;
    let keys = all(&replicas.store).await.unwrap();
    let left: Vec<_> = keys.iter().map(|key| !key.wrapped.is_empty()).collect();
    assert_eq!(
        left,
        [false, true],
        "the private half of the old one is gone"
    );
}

#[tokio::test]
async fn a_key_that_another_master_key_wrapped_does_not_stop_the_one_before() {
    let replicas = replicas().await;
    replicas.look().await;
    let other = signer(&replicas.store, &replicas.clock, 2);
    other.make(2, replicas.clock.now()).await.unwrap();
    replicas.look().await;
    assert_eq!(replicas.signs().await, 1);
}
