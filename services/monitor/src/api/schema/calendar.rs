//! What schedules are going to fire: as `windlass_schedules::calendar`, described for the document alone.

use utoipa::ToSchema;

/// What is going to fire on some days.
#[derive(ToSchema)]
pub struct Calendar {
    /// Of the days and hours.
    pub zone: String,
    /// The days, in order.
    pub days: Vec<CalendarDay>,
    /// Schedules that fire at one instant, those of most first; at most 100.
    pub collisions: Vec<CalendarCollision>,
    /// At how many instants several schedules fire.
    pub collisions_count: u64,
    /// Of a single day: every instant, in order, at most 2000; empty for several days.
    pub instants: Vec<CalendarMoment>,
    /// Schedules that fire more often than every 15 minutes on average: they are counted in none of the above.
    pub frequent: Vec<FrequentSchedule>,
    /// The zones that the schedules name, by name.
    pub zones: Vec<String>,
    /// How many schedules were looked at.
    pub schedules: u64,
    /// How many of them are paused, with nothing that ends the pause.
    pub paused: u64,
    /// How many were not looked at, as there were too many of them or of their instants.
    pub left_out: u64,
}

/// A day.
#[derive(ToSchema)]
pub struct CalendarDay {
    /// Which.
    #[schema(format = Date)]
    pub date: String,
    /// How often something fires on it; what has come already is not counted.
    pub fires: u64,
    /// The most schedules that fire within one second of it.
    pub at_once: u64,
    /// Its hours in which anything fires, in order.
    pub hours: Vec<CalendarHour>,
}

/// An hour of a day; where the clock is set back, both passes are one.
#[derive(ToSchema)]
pub struct CalendarHour {
    /// 0 to 23.
    pub hour: u8,
    /// How often something fires in it.
    pub fires: u64,
    /// The most schedules that fire within one second of it.
    pub at_once: u64,
}

/// An instant at which something fires.
#[derive(ToSchema)]
pub struct CalendarMoment {
    /// When, to the second, jitter included.
    #[schema(format = DateTime)]
    pub at: String,
    /// How many schedules.
    pub count: u64,
    /// Which, by id; at most 50.
    pub schedules: Vec<String>,
}

/// Schedules that fire at one instant, once or more often.
#[derive(ToSchema)]
pub struct CalendarCollision {
    /// How many schedules.
    pub count: u64,
    /// Which, by id; at most 50.
    pub schedules: Vec<String>,
    /// The first of the instants at which these and no others fire.
    #[schema(format = DateTime)]
    pub first_at: String,
    /// How many instants that are.
    pub instants: u64,
}

/// A schedule that fires so often that it would hide all others.
#[derive(ToSchema)]
pub struct FrequentSchedule {
    /// Which.
    pub id: String,
    /// The shortest time between two of its instants.
    pub shortest_seconds: u64,
}
