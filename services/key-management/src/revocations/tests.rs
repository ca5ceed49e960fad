use super::*;
use chrono::TimeDelta;
use migrations::keys::Migrator;

#[tokio::test]
async fn what_no_living_token_can_need_is_deleted_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let file = folder.path().join("keys.sqlite");
    let store = Store::sqlite::<Migrator>(&file, &clock).await.unwrap();
    let revoker = Revoker::new(store.clone(), clock.clone());
    let there = async || {
        let rows = store.tail::<Entity>().next().await.unwrap();
        rows.into_iter().map(|row| row.subject).collect::<Vec<_>>()
    };
    for number in 0..3 {
        revoker.revoke(format!("token:{number}")).await.unwrap();
    }
    clock.advance(MAX_TOKEN_LIFE - TimeDelta::minutes(1));
    revoker.revoke("token:3".to_owned()).await.unwrap();
    assert_eq!(revoker.purge().await.unwrap(), 0);
    assert_eq!(there().await.len(), 4);
    clock.advance(TimeDelta::minutes(2));
    assert_eq!(revoker.purge().await.unwrap(), 3);
    assert_eq!(there().await, ["token:3"]);
    // What comes after it is not taken for what was deleted.
    revoker.revoke("token:4".to_owned()).await.unwrap();
    assert_eq!(there().await, ["token:3", "token:4"]);
}
