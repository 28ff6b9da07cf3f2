//! The arguments of every verb, as clap reads them.
//!
//! Verbs that are not built have their arguments here all the same, so that using one is "not
//! yet" (exit 3) and not a usage error (exit 2).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::logging::{LogFormat, LogLevel};
use crate::cli::output::Output;
use crate::config::pattern::{QualifiedName, parse_name};
use crate::config::units;
use crate::pg::lsn::Lsn;

/// Keeps tables of one PostgreSQL database in step with tables of another.
#[derive(Debug, Parser)]
#[command(name = "sync-agent", version, max_term_width = 100, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags before or after any verb. A flag beats its variable, a variable beats the file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Global {
    /// Configuration file [env: SYNC_AGENT_CONFIG] [default: ./sync-agent.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The PostgreSQL that is read: libpq URL or key=value [env: SYNC_AGENT_SOURCE]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) source: Option<String>,
    /// The PostgreSQL that is written: libpq URL or key=value [env: SYNC_AGENT_DESTINATION]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) destination: Option<String>,
    /// Tables to replicate, as "schema.table", * within a part; repeatable; replaces the file's list
    #[arg(long, global = true, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Tables to leave out; repeatable; replaces the file's list
    #[arg(long, global = true, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Any key of the file with a TOML value: source.slot='"mine"'; repeatable
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// auto (pretty on a terminal, else json), pretty or json
    #[arg(
        long,
        global = true,
        env = "SYNC_AGENT_LOG_FORMAT",
        hide_env_values = true,
        default_value = "auto",
        hide_default_value = true,
        value_name = "FORMAT",
        value_parser = LogFormat::parse,
        help_heading = "Logging"
    )]
    pub(crate) log_format: LogFormat,
    /// error, warn, info (default), debug, trace, or filter directives
    #[arg(
        long,
        global = true,
        env = "SYNC_AGENT_LOG_LEVEL",
        hide_env_values = true,
        default_value = "info",
        hide_default_value = true,
        value_name = "LEVEL",
        value_parser = LogLevel::parse,
        help_heading = "Logging"
    )]
    pub(crate) log_level: LogLevel,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Copy what has not been copied, then tail until stopped
    Run(RunArgs),
    /// One-off backfill without a slot, at one consistent snapshot
    Snapshot(SnapshotArgs),
    /// Preflight: every finding at once, with the statement that mends it; creates nothing
    Check(CheckArgs),
    /// One look at state, positions, lag and tables
    Status(StatusArgs),
    /// Return when a state or position is reached
    Wait(WaitArgs),
    /// Compare source and destination (not yet)
    Verify(VerifyArgs),
    /// Copy tables again at a new consistent point
    Resync(ResyncArgs),
    /// Hold the pipeline, or let a table's changes go by (not yet)
    Pause(TableArgs),
    /// Go on after a pause (not yet)
    Resume(TableArgs),
    /// Source rows beside what they become; writes nothing
    Preview(PreviewArgs),
    /// Rows that the destination rejected (not yet)
    DeadLetters(DeadLettersArgs),
    /// The destination's structure from the source's (not yet)
    Schema(SchemaArgs),
    /// The last step of a migration (not yet)
    Cutover(OutputArgs),
    /// Print a configuration made by looking at both servers; creates nothing
    Init(InitArgs),
    /// Forget the pipeline: slot, own publications, checkpoint, local state; never user tables
    Reset(ResetArgs),
    /// Print the JSON schema of the configuration file
    ConfigSchema,
    /// Print a shell's completions
    Completions(CompletionsArgs),
    /// Print the man page, or write all of them into a directory
    Man(ManArgs),
}

impl Verb {
    /// How its result is wanted; for people where the verb has no choice.
    pub(crate) fn output(&self) -> Output {
        let args = match self {
            Verb::Snapshot(SnapshotArgs { tables, .. })
            | Verb::Verify(VerifyArgs { tables, .. })
            | Verb::Resync(ResyncArgs { tables, .. })
            | Verb::Preview(PreviewArgs { tables, .. })
            | Verb::Pause(tables)
            | Verb::Resume(tables)
            | Verb::DeadLetters(DeadLettersArgs {
                action:
                    DeadLettersAction::List(tables)
                    | DeadLettersAction::Retry(tables)
                    | DeadLettersAction::Discard(tables),
            })
            | Verb::Schema(SchemaArgs {
                action: SchemaAction::Plan(tables) | SchemaAction::Apply(tables),
            }) => &tables.output,
            Verb::Check(CheckArgs { output, .. })
            | Verb::Status(StatusArgs { output, .. })
            | Verb::Wait(WaitArgs { output, .. })
            | Verb::Reset(ResetArgs { output, .. })
            | Verb::Cutover(output) => output,
            Verb::Run(_)
            | Verb::Init(_)
            | Verb::ConfigSchema
            | Verb::Completions(_)
            | Verb::Man(_) => return Output::Human,
        };
        args.output
    }
}

// === arguments that several verbs share ===

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Output::Human)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// A table of the source: schema.table; repeatable
    #[arg(long = "table", value_name = "TABLE", value_parser = table)]
    pub(crate) tables: Vec<QualifiedName>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// Keep trying for this long when a server cannot be reached, as in 60s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct YesArgs {
    /// Do not ask before destroying something
    #[arg(long)]
    pub(crate) yes: bool,
}

// === arguments of one verb ===

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Stop, with the slot kept, once everything up to now is at the destination
    #[arg(long, value_enum)]
    pub(crate) until: Option<Until>,
    /// What happens when the pipeline halts: leave, or stay to be looked at, writing nothing
    #[arg(long, value_enum, default_value_t = OnHalt::Exit)]
    pub(crate) on_halt: OnHalt,
    /// Accept changed table settings: rows copied before stay as they are
    #[arg(long)]
    pub(crate) keep_old_rows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    CaughtUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnHalt {
    Exit,
    Stay,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) tables: TableArgs,
    /// Forget what an earlier snapshot finished and copy everything
    #[arg(long)]
    pub(crate) restart: bool,
    #[command(flatten)]
    pub(crate) yes: YesArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Look again every second, until Ctrl-C; redraws on a terminal, else one block or line a look
    #[arg(long, conflicts_with = "probe")]
    pub(crate) watch: bool,
    /// For health checks: exit 0 when the agent answers (as /live), else print only the reason
    #[arg(long)]
    pub(crate) probe: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// streaming, caught-up, or an LSN of the source such as 16/B374D848
    #[arg(long = "for", value_name = "STATE|LSN", value_parser = WaitFor::parse)]
    pub(crate) wait_for: WaitFor,
    /// Give up after this long; without it, wait for ever
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    Streaming,
    CaughtUp,
    /// Applied at the destination.
    Lsn(Lsn),
}

impl WaitFor {
    fn parse(text: &str) -> Result<WaitFor, String> {
        match text {
            "streaming" => Ok(WaitFor::Streaming),
            "caught-up" => Ok(WaitFor::CaughtUp),
            lsn => lsn.parse().map(WaitFor::Lsn).map_err(|_| {
                "expected streaming, caught-up or an LSN such as 16/B374D848".to_owned()
            }),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    pub(crate) yes: YesArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResyncArgs {
    #[command(flatten)]
    pub(crate) tables: TableArgs,
    /// Every table; after a lost slot also the slot
    #[arg(long, conflicts_with = "tables", required_unless_present = "tables")]
    pub(crate) all: bool,
    /// How rows are brought in step: compare is not built yet
    #[arg(long, value_enum, default_value_t = ResyncMethod::Copy)]
    pub(crate) method: ResyncMethod,
    /// Empty the tables first; without it the old rows can be read until the new ones are there
    #[arg(long)]
    pub(crate) truncate: bool,
    #[command(flatten)]
    pub(crate) yes: YesArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    #[command(flatten)]
    pub(crate) tables: TableArgs,
    /// Rows a table
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Show the source's own values beside those that steps make of them
    #[arg(long)]
    pub(crate) show_source: bool,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResyncMethod {
    Copy,
    Compare,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page per verb into this directory, which is made where it is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

// === arguments of verbs that are not built ===

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    tables: TableArgs,
    /// Mend the differences
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    retry: RetryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeadLettersArgs {
    #[command(subcommand)]
    action: DeadLettersAction,
}

#[derive(Debug, Subcommand)]
enum DeadLettersAction {
    /// Show them
    List(TableArgs),
    /// Read the keys again at the source
    Retry(TableArgs),
    /// Forget them
    Discard(TableArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    #[command(subcommand)]
    action: SchemaAction,
}

#[derive(Debug, Subcommand)]
enum SchemaAction {
    /// Show the statements
    Plan(TableArgs),
    /// Run the statements
    Apply(TableArgs),
}

// === parsers ===

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|err| format!("{err}: {}", err.hint()))
}

fn table(text: &str) -> Result<QualifiedName, String> {
    parse_name(text).map_err(|err| match err.hint() {
        Some(hint) => format!("{err}: {hint}"),
        None => err.to_string(),
    })
}
