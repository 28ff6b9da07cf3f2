//! Progress as bars: one for each table that is being copied, and a total below them.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::measure::{ALMOST, CopyMeasure, clock, fraction, megabytes, per_second, time_left};
use crate::pipeline::status::{Status, TableState, TableStatus};

/// Bars are this long inside: a thousandth of a copy is the smallest step one sees.
const STEPS: f64 = 1000.0;

/// Tables with a bar at a time; a terminal is not endless.
const TABLES_MAX: usize = 12;

/// Rates are those of the last seconds.
const RATE_WINDOW: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Bars {
    drawn: &'static MultiProgress,
    total: Option<Shown>,
    tables: BTreeMap<String, Shown>,
}

/// One bar, and what it has seen.
#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    began_at: Instant,
    /// Moments of the last seconds with the bytes that were copied by then.
    seen: VecDeque<(Instant, u64)>,
}

impl Bars {
    pub(super) fn new(drawn: &'static MultiProgress) -> Bars {
        Bars { drawn, total: None, tables: BTreeMap::new() }
    }

    pub(super) fn show(&mut self, status: &Status, now: Instant) {
        let drawn = self.drawn;
        let copying = |table: &&TableStatus| table.state == TableState::Copying;
        let tables: Vec<&TableStatus> = status.tables.iter().filter(copying).collect();
        self.tables.retain(|name, shown| {
            let stays = tables.iter().any(|table| table.name == *name);
            if !stays {
                drawn.remove(&shown.bar);
            }
            stays
        });
        let measure = CopyMeasure::of(status);
        let total = self.total.get_or_insert_with(|| Shown::new(drawn.add(bar()), now));
        for table in tables {
            if !self.tables.contains_key(&table.name) && self.tables.len() >= TABLES_MAX {
                continue;
            }
            let shown = self
                .tables
                .entry(table.name.clone())
                .or_insert_with(|| Shown::new(drawn.insert_before(&total.bar, bar()), now));
            shown.bar.set_prefix(clean(&table.name));
            shown.set(fraction(table), table.copy.rows, table.copy.bytes, now);
        }
        let count = format!("total, {} of {} tables", measure.done_count, measure.table_count);
        total.bar.set_prefix(count);
        total.set(measure.fraction, measure.row_count, measure.byte_count, now);
    }

    /// Takes all bars off the terminal.
    pub(super) fn clear(&mut self) {
        for shown in std::mem::take(&mut self.tables).into_values().chain(self.total.take()) {
            shown.bar.finish_and_clear();
            self.drawn.remove(&shown.bar);
        }
    }
}

impl Shown {
    fn new(bar: ProgressBar, now: Instant) -> Shown {
        Shown { bar, began_at: now, seen: VecDeque::new() }
    }

    fn set(&mut self, fraction: f64, row_count: u64, byte_count: u64, now: Instant) {
        self.seen.push_back((now, byte_count));
        while self.seen.len() > 2 && now.duration_since(self.seen[0].0) > RATE_WINDOW {
            self.seen.pop_front();
        }
        let (since, before) = self.seen[0];
        let rate = per_second(byte_count.saturating_sub(before), now.duration_since(since));
        let left = time_left(fraction, now.duration_since(self.began_at));
        let left = left.map_or_else(|| "-".to_owned(), clock);
        let rows = grouped(row_count);
        self.bar.set_message(if fraction < ALMOST {
            format!("{rows} rows, {:.1} MB/s, ETA {left}", megabytes(rate))
        } else {
            // The rows are there; what is left are keys and statistics, and nobody counts those.
            format!("{rows} rows, finishing")
        });
        self.bar.set_position((fraction * STEPS) as u64);
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:30!} {bar:20} {percent:>3} % {wide_msg}")
        .expect("the template is well formed");
    ProgressBar::new(STEPS as u64).with_style(style.progress_chars("━╸─"))
}

/// `1 234 567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Names may hold anything; a terminal gets no control character from us.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::measure::fixture::copying;

    #[test]
    fn a_bar_for_each_table_being_copied_and_a_total() {
        let drawn: &'static MultiProgress = Box::leak(Box::new(MultiProgress::with_draw_target(
            indicatif::ProgressDrawTarget::hidden(),
        )));
        let mut bars = Bars::new(drawn);
        let start = Instant::now();
        let mut status = copying();
        bars.show(&status, start);
        status.tables[1].copy.bytes += 8_000_000;
        bars.show(&status, start + Duration::from_secs(2));
        let half = &bars.tables["public.half"];
        assert_eq!(half.bar.position(), 500);
        assert_eq!(half.bar.message(), "50 rows, 4.0 MB/s, ETA 0:02");
        let total = bars.total.as_ref().expect("shown");
        assert_eq!(total.bar.prefix(), "total, 1 of 3 tables");
        status.tables[1].state = TableState::Copied;
        bars.show(&status, start + Duration::from_secs(3));
        assert!(bars.tables.is_empty());
        bars.clear();
        assert!(bars.total.is_none());
    }

    #[test]
    fn digits_stand_in_groups() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1 234 567");
    }
}
