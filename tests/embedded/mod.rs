//! What holds of `muster up` on SQLite only: its folder and its settings.

mod fuzzing;
mod outbox;
mod stopping;

use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::suite::cli::Terminal;
use crate::support::{ADMIN, Installation, PASSWORD, Server, Settings, muster};

#[tokio::test]
async fn databases_and_the_master_key_are_their_owners_only() {
    let installation = need!(Installation::new().await);
    let folder = installation.folder.path();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start_on(installation).await;
    let folder = server.installation.folder.path();
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.path());
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} files");
}

#[tokio::test]
async fn a_folder_that_another_program_uses_is_refused() {
    let server = need!(Server::start().await);
    let folder = server.installation.folder.path().to_str().unwrap();
    let arguments = ["up", "--listen", "127.0.0.1:0", "--data", folder];
    let error = Terminal::new().run(&arguments, "").await.failed(1);
    assert!(
        error.contains("another muster runs on the folder"),
        "{error}"
    );
}

#[tokio::test]
async fn wrong_settings_are_told_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new();
    terminal.variables = vec![
        ("MUSTER_ADMIN_PASSWORD", "short".to_owned()),
        ("MUSTER_MASTER_KEY", "x".to_owned()),
    ];
    let path = folder.path().join("data");
    let arguments = [
        "up",
        "--listen",
        "127.0.0.1:0",
        "--data",
        path.to_str().unwrap(),
    ];
    let more = [
        ["--admin-email", "x"],
        ["--cors-origin", "x"],
        ["--issuer", "muster.example.com"],
        ["--key-prefix", "My_Keys"],
        ["--signing-algorithm", "HS256"],
        ["--signing-key-life", "1m"],
        ["--github-keys", "/nowhere"],
        ["--revocation-silence", "1s"],
    ];
    let arguments = [&arguments[..], &more.concat()].concat();
    let error = terminal.run(&arguments, "").await.failed(1);
    for setting in [
        "MUSTER_ADMIN_PASSWORD",
        "MUSTER_MASTER_KEY",
        "--admin-email",
        "--cors-origin",
        "--issuer",
        "--key-prefix",
        "--signing-algorithm",
        "--signing-key-life",
        "--github-keys",
        "--revocation-silence",
    ] {
        assert!(error.contains(setting), "{setting}: {error}");
    }
    assert!(
        !path.exists(),
        "nothing is made before all settings are right"
    );
}

#[tokio::test]
async fn the_folders_own_master_key_changes_while_the_program_runs_and_is_taken_at_the_next_start()
{
    let server = need!(Server::start().await);
    let folder = server.installation.folder.path().to_owned();
    let path = folder.to_str().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let first = read("master.key").unwrap();
    let rotate = ["admin", "master-key", "rotate", "--data", path];
    let rotate = async || muster(&rotate, &Settings::new()).await;
    let told = rotate().await;
    assert!(told.contains("until it starts again"), "{told}");
    let second = read("master.key").unwrap();
    assert_ne!(second, first);
    assert_eq!(read("master.key.old"), Some(first.clone()));
    rotate().await;
    assert_eq!(
        read("master.key"),
        Some(second.clone()),
        "it goes on with the same"
    );

    let server = Server::start_on(server.kill()).await;
    assert_eq!(read("master.key.old"), None, "it is not needed any more");
    let administrator = format!("{ADMIN}:{PASSWORD}");
    let administrator = server.caller(format!("Basic {}", BASE64_STANDARD.encode(administrator)));
    administrator.get("/v1/me").await.expect(200);

    let installation = server.kill();
    let told = rotate().await;
    assert!(told.contains("the old one is gone"), "{told}");
    assert_eq!(read("master.key.old"), None);
    assert_ne!(read("master.key"), Some(second));
    std::fs::write(folder.join("master.key"), first).unwrap();
    let arguments = ["up", "--listen", "127.0.0.1:0", "--data", path];
    let error = Terminal::new().run(&arguments, "").await.failed(1);
    assert!(error.contains("wrapped by another master key"), "{error}");
    drop(installation);
}
