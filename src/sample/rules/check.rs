//! From the file's text to checked and compiled rules; everything wrong is told with its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::{Location, Spanned, UserMessageFormatter};

use super::error::nearest;
use super::place::{line_and_column, offset_in_file};
use super::raw::{RawKeep, RawRate, RawRule, RawRules, RawTerms};
use super::{
    RETENTION_DEFAULT, RETENTION_PINNED, RetentionClasses, RetentionTerms, Rule, RuleSet, RulesError,
    UNMATCHED, units,
};
use crate::sample::actions::{Action, Keep, Rate};
use crate::sample::compile::{Builder, Condition};
use crate::traceql::{self, BinaryOp, FieldExpr, SpansetExpr, Stage};

const VERSION: u64 = 1;
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
const AFTER_ROOT_DEFAULT: Duration = Duration::from_secs(2);
const RETENTION_DEFAULT_PERIOD: Duration = Duration::from_secs(3 * 86_400);
const RETENTION_PINNED_PERIOD: Duration = Duration::from_secs(90 * 86_400);
/// Longer waits would only fill the log.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The most bytes a file may have.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// The most rules a file may have.
const RULES_MAX: usize = 1000;
/// The longest name of a rule or retention class, in characters.
const NAME_MAX: usize = 64;

pub(super) fn parse(text: &str) -> Result<RuleSet, RulesError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("a rules file has at most {TEXT_BYTES_MAX} bytes, this one has {}", text.len());
        return Err(RulesError::new((1, 1), message));
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let raw = serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(text, &error))?;
    Checker { text, builder: Builder::default() }.rule_set(raw)
}

/// The library's error in our words.
fn explain(text: &str, error: &serde_saphyr::Error) -> RulesError {
    let error = error.without_snippet();
    let place = place(error.location().unwrap_or(Location::UNKNOWN));
    if let serde_saphyr::Error::SerdeUnknownField { field, expected, .. } = error {
        let help = match nearest(field, expected.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("the keys here are: {}", expected.join(", ")),
        };
        return RulesError::new(place, format!("unknown key `{field}`; {help}"));
    }
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return RulesError::new((1, 1), "the file has no rules: `rules` is missing");
    }
    let message = error.render_with_formatter(&UserMessageFormatter);
    // The place stands by itself; the library appends it once more.
    let message = match message.split(" at line ").next().unwrap_or_default() {
        "expected mapping start" => "expected keys with values here, `key: value`",
        "expected string scalar" => "expected a single value here, not a list or keys",
        message => message,
    };
    RulesError::new(place, message)
}

fn place(location: Location) -> (usize, usize) {
    let number = |value: u64| usize::try_from(value).unwrap_or_default();
    (number(location.line()), number(location.column()))
}

fn refuse<T>(at: &Spanned<T>, message: impl Into<String>) -> RulesError {
    RulesError::new(place(at.referenced), message)
}

/// Compiles rule by rule; they share their atoms.
struct Checker<'t> {
    text: &'t str,
    builder: Builder,
}

impl Checker<'_> {
    fn rule_set(mut self, raw: RawRules) -> Result<RuleSet, RulesError> {
        if let Some(version) = raw.version.as_ref().filter(|version| version.value != VERSION) {
            let message = format!("version {} is not known; this is version {VERSION}", version.value);
            return Err(refuse(version, message));
        }
        let decision = raw.decision.as_ref();
        let wait = timer(decision.and_then(|d| d.wait.as_ref()), WAIT_DEFAULT)?;
        let after_root = timer(decision.and_then(|d| d.after_root.as_ref()), AFTER_ROOT_DEFAULT)?;
        let retention = retention(&raw.retention)?;
        if raw.rules.value.is_empty() || raw.rules.value.len() > RULES_MAX {
            return Err(refuse(
                &raw.rules,
                format!("`rules` needs at least one rule, and at most {RULES_MAX}"),
            ));
        }
        let mut rules: Vec<Rule> = Vec::new();
        for raw in &raw.rules.value {
            let rule = self.rule(raw, &retention)?;
            if rules.iter().any(|known| known.name == rule.name) {
                return Err(refuse(&raw.name, format!("there are two rules named `{}`", rule.name)));
            }
            rules.push(rule);
        }
        Ok(RuleSet {
            version: 0,
            debug: false,
            text: self.text.into(),
            wait,
            after_root,
            rules,
            unmatched: (UNMATCHED.into(), RETENTION_DEFAULT.into()),
            retention,
            program: self.builder.finish(),
        })
    }

    fn rule(&mut self, raw: &RawRule, known: &RetentionClasses) -> Result<Rule, RulesError> {
        let name = raw.name.value.as_str();
        check_name(name).map_err(|message| refuse(&raw.name, message))?;
        if name == UNMATCHED {
            let message =
                format!("`{UNMATCHED}` is what verdicts say where no rule matched; name it otherwise");
            return Err(refuse(&raw.name, message));
        }
        let condition = raw.when.as_ref().map(|when| self.condition(when)).transpose()?;
        let action = self.action(raw)?;
        if let (Action::Drop, Some(class)) = (&action, &raw.retention) {
            return Err(refuse(class, "a rule that drops stores nothing, so it has no `retention`"));
        }
        let retention = class(raw, known)?;
        let when = raw.when.as_ref().map(|when| when.value.trim().into());
        Ok(Rule {
            name: name.into(),
            condition,
            action,
            retention,
            when,
            action_text: action_text(raw).into(),
        })
    }

    fn condition(&mut self, when: &Spanned<String>) -> Result<Condition, RulesError> {
        let refuse = |offset: usize, message: String| {
            RulesError::new(self.place_in(when, offset), format!("`when`: {message}"))
        };
        let query = traceql::parse(&when.value).map_err(|error| {
            let found = if error.found.is_empty() {
                String::new()
            } else {
                format!(", at `{}`", error.found.escape_debug())
            };
            refuse(error.offset, format!("{}{found}", error.message))
        })?;
        let compiled = self.builder.condition(&query);
        compiled.map_err(|error| {
            RulesError::new(self.place_in(when, error.at.start), format!("`when`: {}", error.message))
        })
    }

    /// The line and column of byte `offset` of a value.
    fn place_in(&self, value: &Spanned<String>, offset: usize) -> (usize, usize) {
        let start = value.referenced.span().byte_offset().and_then(|start| usize::try_from(start).ok());
        start.map_or_else(
            || place(value.referenced),
            |start| line_and_column(self.text, offset_in_file(self.text, start, &value.value, offset)),
        )
    }

    fn action(&mut self, raw: &RawRule) -> Result<Action, RulesError> {
        match (&raw.keep, &raw.drop) {
            (Some(keep), None) => self.keep(&raw.name.value, keep),
            (None, Some(drop)) if drop.value => Ok(Action::Drop),
            (None, Some(drop)) => Err(refuse(drop, "`drop: false` does nothing; write `keep: 100%`")),
            (Some(_), Some(drop)) => Err(refuse(drop, "a rule either keeps or drops, this one says both")),
            (None, None) => Err(refuse(&raw.name, "the rule says neither `keep` nor `drop`")),
        }
    }

    fn keep(&mut self, rule: &str, keep: &Spanned<RawKeep>) -> Result<Action, RulesError> {
        match &keep.value {
            RawKeep::Percent(text) => {
                let action = units::percent(text).and_then(Keep::percent);
                action.map(Action::Keep).map_err(|message| refuse(keep, message))
            }
            RawKeep::Rate(rate) => self.rate(rule, rate).map_err(|message| refuse(keep, message)),
        }
    }

    fn rate(&mut self, rule: &str, rate: &RawRate) -> Result<Action, String> {
        let mut by = Vec::new();
        for field in &rate.by {
            let parsed = field_of(field)?;
            by.push(
                self.builder
                    .capture(&parsed)
                    .map_err(|error| format!("`by`: `{field}`: {}", error.message))?,
            );
        }
        Rate::new(rule, rate.per_second, by).map(Action::Rate)
    }
}

/// The action as people read it.
fn action_text(raw: &RawRule) -> String {
    match raw.keep.as_ref().map(|keep| &keep.value) {
        None => "drop".to_owned(),
        Some(RawKeep::Percent(text)) => format!("keep {}", text.trim()),
        Some(RawKeep::Rate(rate)) if rate.by.is_empty() => format!("keep {} per second", rate.per_second),
        Some(RawKeep::Rate(rate)) => format!("keep {} per second by {}", rate.per_second, rate.by.join(", ")),
    }
}

/// A field written as in TraceQL, read by its parser.
fn field_of(text: &str) -> Result<FieldExpr, String> {
    let wrong = || format!("`by`: `{text}` is not a field such as `resource.service.name`");
    let query = traceql::parse(&format!("{{ {text} != nil }}")).map_err(|_| wrong())?;
    let field = match query.pipeline.into_iter().next() {
        Some(Stage::Spansets(SpansetExpr::Filter(Some(FieldExpr::Binary {
            op: BinaryOp::NotEqual,
            left,
            ..
        })))) => *left,
        _ => return Err(wrong()),
    };
    match field {
        FieldExpr::Attribute(_) | FieldExpr::Intrinsic(..) => Ok(field),
        _ => Err(wrong()),
    }
}

fn timer(written: Option<&Spanned<String>>, default: Duration) -> Result<Duration, RulesError> {
    let Some(written) = written else { return Ok(default) };
    match units::duration(&written.value) {
        Ok(period) if period <= WAIT_MAX => Ok(period),
        Ok(_) => Err(refuse(written, format!("a trace waits at most {} minutes", WAIT_MAX.as_secs() / 60))),
        Err(message) => Err(refuse(written, message)),
    }
}

fn retention(raw: &BTreeMap<String, Spanned<RawTerms>>) -> Result<RetentionClasses, RulesError> {
    let mut classes = BTreeMap::from([
        (RETENTION_DEFAULT.to_owned(), RETENTION_DEFAULT_PERIOD.into()),
        (RETENTION_PINNED.to_owned(), RETENTION_PINNED_PERIOD.into()),
    ]);
    for (class, written) in raw {
        check_name(class).map_err(|message| refuse(written, message))?;
        classes.insert(class.clone(), terms(&written.value).map_err(|message| refuse(written, message))?);
    }
    Ok(classes)
}

fn terms(written: &RawTerms) -> Result<RetentionTerms, String> {
    let age = units::duration(&written.age)?;
    let bytes_max = written.size.as_deref().map(units::bytes).transpose()?;
    if age.is_zero() || bytes_max == Some(0) {
        return Err("a retention of nothing stores nothing; write a rule that drops".into());
    }
    Ok(RetentionTerms { age, bytes_max })
}

/// The rule's retention class, which must be known.
fn class(raw: &RawRule, known: &RetentionClasses) -> Result<Arc<str>, RulesError> {
    let Some(class) = &raw.retention else { return Ok(RETENTION_DEFAULT.into()) };
    if known.contains_key(&class.value) {
        return Ok(class.value.as_str().into());
    }
    let help = match nearest(&class.value, known.keys().map(String::as_str)) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("`retention` has: {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
    };
    Err(refuse(class, format!("unknown retention class `{}`; {help}", class.value)))
}

/// Names become labels of metrics and folders of the table.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('.') {
        return Ok(());
    }
    Err(format!(
        "a name has 1 to {NAME_MAX} of the characters A-Z a-z 0-9 - _ . and does not begin with a dot"
    ))
}
