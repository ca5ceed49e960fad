//! What holds of `muster up` on SQLite only: its folder and its settings.

use std::os::unix::fs::PermissionsExt;

use crate::suite::cli::Terminal;
use crate::support::{Installation, Server};

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
    let arguments = [
        &arguments[..],
        &["--admin-email", "x", "--cors-origin", "x"],
    ]
    .concat();
    let error = terminal.run(&arguments, "").await.failed(1);
    for setting in [
        "MUSTER_ADMIN_PASSWORD",
        "MUSTER_MASTER_KEY",
        "--admin-email",
        "--cors-origin",
    ] {
        assert!(error.contains(setting), "{setting}: {error}");
    }
    assert!(
        !path.exists(),
        "nothing is made before all settings are right"
    );
}
