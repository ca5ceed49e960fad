//! How often something may happen.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

/// How long a bucket may take to be full: for so long it is remembered.
const LONGEST_REFILL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many replicas may share a limit: of one request a minute, the least that
/// a key may have of its own, each then fills its part in time.
const MOST_REPLICAS: u32 = 43_200;

/// How many gateways may share the limits, if it may be so many.
pub fn replicas(number: NonZeroU32) -> Result<NonZeroU32, String> {
    match number.get() <= MOST_REPLICAS {
        true => Ok(number),
        false => Err(format!("{number} is more than {MOST_REPLICAS}")),
    }
}

/// So many requests in a time, of which so many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Quota);

impl Rate {
    /// Reads `N/s`, `N/min` or `N/h`, perhaps with `,BURST`; or `off`. Each of
    /// the replicas that share it must have its part again within 30 days.
    pub fn parse(text: &str, replicas: NonZeroU32) -> Result<Option<Self>, String> {
        if text == "off" {
            return Ok(None);
        }
        let wrong =
            || format!("`{text}` is no limit such as 100/s, 600/min or 600/min,50, nor off");
        let (rate, burst) = match text.split_once(',') {
            Some((rate, burst)) => (rate, Some(burst.trim())),
            None => (text, None),
        };
        let (number, unit) = rate.split_once('/').ok_or_else(wrong)?;
        let period = match unit.trim() {
            "s" => Duration::from_secs(1),
            "min" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        let number: NonZeroU32 = number.trim().parse().map_err(|_| wrong())?;
        let burst = burst.map_or(Ok(number), str::parse).map_err(|_| wrong())?;
        let rate = Self::new(number, period, burst).ok_or_else(wrong)?;
        match rate.of_one_in(replicas).fills_within(LONGEST_REFILL) {
            true => Ok(Some(rate)),
            false => Err(format!(
                "`{text}` takes more than 30 days until all may come at once again; give more back, or let fewer come"
            )),
        }
    }

    pub(super) fn new(number: NonZeroU32, period: Duration, burst: NonZeroU32) -> Option<Self> {
        let quota = Quota::with_period(period / number.get())?;
        Some(Self(quota.allow_burst(burst)))
    }

    /// The part of one of several replicas that share the requests evenly.
    #[must_use]
    pub(super) fn of_one_in(self, replicas: NonZeroU32) -> Self {
        let burst = self.0.burst_size().get() / replicas.get();
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let interval = self.0.replenish_interval() * replicas.get();
        let quota = Quota::with_period(interval).unwrap_or(self.0);
        Self(quota.allow_burst(burst))
    }

    /// How long an empty bucket takes to be full.
    pub(crate) fn refill(self) -> Duration {
        self.0.replenish_interval() * self.0.burst_size().get()
    }

    pub(crate) fn burst(self) -> u32 {
        self.0.burst_size().get()
    }

    fn fills_within(self, time: Duration) -> bool {
        let most = self.0.burst_size().get();
        let fill = self.0.replenish_interval().checked_mul(most);
        fill.is_some_and(|fill| fill <= time)
    }

    pub(crate) fn interval(self) -> Duration {
        self.0.replenish_interval()
    }

    pub(super) fn quota(self) -> Quota {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        Rate::parse(text, NonZeroU32::MIN).unwrap().unwrap()
    }

    #[test]
    fn a_limit_is_a_number_a_time_and_perhaps_a_burst() {
        assert_eq!(Rate::parse("off", NonZeroU32::MIN), Ok(None));
        assert_eq!(rate("60/min").interval(), Duration::from_secs(1));
        assert_eq!(rate("60/min").refill(), Duration::from_secs(60));
        assert_eq!(rate("1/s,5").refill(), Duration::from_secs(5));
        assert_eq!(rate("3600/h, 1").refill(), Duration::from_secs(1));
        for wrong in ["", "5", "0/s", "5/day", "5/s,0", "x/s", "5/s,", "-1/s"] {
            assert!(Rate::parse(wrong, NonZeroU32::MIN).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_that_takes_longer_than_a_month_to_come_back_is_refused() {
        let is_taken = |text: &str, replicas| {
            let replicas = NonZeroU32::new(replicas).unwrap();
            Rate::parse(text, replicas).is_ok()
        };
        assert!(is_taken("1/h,720", 1));
        assert!(!is_taken("1/h,721", 1));
        assert!(!is_taken("1/h,10000000", 1));
        assert!(!is_taken("1/h,4294967295", u32::MAX));
        // Replicas share what may come at once, but for the last one.
        assert!(is_taken("1/h,720", 720));
        assert!(!is_taken("1/h,720", 721));
        assert!(is_taken("1000000000/s", 1));
    }

    #[test]
    fn what_a_key_may_have_of_its_own_comes_back_in_time_with_any_replicas() {
        let most = NonZeroU32::new(MOST_REPLICAS).unwrap();
        assert_eq!(replicas(most), Ok(most));
        assert!(replicas(NonZeroU32::MAX).is_err());
        let least = Rate::new(NonZeroU32::MIN, Duration::from_secs(60), NonZeroU32::MIN).unwrap();
        assert!(least.of_one_in(most).fills_within(LONGEST_REFILL));
    }

    #[test]
    fn replicas_share_a_limit_evenly() {
        let three = NonZeroU32::new(3).unwrap();
        let part = rate("60/min,30").of_one_in(three);
        assert_eq!(part.interval(), Duration::from_secs(3));
        assert_eq!(part.refill(), Duration::from_secs(30));
        assert_eq!(
            rate("1/h").of_one_in(three).refill(),
            Duration::from_secs(3 * 3600)
        );
    }
}
