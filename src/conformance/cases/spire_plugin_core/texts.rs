//! The text of a configuration in other forms, and texts that are none.

use serde_json::{Map, Value};
use tonic::Code;

use crate::{
    case::{Stop, hold, skip},
    cases::spire_plugin_core::configure::{configured, works},
    status::{refused as must_refuse, told},
    trial::Trial,
};

/// A good text in another form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Comments,
    BlankLines,
    /// As SPIRE prints what came from a configuration in JSON.
    QuotedKeys,
    /// As a plugin_data_file may be.
    Json,
    NoEnd,
}

/// A text that is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hostile {
    Nul,
    /// A MiB of one key.
    Long,
    /// 100,000 blocks.
    Nested,
    Noise,
}

pub(super) async fn refused(trial: &mut Trial, text: &str) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    let answer = configured(trial, &loaded, text).await?;
    let status = must_refuse(answer, &[])?;
    let lost = status.code() == Code::Unavailable;
    hold(
        !lost,
        || told(&status),
        "a refusal, and the process goes on",
    )
}

pub(super) async fn refused_beside_a_good_one(trial: &mut Trial, line: &str) -> Result<(), Stop> {
    let good = trial.good_text(trial.role()).await?;
    refused(trial, &format!("{good}\n{line}\n")).await
}

pub(super) async fn taken(trial: &mut Trial, form: Form) -> Result<(), Stop> {
    let good = trial.good_text(trial.role()).await?;
    let text = match form {
        Form::Comments => format!("# one\n// two\n/* three\nfour */\n{good}\n# five\n"),
        Form::BlankLines => format!("\n\n  \n{}\n\n\t\n", good.replace('\n', "\n\n")),
        Form::QuotedKeys => quoted(&pairs(&good)?),
        Form::Json => Value::Object(pairs(&good)?).to_string(),
        Form::NoEnd => good.trim_end().to_owned(),
    };
    let loaded = trial.load().await?;
    trial.configure(&loaded, &text).await?;
    works(trial, &loaded).await
}

/// A text that has nothing but lines `key = value` with values that JSON has too.
fn pairs(text: &str) -> Result<Map<String, Value>, Stop> {
    let mut pairs = Map::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let pair = line.split_once('=').and_then(|(key, value)| {
            let value = serde_json::from_str(value.trim()).ok()?;
            Some((key.trim().to_owned(), value))
        });
        let Some((key, value)) = pair else {
            return Err(skip(
                "the good configuration has more than lines `key = value`",
            ));
        };
        pairs.insert(key, value);
    }
    Ok(pairs)
}

fn quoted(pairs: &Map<String, Value>) -> String {
    let line = |(key, value): (&String, &Value)| format!("{key:?} = {value}");
    pairs.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Taken or refused in time, and then a good text is taken.
pub(super) async fn survived(trial: &mut Trial, hostile: Hostile) -> Result<(), Stop> {
    let good = trial.good_text(trial.role()).await?;
    let text = match hostile {
        Hostile::Nul => "key\0 = \"va\0lue\"\0".to_owned(),
        Hostile::Long => format!("{} = 1", "k".repeat(1 << 20)),
        Hostile::Nested => "a { ".repeat(100_000),
        Hostile::Noise => {
            let bytes = trial.random(4096);
            bytes.iter().map(|byte| char::from(*byte)).collect()
        }
    };
    let loaded = trial.load().await?;
    let answer = configured(trial, &loaded, &text).await?;
    let lost = matches!(&answer, Err(status) if status.code() == Code::Unavailable);
    hold(
        !lost,
        || format!("{answer:?}"),
        "an answer, and the process goes on",
    )?;
    trial.configure(&loaded, &good).await
}
