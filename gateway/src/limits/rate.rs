//! How often something may happen.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

/// So many requests in a time, of which so many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Quota);

impl Rate {
    /// Reads `N/s`, `N/min` or `N/h`, perhaps with `,BURST`; or `off`.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
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
        Self::new(number, period, burst).map(Some).ok_or_else(wrong)
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
        Rate::parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_limit_is_a_number_a_time_and_perhaps_a_burst() {
        assert_eq!(Rate::parse("off"), Ok(None));
        assert_eq!(rate("60/min").interval(), Duration::from_secs(1));
        assert_eq!(rate("60/min").refill(), Duration::from_secs(60));
        assert_eq!(rate("1/s,5").refill(), Duration::from_secs(5));
        assert_eq!(rate("3600/h, 1").refill(), Duration::from_secs(1));
        for wrong in ["", "5", "0/s", "5/day", "5/s,0", "x/s", "5/s,", "-1/s"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
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
