//! gRPC in all four kinds of call, with grpcio in Python at the gateway's port.

use crate::support::{World, python, unique};

/// What the program says of itself when it tries this.
async fn tried(what: &str) -> Option<String> {
    let world = World::shared().await?;
    let permissions = [
        "devices.read",
        "devices.write",
        "keys.read",
        "keys.write",
        "keys.verify",
    ];
    let key = world.alice.new_key(&permissions).await;
    let target = world.server.url.strip_prefix("http://").unwrap().to_owned();
    let (what, name) = (what.to_owned(), unique());
    let run = move || {
        let modules = ["grpc", "grpc_reflection", "grpc_status"];
        let variables = [
            ("TARGET", &*target),
            ("KEY", &key),
            ("NAME", &name),
            ("TRY", &what),
        ];
        let output = python("grpc_kinds.py", &modules, &variables)?;
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}{errors}");
        Some(told.replace(&name, "NAME"))
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A test that the program, told to try this, says these lines.
macro_rules! says {
    ($test:ident, $what:literal, $lines:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let told = need!(tried($what).await);
            assert_eq!(told.lines().collect::<Vec<_>>(), $lines);
        }
    };
}

says!(
    one_message_is_answered_by_one_and_by_metadata,
    "unary",
    [
        "created NAME",
        "request NAME",
        "listed NAME",
        "refused UNAUTHENTICATED"
    ]
);

says!(
    an_answer_of_many_messages_goes_on_until_the_client_ends_it,
    "server_streaming",
    [
        "synchronised",
        "told of the revocation",
        "cancelled CANCELLED"
    ]
);

says!(
    many_messages_are_answered_by_one,
    "client_streaming",
    ["known 2", "unknown 1 ?", "seen True"]
);

says!(
    messages_go_both_ways_in_turn,
    "bidirectional",
    [
        "v1 True",
        "v1 file_descriptor_response",
        "v1 file_descriptor_response",
        "v1 ended 0",
        "v1alpha True",
        "v1alpha file_descriptor_response",
        "v1alpha file_descriptor_response",
        "v1alpha ended 0",
    ]
);

says!(
    a_deadline_ends_a_call_of_any_kind,
    "deadlines",
    [
        "unary DEADLINE_EXCEEDED",
        "server DEADLINE_EXCEEDED",
        "client DEADLINE_EXCEEDED",
        "both DEADLINE_EXCEEDED",
    ]
);

says!(
    a_client_cancels_what_it_is_still_sending,
    "cancellation",
    ["client True", "both CANCELLED"]
);

says!(
    an_error_has_details_that_a_program_can_read,
    "errors",
    [
        "INVALID_ARGUMENT device.display_name: must have at least 1 character; device.code: must \
         match the pattern `^[a-zA-Z0-9][a-zA-Z0-9_-]{1,199}$`",
        "reason INVALID_ARGUMENT muster",
        "field device.display_name",
        "field device.code",
        "INVALID_ARGUMENT",
    ]
);

says!(
    compressed_messages_are_read,
    "compression",
    ["unary True", "stream 100"]
);

says!(
    a_message_of_more_than_4_mib_is_refused,
    "large",
    ["60000", "OUT_OF_RANGE"]
);

says!(pings_on_a_stream_do_not_end_it, "keepalive", ["heard 4"]);

says!(
    what_nobody_has_is_unimplemented_in_any_kind_of_call,
    "unknown",
    ["UNIMPLEMENTED"; 6]
);
