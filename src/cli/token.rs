//! `rspp token`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rspp_adapters::admission::Priority;
use rspp_adapters::token::{self, AUDIENCE, Claims, Issuer, MAX_VALID_SECONDS};

use super::outcome::{Failure, Outcome};

/// Make session tokens, and the keys that they are signed with.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp token new-key acme.pem                     acme.pem signs; acme.pub.pem goes to `rspp serve --token-key`\n  \
    rspp token issue --key acme.pem --tenant acme --pipeline voice-assistant --session call-7\n\n\
    A token is a JSON Web Token signed with EdDSA: your own backend makes them with any library.")]
pub(super) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key: a file that signs, and beside it the one that checks.
    NewKey {
        /// Where the signing half goes; the other ends in `.pub.pem`.
        file: PathBuf,
    },
    /// Make a token for one session.
    Issue(Issue),
}

#[derive(Args)]
struct Issue {
    /// The key that signs it.
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,
    /// Whose call it is.
    #[arg(long)]
    tenant: String,
    /// Of which pipeline.
    #[arg(long)]
    pipeline: String,
    /// The session that it opens, once.
    #[arg(long)]
    session: String,
    /// Nobody waits for the call's answers: it goes behind those in which somebody does.
    #[arg(long)]
    background: bool,
    /// For how long it is valid.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=MAX_VALID_SECONDS))]
    valid: u64,
}

impl Token {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Command::NewKey { file } => new_key(&file),
            Command::Issue(issue) => issue.run(),
        }
    }
}

fn new_key(file: &Path) -> Outcome {
    let (issuer, private) = Issuer::fresh().map_err(|error| Failure::Run(error.to_string()))?;
    let public = file.with_extension("pub.pem");
    write_new(file, &private, true)?;
    write_new(&public, &issuer.public().to_pem(), false)?;
    Ok(format!(
        "{} signs; keep it. {} checks: rspp serve --token-key {}\n",
        file.display(),
        public.display(),
        public.display()
    ))
}

/// A file that was not there before; a secret one is nobody else's to read.
fn write_new(path: &Path, text: &str, secret: bool) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if secret { 0o600 } else { 0o644 });
    }
    let written = options.open(path).and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))
}

impl Issue {
    fn run(self) -> Outcome {
        let wrong = |says: String| Failure::Input(format!("{}: {says}", self.key.display()));
        let text = std::fs::read_to_string(&self.key).map_err(|error| wrong(error.to_string()))?;
        let issuer = Issuer::from_pem(&text).map_err(|error| wrong(error.to_string()))?;
        let iat = token::now();
        let Self { tenant, pipeline, session, valid, background, .. } = self;
        let priority = if background { Priority::Background } else { Priority::Interactive };
        let (aud, exp) = (AUDIENCE.to_owned(), iat + valid);
        let claims = Claims { aud, tenant, pipeline, session, priority, iat, exp, lease: None };
        Ok(issuer.issue(&claims) + "\n")
    }
}
