//! One sliding window: no interval of its length admits more than its limit.

use super::limiter::Admitted;
use super::Violation;

/// What the limiter's clock and the workers' may differ by.
const CLOCKS: u64 = 1_000;

/// Checks one key's takes: the most tokens that an interval of this length, in
/// nanoseconds, holds, which is at most `limit`. A take counts where it lies
/// wholly within the interval, so when in the call it happened does not matter.
/// Killed calls that took and did not answer can only make the sums smaller.
pub fn check(key: u32, length: u64, limit: u64, takes: &[Admitted]) -> Result<u64, Violation> {
    let within = length - CLOCKS;
    // By when they lie in an interval that ends there, and by when no more.
    let mut begins: Vec<(u64, u64)> = Vec::with_capacity(takes.len());
    let mut ends = Vec::with_capacity(takes.len());
    for &(invoked, answered, cost) in takes {
        if answered - invoked < within {
            begins.push((answered, cost));
            ends.push((invoked + within, cost));
        }
    }
    begins.sort_unstable();
    ends.sort_unstable();
    let (mut sum, mut most) = (0, 0);
    let mut gone = ends.into_iter().peekable();
    for (at, cost) in begins {
        while let Some((_, old)) = gone.next_if(|(until, _)| *until < at) {
            sum -= old;
        }
        sum += cost;
        most = most.max(sum);
        if sum > limit {
            return Err(Violation(format!(
                "sliding window {key}: {sum} tokens, not {limit}, in the {length} ns until {at}"
            )));
        }
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: u64 = 1_000_000;

    /// Takes that begin at these times, in microseconds, and last one.
    fn takes(at: &[u64]) -> Vec<Admitted> {
        at.iter()
            .map(|us| (us * 1000, us * 1000 + 1000, 1))
            .collect()
    }

    #[test]
    fn as_many_as_the_limit_in_any_interval() {
        let steady = takes(&[0, 400, 800, 1200, 1600, 2000]);
        assert_eq!(check(1, LENGTH, 3, &steady), Ok(3));
        assert!(check(1, LENGTH, 2, &steady).is_err());
    }

    #[test]
    fn twice_the_limit_around_a_windows_end_is_told() {
        let problem = check(1, LENGTH, 3, &takes(&[900, 920, 940, 1010, 1030])).unwrap_err();
        assert!(problem.0.contains("4 tokens, not 3"), "{problem}");
    }

    #[test]
    fn what_may_have_happened_a_window_apart_is_not_summed() {
        assert_eq!(check(1, LENGTH, 1, &takes(&[0, 1000, 2000])), Ok(1));
        // One that took as long as the window.
        let mut slow = takes(&[10]);
        slow.push((0, LENGTH, 1));
        assert_eq!(check(1, LENGTH, 1, &slow), Ok(1));
    }
}
