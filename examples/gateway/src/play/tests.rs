//! Plays with workers that are a few lines of shell, and with some that fail.

use super::*;
use crate::generate::generate;

/// A worker in a few lines of shell, that refuses every request.
const REFUSER: &str = r#"
    served=0
    echo ready
    while read verb first last; do
        case $verb in
        serve)
            count=$((last - first)); served=$((served + count))
            echo "done $first $last $(head -c $count /dev/zero | tr '\0' L)" ;;
        quit)
            echo '{"served":'$served',"limited":'$served',"hits":0,"fetched":0,"failed":0,"rejected":0,"stored":0,"straddled":0}'
            exit ;;
        esac
    done"#;

fn play_with(script: &str) -> Result<Play> {
    let mut log = generate(1_000, Duration::from_secs(2), 1);
    log.requests.iter_mut().for_each(|r| r.time /= 10);
    let languages = [Language {
        name: "Shell",
        command: ["sh", "-c", script].map(String::from).into(),
    }];
    let staff = Staff {
        languages: &languages,
        workers: 2,
        arguments: Vec::new(),
    };
    let (region, progress) = (Region::private()?, Progress::new(1_000));
    play(&log, &region, &staff, &AtomicBool::new(false), &progress)
}

#[test]
fn every_request_is_dealt_once_and_one_worker_takes_anothers_place() {
    let play = play_with(REFUSER).unwrap();
    assert_eq!(play.outcomes.len(), 1_000);
    assert_eq!(play.change, (1, 2));
    assert_eq!(play.workers.len(), 3);
    for worker in &play.workers {
        assert_eq!(worker.tally, worker.summary.tally);
        assert!(worker.tally.served > 100, "{worker:?}");
    }
    let mut batches: Vec<_> = play.batches.iter().map(|b| b.requests.clone()).collect();
    batches.sort_by_key(|batch| batch.start);
    assert!(batches.windows(2).all(|two| two[0].end == two[1].start));
    assert!(batches[0].start == 0 && batches[batches.len() - 1].end == 1_000);
    assert!(play
        .batches
        .iter()
        .all(|b| play.span.start <= b.dealt && b.dealt <= b.done && b.done <= play.span.end));
}

#[test]
fn whoever_hangs_or_leaves_ends_the_run() {
    let cases = [
        ("echo ready", "sleep 9", "was not ready within 3s"),
        (
            "echo \"done",
            "sleep 9; echo \"done",
            "did not serve the requests",
        ),
        ("echo '{", "sleep 9; echo '{", "did not sum up within 3s"),
        ("exit ;;", "exec sleep 9 ;;", "did not end within 3s"),
        ("echo '{", "exit; echo '{", "left without a word"),
        (
            "exit ;;",
            "exit 7 ;;",
            "ended before its time (exit status: 7)",
        ),
        (
            "served=0",
            "exit 7",
            "ended before its time (exit status: 7)",
        ),
        (
            "echo \"done",
            "kill -9 $$; echo \"done",
            "ended before its time",
        ),
    ];
    // Side by side, as most of them wait.
    std::thread::scope(|scope| {
        for (was, is, says) in cases {
            scope.spawn(move || {
                assert!(REFUSER.contains(was), "{was}");
                let error = play_with(&REFUSER.replacen(was, is, 1)).unwrap_err();
                assert!(error.to_string().contains(says), "{is}: {error}");
            });
        }
    });
}

#[test]
fn batches_cover_the_log_and_are_short() {
    let mut log = generate(20_000, Duration::from_secs(4), 1);
    // A rush: many requests at one time.
    let rush = log.requests[10_000].time;
    (log.requests[10_000..15_000].iter_mut()).for_each(|r| r.time = rush);
    log.requests.sort_by_key(|r| r.time);
    let batches = cut(&log);
    assert_eq!(batches[0].start, 0);
    assert_eq!(batches.last().unwrap().end, 20_000);
    assert!(batches.windows(2).all(|two| two[0].end == two[1].start));
    for batch in batches {
        assert!(!batch.is_empty() && batch.len() <= BATCH_REQUESTS);
        let (first, last) = (log.requests[batch.start], log.requests[batch.end - 1]);
        assert!(last.time - first.time < BATCH);
    }
}
