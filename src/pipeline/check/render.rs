//! A [`Report`] for people, and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::Report;
use crate::model::finding::{Finding, Severity, Side};
use crate::pipeline::policy::judge;
use crate::pipeline::status::printable;

/// Version of the JSON's structure; fields may be added under the same one.
const SCHEMA_VERSION: u32 = 1;

/// How many tables are named before "and n more".
const NAMED_TABLES_MAX: usize = 10;

#[derive(Serialize)]
struct Json<'a> {
    schema_version: u32,
    pipeline: &'a str,
    /// `run` would start.
    ok: bool,
    code: Option<&'static str>,
    findings: &'a [Finding],
    mistakes: &'a [String],
    failures: Vec<Failure>,
    tables: Vec<String>,
    pending_tables: usize,
    holder: Option<&'a str>,
}

#[derive(Serialize)]
struct Failure {
    code: &'static str,
    message: String,
}

/// One JSON object on one line.
pub fn render_json(report: &Report) -> String {
    let failure =
        |error| Failure { code: judge(error, false).code.as_str(), message: error.chain() };
    let json = Json {
        schema_version: SCHEMA_VERSION,
        pipeline: &report.pipeline,
        ok: report.code().is_none(),
        code: report.code().map(|code| code.as_str()),
        findings: &report.findings,
        mistakes: &report.mistakes,
        failures: report.failures.iter().map(failure).collect(),
        tables: report.tables.iter().map(ToString::to_string).collect(),
        pending_tables: report.pending_count,
        holder: report.holder.as_deref(),
    };
    let text = serde_json::to_string(&json).expect("plain data becomes JSON");
    format!("{text}\n")
}

/// Several lines of text, the last one ended. Failures are the log's.
pub fn render_human(report: &Report) -> String {
    let mut text = String::new();
    write(&mut text, report).expect("writing to a string does not fail");
    text
}

fn write(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text, "pipeline     {}: {}", printable(&report.pipeline), tables(report))?;
    for (side, server) in &report.servers {
        writeln!(text, "{:<12} {}", side.label(), printable(server))?;
    }
    if !report.mistakes.is_empty() {
        writeln!(text, "\nconfiguration:")?;
        for mistake in &report.mistakes {
            writeln!(text, "  E_CONFIG: {}", printable(mistake))?;
        }
    }
    for (severity, title) in
        [(Severity::Error, "errors"), (Severity::Warning, "warnings"), (Severity::Info, "notes")]
    {
        for side in [Side::Source, Side::Destination] {
            group(text, report, severity, side, title)?;
        }
    }
    writeln!(text, "\n{}", conclusion(report))
}

fn group(
    text: &mut String,
    report: &Report,
    severity: Severity,
    side: Side,
    title: &str,
) -> std::fmt::Result {
    let mut findings = report
        .findings
        .iter()
        .filter(|finding| finding.severity == severity && finding.side == side)
        .peekable();
    if findings.peek().is_some() {
        writeln!(text, "\n{title} at the {}:", side.label())?;
    }
    for finding in findings {
        writeln!(text, "  {}: {}", printable(&finding.object), printable(&finding.message))?;
        if let Some(remedy) = &finding.remedy {
            writeln!(text, "      {}", printable(&terminated(remedy)))?;
        }
    }
    Ok(())
}

/// A statement as psql wants it; advice stays as it is.
fn terminated(remedy: &str) -> String {
    let first = remedy.split_whitespace().next().unwrap_or_default();
    let is_statement = first.len() > 1 && first.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_statement && !remedy.contains("; --") && !remedy.ends_with(';') {
        format!("{remedy};")
    } else {
        remedy.to_owned()
    }
}

fn tables(report: &Report) -> String {
    if let Some(queries) = report.lone_query_count {
        return format!("no tables, {}", counted(queries, "query", "queries"));
    }
    if report.tables.is_empty() {
        return "its tables were not looked at".to_owned();
    }
    let shown: Vec<String> = report
        .tables
        .iter()
        .take(NAMED_TABLES_MAX)
        .map(|name| printable(&name.to_string()))
        .collect();
    let mut text = format!("{}: {}", count(report.tables.len(), "table"), shown.join(", "));
    if let Some(more) = report.tables.len().checked_sub(NAMED_TABLES_MAX).filter(|&more| more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn conclusion(report: &Report) -> String {
    let Some(code) = report.code() else {
        return ready(report);
    };
    let of = |severity| report.findings.iter().filter(|f| f.severity == severity).count();
    let mut parts = Vec::new();
    if !report.failures.is_empty() {
        parts.push("could not look".to_owned());
    }
    if !report.mistakes.is_empty() {
        parts.push(format!("{} in the configuration", count(report.mistakes.len(), "mistake")));
    }
    if of(Severity::Error) > 0 {
        parts.push(count(of(Severity::Error), "error"));
    }
    format!("not ready: {code}: {}; nothing was created", parts.join(", "))
}

fn ready(report: &Report) -> String {
    if let Some(queries) = report.lone_query_count {
        return format!("ready: `snapshot` can copy {}", counted(queries, "query", "queries"));
    }
    let total = report.tables.len();
    let what = match (&report.holder, report.pending_count) {
        (Some(_), _) => "stand by for the agent at work".to_owned(),
        (None, 0) => "go on from the destination's checkpoint".to_owned(),
        (None, pending) if pending == total => {
            format!("copy {}, then stream", count(pending, "table"))
        }
        (None, pending) => format!("copy {pending} of {}, then stream", count(total, "table")),
    };
    format!("ready: `run` would {what}")
}

fn count(number: usize, noun: &str) -> String {
    counted(number, noun, &format!("{noun}s"))
}

fn counted(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::ident::QualifiedName;

    fn report(findings: Vec<Finding>) -> Report {
        Report {
            pipeline: "shop".to_owned(),
            tables: vec![QualifiedName::new("public", "orders")],
            pending_count: 1,
            findings,
            ..Report::default()
        }
    }

    #[test]
    fn a_warning_does_not_stand_in_the_way() {
        let report = report(vec![Finding::warning(Side::Source, "table t", "no key")]);
        let text = render_human(&report);
        assert_eq!(text.lines().last(), Some("ready: `run` would copy 1 table, then stream"));
        assert!(text.contains("public.orders"), "{text}");
    }

    #[test]
    fn queries_alone_are_for_snapshot() {
        let report = Report { lone_query_count: Some(2), ..Report::default() };
        let text = render_human(&report);
        assert!(text.contains("no tables, 2 queries"), "{text}");
        assert_eq!(text.lines().last(), Some("ready: `snapshot` can copy 2 queries"));
    }

    #[test]
    fn statements_can_be_pasted_and_advice_is_left_alone() {
        let error = Finding::error(Side::Source, "role a", "it may not").remedy("ALTER ROLE a B");
        let setting = "ALTER SYSTEM SET wal_level = 'logical'; -- then restart";
        let second = Finding::error(Side::Source, "setting", "it is low").remedy(setting);
        let third = Finding::error(Side::Source, "connection", "no").remedy("Check the user.");
        let text = render_human(&report(vec![error, second, third]));
        assert!(text.contains("      ALTER ROLE a B;\n"), "{text}");
        assert!(text.contains(&format!("      {setting}\n")), "{text}");
        assert!(text.contains("      Check the user.\n"), "{text}");
        let last = "not ready: E_PREFLIGHT: 3 errors; nothing was created";
        assert_eq!(text.lines().last(), Some(last));
    }

    #[test]
    fn mistakes_come_before_findings_and_each_is_said_once() {
        let mut report = report(vec![Finding::error(Side::Source, "role a", "it may not")]);
        report.mistake("include: a\ninclude: b");
        report.mistake("include: a");
        assert_eq!(report.mistakes.len(), 2);
        let json: serde_json::Value =
            serde_json::from_str(&render_json(&report)).expect("it is JSON");
        assert_eq!(json["code"], "E_CONFIG");
        assert_eq!(json["ok"], false);
        assert_eq!(json["findings"][0]["severity"], "error");
    }

    #[test]
    fn a_hostile_name_cannot_steer_the_terminal() {
        let text = render_human(&report(vec![Finding::error(
            Side::Source,
            "table \u{1b}[2J",
            "it is\nbad",
        )]));
        assert!(!text.contains('\u{1b}') && text.contains("it is\u{fffd}bad"), "{text}");
    }
}
