//! What was measured, as a table with the ratios in words below it, and as JSON with everything.

use std::time::Duration;

use clap::ValueEnum as _;
use indicatif::DecimalBytes;
use serde::Serialize;
use serde_json::{Value, json};
use xtask::table;

use crate::arguments::Contender;
use crate::bundle::{Kind, Shape};
use crate::distance::Distance;
use crate::measure::Cost;

/// All that a run of the bench found out.
pub(crate) struct Report {
    pub(crate) distance: Distance,
    pub(crate) bundle_bytes: u64,
    pub(crate) unique_bytes: u64,
    pub(crate) blobs: usize,
    pub(crate) artifacts: usize,
    pub(crate) shape: Shape,
    pub(crate) cores: usize,
    pub(crate) at_once: usize,
    pub(crate) rows: Vec<Row>,
}

/// A contender, and what each of its rounds cost.
pub(crate) struct Row {
    pub(crate) contender: Contender,
    /// A program that it needs and that is not installed.
    pub(crate) missing: Option<&'static str>,
    /// How it ended, if it is a program of others that failed.
    pub(crate) failed: Option<String>,
    pub(crate) rounds: Vec<Cost>,
}

/// Something that is promised of a push, beside what was measured.
#[derive(Debug, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
struct Bar {
    what: &'static str,
    measured: f64,
    at_most: f64,
    unit: &'static str,
    met: bool,
}

impl Row {
    pub(crate) fn new(contender: Contender) -> Self {
        Self {
            contender,
            missing: None,
            failed: None,
            rounds: Vec::new(),
        }
    }

    /// Returns the round that took as long as the median of all, of two in the middle the slower
    /// one.
    fn median(&self) -> Option<&Cost> {
        let mut rounds: Vec<&Cost> = self.rounds.iter().collect();
        rounds.sort_by(|a, b| a.wall_seconds.total_cmp(&b.wall_seconds));
        rounds.get(rounds.len() / 2).copied()
    }
}

impl Report {
    /// Returns the report for people.
    pub(crate) fn text(&self) -> String {
        let floor = self.distance.floor(self.unique_bytes);
        let mut titles = vec!["measured", "wall"];
        titles.extend(floor.map(|_| "of floor"));
        titles.extend(["cpu", "registry"]);
        titles.extend((!self.distance.is_loopback()).then_some("proxy"));
        titles.extend(["memory", "written", "requests"]);
        let rows = self.rows.iter().map(|row| self.cells(row, floor)).collect();
        let shape = match self.shape.kind {
            Kind::Mke => format!(
                "every third image for up to {}",
                count(self.shape.platforms, "platform")
            ),
            Kind::FewLarge => "few large blobs".to_owned(),
            Kind::ManySmall => "many small blobs".to_owned(),
        };
        let mut text = format!(
            "{} of {}, {shape}; {} of {} in them unique; {}, {} copies and curls at once\n",
            count(self.artifacts, "archive"),
            DecimalBytes(self.bundle_bytes),
            count(self.blobs, "blob"),
            DecimalBytes(self.unique_bytes),
            count(self.cores, "processor"),
            self.at_once,
        );
        if !self.distance.is_loopback() {
            text.push_str(&format!("at a distance: {}\n", self.distance.text()));
        }
        if let Some(floor) = floor {
            text.push_str(&format!("floor, bytes/rate: {} s\n", seconds(floor)));
        }
        text.push('\n');
        text.push_str(&table(&titles, &titles[1..], rows));
        text.push_str(
            "\nwall and cpu in seconds; registry: its own processor time meanwhile; memory: of the largest process\n",
        );
        let bars = self.bars();
        if !bars.is_empty() {
            text.push('\n');
        }
        for bar in bars {
            let mark = if bar.met { "met" } else { "NOT met" };
            text.push_str(&format!(
                "{mark:>7}  {}: {}, at most {}\n",
                bar.what,
                with_unit(bar.measured, bar.unit),
                with_unit(bar.at_most, bar.unit),
            ));
        }
        text
    }

    /// Returns the report for machines.
    pub(crate) fn value(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.contender.name(),
                    "what": row.contender.title(),
                    "missing": row.missing,
                    "failed": row.failed,
                    "median": row.median(),
                    "rounds": row.rounds,
                })
            })
            .collect();
        json!({
            "distance": {
                "rtt-seconds": self.distance.rtt.as_secs_f64(),
                "bits-per-second": self.distance.rate,
                "loss-percent": self.distance.loss,
                "floor-seconds": self.distance.floor(self.unique_bytes),
            },
            "bundle": {
                "bytes": self.bundle_bytes,
                "archives": self.artifacts,
                "shape": self.shape.kind.to_possible_value().map(|kind| kind.get_name().to_owned()),
                "platforms": self.shape.platforms,
                "blobs": self.blobs,
                "unique-bytes": self.unique_bytes,
            },
            "processors": self.cores,
            "at-once": self.at_once,
            "measured": rows,
            "bars": self.bars(),
        })
    }

    /// Returns a row of the table.
    fn cells(&self, row: &Row, floor: Option<f64>) -> Vec<String> {
        let title = row.contender.title().to_owned();
        let Some(cost) = row.median() else {
            let missing = row
                .missing
                .map(|program| format!("missing: {program} is not installed"));
            let failed = row
                .failed
                .as_ref()
                .map(|status| format!("failed: {status}"));
            return vec![format!(
                "{title} ({})",
                missing.or(failed).unwrap_or_default()
            )];
        };
        let memory = |bytes| DecimalBytes(bytes).to_string();
        let mut cells = vec![title, seconds(cost.wall_seconds)];
        cells.extend(floor.map(|floor| format!("{:.2}", cost.wall_seconds / floor)));
        cells.extend([
            seconds(cost.cpu_seconds),
            seconds(cost.registry_cpu_seconds),
        ]);
        cells.extend((!self.distance.is_loopback()).then(|| seconds(cost.proxy_cpu_seconds)));
        cells.extend([
            memory(cost.peak_memory),
            cost.written.map_or_else(|| "unknown".to_owned(), memory),
            cost.requests().to_string(),
        ]);
        cells
    }

    /// Returns what is promised, as far as all that it is about was measured.
    fn bars(&self) -> Vec<Bar> {
        let cost = |contender| {
            let row = self.rows.iter().find(|row| row.contender == contender)?;
            row.median()
        };
        let wall = |contender| cost(contender).map(|cost: &Cost| cost.wall_seconds);
        let ratio = |ours: Option<f64>, theirs: Option<f64>| Some(ours? / theirs?);
        let floor = wall(Contender::Inflate)
            .zip(wall(Contender::Curls))
            .map(|(inflate, curls)| inflate.max(curls));
        let ours = self.rows.iter().filter(|row| {
            let contender = row.contender;
            contender.is_push() && !contender.is_base()
        });
        let peak = ours
            .filter_map(Row::median)
            .map(|cost| cost.peak_memory)
            .max();
        let cold = cost(Contender::Cold);
        let written = cold.and_then(|cost| cost.written);
        let per = |requests: fn(&Cost) -> u64, things: usize| {
            Some(number(requests(cold?)) / number(things as u64))
        };
        let near = self.distance.is_loopback();
        let here = |measured: Option<f64>| measured.filter(|_| near);
        let far = |measured: Option<f64>| measured.filter(|_| !near);
        let many_small = self.shape.kind == Kind::ManySmall;
        let bars = [
            (
                "cold, of the vendor's loop",
                here(ratio(wall(Contender::Cold), wall(Contender::Loop))),
                1.0 / 5.0,
                "times",
            ),
            (
                "cold, of the vendor's loop with xargs -P",
                here(ratio(wall(Contender::Cold), wall(Contender::Parallel))),
                1.0 / 3.0,
                "times",
            ),
            (
                "cold, of the higher floor",
                here(ratio(wall(Contender::Cold), floor)),
                1.5,
                "times",
            ),
            (
                "store filled, of the curls",
                here(ratio(wall(Contender::Filled), wall(Contender::Curls))),
                1.3,
                "times",
            ),
            (
                "registry to registry, of skopeo with xargs -P",
                here(ratio(wall(Contender::Set), wall(Contender::Copy))),
                0.5,
                "times",
            ),
            (
                "registry to registry, nothing to do, requests",
                cost(Contender::SetAgain).map(|cost| number(cost.requests())),
                // Of the set, and the one of the release.
                number(self.artifacts as u64) + 1.0 + 5.0,
                "",
            ),
            (
                "nothing to do, of the vendor's loop with nothing to do",
                here(ratio(wall(Contender::Again), wall(Contender::LoopAgain))),
                1.0 / 100.0,
                "times",
            ),
            (
                "cold, of bytes/rate",
                ratio(
                    wall(Contender::Cold).filter(|_| !many_small),
                    self.distance.floor(self.unique_bytes),
                ),
                at_most_of_floor(self.distance),
                "times",
            ),
            (
                "cold, of the same on loopback",
                far(ratio(wall(Contender::Cold), wall(Contender::Near))).filter(|_| many_small),
                1.3,
                "times",
            ),
            ("nothing to do", far(wall(Contender::Again)), 0.35, "s"),
            (
                "cold, of the base",
                ratio(wall(Contender::Cold), wall(Contender::ColdBase)),
                BASE,
                "times",
            ),
            (
                "store filled, of the base",
                ratio(wall(Contender::Filled), wall(Contender::FilledBase)),
                BASE,
                "times",
            ),
            (
                "nothing to do, of the base",
                ratio(wall(Contender::Again), wall(Contender::AgainBase)),
                BASE,
                "times",
            ),
            (
                "lock",
                wall(Contender::Lock).filter(|_| many_small),
                1.2,
                "s",
            ),
            (
                "nothing to do, requests",
                cost(Contender::Again).map(|cost| number(cost.requests())),
                number(self.artifacts as u64) + 5.0,
                "",
            ),
            (
                "cold, requests for each tag",
                per(|cost| cost.requests_for_tags, self.artifacts),
                2.0,
                "times",
            ),
            (
                "cold, requests for each new blob, without mounts",
                per(|cost| cost.requests_for_blobs, self.blobs),
                2.0,
                "times",
            ),
            (
                "peak memory of a push",
                peak.map(|bytes| number(bytes) / 1e6),
                64.0,
                "MB",
            ),
            (
                "cold, written to disk, of the blobs that are new",
                written.map(|bytes| number(bytes) / number(self.unique_bytes)),
                1.1,
                "times",
            ),
        ];
        bars.into_iter()
            .filter_map(|(what, measured, at_most, unit)| {
                let measured = measured?;
                Some(Bar {
                    what,
                    measured,
                    at_most,
                    unit,
                    met: measured <= at_most,
                })
            })
            .collect()
    }
}

/// How much slower than a different program a push may be; less is noise.
const BASE: f64 = 1.05;

/// Returns how many times as long as its bytes need on the line a cold push may take.
fn at_most_of_floor(distance: Distance) -> f64 {
    if distance.rate.is_some_and(|rate| rate <= 200_000_000) {
        1.03
    } else if distance.rtt <= Duration::from_millis(20) {
        1.10
    } else {
        1.20
    }
}

fn seconds(seconds: f64) -> String {
    format!(
        "{:.2}",
        Duration::from_secs_f64(seconds.max(0.0)).as_secs_f64()
    )
}

/// Writes a number with its unit: ratios with three digits, counts as they are.
fn with_unit(number: f64, unit: &str) -> String {
    match unit {
        "times" => format!("{number:.3}"),
        "" => format!("{number:.0}"),
        "s" => format!("{number:.2} s"),
        unit => format!("{number:.0} {unit}"),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers to be divided and shown"
)]
fn number(value: u64) -> f64 {
    value as f64
}

fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn cost(wall_seconds: f64) -> Cost {
        Cost {
            wall_seconds,
            cpu_seconds: wall_seconds / 2.0,
            registry_cpu_seconds: 1.0,
            proxy_cpu_seconds: 0.25,
            peak_memory: 50_000_000,
            written: Some(1_100_000),
            requests: BTreeMap::from([("HEAD".to_owned(), 2), ("PUT".to_owned(), 3)]),
            requests_for_tags: 6,
            requests_for_blobs: 21,
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        Report {
            distance: Distance::default(),
            bundle_bytes: 1_500_000,
            unique_bytes: 1_200_000,
            blobs: 7,
            artifacts: 4,
            shape: Shape {
                kind: Kind::Mke,
                size: 1_500_000,
                archives: 4,
                platforms: 2,
                blobs: 0,
            },
            cores: 2,
            at_once: 4,
            rows,
        }
    }

    fn row(contender: Contender, walls: &[f64]) -> Row {
        Row {
            rounds: walls.iter().copied().map(cost).collect(),
            ..Row::new(contender)
        }
    }

    #[test]
    fn shows_medians_and_says_which_bars_are_met() {
        let missing = Row {
            missing: Some("curl"),
            ..Row::new(Contender::Curls)
        };
        let report = report(vec![
            row(Contender::Cold, &[9.0, 2.0, 3.0]),
            row(Contender::Loop, &[20.0]),
            row(Contender::Parallel, &[6.0]),
            missing,
        ]);
        assert_eq!(
            report.text(),
            "\
4 archives of 1.50 MB, every third image for up to 2 platforms; 7 blobs of 1.20 MB in them unique; 2 processors, 4 copies and curls at once

MEASURED                                                WALL    CPU  REGISTRY    MEMORY  WRITTEN  REQUESTS
push, cold                                              3.00   1.50      1.00  50.00 MB  1.10 MB         5
vendor's loop                                          20.00  10.00      1.00  50.00 MB  1.10 MB         5
vendor's loop, xargs -P                                 6.00   3.00      1.00  50.00 MB  1.10 MB         5
floor: several curls (missing: curl is not installed)

wall and cpu in seconds; registry: its own processor time meanwhile; memory: of the largest process

    met  cold, of the vendor's loop: 0.150, at most 0.200
NOT met  cold, of the vendor's loop with xargs -P: 0.500, at most 0.333
    met  cold, requests for each tag: 1.500, at most 2.000
NOT met  cold, requests for each new blob, without mounts: 3.000, at most 2.000
    met  peak memory of a push: 50 MB, at most 64 MB
    met  cold, written to disk, of the blobs that are new: 0.917, at most 1.100
"
        );
    }

    #[test]
    fn at_a_distance_the_rate_is_the_floor_and_the_goals_are_others() {
        let failed = Row {
            failed: Some("exit status: 1".to_owned()),
            ..Row::new(Contender::Crane)
        };
        let mut report = report(vec![
            row(Contender::Cold, &[0.0105]),
            row(Contender::ColdBase, &[0.021]),
            row(Contender::Near, &[0.009]),
            row(Contender::Again, &[0.4]),
            row(Contender::Loop, &[0.02]),
            failed,
        ]);
        report.distance = Distance {
            rtt: Duration::from_millis(20),
            rate: Some(1_000_000_000),
            loss: 0.0,
        };
        let text = report.text();
        for line in [
            "at a distance: round trip 20ms, 1 Gbit/s",
            "floor, bytes/rate: 0.01 s",
            "crane, xargs -P (failed: exit status: 1)",
            "    met  cold, of bytes/rate: 1.094, at most 1.100",
            "    met  cold, of the base: 0.500, at most 1.050",
            "NOT met  nothing to do: 0.40 s, at most 0.35 s",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("of the vendor's loop"), "{text}");
        assert!(!text.contains("on loopback:"), "{text}");
        report.shape.kind = Kind::ManySmall;
        let text = report.text();
        assert!(!text.contains("of bytes/rate:"), "{text}");
        assert!(
            text.contains("cold, of the same on loopback: 1.167"),
            "{text}"
        );
    }

    #[test]
    fn the_floor_is_the_higher_one() {
        let report = report(vec![
            row(Contender::Cold, &[6.0]),
            row(Contender::Inflate, &[3.0]),
            row(Contender::Curls, &[5.0]),
        ]);
        let bars = report.bars();
        let bar = bars.iter().find(|bar| bar.what.contains("floor")).unwrap();
        assert!((bar.measured - 1.2).abs() < 1e-9);
        assert!(bar.met);
    }
}
