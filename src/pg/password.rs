//! Where a password comes from. It is asked for at every connect, so that a rotated one is picked
//! up without a restart.

use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::pg::connect_error::Failure;
use crate::pg::conninfo::{ConnInfo, Host, Wanted, password_from_file};

/// How long a password command may run. A vault that is asked over the network answers within
/// seconds; without a limit a hung one would stop every reconnect.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// Where the password comes from.
#[derive(Clone, Debug, Default)]
pub enum PasswordSource {
    /// The connection string's, the passfile's or none.
    #[default]
    ConnInfo,
    Inline(SecretString),
    /// Called at each connect.
    Read(PasswordReader),
    /// Program and arguments, run at each connect; its standard output without one trailing
    /// newline.
    Command(Vec<String>),
}

/// A function that fetches the password; its error must not hold it.
#[derive(Clone)]
pub struct PasswordReader(Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>);

impl PasswordReader {
    pub fn new(read: impl Fn() -> Result<SecretString, String> + Send + Sync + 'static) -> Self {
        PasswordReader(Arc::new(read))
    }

    pub fn read(&self) -> Result<SecretString, String> {
        (self.0)()
    }
}

impl fmt::Debug for PasswordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordReader(<redacted>)")
    }
}

/// What is known before a host is chosen.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    fixed: Option<SecretString>,
}

impl Credentials {
    pub(crate) async fn fetch(
        source: &PasswordSource,
        conninfo: &ConnInfo,
    ) -> Result<Credentials, Failure> {
        let fixed = match source {
            PasswordSource::ConnInfo => conninfo.password.clone(),
            PasswordSource::Inline(password) => Some(password.clone()),
            PasswordSource::Read(reader) => Some(reader.read().map_err(Failure::PasswordSource)?),
            PasswordSource::Command(command) => Some(run(command).await?),
        };
        Ok(Credentials { fixed: fixed.filter(|password| !password.expose_secret().is_empty()) })
    }

    /// The password for `host`: the passfile is the last resort.
    pub(crate) fn password(&self, conninfo: &ConnInfo, host: &Host) -> Option<SecretString> {
        if self.fixed.is_some() {
            return self.fixed.clone();
        }
        let wanted = Wanted { host, dbname: &conninfo.dbname, user: &conninfo.user };
        password_from_file(conninfo.passfile.as_deref()?, wanted)
    }
}

/// The command's arguments and output are never part of an error: either may be secret.
async fn run(command: &[String]) -> Result<SecretString, Failure> {
    let failed = |reason: String| Failure::PasswordSource(format!("password_command {reason}"));
    let [program, arguments @ ..] = command else {
        return Err(failed("is empty".to_owned()));
    };
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(COMMAND_LIMIT, output)
        .await
        .map_err(|_| failed(format!("did not end within {} s", COMMAND_LIMIT.as_secs())))?
        .map_err(|error| failed(format!("\"{program}\" cannot be run: {}", error.kind())))?;
    if !output.status.success() {
        return Err(failed(format!("\"{program}\" ended with {}", output.status)));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| failed(format!("\"{program}\" printed something that is not UTF-8")))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(failed(format!("\"{program}\" printed nothing")));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> PasswordSource {
        PasswordSource::Command(vec!["sh".into(), "-c".into(), script.into()])
    }

    async fn fetched(source: PasswordSource) -> Result<String, String> {
        let conninfo = ConnInfo::parse("user=u host=h password=given", &|_| None).expect("valid");
        let credentials =
            Credentials::fetch(&source, &conninfo).await.map_err(|error| error.to_string())?;
        let password = credentials.password(&conninfo, &conninfo.hosts[0]);
        Ok(password.expect("a password").expose_secret().to_owned())
    }

    #[tokio::test]
    async fn a_command_loses_one_newline_and_no_more() {
        assert_eq!(fetched(shell("printf ' a b \\n\\n'")).await.expect("ran"), " a b \n");
        assert_eq!(fetched(PasswordSource::ConnInfo).await.expect("there"), "given");
        let reader = PasswordReader::new(|| Ok(SecretString::from("read")));
        assert_eq!(fetched(PasswordSource::Read(reader)).await.expect("there"), "read");
    }

    #[tokio::test]
    async fn a_failing_command_says_so_without_its_output() {
        for script in ["echo canary; echo canary >&2; exit 3", "true", "printf '\\377'"] {
            let error = fetched(shell(script)).await.expect_err(script);
            assert!(error.contains("password_command \"sh\""), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
        let absent = PasswordSource::Command(vec!["/nonexistent/program".into()]);
        assert!(fetched(absent).await.expect_err("absent").contains("cannot be run"));
    }
}
