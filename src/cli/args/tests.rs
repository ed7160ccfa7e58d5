//! Tests of the command line.
#![allow(clippy::unwrap_used)]

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Debug, Parser)]
#[command(name = "tracewell")]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(RunArgs),
}

fn run(line: &[&str]) -> Result<RunArgs, clap::Error> {
    let words = ["tracewell", "run"].into_iter().chain(line.iter().copied());
    Cli::try_parse_from(words).map(|Cli { command: Command::Run(args), .. }| args)
}

#[test]
fn definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn nothing_is_needed() {
    let args = run(&[]).unwrap();
    assert_eq!((&args.role, args.demo), (&None, false));
    assert_eq!(Flags::from(&args), Flags::default());
}

#[test]
fn flags_reach_the_configuration() {
    let line = ["--demo", "--grpc", "a:1", "--http=b:2", "--api", "c:3", "--data", "d", "--store", "s3://e"];
    let args = run(&[
        &line[..],
        &["--role", "agent", "--rules", "f", "--config", "g", "--color", "never", "--insecure"],
    ]
    .concat())
    .unwrap();
    assert!(args.demo);
    let text = |text: &str| Some(text.to_owned());
    let expected = Flags {
        role: text("agent"),
        grpc: text("a:1"),
        http: text("b:2"),
        api: text("c:3"),
        data: text("d"),
        store: text("s3://e"),
        rules: text("f"),
        config: text("g"),
        insecure: true,
    };
    assert_eq!(Flags::from(&args), expected);
}

#[test]
fn help_names_every_variable_and_has_examples() {
    let mut command = Cli::command();
    let help = command.find_subcommand_mut("run").unwrap().render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in ["ROLE", "GRPC", "HTTP", "API", "DATA", "STORE", "RULES", "CONFIG", "INSECURE"] {
        assert!(help.contains(&format!("[env: TRACEWELL_{name}]")), "{name} in {help}");
    }
    assert!(help.contains("tracewell run --demo"), "{help}");
}
