//! The dates of a record: plan, forecast (the plan with a slip) and actual (the forecast with
//! reality), all inside 2023–2028. In every layer start ≤ end.
//!
//! Days are counted from 2023-01-01 while deciding.

use chrono::{Days, NaiveDate};

use super::draw::{Draws, Quantiles};

/// The day that counts as today: what has begun has begun before it. 2025-06-01.
pub const REFERENCE_DATE: NaiveDate = date(2025, 6, 1);

const FIRST_DATE: NaiveDate = date(2023, 1, 1);
/// [`REFERENCE_DATE`] in days since [`FIRST_DATE`].
const TODAY: u32 = 882;
/// No plan ends later (2028-09-30), to leave room for slips.
const LAST_PLANNED: u32 = 2_099;
/// No date is later: 2028-12-31.
const LAST: u32 = 2_191;

/// Planned start of what is on site today or was: 2023-01-01 to 2025-05-20.
const STARTS_IN_THE_PAST: &Quantiles = &[(0, 0), (200, 300), (600, 600), (1000, 870)];
/// Planned start of the rest: some overdue, most ahead, fewer towards the end.
const STARTS_AHEAD: &Quantiles = &[(0, 150), (100, 760), (300, 950), (600, 1_300), (850, 1_700), (1000, 2_080)];
/// Planned duration: near a log-normal with median 150 days and sigma 0.9, 14 days to 3 years.
const DURATIONS: &Quantiles = &[(0, 14), (50, 34), (100, 47), (250, 82), (500, 150), (750, 275), (900, 475), (960, 720), (1000, 1_095)];
/// Days by which a late start is late.
const DELAYS: &Quantiles = &[(0, 1), (500, 21), (800, 60), (950, 120), (1000, 180)];

/// The six dates; each may be missing.
pub(super) struct Schedule {
    pub(super) original: Layer,
    pub(super) forecast: Layer,
    pub(super) actual: Layer,
}

/// One layer of dates, start ≤ end.
#[derive(Clone, Copy, Default)]
pub(super) struct Layer {
    pub(super) start: Option<NaiveDate>,
    pub(super) end: Option<NaiveDate>,
}

impl Layer {
    /// Both dates present: what `hasPlan` and `hasActuals` say.
    pub(super) fn is_complete(self) -> bool {
        self.start.is_some() && self.end.is_some()
    }

    fn from_days(start: u32, end: Option<u32>) -> Self {
        let day = |days: u32| FIRST_DATE.checked_add_days(Days::new(days.into()));
        Self { start: day(start), end: end.and_then(day) }
    }
}

/// Draws the dates. `tilt` (per mille, 500 is neutral) moves the planned start: see [`Draws::tilted`].
///
/// 3 % have no plan, 2 % no forecast, 1 % an open end in both.
pub(super) fn draw_schedule(draws: &mut Draws, is_actualized: bool, tilt: u32) -> Schedule {
    let starts = if is_actualized { STARTS_IN_THE_PAST } else { STARTS_AHEAD };
    let duration = draws.quantile(DURATIONS);
    let latest = LAST_PLANNED - duration;
    let mut start = draws.tilted(starts, tilt);
    if start > latest {
        // Pulled back by a varying amount, so that no heap of plans ends on the very last day.
        start = latest - draws.below(latest.min(90));
    }
    let end = start + duration;
    let (forecast_start, forecast_end) = draw_forecast(draws, start, duration, is_actualized);
    let actual = if is_actualized { draw_actual(draws, forecast_start, forecast_end - forecast_start) } else { Layer::default() };

    let (has_original, has_forecast) = (!draws.chance(30), !draws.chance(20));
    let is_open = draws.chance(10);
    let layer = |present: bool, start: u32, end: u32| {
        if present { Layer::from_days(start, (!is_open).then_some(end)) } else { Layer::default() }
    };
    Schedule { original: layer(has_original, start, end), forecast: layer(has_forecast, forecast_start, forecast_end), actual }
}

/// The plan shifted: 45 % start as planned, 10 % earlier, the rest later; the duration mostly stays.
fn draw_forecast(draws: &mut Draws, start: u32, duration: u32, is_actualized: bool) -> (u32, u32) {
    let moved = match draws.below(100) {
        0..45 => start,
        45..55 => start.saturating_sub(draws.between(1, 30)),
        _ => start + draws.quantile(DELAYS),
    };
    // What is on site was forecast to come before today.
    let moved = if is_actualized { moved.min(TODAY - draws.between(1, 10)) } else { moved };
    let stretched = match draws.below(100) {
        0..60 => duration,
        60..85 => duration + draws.below(duration / 4 + 1),
        _ => duration - draws.below(duration / 7 + 1),
    };
    let end = match moved + stretched {
        // Varied, so that no heap of forecasts ends on the last day of all.
        LAST.. => LAST - draws.below(60),
        end => end,
    };
    (moved.min(end), end)
}

/// What happened: a start near the forecast and not after today. A machine that should have left
/// by now has (nearly always) an end; of those still on site 60 % have the expected end noted.
fn draw_actual(draws: &mut Draws, forecast_start: u32, duration: u32) -> Layer {
    let start = (forecast_start + draws.between(0, 21)).saturating_sub(7).min(TODAY);
    let end = start + (duration + draws.between(0, 28)).saturating_sub(10);
    let has_end = draws.chance(if end <= TODAY { 950 } else { 600 });
    Layer::from_days(start, has_end.then_some(end.min(LAST)))
}

/// A date that is known to exist; an impossible one would show as the smallest date there is.
const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => NaiveDate::MIN,
    }
}
