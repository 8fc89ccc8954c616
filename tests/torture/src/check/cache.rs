//! One key of the cache as a register that may forget.
//!
//! Every value is written once, so the calls about one value tell when it must
//! have been there: from the earliest answer of a call about it to the latest
//! beginning of one (its zone; Gibbons and Korach, "Testing shared memories",
//! SIAM J. Comput. 1997). If that span is not empty, then nothing may have
//! replaced or removed the value within it: no other value's zone may overlap
//! it, and no delete, clear, or set of another value may have begun and ended
//! inside. A miss is always legal: entries are evicted, and a shard whose holder
//! is stopped is skipped.

use super::Violation;
use crate::log::{Operation, Record, NO, WRONG};
use std::collections::HashMap;

/// A call's time: from the moment before it to the moment after; an unanswered
/// one never ended.
type Span = (u64, Option<u64>);

/// A value that was there when the history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Its id.
    pub id: u64,
    /// When it was read.
    pub read: (u64, u64),
    /// The latest time by which it has expired, if it does.
    pub expires: Option<u64>,
}

struct Value {
    set: Span,
    refused: bool,
    expires: Option<u64>,
    /// The earliest answer and the latest beginning of a call about it.
    first: u64,
    last: u64,
    read: bool,
}

/// How much a hit may be late of what its clock says: two readings.
const SLACK: u64 = 10_000;

/// Checks the calls about one key, in any order; what it counted of hits.
pub fn check(
    key: u32,
    calls: &[Record],
    carried: Option<Carried>,
    clears: &[Span],
) -> Result<u64, Violation> {
    let fail = |what: String| Err(Violation(format!("cache key {key}: {what}")));
    let mut values: HashMap<u64, Value> = HashMap::new();
    if let Some(it) = carried {
        values.insert(
            it.id,
            Value {
                set: (0, Some(it.read.1)),
                refused: false,
                expires: it.expires,
                first: it.read.1,
                last: it.read.0,
                read: true,
            },
        );
    }
    for call in calls.iter().filter(|c| c.operation == Operation::Set) {
        let answered = call.answer.map(|(_, at)| at);
        let value = Value {
            set: (call.invoked, answered),
            refused: call.answer.is_some_and(|(result, _)| result == NO),
            expires: expiry(call),
            first: answered.unwrap_or(u64::MAX),
            last: call.invoked,
            read: false,
        };
        if values.insert(call.argument, value).is_some() {
            return fail(format!("id {:x} was set twice", call.argument));
        }
    }
    let mut hits = 0;
    for call in calls.iter().filter(|c| c.operation == Operation::Get) {
        let Some((id, answered)) = call.answer else {
            continue;
        };
        if id == 0 {
            continue;
        }
        hits += 1;
        if id == WRONG {
            return fail(format!(
                "read from {} to {answered}: bytes that nobody wrote; see the .wrong files",
                call.invoked
            ));
        }
        let Some(value) = values.get_mut(&id) else {
            return fail(format!(
                "id {id:x}, read from {} to {answered}, was not set and was not there before",
                call.invoked
            ));
        };
        if answered < value.set.0 {
            return fail(format!(
                "id {id:x} was read at {answered} before it was set"
            ));
        }
        if value.refused {
            return fail(format!(
                "id {id:x} was read at {answered}; its set was refused"
            ));
        }
        if value.expires.is_some_and(|at| call.invoked > at + SLACK) {
            return fail(format!(
                "id {id:x} was read from {} on; it expired by {}",
                call.invoked,
                value.expires.unwrap_or(0)
            ));
        }
        value.first = value.first.min(answered);
        value.last = value.last.max(call.invoked);
        value.read = true;
    }

    // The spans in which a value must have been there, by their beginning.
    let mut zones: Vec<(u64, u64, u64)> = values
        .iter()
        .filter(|(_, value)| value.read && value.first < value.last)
        .map(|(id, value)| (value.first, value.last, *id))
        .collect();
    zones.sort_unstable();
    for pair in zones.windows(2) {
        let ((_, until, one), (from, _, other)) = (pair[0], pair[1]);
        if from < until {
            return fail(format!(
                "id {one:x} was there until {until}, and id {other:x} from {from}: \
                 one of them came back"
            ));
        }
    }
    // What ends a value, by its beginning, with the earliest end from there on.
    let mut ends: Vec<(u64, u64, u64)> = Vec::new();
    for call in calls {
        if let (Operation::Delete | Operation::Set, Some((_, answered))) =
            (call.operation, call.answer)
        {
            ends.push((call.invoked, answered, call.argument));
        }
    }
    ends.extend(
        clears
            .iter()
            .filter_map(|&(from, until)| Some((from, until?, 0))),
    );
    ends.sort_unstable();
    let mut earliest = vec![(u64::MAX, 0); ends.len() + 1];
    for (i, &(_, until, id)) in ends.iter().enumerate().rev() {
        earliest[i] = earliest[i + 1].min((until, id));
    }
    for (from, until, id) in zones {
        let after = ends.partition_point(|&(began, ..)| began <= from);
        // A value's own set is never inside its zone, which begins when it ends.
        let (ended, by) = earliest[after];
        if ended < until {
            let what = match by {
                0 => "a delete or clear".to_owned(),
                by => format!("the set of id {by:x}"),
            };
            return fail(format!(
                "id {id:x} was there from {from} to {until}, yet {what} ended at {ended} inside"
            ));
        }
    }
    Ok(hits)
}

/// The latest time by which what a set stores has expired.
pub fn expiry(set: &Record) -> Option<u64> {
    let (_, answered) = set.answer?;
    (set.ttl != 0).then(|| answered + u64::from(set.ttl) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::YES;

    fn set(id: u64, from: u64, until: u64) -> Record {
        Record {
            operation: Operation::Set,
            key: 1,
            ttl: 0,
            argument: id,
            invoked: from,
            answer: (until != 0).then_some((YES, until)),
        }
    }

    fn get(id: u64, from: u64, until: u64) -> Record {
        Record {
            operation: Operation::Get,
            argument: 0,
            answer: Some((id, until)),
            ..set(0, from, until)
        }
    }

    fn delete(from: u64, until: u64) -> Record {
        Record {
            operation: Operation::Delete,
            ..set(0, from, until)
        }
    }

    fn says(calls: &[Record], what: &str) {
        let problem = check(1, calls, None, &[]).unwrap_err().0;
        assert!(problem.contains(what), "{problem}");
    }

    #[test]
    fn a_register_that_forgets_is_fine() {
        let calls = [
            set(1, 10, 20),
            get(1, 30, 40),
            get(0, 50, 60),
            set(2, 61, 70),
            get(2, 71, 80),
            delete(81, 90),
            get(0, 91, 99),
        ];
        assert_eq!(check(1, &calls, None, &[]), Ok(2));
    }

    #[test]
    fn calls_that_overlap_may_go_either_way() {
        // The delete overlaps the last read; the sets overlap one another.
        let calls = [set(1, 10, 20), delete(25, 50), get(1, 30, 60)];
        assert_eq!(check(1, &calls, None, &[]), Ok(1));
        let calls = [
            set(1, 10, 50),
            set(2, 10, 50),
            get(1, 20, 60),
            get(2, 55, 70),
        ];
        assert_eq!(check(1, &calls, None, &[]), Ok(2));
    }

    #[test]
    fn a_set_that_was_killed_may_have_worked_or_not() {
        let worked = [set(1, 10, 0), get(1, 30, 40), get(1, 50, 60)];
        assert_eq!(check(1, &worked, None, &[]), Ok(2));
        let late = [set(2, 5, 6), set(1, 10, 0), get(2, 30, 40), get(1, 50, 60)];
        assert_eq!(check(1, &late, None, &[]), Ok(2));
    }

    #[test]
    fn a_deleted_value_must_not_come_back() {
        says(
            &[set(1, 10, 20), delete(30, 40), get(1, 50, 60)],
            "delete or clear ended at 40",
        );
        let calls = [set(1, 10, 20), get(1, 50, 60)];
        let cleared = check(1, &calls, None, &[(30, Some(40))]).unwrap_err().0;
        assert!(cleared.contains("delete or clear"), "{cleared}");
    }

    #[test]
    fn a_replaced_value_must_not_come_back() {
        says(
            &[set(1, 10, 20), set(2, 30, 40), get(1, 50, 60)],
            "the set of id 2",
        );
        says(
            &[
                set(1, 10, 20),
                set(2, 15, 0),
                get(2, 30, 40),
                get(1, 50, 60),
                get(2, 70, 80),
            ],
            "came back",
        );
    }

    #[test]
    fn a_set_that_was_refused_removes_the_old_value_and_shows_nothing() {
        let refused = Record {
            answer: Some((NO, 40)),
            ..set(2, 30, 40)
        };
        says(
            &[set(1, 10, 20), refused, get(1, 50, 60)],
            "the set of id 2",
        );
        says(&[refused, get(2, 50, 60)], "its set was refused");
    }

    #[test]
    fn what_nobody_wrote_is_told() {
        says(&[get(9, 1, 2)], "was not set");
        says(&[get(WRONG, 1, 2)], "bytes that nobody wrote");
        says(&[set(1, 10, 20), get(1, 5, 6)], "before it was set");
    }

    #[test]
    fn an_expired_value_must_not_be_read() {
        let brief = Record {
            ttl: 1,
            ..set(1, 10, 20)
        };
        let late = get(1, 1_100_000, 1_100_001);
        says(&[brief, late], "it expired by");
        assert_eq!(
            check(1, &[brief, get(1, 900_000, 900_001)], None, &[]),
            Ok(1)
        );
    }

    #[test]
    fn a_value_may_be_carried_over() {
        let carried = Carried {
            id: 7,
            read: (5, 6),
            expires: None,
        };
        assert_eq!(check(1, &[get(7, 10, 11)], Some(carried), &[]), Ok(1));
        let calls = [delete(10, 11), get(7, 12, 13)];
        assert!(check(1, &calls, Some(carried), &[]).is_err());
    }
}
