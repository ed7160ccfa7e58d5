//! The rules: where they come from, and the versions that came before.

use std::sync::Arc;

use super::StartError;
use crate::config::{Config, RulesFrom};
use crate::rules_source::{FileSource, RulesHistory, RulesProblem, RulesState};
use crate::runtime::{Clock, Disk, Shutdown, TaskHandle, Tasks};
use crate::sample::{RuleSet, Rulebook, parse_rules};

/// Versions brought back at start for traces that were pending. Each is asked for every span while it is needed.
const VERSIONS_BROUGHT_BACK: usize = 4;

/// The rules that the configuration names, in force; and where to watch for others.
pub(super) fn load_rules(
    config: &Config,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    state: &RulesState,
    history: &RulesHistory,
) -> Result<(Arc<Rulebook>, Option<FileSource>), StartError> {
    let path = match &config.rules {
        RulesFrom::BuiltIn => {
            let rulebook = resumed(RuleSet::built_in(), config.debug, history);
            state.loaded(rulebook.current().version(), "built-in", clock.now_unix_nano());
            return Ok((Arc::new(rulebook), None));
        }
        RulesFrom::File(path) => path.clone(),
        other => {
            return Err(StartError::Rules(format!("rules from {other} are not available in this version")));
        }
    };
    let source = FileSource::new(path.clone(), disk.clone(), clock.clone(), state.clone());
    let explain = |problem: RulesProblem| {
        let place = match (problem.line, problem.column) {
            (Some(line), Some(column)) => format!(":{line}:{column}"),
            _ => String::new(),
        };
        StartError::Rules(format!("{}{place}: {}", path.display(), problem.message))
    };
    let text = source.load().map_err(explain)?;
    let rules = parse_rules(&text).map_err(problem_of).map_err(explain)?;
    let rulebook = resumed(rules, config.debug, history);
    source.loaded(&text, rulebook.current().version());
    Ok((Arc::new(rulebook), Some(source)))
}

/// A rulebook whose versions go on where they ended: the same rules keep their version, others get the next one.
pub fn resumed(rules: RuleSet, debug: bool, history: &RulesHistory) -> Rulebook {
    let newest = history.newest();
    let version = match &newest {
        Some((version, text)) if **text == **rules.text() => *version,
        Some((version, _)) => version.saturating_add(1),
        None => 1,
    };
    if newest.is_none_or(|(known, _)| known != version) {
        remember(history, version, rules.text());
    }
    let rulebook = Rulebook::begin(version, rules, debug);
    for (version, text) in history.before(version, VERSIONS_BROUGHT_BACK) {
        match parse_rules(&text) {
            Ok(rules) => rulebook.restore(version, rules),
            Err(error) => tracing::warn!(version, %error, "rules from before the restart cannot be used"),
        }
    }
    rulebook
}

/// Without its text a version cannot be brought back: what was pending is then decided by the rules in force.
fn remember(history: &RulesHistory, version: u32, text: &str) {
    if let Err(error) = history.keep(version, text) {
        tracing::warn!(version, %error, "the text of the rules cannot be kept");
    }
}

fn problem_of(error: crate::sample::RulesError) -> RulesProblem {
    RulesProblem { message: error.message, line: error.line, column: error.column }
}

/// Watches for other rules, and puts them into force.
pub(super) fn spawn_rules(
    tasks: &Tasks,
    source: FileSource,
    rulebook: Arc<Rulebook>,
    history: RulesHistory,
    stop: Shutdown,
) -> Result<TaskHandle<()>, StartError> {
    let install = move |text: &str| {
        let rules = parse_rules(text).map_err(problem_of)?;
        let current = rulebook.current();
        if **current.text() != *text {
            // Before any span is received under it.
            remember(&history, current.version() + 1, text);
        }
        Ok(rulebook.install(rules))
    };
    tasks.thread("rules", move || source.run(install, stop)).map_err(StartError::Thread)
}
