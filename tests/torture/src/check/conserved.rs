//! What was counted in the region against what the workers wrote down: each
//! answered call was counted, and nothing was counted but what was begun.

use super::Violation;

/// Checks that a counter grew by at least what was answered, and by at most
/// that and what was begun by those who were killed.
pub fn check(what: &str, grew: u64, answered: u64, unanswered: u64) -> Result<(), Violation> {
    if grew < answered {
        return Err(Violation(format!(
            "{what}: {answered} were answered, only {grew} counted ({} lost)",
            answered - grew
        )));
    }
    if grew > answered + unanswered {
        return Err(Violation(format!(
            "{what}: {grew} counted, but only {answered} were answered and {unanswered} killed \
             on the way ({} from nowhere)",
            grew - answered - unanswered
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_what_was_answered_and_what_was_begun() {
        for grew in 10..=12 {
            assert_eq!(check("records", grew, 10, 2), Ok(()));
        }
        assert!(check("records", 9, 10, 2).unwrap_err().0.contains("1 lost"));
        let surplus = check("records", 13, 10, 2).unwrap_err().0;
        assert!(surplus.contains("1 from nowhere"), "{surplus}");
    }
}
