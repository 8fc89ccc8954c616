//! The cases of tests/vectors as a C table, since C has no parser for JSON. The
//! table's types are in ffi/tests/case.h; anything here that does not know a
//! field or a verb fails, so that no part of a case is dropped unseen.

use anyhow::{bail, ensure, Context, Result};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::path::Path;

type Object = Map<String, Value>;

/// Writes the cases of all files in `folder` as a C header to `to`.
pub fn write(folder: &Path, to: &Path) -> Result<()> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    files.sort();

    let mut tables = String::from("/* Made from tests/vectors by xtask, to follow case.h. */\n");
    let mut cases = String::new();
    let mut count = 0;
    for file in files {
        let name = file.file_name().context("a file")?.to_string_lossy();
        let text = std::fs::read_to_string(&file)?;
        let parsed: Value = serde_json::from_str(&text).with_context(|| name.to_string())?;
        for case in array(&parsed["cases"])? {
            let row = one_case(&name, object(case)?, count, &mut tables)
                .with_context(|| format!("{name}: {}", case["name"]))?;
            writeln!(cases, "    {row},")?;
            count += 1;
        }
    }
    ensure!(count > 0, "no cases in {}", folder.display());
    write!(
        tables,
        "static const struct fb_case cases[] = {{\n{cases}}};\nenum {{ CASES = {count} }};\n"
    )?;
    Ok(std::fs::write(to, tables)?)
}

fn one_case(file: &str, case: &Object, number: usize, tables: &mut String) -> Result<String> {
    only(case, &["name", "about", "objects", "steps", "error"])?;
    let mut objects = String::new();
    let mut object_count = 0;
    for (name, options) in object(case.get("objects").context("objects")?)? {
        let made = one_object(name, object(options)?, number, object_count, tables)?;
        writeln!(objects, "    {made},")?;
        object_count += 1;
    }
    let objects_name = if object_count > 0 {
        writeln!(
            tables,
            "static const struct fb_case_object objects_{number}[] = {{\n{objects}}};"
        )?;
        format!("objects_{number}")
    } else {
        "NULL".to_owned()
    };

    let mut steps = String::new();
    let mut step_count = 0;
    for step in case.get("steps").map_or(Ok(&[][..]), array)? {
        let made = one_step(object(step)?, number, step_count, tables)
            .with_context(|| format!("step {}", step_count + 1))?;
        writeln!(steps, "    {made},")?;
        step_count += 1;
    }
    let steps_name = if step_count > 0 {
        writeln!(
            tables,
            "static const struct fb_case_step steps_{number}[] = {{\n{steps}}};"
        )?;
        format!("steps_{number}")
    } else {
        "NULL".to_owned()
    };
    let (code, message) = match case.get("error") {
        None => {
            ensure!(step_count > 0, "neither steps nor an error");
            ("NULL".to_owned(), "NULL".to_owned())
        }
        Some(error) => {
            let error = object(error)?;
            only(error, &["code", "message"])?;
            (
                literal(text(error.get("code").context("code")?)?.as_bytes()),
                literal(text(error.get("message").context("message")?)?.as_bytes()),
            )
        }
    };
    Ok(format!(
        "{{ {}, {}, {objects_name}, {object_count}, {steps_name}, {step_count}, {code}, {message} }}",
        literal(file.as_bytes()),
        literal(text(case.get("name").context("name")?)?.as_bytes()),
    ))
}

fn one_object(
    name: &str,
    options: &Object,
    case: usize,
    number: usize,
    tables: &mut String,
) -> Result<String> {
    let kind = text(options.get("kind").context("kind")?)?;
    only(
        options,
        match kind {
            "limiter" => &[
                "kind",
                "rate",
                "tiers",
                "max_keys",
                "algorithm",
                "on_full",
                "on_error",
                "enabled",
                "show_keys",
            ][..],
            "window" => &["kind", "max_keys"],
            "permits" => &["kind", "limit", "lease_ns", "max_leases"],
            "cache" => &[
                "kind",
                "bytes",
                "max_entries",
                "max_item",
                "shards",
                "ttl_ns",
            ],
            "breaker" => &[
                "kind",
                "failure_threshold",
                "failure_rate",
                "volume_threshold",
                "window_ns",
                "open_for_ns",
                "success_threshold",
                "half_open_calls",
                "probe_lease_ns",
            ],
            "histogram" => &["kind"],
            _ => bail!("a {kind:?} among the objects"),
        },
    )?;

    let mut tier_table = "NULL".to_owned();
    let mut tier_count = 0;
    if let Some(tiers) = options.get("tiers") {
        let mut rows = String::new();
        for (tier, rate) in object(tiers)? {
            write!(
                rows,
                "{{ {}, {} }}, ",
                literal(tier.as_bytes()),
                literal(text(rate)?.as_bytes())
            )?;
            tier_count += 1;
        }
        if tier_count > 0 {
            tier_table = format!("tiers_{case}_{number}");
            writeln!(
                tables,
                "static const struct fb_case_tier {tier_table}[] = {{ {rows}}};"
            )?;
        }
    }

    // In C, 0 in an option is its default: a case that asks for 0 itself can
    // only be told apart where there is another way to say it. Nor can a C or
    // C++ program name what is not in the header.
    let mut unsayable = false;
    let mut number_of = |option: &str| -> Result<u64> {
        match options.get(option) {
            None => Ok(0),
            Some(Value::Null) if option == "ttl_ns" => Ok(u64::MAX),
            Some(given) => {
                let given = given.as_u64().with_context(|| option.to_owned())?;
                if given == 0 && option == "failure_threshold" {
                    return Ok(u32::MAX.into());
                }
                unsayable |= given == 0;
                Ok(given)
            }
        }
    };
    let numbers = [
        "max_keys",
        "bytes",
        "max_entries",
        "max_item",
        "shards",
        "ttl_ns",
        "failure_threshold",
        "volume_threshold",
        "window_ns",
        "open_for_ns",
        "success_threshold",
        "half_open_calls",
        "probe_lease_ns",
        "limit",
        "lease_ns",
        "max_leases",
    ]
    .into_iter()
    .map(|option| Ok(format!("UINT64_C({})", number_of(option)?)))
    .collect::<Result<Vec<_>>>()?
    .join(", ");
    let failure_rate = match options.get("failure_rate") {
        None => 0.0,
        Some(Value::Null) => -1.0,
        Some(given) => {
            let given = given.as_f64().context("failure_rate")?;
            unsayable |= given == 0.0;
            given
        }
    };
    let mut choices = String::new();
    for (option, names) in [
        ("algorithm", &["bucket", "fixed", "sliding"][..]),
        ("on_full", &["lenient", "strict"]),
        ("on_error", &["deny", "allow"]),
    ] {
        let number = match options.get(option) {
            None => 0,
            Some(name) => {
                let name = text(name)?;
                let at = names.iter().position(|known| *known == name);
                unsayable |= at.is_none();
                at.map_or(0, |at| at + 1)
            }
        };
        write!(choices, "{number}, ")?;
    }
    let flag = |option: &str, usual: bool| -> Result<u8> {
        let given = options.get(option).map_or(Some(usual), Value::as_bool);
        Ok(given.with_context(|| option.to_owned())?.into())
    };
    let flags = format!("{}, {}", flag("enabled", true)?, flag("show_keys", false)?);
    let rate = match options.get("rate") {
        Some(rate) => literal(text(rate)?.as_bytes()),
        None => "NULL".to_owned(),
    };
    Ok(format!(
        "{{ {}, {}, {rate}, {tier_table}, {tier_count}, {numbers}, {choices}{flags}, {failure_rate:?}, {} }}",
        literal(name.as_bytes()),
        literal(kind.as_bytes()),
        u8::from(unsayable),
    ))
}

const KEY: [&str; 4] = ["key", "key_hex", "key_parts", "key_repeat"];
const TELL: [&str; 4] = ["tell", "tell_hex", "tell_parts", "tell_repeat"];
const VALUE: [&str; 3] = ["value", "value_hex", "value_repeat"];
const EXPECT: [&str; 3] = ["expect", "expect_hex", "expect_repeat"];

fn one_step(step: &Object, case: usize, number: usize, tables: &mut String) -> Result<String> {
    let verb = match step.get("do") {
        Some(verb) => text(verb)?,
        None if step.contains_key("advance_ns") => "advance",
        None => bail!("nothing to do"),
    };
    let known: Vec<&str> = match verb {
        "advance" => vec!["advance_ns"],
        "allow" | "take" | "peek" | "refund" | "penalize" => {
            [&KEY[..], &["cost", "tier", "expect"]].concat()
        }
        "enforce" => [&KEY[..], &["cost", "tier", "expect", "message"]].concat(),
        "block" => [&KEY[..], &["for_ns"]].concat(),
        "reserve" => [&KEY[..], &["cost", "tier", "max_wait_ns", "as", "expect"]].concat(),
        "cancel" => vec!["reservation", "expect"],
        "acquire" => [&KEY[..], &["cost", "tier", "timeout_ns", "expect"]].concat(),
        "take_all" => vec!["requests", "verdicts", "expect"],
        "headers" => vec!["take", "styles", "wall_ns", "expect"],
        "client_address" => vec![
            "peer",
            "forwarded_for",
            "trusted_hops",
            "ipv6_prefix",
            "expect",
            "code",
            "message",
        ],
        "reset" | "unblock" | "contains" | "delete" | "entry" => [&KEY[..], &["expect"]].concat(),
        "set" => [&KEY[..], &VALUE, &["ttl_ns", "codec", "expect"]].concat(),
        "get" => [&KEY[..], &EXPECT].concat(),
        "hit" => [
            &KEY[..],
            &["window_ns", "hits", "limit", "expect", "code", "message"],
        ]
        .concat(),
        "decrement" => [&KEY[..], &["hits", "expect"]].concat(),
        "blocked_for" => [&KEY[..], &["expect_ns"]].concat(),
        "try_acquire" => [&KEY[..], &["as", "expect"]].concat(),
        "release" | "renew" => vec!["lease", "expect"],
        "ends_in" => vec!["lease", "expect_ns"],
        "in_use" => [&KEY[..], &["expect"]].concat(),
        "forget_refused" => vec![],
        "clear" | "success" | "failure" | "ignore" => vec!["permit"],
        "len" | "state" | "snapshot" | "stats" | "top_refused" | "tier_stats" => vec!["expect"],
        "enter" => vec!["as", "expect", "retry_after_ns"],
        "record" => vec!["ns"],
        "percentile" => vec!["percent", "expect_ns"],
        _ => bail!("unknown verb {verb:?}"),
    };
    only(step, &[&["do", "on", "times"][..], &known].concat())?;

    let quoted = |field: &str| -> Result<String> {
        match step.get(field) {
            Some(value) => Ok(literal(text(value)?.as_bytes())),
            None => Ok("NULL".to_owned()),
        }
    };
    let whole = |field: &str, usual: u64| match step.get(field) {
        Some(value) => value.as_u64().with_context(|| field.to_owned()),
        None => Ok(usual),
    };
    let ns = match verb {
        "advance" => whole("advance_ns", 0)?,
        "block" => whole("for_ns", 0)?,
        "reserve" => whole("max_wait_ns", 0)?,
        "acquire" => whole("timeout_ns", 0)?,
        "headers" => whole("wall_ns", 0)?,
        "hit" => whole("window_ns", 0)?,
        _ => whole("ns", 0)?,
    };
    let ttl = match step.get("ttl_ns") {
        None => 0,
        Some(Value::Null) => u64::MAX,
        Some(given) => {
            let given = given.as_u64().context("ttl_ns")?;
            ensure!(given != 0, "a TTL of 0 is the cache's own in C");
            given
        }
    };
    let codec = match step.get("codec") {
        None => 0,
        Some(Value::String(name)) => match name.as_str() {
            "bytes" => 0,
            "text" => 1,
            "json" => 2,
            _ => bail!("codec {name:?}"),
        },
        Some(given) => given.as_u64().context("codec")?,
    };
    let percent = match step.get("percent") {
        Some(given) => given.as_f64().context("percent")?,
        None => 0.0,
    };
    let expected = expectation(verb, step, case, number, tables)?;
    let parts = parts(step, case, number, tables)?;
    let styles = match step.get("styles") {
        Some(styles) => {
            let styles = array(styles)?
                .iter()
                .map(text)
                .collect::<Result<Vec<_>>>()?;
            literal(styles.join(",").as_bytes())
        }
        None => "NULL".to_owned(),
    };
    let address = format!(
        "{styles}, {}, {}, UINT64_C({}), {}, {}, {}",
        quoted("peer")?,
        quoted("forwarded_for")?,
        whole("trusted_hops", 0)?,
        whole("ipv6_prefix", 64)?,
        quoted("code")?,
        quoted("message")?,
    );
    Ok(format!(
        "{{ {}, {}, {}, {}, {}, UINT64_C({}), UINT64_C({}), UINT64_C({ns}), UINT64_C({ttl}), {codec}, {}, {percent:?}, {}, {expected}, {parts}, {address} }}",
        literal(verb.as_bytes()),
        quoted("on")?,
        bytes(step, "key")?,
        bytes(step, "value")?,
        quoted("tier")?,
        match verb {
            "hit" | "decrement" => whole("hits", 1)?,
            _ => whole("cost", 1)?,
        },
        whole("limit", u64::MAX)?,
        match verb {
            "enter" | "reserve" | "try_acquire" => quoted("as")?,
            "cancel" => quoted("reservation")?,
            "release" | "renew" | "ends_in" => quoted("lease")?,
            _ => quoted("permit")?,
        },
        whole("times", 1)?,
    ))
}

/// `parts, part count`: the requests of a step, with their verdicts.
fn parts(step: &Object, case: usize, number: usize, tables: &mut String) -> Result<String> {
    let Some(requests) = step.get("requests").or_else(|| step.get("take")) else {
        return Ok("NULL, 0".to_owned());
    };
    let requests = array(requests)?;
    let verdicts = step.get("verdicts").map_or(Ok(&[][..]), array)?;
    let in_headers = step.contains_key("take");
    ensure!(
        in_headers || verdicts.len() == requests.len(),
        "as many verdicts as requests"
    );
    let mut rows = String::new();
    for (at, request) in requests.iter().enumerate() {
        let request = object(request)?;
        only(
            request,
            &[&KEY[..], &TELL, &["name", "on", "cost", "tier"]].concat(),
        )?;
        let quoted = |field: &str| match request.get(field) {
            Some(value) => Ok(literal(text(value)?.as_bytes())),
            None => Ok::<_, anyhow::Error>("NULL".to_owned()),
        };
        let cost = match request.get("cost") {
            Some(cost) => cost.as_u64().context("cost")?,
            None => 1,
        };
        let fields = match verdicts.get(at) {
            Some(verdict) => {
                let table = format!("fields_{case}_{number}_{at}");
                fields(object(verdict)?, &table, tables)?
            }
            None => "NULL, 0".to_owned(),
        };
        writeln!(
            rows,
            "    {{ {}, {}, {}, {}, {}, UINT64_C({cost}), {fields} }},",
            quoted("name")?,
            quoted("on")?,
            bytes(request, "key")?,
            bytes(request, "tell")?,
            quoted("tier")?,
        )?;
    }
    if requests.is_empty() {
        return Ok("NULL, 0".to_owned());
    }
    writeln!(
        tables,
        "static const struct fb_case_part parts_{case}_{number}[] = {{\n{rows}}};"
    )?;
    Ok(format!("parts_{case}_{number}, {}", requests.len()))
}

/// `fields, field count`: what an answer is compared with.
fn fields(expected: &Object, table: &str, tables: &mut String) -> Result<String> {
    let mut rows = String::new();
    for (field, given) in expected {
        let (null, number) = match given {
            Value::Null => (1, 0),
            Value::Bool(yes) => (0, u64::from(*yes)),
            Value::String(reason) if field == "refused" => (0, number_of_reason(reason)?),
            _ => (0, given.as_u64().with_context(|| field.clone())?),
        };
        let field = literal(field.as_bytes());
        write!(rows, "{{ {field}, {null}, UINT64_C({number}) }}, ")?;
    }
    if expected.is_empty() {
        return Ok("NULL, 0".to_owned());
    }
    writeln!(
        tables,
        "static const struct fb_case_field {table}[] = {{ {rows}}};"
    )?;
    Ok(format!("{table}, {}", expected.len()))
}

/// A reason why there is no permit, as C has it.
fn number_of_reason(name: &str) -> Result<u64> {
    let names = ["limit", "full", "busy"];
    let at = names.iter().position(|known| *known == name);
    Ok(at.with_context(|| format!("refused: {name:?}"))? as u64 + 1)
}

/// `kind, number, bytes, fields, field count`.
fn expectation(
    verb: &str,
    step: &Object,
    case: usize,
    number: usize,
    tables: &mut String,
) -> Result<String> {
    const NO_BYTES: &str = "{ NULL, 0, 0 }";
    let plain = |kind: &str, value: u64| format!("{kind}, UINT64_C({value}), {NO_BYTES}, NULL, 0");
    if ["percentile", "blocked_for", "ends_in"].contains(&verb) {
        return Ok(match step.get("expect_ns").context("expect_ns")? {
            Value::Null => plain("EXPECT_NULL", 0),
            ns => plain("EXPECT_NUMBER", ns.as_u64().context("expect_ns")?),
        });
    }
    let of_window = step.get("expect").is_some_and(Value::is_object);
    if verb == "get" && !of_window {
        return Ok(match step.get("expect") {
            Some(Value::Null) => plain("EXPECT_NULL", 0),
            None if EXPECT.iter().all(|form| !step.contains_key(*form)) => {
                plain("EXPECT_NOTHING", 0)
            }
            _ => format!("EXPECT_BYTES, 0, {}, NULL, 0", bytes(step, "expect")?),
        });
    }
    let Some(expected) = step.get("expect") else {
        return Ok(plain("EXPECT_NOTHING", 0));
    };
    match expected {
        Value::Null => Ok(plain("EXPECT_NULL", 0)),
        Value::Bool(yes) => Ok(plain("EXPECT_NUMBER", u64::from(*yes))),
        Value::Number(_) => Ok(plain("EXPECT_NUMBER", expected.as_u64().context("expect")?)),
        Value::String(word) => {
            let wait = match step.get("retry_after_ns") {
                None => u64::MAX,
                Some(wait) => wait.as_u64().context("retry_after_ns")?,
            };
            Ok(format!(
                "EXPECT_BYTES, UINT64_C({wait}), {}, NULL, 0",
                repeated(word.as_bytes(), 1)
            ))
        }
        Value::Object(expected) => {
            let value = match VALUE.iter().any(|form| expected.contains_key(*form)) {
                true => bytes(expected, "value")?,
                false => NO_BYTES.to_owned(),
            };
            let mut others = expected.clone();
            others.retain(|field, _| !VALUE.contains(&field.as_str()));
            let fields = fields(&others, &format!("fields_{case}_{number}"), tables)?;
            Ok(format!("EXPECT_FIELDS, 0, {value}, {fields}"))
        }
        // Keys that were refused, a line each.
        Value::Array(keys) if verb == "top_refused" => {
            let mut lines = String::new();
            for key in keys {
                let key = object(key)?;
                only(key, &["count", "over", "key"])?;
                let number =
                    |field: &str| key.get(field).and_then(Value::as_u64).context("a number");
                let shown = match key.get("key").context("key")? {
                    Value::Null => "-",
                    shown => text(shown)?,
                };
                writeln!(lines, "{} {} {shown}", number("count")?, number("over")?)?;
            }
            let lines = repeated(lines.as_bytes(), 1);
            Ok(format!("EXPECT_BYTES, UINT64_MAX, {lines}, NULL, 0"))
        }
        // The figures of tiers, a line each.
        Value::Array(tiers) if verb == "tier_stats" => {
            let mut lines = String::new();
            for tier in tiers {
                let tier = object(tier)?;
                only(tier, &["tier", "admitted", "refused", "debts"])?;
                let number =
                    |field: &str| tier.get(field).and_then(Value::as_u64).context("a number");
                let name = text(tier.get("tier").context("tier")?)?;
                let [admitted, refused, debts] = ["admitted", "refused", "debts"].map(number);
                writeln!(lines, "{name} {} {} {}", admitted?, refused?, debts?)?;
            }
            let lines = repeated(lines.as_bytes(), 1);
            Ok(format!("EXPECT_BYTES, UINT64_MAX, {lines}, NULL, 0"))
        }
        // Headers, as the lines of a response.
        Value::Array(headers) => {
            let mut lines = String::new();
            for header in headers {
                let [name, value] = array(header)? else {
                    bail!("expect: not [name, value]");
                };
                write!(lines, "{}: {}\r\n", text(name)?, text(value)?)?;
            }
            let lines = repeated(lines.as_bytes(), 1);
            Ok(format!("EXPECT_BYTES, UINT64_MAX, {lines}, NULL, 0"))
        }
    }
}

/// Bytes in any of their forms: text, hex, the parts of a tuple, a repeated text.
fn bytes(fields: &Object, name: &str) -> Result<String> {
    if let Some(plain) = fields.get(name) {
        return Ok(repeated(text(plain)?.as_bytes(), 1));
    }
    if let Some(hex) = fields.get(&format!("{name}_hex")) {
        let hex = text(hex)?;
        ensure!(hex.len() % 2 == 0, "{name}_hex: half a byte");
        let bytes = (0..hex.len())
            .step_by(2)
            .map(|at| Ok(u8::from_str_radix(&hex[at..at + 2], 16)?))
            .collect::<Result<Vec<_>>>()?;
        return Ok(repeated(&bytes, 1));
    }
    if let Some(repeat) = fields.get(&format!("{name}_repeat")) {
        let [unit, times] = array(repeat)? else {
            bail!("{name}_repeat: not [text, times]");
        };
        let times = times.as_u64().context("times")?;
        return Ok(repeated(text(unit)?.as_bytes(), times));
    }
    // A tuple is marked by a count of 0: the runner joins its parts, each
    // ended by NUL, with the function under test.
    if let Some(parts) = fields.get(&format!("{name}_parts")) {
        let mut joined = Vec::new();
        for part in array(parts)? {
            let part = text(part)?;
            ensure!(!part.contains('\0'), "a part with NUL");
            joined.extend_from_slice(part.as_bytes());
            joined.push(0);
        }
        return Ok(repeated(&joined, 0));
    }
    Ok("{ NULL, 0, 0 }".to_owned())
}

fn repeated(bytes: &[u8], times: u64) -> String {
    format!("{{ {}, {}, {times} }}", literal(bytes), bytes.len())
}

/// A C string literal: octal escapes always have three digits, so that nothing
/// after them is drawn in.
fn literal(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' | b'?' => {
                quoted.push('\\');
                quoted.push(char::from(*byte));
            }
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => {
                let _ = write!(quoted, "\\{byte:03o}");
            }
        }
    }
    quoted.push('"');
    quoted
}

fn only(fields: &Object, known: &[&str]) -> Result<()> {
    for field in fields.keys() {
        ensure!(known.contains(&field.as_str()), "unknown field {field:?}");
    }
    Ok(())
}

fn object(value: &Value) -> Result<&Object> {
    value
        .as_object()
        .with_context(|| format!("not an object: {value}"))
}

fn array(value: &Value) -> Result<&[Value]> {
    match value {
        Value::Array(values) => Ok(values),
        _ => bail!("not an array: {value}"),
    }
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("not a text: {value}"))
}
