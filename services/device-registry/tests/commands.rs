//! What devices are told: every way that a command may go, and none else.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;
mod told;

use std::collections::HashSet;

use chrono::TimeDelta;
use futures::future::join_all;
use harness::Registry;
use prost_types::value::Kind;
use proto::registry::device_command::State;
use proto::registry::*;
use told::*;
use tonic::Code;
use uuid::Uuid;

on_both_databases!(
    a_command_is_queued_delivered_and_acknowledged,
    a_command_ends_in_the_ways_that_it_may_only,
    what_has_expired_is_never_delivered_and_shown_as_such_at_once,
    what_nobody_acknowledges_is_delivered_again_and_then_has_failed,
    many_receivers_of_one_device_get_each_command_once,
    a_command_waits_for_its_time,
    whoever_waits_is_answered_when_the_command_has_ended,
    commands_are_forgotten_some_time_after_their_end,
    whatever_happens_no_command_is_lost_or_delivered_after_its_end,
);

async fn a_command_is_queued_delivered_and_acknowledged(registry: Registry) {
    let device = device(&registry, "pump").await;
    let sent = SendCommandRequest {
        parameters: Some(object(&[("angle", Kind::NumberValue(30.0))])),
        payload: vec![0, 255],
        ..free(&device, "turn")
    };
    let sent = send(&registry, sent).await.unwrap();
    assert_eq!(sent.state(), State::Queued);
    assert_eq!((sent.attempt_count, sent.max_attempts), (0, 5));
    assert_eq!(sent.sender, "service:device-registry");
    let [delivered] = &pull(&registry, &device, 0).await[..] else {
        panic!("one command waits");
    };
    assert_eq!(delivered.id, sent.id);
    assert_eq!(delivered.state(), State::Delivered);
    assert_eq!(
        (delivered.attempt_count, &delivered.parameters),
        (1, &sent.parameters)
    );
    assert_eq!(delivered.payload, [0, 255]);
    assert!(delivered.acknowledge_deadline.is_some());
    assert!(pull(&registry, &device, 0).await.is_empty());
    let done = acknowledge(&registry, &sent.id).await.unwrap();
    assert_eq!(done.state(), State::Acknowledged);
    assert!(done.end_time.is_some() && done.acknowledge_deadline.is_none());
    assert_eq!(
        done.result,
        Some(object(&[("done", Kind::BoolValue(true))]))
    );
    assert_eq!(get(&registry, &sent.id).await, done);
}

async fn a_command_ends_in_the_ways_that_it_may_only(registry: Registry) {
    let device = device(&registry, "pump").await;
    let new = async |delivered: bool| {
        let id = send(&registry, free(&device, "x")).await.unwrap().id;
        if delivered {
            pull(&registry, &device, 100).await;
        }
        id
    };
    // What was not delivered can only be taken back.
    let queued = new(false).await;
    for refused in [
        acknowledge(&registry, &queued).await,
        fail(&registry, &queued).await,
    ] {
        assert_eq!(reason(&refused.unwrap_err()), "STATE_TRANSITION");
    }
    let cancelled = cancel(&registry, &queued).await.unwrap();
    assert_eq!(cancelled.state(), State::Cancelled);
    assert!(pull(&registry, &device, 0).await.is_empty());
    let (acknowledged, failed, taken_back) = (new(true).await, new(true).await, new(true).await);
    acknowledge(&registry, &acknowledged).await.unwrap();
    let told = fail(&registry, &failed).await.unwrap();
    assert_eq!(
        (told.state(), told.error.as_str()),
        (State::Failed, "the valve is stuck")
    );
    cancel(&registry, &taken_back).await.unwrap();
    // An end is the end; to say so again changes nothing.
    for (id, state) in [
        (&acknowledged, State::Acknowledged),
        (&failed, State::Failed),
        (&taken_back, State::Cancelled),
    ] {
        let before = get(&registry, id).await;
        let answers = [
            (acknowledge(&registry, id).await, State::Acknowledged),
            (fail(&registry, id).await, State::Failed),
            (cancel(&registry, id).await, State::Cancelled),
        ];
        for (answer, to) in answers {
            match to == state {
                true => assert_eq!(answer.unwrap(), before),
                false => assert_eq!(reason(&answer.unwrap_err()), "STATE_TRANSITION"),
            }
        }
    }
    let nobody = Uuid::from_u128(9).to_string();
    let refused = acknowledge(&registry, &nobody).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

async fn what_has_expired_is_never_delivered_and_shown_as_such_at_once(registry: Registry) {
    let device = device(&registry, "pump").await;
    let short = SendCommandRequest {
        ttl: Some(seconds(60)),
        ..free(&device, "short")
    };
    let short = send(&registry, short).await.unwrap();
    let long = send(&registry, free(&device, "long")).await.unwrap();
    registry.clock.advance(TimeDelta::seconds(61));
    let shown = get(&registry, &short.id).await;
    assert_eq!(shown.state(), State::Expired);
    assert_eq!(shown.end_time, short.expire_time);
    let of_state = async |state: State| {
        let request = ListDeviceCommandsRequest {
            state: state.into(),
            ..Default::default()
        };
        list(&registry, request).await.device_commands
    };
    assert_eq!(names(&of_state(State::Expired).await), ["short"]);
    assert_eq!(names(&of_state(State::Queued).await), ["long"]);
    assert_eq!(names(&pull(&registry, &device, 0).await), ["long"]);
    // It is still so when somebody has noted it.
    let day = TimeDelta::days(2);
    registry.clock.advance(day);
    eventually("both are noted", || async {
        of_state(State::Expired).await.len() == 2
    })
    .await;
    for id in [&short.id, &long.id] {
        let refused = acknowledge(&registry, id).await.unwrap_err();
        assert_eq!(reason(&refused), "STATE_TRANSITION");
    }
}

async fn what_nobody_acknowledges_is_delivered_again_and_then_has_failed(registry: Registry) {
    let device = device(&registry, "pump").await;
    let sent = SendCommandRequest {
        max_attempts: 3,
        ..free(&device, "turn")
    };
    let id = send(&registry, sent).await.unwrap().id;
    for attempt in 1..=3 {
        let pulled = pull(&registry, &device, 0).await;
        assert_eq!(pulled[0].attempt_count, attempt);
        assert_eq!(get(&registry, &id).await.state(), State::Delivered);
        registry.clock.advance(TimeDelta::seconds(601));
    }
    let failed = get(&registry, &id).await;
    assert_eq!(failed.state(), State::Failed);
    assert!(failed.error.contains("never acknowledged"), "{failed:?}");
    assert!(pull(&registry, &device, 0).await.is_empty());
    let refused = acknowledge(&registry, &id).await.unwrap_err();
    assert_eq!(reason(&refused), "STATE_TRANSITION");
}

async fn many_receivers_of_one_device_get_each_command_once(registry: Registry) {
    let device = device(&registry, "pump").await;
    for i in 0..30 {
        let name = format!("c{i}");
        send(&registry, free(&device, &name)).await.unwrap();
    }
    let pulls = (0..6).map(|_| pull(&registry, &device, 7));
    let mut got: Vec<_> = join_all(pulls).await.into_iter().flatten().collect();
    got.extend(pull(&registry, &device, 100).await);
    let ids: HashSet<_> = got.iter().map(|command| &command.id).collect();
    assert_eq!((got.len(), ids.len()), (30, 30));
    assert!(got.iter().all(|command| command.attempt_count == 1));
}

async fn a_command_waits_for_its_time(registry: Registry) {
    let device = device(&registry, "pump").await;
    let later = registry.clock.now() + TimeDelta::hours(1);
    let later = chassis::time::timestamp(later);
    let sent = SendCommandRequest {
        not_before: Some(later),
        ttl: Some(seconds(60)),
        ..free(&device, "later")
    };
    let sent = send(&registry, sent).await.unwrap();
    assert_eq!(sent.expire_time.unwrap().seconds, later.seconds + 60);
    assert!(pull(&registry, &device, 0).await.is_empty());
    registry.clock.advance(TimeDelta::minutes(60));
    registry.clock.advance(TimeDelta::seconds(1));
    assert_eq!(names(&pull(&registry, &device, 0).await), ["later"]);
    let mut wrong = free(&device, "never");
    wrong.not_before = Some(later);
    wrong.expire_time = Some(later);
    let refused = send(&registry, wrong).await.unwrap_err();
    assert_eq!(fields(&refused), ["expire_time"]);
}

async fn whoever_waits_is_answered_when_the_command_has_ended(registry: Registry) {
    let device = device(&registry, "pump").await;
    let id = send(&registry, free(&device, "turn")).await.unwrap().id;
    let wait = async |timeout: i64| {
        let request = registry.request(WaitDeviceCommandRequest {
            id: id.clone(),
            timeout: Some(seconds(timeout)),
        });
        let answer = client(&registry).wait_device_command(request).await;
        answer.unwrap().into_inner()
    };
    assert_eq!(wait(0).await.state(), State::Queued);
    let carry_out = async {
        pull(&registry, &device, 0).await;
        acknowledge(&registry, &id).await.unwrap();
    };
    let (waited, ()) = tokio::join!(wait(50), carry_out);
    assert_eq!(waited.state(), State::Acknowledged);
}

async fn commands_are_forgotten_some_time_after_their_end(registry: Registry) {
    let device = device(&registry, "pump").await;
    let id = send(&registry, free(&device, "turn")).await.unwrap().id;
    cancel(&registry, &id).await.unwrap();
    registry.clock.advance(TimeDelta::days(29));
    get(&registry, &id).await;
    registry.clock.advance(TimeDelta::days(2));
    eventually("it is forgotten", || async {
        let all = list(&registry, ListDeviceCommandsRequest::default()).await;
        all.device_commands.is_empty()
    })
    .await;
}

/// Numbers that look random, and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Every command there is.
async fn all(registry: &Registry) -> Vec<DeviceCommand> {
    let request = ListDeviceCommandsRequest {
        page_size: 1000,
        ..Default::default()
    };
    list(registry, request).await.device_commands
}

async fn whatever_happens_no_command_is_lost_or_delivered_after_its_end(registry: Registry) {
    let device = device(&registry, "pump").await;
    for seed in 1..=4 {
        let mut dice = Dice(seed);
        let (mut sent, mut ended): (Vec<String>, HashSet<String>) = Default::default();
        for _ in 0..60 {
            let some = match sent.len() {
                0 => None,
                n => Some(sent[dice.roll(n as u64) as usize].clone()),
            };
            match (dice.roll(8), some) {
                (0..=2, _) => {
                    let request = SendCommandRequest {
                        max_attempts: 1 + dice.roll(3) as i32,
                        ttl: Some(seconds(60 * (20 + dice.roll(60) as i64))),
                        ..free(&device, "turn")
                    };
                    sent.push(send(&registry, request).await.unwrap().id);
                }
                (3..=4, _) => {
                    for command in pull(&registry, &device, 3).await {
                        assert!(!ended.contains(&command.id), "{command:?}");
                        assert!(command.attempt_count <= command.max_attempts);
                        assert_eq!(command.state(), State::Delivered);
                    }
                }
                (5, Some(id)) => drop(acknowledge(&registry, &id).await),
                (6, Some(id)) => match dice.roll(2) {
                    0 => drop(fail(&registry, &id).await),
                    _ => drop(cancel(&registry, &id).await),
                },
                _ => {
                    let pause = dice.roll(15) as i64;
                    registry.clock.advance(TimeDelta::minutes(pause));
                }
            }
            for shown in all(&registry).await {
                let is_final = shown.end_time.is_some();
                assert!(is_final || !ended.contains(&shown.id), "{shown:?}");
                if is_final {
                    ended.insert(shown.id);
                }
            }
        }
        // What is left can be had, unless its time is over.
        registry.clock.advance(TimeDelta::seconds(601));
        let mut left: HashSet<_> = HashSet::new();
        for shown in all(&registry).await {
            if shown.end_time.is_none() {
                left.insert(shown.id);
            }
        }
        let got = pull(&registry, &device, 100).await;
        let got: HashSet<_> = got.into_iter().map(|command| command.id).collect();
        assert!(got.is_subset(&left), "seed {seed}");
        for id in &left {
            // Time goes on while this is asked.
            let is_over = get(&registry, id).await.end_time.is_some();
            assert!(got.contains(id) || is_over, "seed {seed}: {id} is lost");
            let _ = acknowledge(&registry, id).await;
        }
    }
}
