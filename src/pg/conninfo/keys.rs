//! Which keys there are, and their values by libpq's order: the text, then the variables.

use std::str::FromStr;

use crate::pg::conninfo::{ConnInfoError, text};

/// libpq's variables, with the keys they stand in for. Those that set a session (PGOPTIONS, PGTZ,
/// PGDATESTYLE, PGCLIENTENCODING, …) are left alone: they are meant for people's programs, and how values
/// look is the agent's to say.
const VARIABLES: [(&str, &str); 16] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGDATABASE", "dbname"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGPASSFILE", "passfile"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGAPPNAME", "application_name"),
];

/// Keys without a variable.
const OTHER_KEYS: [&str; 7] = [
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "gssencmode",
    "client_encoding",
];

/// libpq's keys that change what a connection means and that we do not have.
const UNSUPPORTED: [(&str, &str); 14] = [
    ("options", "session settings are pinned by the agent, and poolers refuse start-up options"),
    ("service", "there is no service file; write the keys here"),
    ("servicefile", "there is no service file; write the keys here"),
    ("replication", "the agent chooses it for each connection"),
    ("sslpassword", "an encrypted key cannot be read; store the key decrypted, mode 0600"),
    ("sslcrl", "revocation lists are not read"),
    ("sslcrldir", "revocation lists are not read"),
    ("sslsni", "the host name is always sent"),
    ("ssl_min_protocol_version", "TLS 1.2 and 1.3 are spoken, nothing older"),
    ("ssl_max_protocol_version", "TLS 1.2 and 1.3 are spoken, nothing older"),
    ("requirepeer", "the peer of a Unix socket is not checked"),
    ("require_auth", "use channel_binding=require or sslmode=verify-full"),
    ("load_balance_hosts", "hosts are tried in the order written"),
    ("krbsrvname", "Kerberos is not spoken"),
];

/// The pairs, the last of each key, with the variables behind them.
pub(super) struct Keys(Vec<(String, String)>);

impl Keys {
    pub(super) fn collect(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Keys, ConnInfoError> {
        // The protocol ends texts with it.
        if text.contains('\0') {
            return Err(ConnInfoError::Syntax("holds a null character".to_owned()));
        }
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in text::pairs(text)? {
            check_key(&pair.key, &found)?;
            found.retain(|(key, _)| *key != pair.key);
            // An empty value means "the default", as in libpq.
            if !pair.value.is_empty() {
                found.push((pair.key, pair.value));
            }
        }
        let has_host = found.iter().any(|(key, _)| key == "host" || key == "hostaddr");
        for (variable, key) in VARIABLES {
            // A variable's address does not belong to the text's host.
            let is_given = found.iter().any(|(given, _)| given == key)
                || (has_host && matches!(key, "host" | "hostaddr"));
            if is_given {
                continue;
            }
            if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
                found.push((key.to_owned(), value));
            }
        }
        Ok(Keys(found))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All pairs but those of the keys `left_out`.
    pub(super) fn besides(&self, left_out: &[&str]) -> Vec<(String, String)> {
        let pairs = self.0.iter().filter(|(key, _)| !left_out.contains(&key.as_str()));
        pairs.cloned().collect()
    }

    pub(super) fn parsed<T: FromStr<Err = String> + Default>(
        &self,
        key: &str,
    ) -> Result<T, ConnInfoError> {
        match self.get(key) {
            None => Ok(T::default()),
            Some(value) => {
                value.parse().map_err(|reason| ConnInfoError::Value { key: key.to_owned(), reason })
            }
        }
    }

    pub(super) fn number(&self, key: &str, default: u32) -> Result<u32, ConnInfoError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| ConnInfoError::Value {
                key: key.to_owned(),
                reason: "is not a whole number".to_owned(),
            }),
        }
    }
}

fn check_key(key: &str, before: &[(String, String)]) -> Result<(), ConnInfoError> {
    if let Some((_, reason)) = UNSUPPORTED.iter().find(|(name, _)| *name == key) {
        return Err(ConnInfoError::Unsupported { key: key.to_owned(), reason });
    }
    let is_known = VARIABLES.iter().any(|(_, name)| *name == key) || OTHER_KEYS.contains(&key);
    if is_known {
        return Ok(());
    }
    // What follows an unquoted password with a space in it may be the rest of the password.
    if before.iter().any(|(name, _)| name == "password") {
        return Err(ConnInfoError::Syntax(
            "a key after \"password\" is unknown (quote a password that has spaces; in a URL \
             write & as %26)"
                .to_owned(),
        ));
    }
    Err(ConnInfoError::UnknownKey(key.to_owned()))
}
