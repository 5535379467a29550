//! The values of `--until`, the end of a maintenance window: `06:30`, `2026-01-31T06:30` or `90m`.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::{SignedDuration, Zoned};

/// When a push stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// At the next occurrence of this time of day.
    Clock(Time),
    /// At this date and time.
    Moment(DateTime),
    /// After this duration.
    After(SignedDuration),
}

impl Until {
    /// Returns the time left from `now`; zero if it is over.
    pub(crate) fn from(self, now: &Zoned) -> Duration {
        let at = |moment: DateTime| moment.to_zoned(now.time_zone().clone());
        let wait = match self {
            Self::After(wait) => Ok(wait),
            Self::Moment(moment) => at(moment).map(|then| now.duration_until(&then)),
            Self::Clock(time) => {
                let today = now.date();
                let day = if time > now.time() {
                    Ok(today)
                } else {
                    today.tomorrow()
                };
                day.and_then(|day| at(day.to_datetime(time)))
                    .map(|then| now.duration_until(&then))
            }
        };
        // A time beyond the end of the calendar is never reached.
        wait.map_or(Duration::MAX, |wait| {
            Duration::try_from(wait).unwrap_or_default()
        })
    }
}

/// Parses one of the three forms.
pub(crate) fn parse(text: &str) -> Result<Until, String> {
    if let Ok(moment) = text.parse() {
        // A date alone is refused: it would mean midnight, which few operators expect.
        if text.contains(['T', 't', ' ']) {
            return Ok(Until::Moment(moment));
        }
    } else if let Ok(time) = text.parse() {
        return Ok(Until::Clock(time));
    } else if let Ok(wait) = text.parse::<SignedDuration>()
        && wait.is_positive()
    {
        return Ok(Until::After(wait));
    }
    Err("write a time such as 06:30, 2026-01-31T06:30 or 90m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str) -> Duration {
        let now: Zoned = "2026-03-01T22:00:00[UTC]".parse().unwrap();
        parse(text).unwrap().from(&now)
    }

    #[test]
    fn each_form_is_parsed() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (text, expected) in [
            ("23:00", hours(1)),
            ("06:00", hours(8)),
            ("22:00", hours(24)),
            ("2026-03-02T22:00", hours(24)),
            ("2026-03-02 00:00", hours(2)),
            ("2026-02-01T00:00", hours(0)),
            ("2h", hours(2)),
            ("90m", Duration::from_secs(5400)),
            ("1h 30m", Duration::from_secs(5400)),
        ] {
            assert_eq!(wait(text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_times_are_refused() {
        for text in ["", "tomorrow", "25:00", "-5m", "0s", "2026-03-02", "6"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
