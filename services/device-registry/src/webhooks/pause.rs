//! How long to wait until a delivery is tried again.

use chrono::TimeDelta;

/// How long to wait after each failure, in seconds: about three days in all.
const PAUSES: [i64; 10] = [
    5, 300, 1800, 7200, 18_000, 36_000, 36_000, 50_400, 50_400, 57_600,
];
/// Share of a pause by which it may be longer, in percent.
const JITTER: i64 = 10;
/// The longest time that a receiver may ask for.
const LONGEST_PAUSE: i64 = 86_400;

/// How long to wait after so many attempts; nothing if that was the last one.
pub(super) fn pause(attempts: i64, retry_after: Option<i64>) -> Option<TimeDelta> {
    let index = usize::try_from(attempts - 1).unwrap_or_default();
    let pause = *PAUSES.get(index)?;
    let jitter = fastrand::i64(0..=(pause * JITTER / 100).max(1));
    let asked = retry_after.unwrap_or_default().clamp(0, LONGEST_PAUSE);
    Some(TimeDelta::seconds((pause + jitter).max(asked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_again_for_about_three_days() {
        let mut all = TimeDelta::zero();
        let mut attempts = 1;
        while let Some(next) = pause(attempts, None) {
            all += next;
            attempts += 1;
        }
        assert!((70..=85).contains(&all.num_hours()), "{}", all.num_hours());
    }

    #[test]
    fn a_receiver_is_left_alone_for_as_long_as_it_asks_but_not_for_ever() {
        let seconds = |asked| pause(1, Some(asked)).unwrap().num_seconds();
        assert_eq!(seconds(120), 120);
        assert_eq!(seconds(10_000_000), LONGEST_PAUSE);
        assert!(seconds(-1) >= 5);
    }
}
