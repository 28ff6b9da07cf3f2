//! The two spellings of a connection string, down to pairs of key and value.
//!
//! In: `postgresql://…` or `key=value …`. Out: pairs in the order written, decoded but not yet
//! understood. **Invariant:** no error here repeats any of the text, because a misplaced `/` or
//! space makes part of a password look like something else.

use crate::pg::conninfo::ConnInfoError;

/// One key with its value, and whether the text made clear where the value ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub key: String,
    pub value: String,
}

fn pair(key: &str, value: impl Into<String>) -> Pair {
    Pair { key: key.to_owned(), value: value.into() }
}

pub(super) fn pairs(text: &str) -> Result<Vec<Pair>, ConnInfoError> {
    let text = text.trim();
    for scheme in ["postgresql://", "postgres://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return url(rest);
        }
    }
    if text.contains("://") && !text.contains(char::is_whitespace) {
        return Err(ConnInfoError::Syntax(
            "a URL must begin with postgresql:// or postgres://".to_owned(),
        ));
    }
    key_values(text)
}

/// `[user[:password]@][host[:port][,…]][/dbname][?key=value[&…]]`, the scheme already gone.
fn url(rest: &str) -> Result<Vec<Pair>, ConnInfoError> {
    let mut found = Vec::new();
    // As libpq does: user information ends at the first '@' that no '/' precedes, so that a '?' in
    // a password needs no escape.
    let stop = rest.find(['@', '/']);
    let rest = match stop {
        Some(at) if rest[at..].starts_with('@') => {
            let (user, password) = match rest[..at].split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (&rest[..at], None),
            };
            if !user.is_empty() {
                found.push(pair("user", percent_decode("user", user)?));
            }
            if let Some(password) = password.filter(|password| !password.is_empty()) {
                found.push(pair("password", percent_decode("password", password)?));
            }
            &rest[at + 1..]
        }
        _ => rest,
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, dbname) = place.split_once('/').unwrap_or((place, ""));
    if place.contains('@') {
        return Err(ConnInfoError::Syntax(
            "an @ or / inside the user or password of a URL is written %40 or %2F".to_owned(),
        ));
    }
    if !hosts.is_empty() {
        url_hosts(hosts, &mut found)?;
    }
    if !dbname.is_empty() {
        found.push(pair("dbname", percent_decode("dbname", dbname)?));
    }
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            return Err(ConnInfoError::Syntax(
                "a parameter after the ? of a URL has no =".to_owned(),
            ));
        };
        let key = percent_decode("a parameter's name", key)?;
        let value = percent_decode(&key, value)?;
        // The JDBC spelling, which libpq takes too.
        if key == "ssl" && value == "true" {
            found.push(pair("sslmode", "require"));
        } else {
            found.push(Pair { key, value });
        }
    }
    Ok(found)
}

fn url_hosts(hosts: &str, found: &mut Vec<Pair>) -> Result<(), ConnInfoError> {
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for host in hosts.split(',') {
        let (name, port) = if let Some(bracketed) = host.strip_prefix('[') {
            let Some((name, after)) = bracketed.split_once(']') else {
                return Err(ConnInfoError::Syntax("an IPv6 host has no closing ]".to_owned()));
            };
            match after.strip_prefix(':') {
                Some(port) => (name, port),
                None if after.is_empty() => (name, ""),
                None => {
                    return Err(ConnInfoError::Syntax(
                        "only :port may follow the ] of an IPv6 host".to_owned(),
                    ));
                }
            }
        } else {
            host.rsplit_once(':').unwrap_or((host, ""))
        };
        names.push(percent_decode("host", name)?);
        ports.push(percent_decode("port", port)?);
    }
    if names.iter().any(|name| !name.is_empty()) {
        found.push(pair("host", names.join(",")));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        found.push(pair("port", ports.join(",")));
    }
    Ok(())
}

fn percent_decode(key: &str, text: &str) -> Result<String, ConnInfoError> {
    let bad =
        |reason: &str| ConnInfoError::Value { key: key.to_owned(), reason: reason.to_owned() };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or_else(|| bad("has a % without two hexadecimal digits (a literal % is %25)"))?;
        if value == 0 {
            return Err(bad("holds a %00"));
        }
        bytes.push(value);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| bad("is not UTF-8 after decoding"))
}

/// `key = 'value' …`: quotes around values with spaces, backslash before a quote or a backslash.
fn key_values(text: &str) -> Result<Vec<Pair>, ConnInfoError> {
    let mut found: Vec<Pair> = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(found);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|&c| c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') || key.is_empty() {
            return Err(ConnInfoError::Syntax(match found.last() {
                Some(last) => format!(
                    "no key=value after \"{}\" (a value with spaces is written in single quotes)",
                    last.key
                ),
                None => "expected a postgresql:// URL or key=value pairs".to_owned(),
            }));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.peek().copied() {
                None if quoted => {
                    return Err(ConnInfoError::Value {
                        key,
                        reason: "has no closing quote".to_owned(),
                    });
                }
                None => break,
                Some('\'') if quoted => {
                    chars.next();
                    break;
                }
                Some(c) if !quoted && c.is_whitespace() => break,
                Some('\\') => {
                    chars.next();
                    value.extend(chars.next());
                }
                Some(c) => {
                    chars.next();
                    value.push(c);
                }
            }
        }
        found.push(Pair { key, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        pairs(text).expect("valid").into_iter().map(|pair| (pair.key, pair.value)).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn both_spellings_give_the_same_pairs() {
        let wanted = owned(&[
            ("user", "a b"),
            ("password", "p@:/'%?é"),
            ("host", "h1,::1"),
            ("port", "5433,6000"),
            ("dbname", "shop"),
            ("sslmode", "require"),
        ]);
        let url =
            "postgresql://a%20b:p%40%3A%2F'%25?%C3%A9@h1:5433,[::1]:6000/shop?sslmode=require";
        assert_eq!(parsed(url), wanted);
        let keys = r"user='a b' password = 'p@:/\'%?é' host=h1,::1 port=5433,6000
            dbname=shop sslmode=require";
        assert_eq!(parsed(keys), wanted);
    }

    #[test]
    fn every_part_of_a_url_may_be_missing() {
        assert_eq!(parsed("postgresql://"), owned(&[]));
        assert_eq!(parsed("postgres:///db"), owned(&[("dbname", "db")]));
        assert_eq!(parsed("postgres://u@/db"), owned(&[("user", "u"), ("dbname", "db")]));
        assert_eq!(
            parsed("postgres://h?ssl=true"),
            owned(&[("host", "h"), ("sslmode", "require")])
        );
        assert_eq!(
            parsed("postgres://%2Frun%2Fpg/x"),
            owned(&[("host", "/run/pg"), ("dbname", "x")])
        );
        assert_eq!(parsed("postgres://h1,h2:2"), owned(&[("host", "h1,h2"), ("port", ",2")]));
    }

    #[test]
    fn malformed_text_is_refused_without_repeating_it() {
        for text in [
            "postgresql://u:canary/canary@h/db",
            "postgresql://u:canary@canary@h/db",
            "postgresql://u:canary%zz@h/db",
            "postgresql://u:p@[::1/db",
            "postgresql://h/db?canary",
            "mysql://u:canary@h/db",
            "password=two canary",
            "password='canary",
            "canary",
        ] {
            let error = pairs(text).expect_err(text).to_string();
            assert!(!error.contains("canary"), "{text}: {error}");
        }
    }
}
