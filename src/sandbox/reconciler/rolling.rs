//! How many replicas each ReplicaSet of a Deployment gets next.

use serde_json::Value;

use crate::sandbox::json::{at, number, text};

/// One ReplicaSet as the strategy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replicas {
    /// Asked for.
    pub(super) wanted: i64,
    /// Pods that are not ending.
    pub(super) existing: i64,
    /// Of these, ready.
    pub(super) available: i64,
}

/// A Deployment's strategy in whole pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strategy {
    desired: i64,
    surge: i64,
    unavailable: i64,
    recreate: bool,
}

impl Strategy {
    pub(super) fn of(deployment: &Value) -> Self {
        let desired = number(deployment, "/spec/replicas").unwrap_or(1);
        let part = |pointer: &str, up: bool| share(at(deployment, pointer), desired, up);
        let surge = part("/spec/strategy/rollingUpdate/maxSurge", true);
        let unavailable = part("/spec/strategy/rollingUpdate/maxUnavailable", false);
        Self {
            desired,
            surge,
            // As Kubernetes: both zero would never get anywhere.
            unavailable: if surge == 0 { unavailable.max(1) } else { unavailable },
            recreate: text(deployment, "/spec/strategy/type") == "Recreate",
        }
    }

    /// How many pods may be missing.
    pub(super) fn unavailable(&self) -> i64 {
        self.unavailable
    }

    /// The next sizes: of the newest template's, and of the older ones in the given order (oldest first).
    pub(super) fn next(&self, new: &Replicas, old: &[Replicas]) -> (i64, Vec<i64>) {
        let mut sizes: Vec<i64> = old.iter().map(|set| set.wanted).collect();
        if self.recreate {
            let gone = old.iter().all(|set| set.existing == 0);
            return (if gone { self.desired } else { new.wanted }, vec![0; old.len()]);
        }
        let total = new.wanted + sizes.iter().sum::<i64>();
        if new.wanted != self.desired {
            let room = (self.desired + self.surge - total).max(0);
            let size = self.desired.min(new.wanted + room);
            if size != new.wanted {
                // One step at a time: up first, down in a later look.
                return (size, sizes);
            }
        }
        let available_min = self.desired - self.unavailable;
        let new_unavailable = new.wanted - new.available;
        let mut removable = total - available_min - new_unavailable;
        if removable <= 0 {
            return (new.wanted, sizes);
        }
        // What does not work anyway goes first.
        for (size, set) in sizes.iter_mut().zip(old) {
            let broken = (set.wanted - set.available).clamp(0, removable);
            *size -= broken;
            removable -= broken;
        }
        let available = new.available + old.iter().map(|set| set.available).sum::<i64>();
        let mut spare = (available - available_min).max(0);
        for size in &mut sizes {
            let less = spare.min(*size);
            *size -= less;
            spare -= less;
        }
        (new.wanted, sizes)
    }
}

/// A number of pods, or a percentage of them rounded up or down; 25 % by default.
fn share(given: Option<&Value>, desired: i64, up: bool) -> i64 {
    let percent = match given {
        Some(Value::Number(count)) => return count.as_i64().unwrap_or_default(),
        Some(Value::String(percent)) => percent.trim_end_matches('%').parse().unwrap_or(25),
        _ => 25,
    };
    let hundredths = desired * percent;
    if up { (hundredths + 99) / 100 } else { hundredths / 100 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(wanted: i64, available: i64) -> Replicas {
        Replicas { wanted, existing: wanted, available }
    }

    fn check(deployment: &Value, new: &Replicas, old: &[Replicas], expected: (i64, &[i64])) {
        let (size, sizes) = Strategy::of(deployment).next(new, old);
        assert_eq!((size, sizes.as_slice()), expected, "{new:?} {old:?}");
    }

    #[test]
    fn rolls_three_replicas_by_one() {
        let three = json!({"spec": {"replicas": 3}});
        check(&three, &set(0, 0), &[set(3, 3)], (1, &[3]));
        check(&three, &set(1, 0), &[set(3, 3)], (1, &[3]));
        check(&three, &set(1, 1), &[set(3, 3)], (1, &[2]));
        check(&three, &set(1, 1), &[set(2, 2)], (2, &[2]));
        check(&three, &set(3, 3), &[set(1, 1)], (3, &[0]));
        check(&three, &set(3, 3), &[set(0, 0)], (3, &[0]));
    }

    #[test]
    fn removes_what_is_broken_first() {
        let three = json!({"spec": {"replicas": 3}});
        // A crashing pod of the version before, and the good ones of the version before that, which come back.
        check(&three, &set(3, 3), &[set(1, 0)], (3, &[0]));
    }

    #[test]
    fn recreates_when_asked() {
        let recreate = json!({"spec": {"replicas": 2, "strategy": {"type": "Recreate"}}});
        check(&recreate, &set(0, 0), &[set(2, 2)], (0, &[0]));
        let ending = Replicas { wanted: 0, existing: 1, available: 0 };
        check(&recreate, &set(0, 0), &[ending], (0, &[0]));
        check(&recreate, &set(0, 0), &[set(0, 0)], (2, &[0]));
    }

    #[test]
    fn rounds_percentages_as_kubernetes() {
        let ten = json!({"spec": {"replicas": 10, "strategy": {"rollingUpdate": {"maxSurge": "25%",
                                                                                 "maxUnavailable": 0}}}});
        let strategy = Strategy::of(&ten);
        assert_eq!((strategy.surge, strategy.unavailable), (3, 0));
    }
}
