//! One bucket: any interval Δ admits at most burst + rate × Δ.

use super::Violation;

/// A take that was admitted: when it began, when it was answered, its cost.
pub type Admitted = (u64, u64, u64);

/// Takes that took longer are left out of the sums, which makes them smaller
/// and the check sound: the interval's end would be vague by as much.
const LONGEST: u64 = 1_000_000;

/// What the limiter's clock and the workers' may differ by.
const CLOCKS: u64 = 1_000;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Takes that were summed.
    pub summed: u64,
    /// Takes that took too long to be.
    pub left_out: u64,
    /// The most tokens that any interval gave beyond what it earned: where this
    /// is the burst, the bound was reached, and one token more would have shown.
    pub fullest: u64,
}

/// Checks one bucket of `rate` tokens a second, `burst` at once: every interval
/// that begins with the beginning of a take and ends with the end of one.
pub fn check(
    key: u32,
    rate: u64,
    burst: u64,
    takes: &mut Vec<Admitted>,
) -> Result<Checked, Violation> {
    let all = takes.len();
    takes.retain(|(invoked, answered, _)| answered - invoked <= LONGEST);
    takes.sort_unstable();
    // In 10⁻⁹ tokens, which one nanosecond earns `rate` of. For each end, the
    // interval that is worst begins where (spent before − earned before) is least.
    let earned = |at: u64| i128::from(rate) * i128::from(at);
    let start = takes.first().map_or(0, |take| take.0);
    let (mut spent, mut least, mut end) = (0i128, i128::MAX, 0);
    let (mut worst_from, mut fullest) = (0, 0);
    for &(invoked, answered, cost) in takes.iter() {
        let before = spent - earned(invoked - start);
        if before < least {
            least = before;
            worst_from = invoked;
        }
        spent += i128::from(cost) * 1_000_000_000;
        end = end.max(answered);
        let within = spent - earned(end + CLOCKS - start) - least;
        fullest = fullest.max(within);
        // A tick of rounding for each take is far less than one token.
        if within > i128::from(burst + 1) * 1_000_000_000 {
            return Err(Violation(format!(
                "bucket {key}: from {worst_from} to {end} ({} µs) it admitted {} tokens more \
                 than burst {burst} + {rate} a second",
                (end - worst_from) / 1000,
                within / 1_000_000_000 - i128::from(burst)
            )));
        }
    }
    Ok(Checked {
        summed: takes.len() as u64,
        left_out: (all - takes.len()) as u64,
        fullest: (fullest / 1_000_000_000) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_burst_and_what_is_earned_since() {
        let mut takes: Vec<Admitted> = (0..10).map(|i| (100 + i, 200 + i, 1)).collect();
        takes.extend((1..=20).map(|i| (i * MS, i * MS + 100, 1)));
        let checked = Checked {
            summed: 30,
            left_out: 0,
            fullest: 9,
        };
        assert_eq!(check(1, 1000, 10, &mut takes), Ok(checked));
    }

    #[test]
    fn what_took_too_long_is_left_out_and_counted() {
        let mut takes = vec![(0, LONGEST, 6), (1, LONGEST + 2, 6)];
        let checked = check(1, 1, 10, &mut takes).unwrap();
        assert_eq!((checked.summed, checked.left_out), (1, 1));
    }

    #[test]
    fn tokens_from_nowhere_are_told() {
        let mut takes: Vec<Admitted> = (0..10).map(|i| (100 + i, 200 + i, 1)).collect();
        takes.extend((1..=20).map(|i| (i * MS, i * MS + 100, 1)));
        takes.extend([(7 * MS, 7 * MS + 9, 2)]);
        let problem = check(1, 1000, 10, &mut takes).unwrap_err().0;
        assert!(problem.contains("more than burst 10"), "{problem}");
    }

    #[test]
    fn a_second_burst_long_after_the_first_is_judged_by_itself() {
        let mut takes: Vec<Admitted> = (0..10).map(|i| (i, i + 1, 1)).collect();
        takes.extend((0..10).map(|i| (MS * 1000 + i, MS * 1000 + i + 1, 1)));
        assert!(check(1, 1000, 10, &mut takes).is_ok());
        takes.extend((0..3).map(|i| (MS * 1000 + i, MS * 1000 + i + 1, 1)));
        assert!(check(1, 1000, 10, &mut takes).is_err());
    }
}
