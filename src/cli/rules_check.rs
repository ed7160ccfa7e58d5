//! `tracewell rules check`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;

use super::Exit;
use super::output::{print, text};
use crate::runtime::RealDisk;
use crate::runtime::disk::read_text;
use crate::sample::{RuleSet, RulesError, parse_rules};

const EXAMPLES: &str = "\
Examples:
  tracewell rules check rules.yaml
      Names the rules in order, or says where the file is wrong:
      rules.yaml:4:11: unknown key `whan`, did you mean `when`?

Exit codes: 0 the rules are right, 1 they are not, 2 the file cannot be read.";

/// Rules are written by people; a file larger than this is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Flags of `rules check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RulesCheckArgs {
    /// The rules file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Runs the command.
pub fn run(args: &RulesCheckArgs) -> anyhow::Result<Exit> {
    let name = text::clean(&args.file.to_string_lossy());
    let content = read(&args.file)?;
    match parse_rules(&content) {
        Ok(rules) => {
            let names: Vec<String> = rules.rule_names().map(text::clean).collect();
            let count = text::count(names.len() as u64, "rule", "rules");
            print(&format!("{name}: ok, {count}: {}\n", names.join(", ")))?;
            Ok(Exit::Done)
        }
        Err(error) => {
            eprintln!("{}", complaint(&name, &content, &error));
            Ok(Exit::Nothing)
        }
    }
}

/// The rules in a file, for a command that needs them.
///
/// # Errors
/// If it cannot be read, or has a mistake: where.
pub fn load(path: &Path) -> anyhow::Result<RuleSet> {
    let name = text::clean(&path.to_string_lossy());
    let content = read(path)?;
    parse_rules(&content).map_err(|error| anyhow!("{}", complaint(&name, &content, &error)))
}

fn read(path: &Path) -> anyhow::Result<String> {
    read_text(&RealDisk, path, FILE_BYTES_MAX)
        .with_context(|| format!("cannot read {}", text::clean(&path.to_string_lossy())))
}

/// `FILE:LINE:COLUMN: what is wrong`, the line itself, and a mark below the column.
fn complaint(name: &str, content: &str, error: &RulesError) -> String {
    let message = text::clean(&error.message);
    let (Some(line), Some(column)) = (error.line, error.column) else { return format!("{name}: {message}") };
    let head = format!("{name}:{line}:{column}: {message}");
    let Some(source) = content.lines().nth(line as usize - 1) else { return head };
    let before: String = source.chars().take(column as usize - 1).collect();
    let number = line.to_string();
    let indent = " ".repeat(number.len());
    let mark = " ".repeat(text::width(&text::clean(&before)));
    format!("{head}\n {indent} |\n {number} | {}\n {indent} | {mark}^", text::clean(source))
}

#[cfg(test)]
mod tests;
