//! The two forms of a result: a table for people and JSON for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object or list.
    Json,
}

/// A result.
pub(crate) trait Report: Serialize {
    /// The form for people; ends with a newline.
    fn table(&self) -> String;

    /// What the result means for the exit code.
    fn exit(&self) -> Exit {
        Exit::Good
    }
}

/// Writes a result to stdout.
pub(crate) fn write(
    report: &impl Report,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let text = match format {
        Format::Table => report.table(),
        Format::Json => {
            let json = serde_json::to_string_pretty(report).map_err(|error| {
                Failure::new(Exit::Internal, "internal_error", error.to_string())
            })?;
            json + "\n"
        }
    };
    write_bytes(text.as_bytes(), out)?;
    Ok(report.exit())
}

/// Writes to stdout. A reader that has gone has seen enough: that is no failure.
pub(crate) fn write_bytes(bytes: &[u8], out: &mut dyn Write) -> Result<(), Failure> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let message = format!("cannot write to stdout: {error}");
            Err(Failure::new(Exit::Environment, "output_failed", message))
        }
        _ => Ok(()),
    }
}

/// A table with a header line.
pub(crate) fn columns<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = plain();
    table.set_header(header);
    table.add_rows(rows);
    finish(&table)
}

/// A table of names and values; rows without a value are left off.
pub(crate) fn fields(rows: Vec<(&str, Option<String>)>) -> String {
    let mut table = plain();
    for (name, value) in rows {
        if let Some(value) = value {
            table.add_row([name, &value]);
        }
    }
    finish(&table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn finish(table: &Table) -> String {
    table.lines().fold(String::new(), |out, line| {
        out + line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()) + "\n"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_borders_and_no_trailing_space() {
        let text = columns(["CODE", "FAULT"], vec![["a_long_code".into(), "x".into()]]);
        assert_eq!(text, "CODE         FAULT\na_long_code  x\n");
        let text = fields(vec![
            ("key", Some("rsa-2048".into())),
            ("model", None),
            ("chain", Some("one\ntwo".into())),
        ]);
        assert_eq!(text, "key    rsa-2048\nchain  one\n       two\n");
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(write_bytes(b"x", &mut Broken(io::ErrorKind::BrokenPipe)).is_ok());
        let failure = write_bytes(b"x", &mut Broken(io::ErrorKind::StorageFull)).unwrap_err();
        assert_eq!(failure.exit, Exit::Environment);
    }
}
