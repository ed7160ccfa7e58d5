//! `tracewell trace why`.

#[cfg(test)]
mod tests;

use anyhow::bail;
use clap::Args;

use super::Exit;
use super::client::{Daemon, SourceArgs, trace_id};
use super::output::table::{self, Align, Cell};
use super::output::{Canvas, DIM, ERROR, STRONG, print, text, units};
use crate::query::{DecisionLine, MatchedLine, RuleLine, RuleResult, WhyDocument, WhyState};

const EXAMPLES: &str = "\
Examples:
  tracewell trace why 4bf92f3577b34da6a3ce929d0e0e4736
      Kept or dropped, by which rule, and which spans made it match
  tracewell trace why --json 4bf92f3577b34da6a3ce929d0e0e4736
      The same as one JSON document

Decisions are known for a day (decisions: { keep: 24h }); the spans of a dropped trace only while the log has them.

Exit codes: 0 known, 1 no such trace, 2 wrong usage or unreachable.";

/// Flags of `trace why`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TraceWhyArgs {
    /// The trace's id: up to 32 hexadecimal digits of either case
    #[arg(value_name = "ID")]
    pub id: String,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,

    /// Where to ask.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Runs the command.
pub async fn run(args: &TraceWhyArgs, canvas: &Canvas) -> anyhow::Result<Exit> {
    let id = trace_id(&args.id)?;
    if args.source.store.is_some() {
        bail!("only the daemon knows why: name it with --url, not --store");
    }
    let Some(document) = Daemon::new(&args.source.url, &args.source.access)?.why(id).await? else {
        eprintln!(
            "nothing is known of trace {id}: it never came, or was decided longer ago than decisions are kept"
        );
        return Ok(Exit::Nothing);
    };
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&document)?)
    } else {
        render(canvas, &document)
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// The answer for people.
fn render(canvas: &Canvas, document: &WhyDocument) -> String {
    let mut out = format!("{} {}\n", canvas.paint(STRONG, "trace"), text::clean(&document.trace_id));
    out.push_str(&format!("{}\n\n", verdict(canvas, document)));
    for (label, fact) in facts(document) {
        out.push_str(&format!("{}{fact}\n", canvas.paint(DIM, &text::fit(label, 11))));
    }
    if document.rules_known {
        out.push('\n');
        out.push_str(&rules(canvas, document));
    }
    if let Some(rule) = document.rules.last().filter(|rule| !rule.spans.is_empty()) {
        out.push('\n');
        out.push_str(&spans(canvas, rule));
    }
    for note in notes(document) {
        out.push_str(&format!("\n{}\n", canvas.paint(DIM, &note)));
    }
    out
}

fn verdict(canvas: &Canvas, document: &WhyDocument) -> String {
    let by = |what: &str, rule: &str| format!("{what} by rule {}", canvas.paint(STRONG, &text::clean(rule)));
    match (&document.decision, document.state) {
        (Some(decision), WhyState::Dropped) => by(&canvas.paint(ERROR, "dropped"), &decision.rule),
        (Some(decision), _) if decision.rule == crate::sample::UNMATCHED => {
            format!("{}: no rule matched", canvas.paint(STRONG, "kept"))
        }
        (Some(decision), _) if decision.pinned => format!("{}: pinned", canvas.paint(STRONG, "kept")),
        (Some(decision), _) => by(&canvas.paint(STRONG, "kept"), &decision.rule),
        (None, WhyState::Pending) => format!("{}: not decided yet", canvas.paint(STRONG, "pending")),
        (None, _) => match &document.stored_by_rule {
            Some(rule) => by(&canvas.paint(STRONG, "kept"), rule),
            None => "its spans are here, and nothing says why".to_owned(),
        },
    }
}

fn facts(document: &WhyDocument) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(decision) = &document.decision {
        let at = decision.time_unix_nano.parse().map_or_else(|_| "-".to_owned(), units::time);
        facts.push(("decided", format!("{at} UTC · rules version {}", decision.rules_version)));
        facts.extend(chance(decision).map(|chance| ("chance", chance)));
        facts.extend(decision.retention.as_ref().map(|class| ("retention", text::clean(class))));
        let flags = [
            (decision.early, "early: memory was full"),
            (decision.late, "late: for spans that came after the verdict"),
            (decision.debug, "debug: everything is kept"),
            (decision.pinned, "pinned"),
        ];
        let flags: Vec<_> = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
        if !flags.is_empty() {
            facts.push(("flags", flags.join(" · ")));
        }
    }
    if let Some(due) = &document.due_time_unix_nano {
        let due = due.parse().map_or_else(|_| "-".to_owned(), units::time);
        let version = document.rules_version.unwrap_or_default();
        facts.push(("due", format!("{due} UTC at the latest · rules version {version}")));
    }
    let found = text::count(document.spans.found, "span", "spans");
    facts.push(("spans", if document.spans.found == 0 { "none left".to_owned() } else { found }));
    facts
}

fn chance(decision: &DecisionLine) -> Option<String> {
    if decision.probability_unknown {
        return Some("kept by a rate: what share that is nobody knows".to_owned());
    }
    let share = format!("{}% are kept", trimmed(decision.probability? * 100.0));
    let threshold = decision.threshold.as_deref().map(|th| format!(" · th:{}", text::clean(th)));
    let count = decision.adjusted_count.map(|n| format!(" · each span stands for {}", trimmed(n)));
    Some(format!("{share}{}{}", threshold.unwrap_or_default(), count.unwrap_or_default()))
}

/// At most four decimals, none that say nothing.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn rules(canvas: &Canvas, document: &WhyDocument) -> String {
    let header =
        [("RULE", Align::Left), ("WHEN", Align::Shrink), ("ACTION", Align::Shrink), ("RESULT", Align::Left)];
    let row = |rule: &RuleLine| {
        let style = match rule.result {
            RuleResult::Decided if document.state == WhyState::Dropped => ERROR,
            RuleResult::Decided | RuleResult::Matches => STRONG,
            RuleResult::NoMatch | RuleResult::NotKnown => DIM,
        };
        vec![
            Cell::styled(text::clean(&rule.name), style),
            Cell::new(rule.when.as_deref().map_or_else(|| "every trace".to_owned(), text::clean)),
            Cell::new(text::clean(&rule.action)),
            Cell::styled(result(rule, document.state), style),
        ]
    };
    table::render(canvas, &header, &document.rules.iter().map(row).collect::<Vec<_>>())
}

fn result(rule: &RuleLine, state: WhyState) -> String {
    let on = if rule.matched_count == 0 {
        String::new()
    } else {
        format!(" on {}", text::count(rule.matched_count, "span", "spans"))
    };
    match rule.result {
        RuleResult::Decided => format!("decided{on}"),
        RuleResult::Matches if state == WhyState::Pending => format!("matches so far{on}"),
        RuleResult::Matches => format!("matches by now{on}"),
        RuleResult::NoMatch => "no match".to_owned(),
        RuleResult::NotKnown => "did not decide".to_owned(),
    }
}

fn spans(canvas: &Canvas, rule: &RuleLine) -> String {
    let header = [
        ("SPAN", Align::Left),
        ("SERVICE", Align::Shrink),
        ("NAME", Align::Shrink),
        ("DURATION", Align::Right),
    ];
    let row = |span: &MatchedLine| {
        let name = text::clean(&span.name);
        vec![
            Cell::styled(text::clean(&span.span_id), DIM),
            Cell::new(text::clean(&span.service)),
            if span.is_error { Cell::styled(format!("✗ {name}"), ERROR) } else { Cell::new(name) },
            Cell::new(units::duration(span.duration_nano)),
        ]
    };
    let mut out = table::render(canvas, &header, &rule.spans.iter().map(row).collect::<Vec<_>>());
    let more = rule.matched_count.saturating_sub(rule.spans.len() as u64);
    if more > 0 {
        out.push_str(&canvas.paint(DIM, &format!("and {more} more\n")));
    }
    out
}

fn notes(document: &WhyDocument) -> Vec<String> {
    let mut notes = Vec::new();
    let version = document.decision.as_ref().map(|d| d.rules_version).or(document.rules_version);
    if let (false, Some(version)) = (document.rules_known, version) {
        notes.push(format!("The rules of version {version} are not known any more."));
    }
    if document.decision.is_none() && document.stored_by_rule.is_some() {
        notes.push("It was decided longer ago than decisions are kept; the table names the rule.".to_owned());
    }
    if document.rules_known && document.spans.found == 0 {
        notes.push("None of its spans is left to tell which of them made the rule match.".to_owned());
    }
    if document.state != WhyState::Pending && document.rules.iter().any(|r| r.result == RuleResult::Matches) {
        notes.push(
            "Spans that came after the verdict make an earlier rule match; the verdict holds.".to_owned(),
        );
    }
    notes
}
