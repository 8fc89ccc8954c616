//! The parity table: every verb in every language, found in the faces
//! themselves. A Rust verb that is not in the table, or a name in the table
//! that a face does not have, fails the test command. So does a figure of the
//! statistics in Rust that a face does not have, or does not document.

use crate::shell::root;
use anyhow::{bail, ensure, Context, Result};
use std::fmt::Write;

/// The Rust method, then its names in C, C++, Python and Node; an empty one
/// stands for the reason in the last field.
type Verb = (&'static str, [&'static str; 4], &'static str);

struct Object {
    name: &'static str,
    /// The files of core that have its face, and the type in them; none for
    /// functions.
    rust: (&'static [&'static str], &'static str),
    verbs: &'static [Verb],
}

const OBJECTS: [Object; 10] = [
    Object {
        name: "Region",
        rust: (&["region/mod.rs"], "Region"),
        verbs: &[
            ("open", ["fb_region_open", "open", "open", "open"], ""),
            (
                "private",
                ["fb_region_open", "open_private", "private", "privateRegion"],
                "C: no name",
            ),
            (
                "options",
                [
                    "fb_region_options_init",
                    "RegionOptions",
                    "open",
                    "RegionOptions",
                ],
                "",
            ),
            ("now", ["fb_region_now", "now", "now", "now"], ""),
            (
                "advance",
                ["fb_region_advance", "advance", "advance", "advance"],
                "",
            ),
            ("sleep_until", ["", "", "", ""], "for bindings"),
            (
                "is_shared",
                ["fb_region_path", "path", "shared", "isShared"],
                "C, C++: there is a path",
            ),
            ("path", ["fb_region_path", "path", "path", "path"], ""),
            (
                "bytes",
                ["fb_region_get_stats", "stats", "bytes", "bytes"],
                "C, C++: in the stats",
            ),
            (
                "limiter",
                ["fb_limiter_open", "limiter", "limiter", "limiter"],
                "",
            ),
            ("cache", ["fb_cache_open", "cache", "cache", "cache"], ""),
            (
                "breaker",
                ["fb_breaker_open", "breaker", "breaker", "breaker"],
                "",
            ),
            (
                "histogram",
                ["fb_histogram_open", "histogram", "histogram", "histogram"],
                "",
            ),
            (
                "window",
                ["fb_window_open", "window", "window", "window"],
                "",
            ),
            (
                "permits",
                ["fb_permits_open", "permits", "permits", "permits"],
                "",
            ),
            (
                "objects",
                ["fb_region_objects", "objects", "objects", "objects"],
                "",
            ),
            (
                "stats",
                ["fb_region_get_stats", "stats", "stats", "stats"],
                "",
            ),
            (
                "events",
                ["fb_region_events", "events", "events", "events"],
                "",
            ),
        ],
    },
    Object {
        name: "Limiter",
        rust: (
            &[
                "limiter/mod.rs",
                "limiter/waiting.rs",
                "limiter/together.rs",
            ],
            "Limiter",
        ),
        verbs: &[
            ("name", ["fb_limiter_name", "name", "name", "name"], ""),
            (
                "allow",
                ["", "allow", "allow", "allow"],
                "C: the status of take",
            ),
            (
                "allow_with",
                ["", "allow", "allow", "allow"],
                "C: the status of take",
            ),
            ("take", ["fb_limiter_take", "take", "take", "take"], ""),
            (
                "take_with",
                ["fb_limiter_take_with", "take", "take", "take"],
                "",
            ),
            ("peek", ["fb_limiter_peek", "peek", "peek", "peek"], ""),
            (
                "peek_with",
                ["fb_limiter_peek_with", "peek", "peek", "peek"],
                "",
            ),
            ("reset", ["fb_limiter_reset", "reset", "reset", "reset"], ""),
            (
                "refund",
                ["fb_limiter_refund", "refund", "refund", "refund"],
                "",
            ),
            (
                "refund_with",
                ["fb_limiter_refund_with", "refund", "refund", "refund"],
                "",
            ),
            (
                "penalize",
                ["fb_limiter_penalize", "penalize", "penalize", "penalize"],
                "",
            ),
            (
                "penalize_with",
                [
                    "fb_limiter_penalize_with",
                    "penalize",
                    "penalize",
                    "penalize",
                ],
                "",
            ),
            ("block", ["fb_limiter_block", "block", "block", "block"], ""),
            (
                "unblock",
                ["fb_limiter_unblock", "unblock", "unblock", "unblock"],
                "",
            ),
            ("clear", ["fb_limiter_clear", "clear", "clear", "clear"], ""),
            (
                "top_refused",
                [
                    "fb_limiter_top_refused",
                    "top_refused",
                    "top_refused",
                    "topRefused",
                ],
                "",
            ),
            (
                "forget_refused",
                [
                    "fb_limiter_forget_refused",
                    "forget_refused",
                    "forget_refused",
                    "forgetRefused",
                ],
                "",
            ),
            ("mark", ["fb_limiter_mark", "mark", "mark", "mark"], ""),
            (
                "reserve",
                ["fb_limiter_reserve", "reserve", "reserve", "reserve"],
                "",
            ),
            (
                "reserve_with",
                ["fb_limiter_reserve_with", "reserve", "reserve", "reserve"],
                "",
            ),
            (
                "acquire",
                ["fb_limiter_acquire", "acquire", "acquire", ""],
                "Node never blocks its loop",
            ),
            (
                "acquire_with",
                ["fb_limiter_acquire_with", "acquire", "acquire", ""],
                "Node never blocks its loop",
            ),
            (
                "acquire_async",
                ["", "acquire_async", "acquire_async", "acquire"],
                "C: reserve, and wait in the program's own way; C++: with a timer of the program's, in C++20",
            ),
            (
                "enforce",
                ["", "enforce", "enforce", "enforce"],
                "C: the status of take",
            ),
            (
                "enforce_with",
                ["", "enforce", "enforce", "enforce"],
                "C: the status of take",
            ),
            (
                "request",
                ["fb_request", "Request", "take_all", "takeAll"],
                "only take_all uses it",
            ),
            (
                "stats",
                ["fb_limiter_get_stats", "stats", "stats", "stats"],
                "",
            ),
            (
                "tier_stats",
                [
                    "fb_limiter_tier_stats",
                    "tier_stats",
                    "tier_stats",
                    "tierStats",
                ],
                "",
            ),
        ],
    },
    Object {
        name: "Reservation",
        rust: (&["limiter/waiting.rs"], "Reservation"),
        verbs: &[
            ("wait", ["fb_limiter_until_due", "wait", "wait", "wait"], ""),
            ("due", ["fb_limiter_reserve", "due", "due", "due"], ""),
            (
                "cancel",
                ["fb_limiter_cancel", "cancel", "cancel", "cancel"],
                "",
            ),
        ],
    },
    Object {
        name: "WindowCounter",
        rust: (&["limiter/counter.rs"], "WindowCounter"),
        verbs: &[
            (
                "name",
                ["", "", "name", "name"],
                "C, C++: the caller has it",
            ),
            ("hit", ["fb_window_hit", "hit", "hit", "hit"], ""),
            ("hit_with", ["fb_window_hit_with", "hit", "hit", "hit"], ""),
            ("get", ["fb_window_get", "get", "get", "get"], ""),
            (
                "decrement",
                ["fb_window_decrement", "decrement", "decrement", "decrement"],
                "",
            ),
            ("reset", ["fb_window_reset", "reset", "reset", "reset"], ""),
            ("block", ["fb_window_block", "block", "block", "block"], ""),
            (
                "blocked_for",
                [
                    "fb_window_blocked_for",
                    "blocked_for",
                    "blocked_for",
                    "blockedFor",
                ],
                "",
            ),
            (
                "unblock",
                ["fb_window_unblock", "unblock", "unblock", "unblock"],
                "",
            ),
            ("clear", ["fb_window_clear", "clear", "clear", "clear"], ""),
            (
                "stats",
                ["fb_window_get_stats", "stats", "stats", "stats"],
                "",
            ),
        ],
    },
    Object {
        name: "Permits",
        rust: (&["permits/mod.rs"], "Permits"),
        verbs: &[
            (
                "name",
                ["", "", "name", "name"],
                "C, C++: the caller has it",
            ),
            (
                "try_acquire",
                [
                    "fb_permits_try_acquire",
                    "acquire",
                    "try_acquire",
                    "tryAcquire",
                ],
                "",
            ),
            (
                "in_use",
                ["fb_permits_in_use", "in_use", "in_use", "inUse"],
                "",
            ),
            (
                "stats",
                ["fb_permits_get_stats", "stats", "stats", "stats"],
                "",
            ),
            (
                "try_acquire_raw",
                ["fb_permits_try_acquire", "", "", ""],
                "for bindings",
            ),
            (
                "release_raw",
                ["fb_permits_release", "", "", ""],
                "for bindings",
            ),
            (
                "renew_raw",
                ["fb_permits_renew", "", "", ""],
                "for bindings",
            ),
            (
                "ends_in_raw",
                ["fb_permits_ends_in", "", "", ""],
                "for bindings",
            ),
        ],
    },
    Object {
        name: "Lease",
        rust: (&["permits/mod.rs"], "Lease"),
        verbs: &[
            (
                "release",
                ["fb_permits_release", "release", "release", "release"],
                "",
            ),
            ("renew", ["fb_permits_renew", "renew", "renew", "renew"], ""),
            (
                "ends_in",
                ["fb_permits_ends_in", "ends_in", "ends_in", "endsIn"],
                "",
            ),
            ("into_raw", ["fb_lease", "", "", ""], "for bindings"),
        ],
    },
    Object {
        name: "Cache",
        rust: (&["cache/mod.rs"], "Cache"),
        verbs: &[
            (
                "name",
                ["", "", "name", "name"],
                "C, C++: the caller has it",
            ),
            ("get", ["fb_cache_get", "get", "get", "get"], ""),
            (
                "get_into",
                ["fb_cache_get", "get", "get_bytes", "getBytes"],
                "",
            ),
            (
                "get_with",
                ["fb_cache_get_with", "get", "get_bytes", "getBytes"],
                "",
            ),
            ("entry", ["fb_cache_entry", "entry", "entry", "entry"], ""),
            (
                "contains",
                ["fb_cache_contains", "contains", "contains", "has"],
                "",
            ),
            ("set", ["fb_cache_set", "set", "set", "set"], ""),
            ("set_with", ["fb_cache_set_with", "set", "set", "set"], ""),
            (
                "delete",
                ["fb_cache_delete", "erase", "delete", "delete"],
                "C++: delete is a keyword",
            ),
            ("clear", ["fb_cache_clear", "clear", "clear", "clear"], ""),
            ("len", ["fb_cache_len", "size", "__len__", "size"], ""),
            ("is_empty", ["fb_cache_len", "size", "__len__", "size"], ""),
            (
                "stats",
                ["fb_cache_get_stats", "stats", "stats", "stats"],
                "",
            ),
        ],
    },
    Object {
        name: "Breaker",
        rust: (&["breaker/mod.rs"], "Breaker"),
        verbs: &[
            (
                "name",
                ["", "", "name", "name"],
                "C, C++: the caller has it",
            ),
            ("enter", ["fb_breaker_enter", "enter", "enter", "enter"], ""),
            (
                "enter_raw",
                ["fb_breaker_enter", "", "", ""],
                "for bindings",
            ),
            (
                "leave",
                ["fb_breaker_success", "success", "success", "success"],
                "success, failure, ignore",
            ),
            ("call", ["", "call", "call", "call"], "C: no closures"),
            ("state", ["fb_breaker_state", "state", "state", "state"], ""),
            (
                "stats",
                ["fb_breaker_get_stats", "stats", "stats", "stats"],
                "",
            ),
        ],
    },
    Object {
        name: "Histogram",
        rust: (&["histogram/mod.rs"], "Histogram"),
        verbs: &[
            (
                "name",
                ["", "", "name", "name"],
                "C, C++: the caller has it",
            ),
            (
                "record",
                ["fb_histogram_record_ns", "record", "record", "record"],
                "",
            ),
            (
                "record_ns",
                ["fb_histogram_record_ns", "record", "record_ns", "recordNs"],
                "",
            ),
            (
                "percentile",
                [
                    "fb_histogram_percentile",
                    "percentile",
                    "percentile",
                    "percentile",
                ],
                "",
            ),
            (
                "snapshot",
                ["fb_histogram_snapshot", "snapshot", "snapshot", "snapshot"],
                "",
            ),
        ],
    },
    Object {
        name: "Functions",
        rust: (&[], ""),
        verbs: &[
            (
                "take_all",
                ["fb_take_all", "take_all", "take_all", "takeAll"],
                "",
            ),
            (
                "headers",
                ["fb_headers", "headers", "headers", "headers"],
                "",
            ),
            (
                "client_address",
                [
                    "fb_client_address",
                    "client_address",
                    "client_address",
                    "clientAddress",
                ],
                "",
            ),
        ],
    },
];

/// The statistics in Rust: the kind, the file that has the type, and the type.
const STATS: [(&str, &str, &str); 7] = [
    ("region", "region/mod.rs", "RegionStats"),
    ("limiter", "limiter/verdict.rs", "LimiterStats"),
    ("tier", "limiter/verdict.rs", "TierStats"),
    ("window", "limiter/counter.rs", "WindowStats"),
    ("permits", "permits/mod.rs", "PermitsStats"),
    ("cache", "cache/mod.rs", "CacheStats"),
    ("breaker", "breaker/mod.rs", "BreakerStats"),
];

const FACES: [(&str, &str); 4] = [
    ("C", "include/forebay.h"),
    ("C++", "include/forebay.hpp"),
    ("Python", "bindings/python/python/forebay/_core.pyi"),
    ("Node", "bindings/node/index.d.ts"),
];

/// Writes docs/parity.md, or compares it.
pub fn parity(check: bool) -> Result<()> {
    let faces = FACES
        .iter()
        .map(|(_, file)| read(file))
        .collect::<Result<Vec<_>>>()?;
    let mut page = String::from(
        "# Every verb in every language\n\n\
         Made by `cargo xtask parity` from the faces themselves; `cargo xtask test` compares it.\n",
    );
    for object in &OBJECTS {
        complete(object)?;
        write!(
            page,
            "\n## {}\n\n| Rust | C | C++ | Python | Node | |\n|---|---|---|---|---|---|\n",
            object.name
        )?;
        for (rust, names, note) in object.verbs {
            write!(page, "| `{rust}` |")?;
            for ((name, text), (face, file)) in names.iter().zip(&faces).zip(FACES) {
                if name.is_empty() {
                    ensure!(
                        !note.is_empty(),
                        "{}.{rust}: why not in {face}?",
                        object.name
                    );
                    page.push_str(" – |");
                    continue;
                }
                ensure!(
                    has(text, name),
                    "{file} has no {name}, which is {}.{rust} in {face}",
                    object.name
                );
                write!(page, " `{name}` |")?;
            }
            writeln!(page, " {note} |")?;
        }
    }
    let mut figures = 0;
    for (kind, file, stats) in STATS {
        figures += same_figures(kind, file, stats)?;
    }
    let path = root().join("docs/parity.md");
    if !check {
        std::fs::write(&path, page)?;
        return Ok(());
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found != page {
        bail!("docs/parity.md is out of date: run cargo xtask parity");
    }
    let verbs: usize = OBJECTS.iter().map(|object| object.verbs.len()).sum();
    println!(
        "parity: {verbs} verbs and {figures} figures in {} faces",
        FACES.len() + 1
    );
    Ok(())
}

fn read(file: &str) -> Result<String> {
    std::fs::read_to_string(root().join(file)).with_context(|| file.to_owned())
}

/// Whether a face declares a name: as a word before a parenthesis, a colon, a
/// type's arguments or a body.
fn has(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            && after.is_some_and(|c| "(:<? {".contains(c))
    })
}

/// Every public method of the Rust type is in the table.
fn complete(object: &Object) -> Result<()> {
    let (files, name) = object.rust;
    for file in files {
        let text = read(&format!("core/src/{file}"))?;
        let start = format!("\nimpl {name} {{\n");
        let body = text
            .split_once(&start)
            .and_then(|(_, rest)| rest.split_once("\n}\n"))
            .with_context(|| format!("core/src/{file}: no impl of {name}"))?
            .0;
        let mut hidden = false;
        for line in body.lines() {
            if let Some(method) = line.strip_prefix("    pub fn ") {
                let method = method.split(['(', '<']).next().unwrap_or_default();
                ensure!(
                    hidden || object.verbs.iter().any(|(rust, ..)| *rust == method),
                    "{name}::{method} is not in the table of xtask/src/parity.rs"
                );
            }
            hidden = line == "    #[doc(hidden)]";
        }
    }
    Ok(())
}

/// Whether each face has every figure of a type of statistics, with a comment
/// on the line above; how many there are.
fn same_figures(kind: &str, file: &str, stats: &str) -> Result<usize> {
    let rust = format!("core/src/{file}");
    let rust = between(&rust, &format!("pub struct {stats} {{\n"), "\n}\n")?;
    // A name, as a tier has, is a text; all else is a count.
    let figures: Vec<&str> = rust
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .filter(|(_, of)| *of != " String,")
        .map(|(name, _)| name)
        .collect();
    ensure!(!figures.is_empty(), "{stats} has no figures");

    let in_c = format!("fb_{kind}_stats");
    let cpp = "include/forebay.hpp";
    // What is another name of C's struct has what that has.
    let is_c = read(cpp)?.contains(&format!("using {stats} = {in_c};"));
    let faces = [
        (cpp, format!("struct {stats} {{\n"), "\n}"),
        (
            "include/forebay.h",
            format!("typedef struct {in_c} {{\n"),
            "\n}",
        ),
        (
            "bindings/python/python/forebay/values.py",
            format!("class {stats}:\n"),
            "\n\n\n",
        ),
        (
            "bindings/node/index.d.ts",
            format!("export interface {stats} {{\n"),
            "\n}",
        ),
    ];
    for (file, start, end) in faces {
        if file == cpp && is_c {
            continue;
        }
        let body = between(file, &start, end)?;
        let lines: Vec<&str> = body.lines().map(str::trim).collect();
        for figure in &figures {
            let written = [
                format!("uint64_t {figure};"),
                format!("std::uint64_t {figure};"),
                format!("{figure}: int"),
                format!("{}: number", camel(figure)),
            ];
            let at = lines
                .iter()
                .position(|line| written.iter().any(|written| written == line))
                .with_context(|| format!("{file}: {stats} has no {figure}"))?;
            let before = at.checked_sub(1).map_or("", |before| lines[before]);
            ensure!(
                before.starts_with("#:") || before.starts_with("///") || before.ends_with("*/"),
                "{file}: {stats} does not say what {figure} is"
            );
        }
    }
    // The vectors' runners that name each figure; the others take any.
    if !["region", "tier"].contains(&kind) {
        for runner in ["ffi/tests/vectors.c", "ffi/tests/vectors.cpp"] {
            let text = read(runner)?;
            for figure in &figures {
                ensure!(
                    text.contains(&format!("{{\"{figure}\", stats.{figure}}}")),
                    "{runner}: the stats of a {kind} lack {figure}"
                );
            }
        }
    }
    Ok(figures.len())
}

/// What stands in a file between two texts.
fn between(file: &str, start: &str, end: &str) -> Result<String> {
    let text = read(file)?;
    let (_, rest) = text
        .split_once(start)
        .with_context(|| format!("{file} has no {:?}", start.trim_end()))?;
    Ok(rest
        .split_once(end)
        .map_or(rest, |(body, _)| body)
        .to_owned())
}

/// `half_opened` as `halfOpened`.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(1);
        camel += &first.to_uppercase();
        camel += rest;
    }
    camel
}
