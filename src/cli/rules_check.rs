//! `tracewell rules check`.

use std::path::PathBuf;

use clap::Args;

use super::Exit;

const EXAMPLES: &str = "\
Examples:
  tracewell rules check rules.yaml
      Says `rules.yaml: ok`, or where it is wrong: rules.yaml:4:11: unknown key `whan`, did you mean `when`?

Exit codes: 0 the rules are right, 1 they are not, 2 the file cannot be read.";

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
    anyhow::bail!("{} cannot be checked yet", args.file.display())
}
