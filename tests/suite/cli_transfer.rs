//! Files of devices, as people import and export them.

use serde_json::{Value, json};

use super::cli::Terminal;
use crate::support::{World, unique};
use tempfile::TempDir;

/// A folder, and the terminal of an administrator in a tenant of his own.
async fn desk() -> Option<(World, Terminal, TempDir)> {
    let world = World::new().await?;
    let terminal = Terminal::logged_in(&world).await;
    Some((world, terminal, tempfile::tempdir().unwrap()))
}

#[tokio::test]
async fn refused_devices_are_put_right_in_their_file_and_imported_again() {
    let (_world, terminal, folder) = need!(desk().await);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (fleet, refused) = (path("fleet.csv"), path("refused.csv"));
    let mark = unique();
    let csv = format!(
        "displayName,serialNumber,labels.mark,location.latitude\n\
         Pump 1,{mark}-1,{mark},48.2\n,{mark}-2,{mark},\nPump 3,{mark}-3,{mark},north\nPump 4,{mark}-4,{mark},\n"
    );
    std::fs::write(&fleet, csv).unwrap();
    let dry = ["device", "import", &fleet, "--dry-run", "--output", "json"];
    let told = terminal.run(&dry, "").await;
    assert_eq!(told.code, 1);
    let summary: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(summary["created"], 2, "{summary}");
    assert_eq!(
        (&summary["refused"], &summary["kept"]),
        (&json!(2), &json!(false))
    );
    assert!(
        told.err.contains("line 3: device.display_name"),
        "{}",
        told.err
    );
    assert!(
        told.err.contains("line 4: location.latitude"),
        "{}",
        told.err
    );
    let import = ["device", "import", &fleet, "--refused", &refused];
    let told = terminal.run(&import, "").await;
    assert_eq!(told.code, 1, "{}", told.err);
    assert!(told.out.contains("CREATED"), "{}", told.out);
    assert!(told.err.contains("2 devices were refused"), "{}", told.err);
    let wrong = std::fs::read_to_string(&refused).unwrap();
    assert!(wrong.starts_with("displayName,serialNumber,labels.mark,location.latitude,error\n"));
    // The order in which they were found wrong: by the program, by the server.
    let right = wrong
        .replace("north", "47")
        .replace(&format!("\n,{mark}-2"), &format!("\nPump 2,{mark}-2"));
    std::fs::write(&refused, right).unwrap();
    let summary = terminal.json(&["device", "import", &refused]).await;
    assert_eq!(
        (&summary["created"], &summary["refused"]),
        (&json!(2), &json!(0))
    );
    // Nothing changes when all of it comes again.
    let again = ["device", "import", &refused, "--match-by", "serial-number"];
    assert_eq!(terminal.json(&again).await["unchanged"], 2);
    let filter = format!("labels.mark = \"{mark}\"");
    let export = ["device", "export", "--filter", &filter, "--format", "csv"];
    let columns = ["--columns", "serialNumber,location.latitude"];
    let csv = terminal.says(&[&export[..], &columns].concat()).await;
    let mut lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.remove(0), "serialNumber,location.latitude");
    lines.sort_unstable();
    let want = [
        format!("{mark}-1,48.2"),
        format!("{mark}-2,"),
        format!("{mark}-3,47"),
        format!("{mark}-4,"),
    ];
    assert_eq!(lines, want);
}

#[tokio::test]
async fn what_is_exported_in_any_format_is_imported_as_it_was() {
    let (_world, terminal, folder) = need!(desk().await);
    let mark = unique();
    let devices: Vec<_> = (0..30)
        .map(|n| {
            json!({
                "displayName": format!("{mark} \"{n}\";"), "externalId": format!("{mark}-{n}"),
                "labels": {"a.b": "1", "c": ""}, "attributes": {"list": [1, {"x": null}]},
                "location": {"latitude": 0, "description": "here, there"},
            })
            .to_string()
        })
        .collect();
    let import = ["device", "import", "-", "--format", "ndjson"];
    let told = terminal.run(&import, &devices.join("\n")).await;
    told.ok();
    for name in ["all.csv", "all.ndjson", "all.json"] {
        let file = folder.path().join(name);
        let file = file.to_str().unwrap();
        let told = terminal
            .run(&["device", "export", "--file", file], "")
            .await;
        assert_eq!(told.err(), "30 devices.\n");
        let import = ["device", "import", file, "--match-by", "id"];
        assert_eq!(terminal.json(&import).await["unchanged"], 30, "{name}");
    }
    // All of them, or none.
    let file = folder.path().join("all.json");
    let all = std::fs::read_to_string(&file).unwrap();
    let changed = all.replacen(&format!("{mark} \\\"7\\\";"), "other", 1);
    let broken = changed.replacen(&format!("{mark} \\\"9\\\";"), "", 1);
    std::fs::write(
        &file,
        broken.replace(
            "\"displayName\":\"\"",
            "\"displayName\":\"\",\"code\":\"-\"",
        ),
    )
    .unwrap();
    let import = [
        "device",
        "import",
        file.to_str().unwrap(),
        "--match-by",
        "id",
        "--all-or-nothing",
    ];
    let told = terminal.run(&import, "").await;
    assert_eq!(told.code, 1);
    assert!(told.out.contains("NOT DONE"), "{}", told.out);
    std::fs::write(&file, changed).unwrap();
    assert_eq!(terminal.json(&import).await["updated"], 1);
}

#[tokio::test]
async fn a_file_that_is_none_of_devices_is_refused_before_anything_is_sent() {
    let (_world, terminal, folder) = need!(desk().await);
    for (name, content, told) in [
        ("a.csv", "display_nam\nx\n", "display_nam: unknown"),
        ("a.txt", "", "what does the file hold"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        let failure = terminal
            .fails(&["device", "import", file.to_str().unwrap()])
            .await;
        assert!(failure.contains(told), "{failure}");
    }
    let failure = terminal.fails(&["device", "import", "/nowhere.csv"]).await;
    assert!(failure.contains("can't read /nowhere.csv"), "{failure}");
}
