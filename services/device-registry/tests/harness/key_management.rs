//! Key management beside the registry, for what asks it: on a database of its
//! own, with a master key of its own.

use std::path::Path;

use chassis::Clock;
use chassis::peer::{Peers, Stack};
use chassis::service_identity::{PrivateKey, ServiceIdentity};
use chassis::store::Store;
use chassis::token::Verifier;
use key_management::{MasterKey, Migrator, Settings};

pub async fn stack(folder: &Path, clock: Clock, peers: Peers, verifier: Verifier) -> Stack {
    let file = folder.join("keys.db");
    let store = Store::sqlite::<Migrator>(&file, &clock).await.unwrap();
    let own = PrivateKey::generate().unwrap();
    let identity = ServiceIdentity::new("key-management", &own, clock.clone());
    let master = MasterKey::new(&[7; 32]).unwrap();
    let settings = Settings::default();
    key_management::stack(store, clock, peers, identity, verifier, master, settings)
}
