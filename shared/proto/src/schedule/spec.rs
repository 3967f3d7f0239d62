//! Which instants a schedule names.

use windlass_core::schedule::{Cron, Exclusions, Interval, Rule, Spec, Zone};

use super::of_rule;
use crate::{Error, time, v1};

/// What a scheduler of the first version reads, where it can do what is meant.
pub(super) fn first_version(spec: &Spec) -> Option<v1::schedule::Spec> {
    let plain = spec.exclusions().is_empty() && spec.starts_at().is_none() && spec.ends_at().is_none();
    match spec.rules() {
        [Rule::Cron(cron)] if plain => Some(v1::schedule::Spec::Cron(cron_to_wire(cron))),
        [Rule::Interval(interval)] if plain && interval.phase().is_zero() => {
            Some(v1::schedule::Spec::Interval(time::duration_to_wire(interval.period())))
        }
        _ => None,
    }
}

fn cron_to_wire(cron: &Cron) -> v1::Cron {
    v1::Cron { expression: cron.expression().to_owned(), zone: cron.zone().name().to_owned() }
}

pub(super) fn rule_to_wire(rule: &Rule) -> v1::Rule {
    let rule = match rule {
        Rule::Cron(cron) => v1::rule::Rule::Cron(cron_to_wire(cron)),
        Rule::Interval(interval) => v1::rule::Rule::Interval(v1::Interval {
            period: Some(time::duration_to_wire(interval.period())),
            phase: Some(time::duration_to_wire(interval.phase())),
        }),
        Rule::Once(at) => v1::rule::Rule::Once(time::to_wire(*at)),
    };
    v1::Rule { rule: Some(rule) }
}

pub(super) fn exclusions_to_wire(exclusions: &Exclusions) -> Option<v1::Exclusions> {
    let days = exclusions.days().iter();
    let spans = exclusions.spans().iter();
    exclusions.zone().map(|zone| v1::Exclusions {
        zone: zone.name().to_owned(),
        days: days
            .map(|(first, last)| v1::Days { first: first.to_string(), last: last.to_string() })
            .collect(),
        spans: spans
            .map(|(from, until)| v1::Span {
                from: Some(time::to_wire(*from)),
                until: Some(time::to_wire(*until)),
            })
            .collect(),
    })
}

pub(super) fn spec(wire: &mut v1::Schedule) -> Result<Spec, Error> {
    let rules = if wire.rules.is_empty() {
        let missing = || Error::new("spec", "is missing: expected cron or interval");
        vec![
            match wire.spec.take().ok_or_else(missing)? {
                v1::schedule::Spec::Cron(cron) => Cron::new(&cron.expression, &cron.zone).map(Rule::Cron),
                v1::schedule::Spec::Interval(period) => {
                    let period = time::duration_from_wire("interval", period)?;
                    Interval::new(period, std::time::Duration::ZERO).map(Rule::Interval)
                }
            }
            .map_err(|e| of_rule(&e))?,
        ]
    } else {
        std::mem::take(&mut wire.rules).into_iter().map(rule).collect::<Result<_, _>>()?
    };
    let starts_at = time::optional("starts_at", wire.starts_at)?;
    let ends_at = time::optional("ends_at", wire.ends_at)?;
    let mut spec =
        Spec::new(rules).and_then(|spec| spec.between(starts_at, ends_at)).map_err(|e| of_rule(&e))?;
    if let Some(exclusions) = wire.exclusions.take() {
        spec = spec.without(read_exclusions(&exclusions)?);
    }
    let jitter = wire.jitter.map(|jitter| time::duration_from_wire("jitter", jitter)).transpose()?;
    Ok(spec.with_checked_jitter(jitter.unwrap_or_default()))
}

fn rule(wire: v1::Rule) -> Result<Rule, Error> {
    let missing = || Error::new("rules", "have one without a rule: expected cron, interval or once");
    match wire.rule.ok_or_else(missing)? {
        v1::rule::Rule::Cron(cron) => {
            Cron::new(&cron.expression, &cron.zone).map(Rule::Cron).map_err(|e| of_rule(&e))
        }
        v1::rule::Rule::Interval(interval) => {
            let period = interval.period.ok_or_else(|| Error::missing("interval"))?;
            let phase = interval.phase.map(|phase| time::duration_from_wire("phase", phase)).transpose()?;
            let period = time::duration_from_wire("interval", period)?;
            Interval::new(period, phase.unwrap_or_default()).map(Rule::Interval).map_err(|e| of_rule(&e))
        }
        v1::rule::Rule::Once(at) => time::required("once", Some(at)).map(Rule::Once),
    }
}

fn read_exclusions(wire: &v1::Exclusions) -> Result<Exclusions, Error> {
    let day = |text: &str| {
        text.parse().map_err(|_| Error::new("exclude", format!("is `{text}`: expected a day as 2026-12-24")))
    };
    let days = wire.days.iter().map(|days| Ok((day(&days.first)?, day(&days.last)?)));
    let spans = wire.spans.iter().map(|span| {
        Ok((time::required("exclude.from", span.from)?, time::required("exclude.until", span.until)?))
    });
    let zone = Zone::new(&wire.zone).map_err(|e| of_rule(&e))?;
    let (days, spans) = (days.collect::<Result<_, Error>>()?, spans.collect::<Result<_, Error>>()?);
    Exclusions::new(zone, days, spans).map_err(|e| of_rule(&e))
}
