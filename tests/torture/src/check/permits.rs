//! One key's leases: never more than the limit at once.
//!
//! A lease is certainly live from the answer to its acquiring to the beginning
//! of its release. Of one whose holder was killed only that is known which it
//! wrote down: it is live until the beginning of its last renewal. A living
//! holder is never told that its lease is over, as no one is stopped for as
//! long as a lease is.

use super::Violation;
use crate::log::{Operation, Record, YES};
use std::collections::HashMap;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Leases that were granted.
    pub leases: u64,
    /// The most that were certainly live at once.
    pub most: u64,
    /// Leases that may have been their holders' when these died: no release was
    /// answered.
    pub left: u64,
}

/// Checks the calls about one key, in any order.
pub fn check(key: u32, limit: u64, calls: &[Record]) -> Result<Checked, Violation> {
    let fail = |what: String| Err(Violation(format!("permits of key {key}: {what}")));
    // From when and until when a lease is certainly live, and whether its
    // release was answered.
    let mut leases: HashMap<u64, (u64, u64, bool)> = HashMap::new();
    let mut checked = Checked::default();
    let acquires = || calls.iter().filter(|c| c.operation == Operation::Acquire);
    for call in acquires() {
        match call.answer {
            Some((YES, at)) => {
                if leases.insert(call.argument, (at, at, false)).is_some() {
                    return fail(format!("lease {:x} was granted twice", call.argument));
                }
            }
            None => checked.left += 1,
            Some(_) => {}
        }
    }
    for call in calls {
        if !matches!(call.operation, Operation::Renew | Operation::Release) {
            continue;
        }
        let Some((from, until, released)) = leases.get_mut(&call.argument) else {
            return fail(format!("lease {:x} was never granted", call.argument));
        };
        match call.answer {
            Some((YES, _)) => {
                *until = (*until).max(call.invoked);
                *released |= call.operation == Operation::Release;
            }
            None => {}
            Some((_, at)) => {
                return fail(format!(
                    "lease {:x}, granted at {from}, was over at {at} while its holder lived",
                    call.argument
                ))
            }
        }
    }
    checked.leases = leases.len() as u64;
    checked.left += leases.values().filter(|(.., released)| !released).count() as u64;
    // Both ends belong to it: at one instant, beginnings come first.
    let mut steps: Vec<(u64, bool)> = leases
        .values()
        .flat_map(|&(from, until, _)| [(from, false), (until, true)])
        .collect();
    steps.sort_unstable();
    let mut live = 0;
    for (at, ends) in steps {
        if ends {
            live -= 1;
            continue;
        }
        live += 1;
        checked.most = checked.most.max(live);
        if live > limit {
            return fail(format!("{live} leases are live at {at}, not {limit}"));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::NO;

    fn call(operation: Operation, lease: u64, from: u64, answer: Option<(u64, u64)>) -> Record {
        Record {
            operation,
            key: 1,
            ttl: 0,
            argument: lease,
            invoked: from,
            answer,
        }
    }

    /// A lease from the first of these times to the second.
    fn lease(name: u64, from: u64, until: u64) -> [Record; 2] {
        [
            call(Operation::Acquire, name, from - 5, Some((YES, from))),
            call(Operation::Release, name, until, Some((YES, until + 5))),
        ]
    }

    #[test]
    fn as_many_as_the_limit_at_once() {
        let calls = [lease(1, 10, 30), lease(2, 20, 40), lease(3, 31, 50)].concat();
        let checked = Checked {
            leases: 3,
            most: 2,
            left: 0,
        };
        assert_eq!(check(1, 2, &calls), Ok(checked));
        let problem = check(1, 1, &calls).unwrap_err().0;
        assert!(problem.contains("2 leases are live at 20"), "{problem}");
    }

    #[test]
    fn one_more_at_a_single_instant_is_told() {
        let calls = [lease(1, 10, 30), lease(2, 30, 40)].concat();
        assert!(check(1, 1, &calls).is_err());
    }

    #[test]
    fn the_lease_of_a_killed_one_is_live_until_its_last_word() {
        let mut calls = vec![call(Operation::Acquire, 1, 5, Some((YES, 10)))];
        calls.extend(lease(2, 15, 20));
        assert_eq!(check(1, 1, &calls).map(|checked| checked.left), Ok(1));
        calls.push(call(Operation::Renew, 1, 16, Some((YES, 17))));
        assert!(check(1, 1, &calls).is_err());
        calls.last_mut().unwrap().answer = None;
        assert!(check(1, 1, &calls).is_ok());
    }

    #[test]
    fn a_lease_that_is_taken_from_the_living_is_told() {
        for operation in [Operation::Renew, Operation::Release] {
            let calls = [
                call(Operation::Acquire, 1, 5, Some((YES, 10))),
                call(operation, 1, 20, Some((NO, 21))),
            ];
            let problem = check(1, 2, &calls).unwrap_err().0;
            assert!(problem.contains("while its holder lived"), "{problem}");
        }
    }
}
