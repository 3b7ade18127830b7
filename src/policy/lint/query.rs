//! What each part of a query may be warned of.

use std::time::Duration;

use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, Offset, SubqueryExpr, token,
};

use super::series::{self, Shape, shape};
use super::{Lint, bare, children, number, ratio, selectors, shown};
use crate::policy::code::Code;
use crate::policy::file::Series;

/// Scrapes that a window should see: one may fail, and Prometheus still has two at each end of it.
const SCRAPES_MIN: u32 = 4;
/// What Prometheus takes as the step of a subquery that names none, unless its `evaluation_interval` is another.
const USUAL_EVALUATION: Duration = Duration::from_secs(60);
/// Functions that need two samples within their window.
const OVER_WINDOWS: [&str; 7] = ["rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear"];
/// Functions for counters.
const FOR_COUNTERS: [&str; 3] = ["rate", "irate", "increase"];
/// Functions for gauges.
const FOR_GAUGES: [&str; 3] = ["delta", "idelta", "deriv"];
/// Endings of the names of what rises and falls.
const GAUGE_ENDINGS: [&str; 18] = [
    "_ratio",
    "_percent",
    "_percentage",
    "_celsius",
    "_in_flight",
    "_inflight",
    "_in_progress",
    "_queue_length",
    "_queue_depth",
    "_queue_size",
    "_lag",
    "_utilization",
    "_temperature",
    "_working_set_bytes",
    "_resident_memory_bytes",
    "_memory_usage_bytes",
    "_replicas",
    "_load1",
];

/// Labels whose values a sync replaces.
const OF_A_POD: [&str; 8] = [
    "pod",
    "pod_name",
    "kubernetes_pod_name",
    "instance",
    "pod_template_hash",
    "replicaset",
    "version",
    "revision",
];

/// Where a part stands in the query.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// Whether something else stands in where this has no value.
    guarded: bool,
    /// Whether its number counts, and not only that it is there.
    counts: bool,
}

impl Lint<'_> {
    pub(super) fn query(&mut self, expr: &Expr) {
        self.part(expr, Standing { guarded: false, counts: true });
        self.answer(expr);
        if self.slo.max == Some(0.0) || self.slo.min.is_some_and(|min| min >= 1.0) {
            self.objective(expr);
        }
    }

    /// Warns of series that no sync leaves as they are.
    fn per_pod(&mut self, expr: &Expr, why: &str) {
        let message = format!(
            "each series is judged, and {why}: those of the new revision have no past, so none of them can convict"
        );
        let help = "aggregate `by (…)` labels that outlive a sync, such as a path, a zone or a queue";
        self.warn(series::culprit(expr), Code::SeriesPerPod, message, help);
    }

    /// What is said of the value as a whole.
    fn answer(&mut self, expr: &Expr) {
        let each = self.slo.series == Some(Series::Each);
        match shape(expr) {
            Shape::Grouped { free, .. } if each => {
                if let Some(label) = free.iter().find(|label| OF_A_POD.contains(&label.as_str())) {
                    self.per_pod(expr, &format!("one for each value of `{label}`"));
                }
            }
            Shape::Many(why) if each => {
                // A bare counter, or `up`: neither has lost the labels of its pods.
                if matches!(series::culprit(expr), Expr::Call(_) | Expr::VectorSelector(_)) {
                    self.per_pod(expr, why);
                }
            }
            Shape::Many(why) => {
                let message = format!("the query gives several series where one number is wanted: {why}");
                let help = "put the whole into `sum(…)`, `avg(…)` or `max(…)`; or write `series: each` to judge each";
                self.warn(series::culprit(expr), Code::SeveralSeries, message, help);
            }
            Shape::Grouped { free, .. } if !free.is_empty() => {
                let labels = free.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
                let message = format!(
                    "the query gives several series where one number is wanted: one for each value of {labels}"
                );
                let help = "leave these labels out of `by (…)`, or match one value of each with `=`; or write `series: each` to judge each";
                self.warn(series::culprit(expr), Code::SeveralSeries, message, help);
            }
            _ => {}
        }
        match bare(expr) {
            // `>= 0` is the usual way to be rid of NaN.
            Expr::Binary(binary)
                if binary.op.is_comparison_operator()
                    && !binary.return_bool()
                    && (self.slo.true_is.is_some() || number(&binary.rhs) != Some(0.0)) =>
            {
                let message =
                    format!("`{}` gives no value while it is false, which is inconclusive", binary.op);
                let help = match self.slo.true_is {
                    Some(_) => format!("write `{} bool`, which is 0 while it is false", binary.op),
                    None => format!(
                        "leave the comparison out, since `min` and `max` compare; or write `{} bool` for 0 and 1",
                        binary.op
                    ),
                };
                self.warn(bare(expr), Code::NoValueWhenFalse, message, &help);
            }
            Expr::Call(call) if call.func.name.starts_with("absent") => {
                let message = format!(
                    "`{}` gives no value while there is a series, which is inconclusive",
                    call.func.name
                );
                self.warn(bare(expr), Code::NoValueWhenFalse, message, "add `or vector(0)`");
            }
            _ => {}
        }
    }

    /// What is said of a burn rate's queries: the share of errors, or the count of events.
    pub(super) fn burn_rate(&mut self, expr: &Expr, counts: bool) {
        if !counts && ratio::of_requests(expr).is_some_and(|share| share.percent) {
            let message = "the query gives percent, and 1 is taken for all events";
            self.warn(expr, Code::ShareInPercent, message, "leave the factor of 100 out");
        }
        if counts && let Some((rate, name)) = per_second(expr) {
            let message = format!("`{name}` gives events per second where the number of events is wanted");
            self.warn(rate, Code::EventsPerSecond, message, "write `increase` in its place");
        }
    }

    fn part(&mut self, expr: &Expr, standing: Standing) {
        match expr {
            Expr::Call(call) => self.call(expr, call),
            Expr::Subquery(subquery) => self.subquery(expr, subquery),
            Expr::Binary(binary) => return self.binary(expr, binary, standing),
            Expr::Aggregate(aggregate) => self.quantile(expr, aggregate),
            Expr::VectorSelector(selector) if standing.counts => {
                let name = selector.name.as_deref().unwrap_or_default();
                if name.ends_with("_total") && !name.contains(':') && !name.starts_with("kube_") {
                    let message = format!("`{name}` is a counter, which only grows until a pod restarts");
                    let help = format!("write `rate({name}{{…}}[1m])`");
                    self.warn_at_metric(name, Code::CounterWithoutRate, message, &help);
                }
            }
            _ => {}
        }
        let counts = standing.counts && !only_presence(expr);
        for child in children(expr) {
            self.part(child, Standing { counts, ..standing });
        }
    }

    fn call(&mut self, expr: &Expr, call: &Call) {
        let name = call.func.name;
        let Some(first) = call.args.args.first().map(|arg| bare(arg)) else { return };
        if let Expr::MatrixSelector(matrix) = first
            && OVER_WINDOWS.contains(&name)
        {
            self.window(name, first, matrix.range);
            self.kind_of_metric(expr, name, matrix.vs.name.as_deref().unwrap_or_default());
        }
        if let Expr::Subquery(subquery) = first
            && FOR_COUNTERS.contains(&name)
            && matches!(bare(&subquery.expr), Expr::Aggregate(_))
        {
            let message = format!(
                "`{name}` of an aggregate: when one pod restarts the whole falls, and `{name}` takes that for a reset"
            );
            let help = format!("the other way round: `sum({name}(…[1m]))`");
            self.warn(expr, Code::RateOfAggregate, message, &help);
        }
        if matches!(name, "histogram_quantile" | "quantile_over_time")
            && let Some(rank) = number(first)
        {
            self.rank(expr, rank);
        }
        if name == "histogram_quantile"
            && let Some(buckets) = call.args.args.get(1)
        {
            self.buckets(bare(buckets));
        }
    }

    fn window(&mut self, function: &str, window: &Expr, range: Duration) {
        let scrapes = self.assumptions.scrape_interval;
        let least = scrapes.saturating_mul(SCRAPES_MIN);
        if range < least {
            let message = format!(
                "`{function}` over {} with a scrape each {}: shorter than four scrapes, so one or two that fail leave no value",
                shown(range),
                shown(scrapes)
            );
            let help = format!(
                "write `[{}]` or more, or tell `--scrape-interval` if scrapes come more often",
                shown(least).to_string().replace(' ', "")
            );
            self.warn(window, Code::ShortWindow, message, &help);
        }
    }

    fn kind_of_metric(&mut self, expr: &Expr, function: &str, metric: &str) {
        let is_gauge = metric == "up" || GAUGE_ENDINGS.iter().any(|end| metric.ends_with(end));
        if FOR_COUNTERS.contains(&function) && is_gauge {
            let message = format!(
                "`{function}` of `{metric}`, which by its name rises and falls: each fall counts as a reset"
            );
            let help = "for such values there are `avg_over_time`, `max_over_time`, `delta` and `deriv`";
            self.warn(expr, Code::RateOfGauge, message, help);
        }
        if FOR_GAUGES.contains(&function) && metric.ends_with("_total") {
            let message =
                format!("`{function}` of the counter `{metric}`, which falls to zero when a pod restarts");
            let help = "for counters there are `rate` and `increase`";
            self.warn(expr, Code::DeltaOfCounter, message, help);
        }
    }

    fn rank(&mut self, expr: &Expr, rank: f64) {
        if !(0.0..=1.0).contains(&rank) {
            let message = format!("the quantile {rank} is not between 0 and 1: the value is infinite");
            let help = format!("write `{}`", rank / 100.0);
            let help = if (1.0..=100.0).contains(&rank) { help } else { String::new() };
            self.warn(expr, Code::QuantileOutOfRange, message, &help);
        }
    }

    fn quantile(&mut self, expr: &Expr, aggregate: &AggregateExpr) {
        if aggregate.op.id() == token::T_QUANTILE
            && let Some(rank) = aggregate.param.as_deref().and_then(number)
        {
            self.rank(expr, rank);
        }
    }

    /// Native histograms have no `le`; their metrics do not end in `_bucket`.
    fn buckets(&mut self, expr: &Expr) {
        let Expr::Aggregate(aggregate) = expr else { return };
        let has_le = match &aggregate.modifier {
            Some(LabelModifier::Include(list)) => list.labels.iter().any(|label| label == "le"),
            Some(LabelModifier::Exclude(list)) => !list.labels.iter().any(|label| label == "le"),
            None => false,
        };
        let classic =
            selectors(expr).iter().any(|s| s.name.as_deref().is_some_and(|name| name.ends_with("_bucket")));
        if !has_le && classic {
            let message = "the buckets are added up without `le`, by which `histogram_quantile` tells them apart: it has no value";
            let help = format!("write `{} by (le) (…)`", aggregate.op);
            self.warn(expr, Code::QuantileWithoutLe, message, &help);
        }
    }

    fn subquery(&mut self, expr: &Expr, subquery: &SubqueryExpr) {
        let step = subquery.step.unwrap_or(USUAL_EVALUATION);
        let each = match subquery.step {
            Some(step) => format!("each {}", shown(step)),
            None => "at Prometheus' evaluation interval, usually each 1m".to_owned(),
        };
        let scrape = self.assumptions.scrape_interval;
        let help =
            format!("give it a finer step, such as `[{}:{}]`", compact(subquery.range), compact(scrape));
        if subquery.range < step.saturating_mul(2) {
            let message = format!(
                "this subquery over {} is evaluated {each}: it sees one value",
                shown(subquery.range)
            );
            self.warn(expr, Code::CoarseSubquery, message, &help);
        } else if let (Some(step), Some(window)) = (subquery.step, longest_window(&subquery.expr))
            && step > window
        {
            let message = format!(
                "this subquery is evaluated {each}, and looks at {} each time: it misses what happens between",
                shown(window)
            );
            self.warn(expr, Code::CoarseSubquery, message, &help);
        }
    }

    fn binary(&mut self, expr: &Expr, binary: &BinaryExpr, standing: Standing) {
        if shape(expr) == Shape::Nothing
            && shape(&binary.lhs) != Shape::Nothing
            && shape(&binary.rhs) != Shape::Nothing
        {
            let message =
                "the two sides have different labels, so no pair goes together and there is no result";
            let help = "give both sides the same `by (…)`, or say what to match: `on (…)`, `ignoring (…)` with `group_left`";
            self.warn(expr, Code::NeverMatches, message, help);
        }
        self.past(expr, binary);
        if !standing.guarded
            && let Some(missing) = ratio::may_have_no_numerator(binary)
        {
            self.no_numerator(expr, binary, &missing);
        }
        let op = binary.op.id();
        let (left, right) = match op {
            token::T_LOR => (Standing { guarded: true, ..standing }, Standing { guarded: true, ..standing }),
            token::T_LAND | token::T_LUNLESS => (standing, Standing { guarded: true, counts: false }),
            // Its own past is what makes a counter a rate.
            token::T_SUB => (Standing { counts: false, ..standing }, Standing { counts: false, ..standing }),
            _ => (standing, standing),
        };
        self.part(&binary.lhs, left);
        self.part(&binary.rhs, right);
    }

    fn no_numerator(&mut self, expr: &Expr, binary: &BinaryExpr, missing: &str) {
        let so = if self.slo.min.is_some() {
            "as when every request fails, and that would be inconclusive"
        } else {
            "as before the first failure, and that is inconclusive"
        };
        let message = format!("this ratio has no value while {missing}, {so}");
        // What stands in must have the labels of the other side.
        let help = match shape(&binary.lhs) {
            Shape::Grouped { labels, .. } if labels.is_empty() => "write `(sum(…) or vector(0)) / sum(…)`",
            _ => "put `or 0 * <what is below>` behind what is above: `(a or 0 * b) / b`",
        };
        self.warn(expr, Code::NoTraffic, message, help);
    }

    /// A comparison with oneself some time ago, by `offset`.
    fn past(&mut self, expr: &Expr, binary: &BinaryExpr) {
        let compares =
            matches!(binary.op.id(), token::T_DIV | token::T_SUB) || binary.op.is_comparison_operator();
        if !compares || selectors(&binary.lhs).is_empty() {
            return;
        }
        let (left, right) = (binary.lhs.to_string(), binary.rhs.to_string());
        if left == right {
            let message = "both sides are the same, so the result is always the same";
            self.warn(
                expr,
                Code::ComparedWithItself,
                message,
                "compare with something else, or with `offset`",
            );
            return;
        }
        let (before, after) = (shift(&binary.lhs), shift(&binary.rhs));
        let apart = before.abs_diff(after);
        let duration = self.policy.analysis.duration.0;
        if without_offsets(&left) == without_offsets(&right) && apart < duration {
            let message = format!(
                "a comparison with itself {} ago, within an analysis of {}: in the end both sides are the time after the change",
                shown(apart),
                shown(duration)
            );
            let help = format!("write `offset {}` or more", compact(duration));
            self.warn(expr, Code::ComparedWithItself, message, &help);
        }
    }

    /// `min` and `max` that leave no room.
    fn objective(&mut self, expr: &Expr) {
        let Some(success) = ratio::of_requests(expr) else { return };
        let [min, max] = self.limits.clone();
        let (path, example) = match (self.slo.min, self.slo.max) {
            (_, Some(0.0)) => (max, "max: 0.001"),
            (Some(limit), _) if success.is_all(limit) => {
                (min, if limit > 1.0 { "min: 99.9" } else { "min: 0.999" })
            }
            _ => return,
        };
        let message = "an objective of 100 %: a single failed request is a failed measurement, as long as it is in the window";
        self.report.warn(
            &path,
            Code::NoErrorBudget,
            None,
            message.to_owned(),
            &format!("leave room, as in `{example}`"),
        );
    }
}

/// The call that makes an expression a rate per second, if it is one, and its name.
fn per_second(expr: &Expr) -> Option<(&Expr, &'static str)> {
    match bare(expr) {
        call @ Expr::Call(Call { func, .. }) if ["rate", "irate"].contains(&func.name) => {
            Some((call, func.name))
        }
        Expr::Aggregate(aggregate) if aggregate.op.id() == token::T_SUM => per_second(&aggregate.expr),
        Expr::Binary(binary) if [token::T_ADD, token::T_LOR].contains(&binary.op.id()) => {
            per_second(&binary.lhs)
        }
        _ => None,
    }
}

/// Whether only the presence of a value is asked below.
fn only_presence(expr: &Expr) -> bool {
    match expr {
        Expr::Aggregate(aggregate) => {
            matches!(aggregate.op.id(), token::T_COUNT | token::T_GROUP | token::T_COUNT_VALUES)
        }
        Expr::Call(call) => {
            call.func.name.starts_with("absent")
                || ["timestamp", "clamp_max", "clamp"].contains(&call.func.name)
        }
        // A window over a counter is judged with its function.
        Expr::Subquery(_) => true,
        _ => false,
    }
}

fn longest_window(expr: &Expr) -> Option<Duration> {
    match expr {
        Expr::MatrixSelector(matrix) => Some(matrix.range),
        other => children(other).into_iter().filter_map(longest_window).max(),
    }
}

/// How far into the past an expression is shifted.
fn shift(expr: &Expr) -> Duration {
    let own = match expr {
        Expr::VectorSelector(selector) => selector.offset.as_ref(),
        Expr::MatrixSelector(matrix) => matrix.vs.offset.as_ref(),
        Expr::Subquery(subquery) => subquery.offset.as_ref(),
        _ => None,
    };
    let below = children(expr).into_iter().map(shift).max().unwrap_or_default();
    match own {
        Some(Offset::Pos(shift)) => shift.saturating_add(below),
        _ => below,
    }
}

/// The text of an expression without its offsets.
fn without_offsets(text: &str) -> String {
    let mut parts = text.split(" offset ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-')
    })
}

/// A duration as `PromQL` writes it.
fn compact(duration: Duration) -> String {
    shown(duration).to_string().replace(' ', "").replace("day", "d")
}
