//! A [`ConnInfo`] written out again as a URL, without its password.
//!
//! Who, where and which database are written even where they came from a default or a variable:
//! another user on another machine shall reach the same database. All other keys are those that
//! were given.

use std::fmt::Write as _;

use crate::pg::conninfo::{ConnInfo, Host, HostName};

impl ConnInfo {
    /// `postgresql://…`, its parts encoded so that nothing in it needs quoting but in a shell.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(place).collect();
        let mut url = format!(
            "postgresql://{}@{}/{}",
            encoded(&self.user),
            hosts.join(","),
            encoded(&self.dbname)
        );
        let addresses: Vec<String> = self
            .hosts
            .iter()
            .map(|host| host.address.map_or_else(String::new, |address| address.to_string()))
            .collect();
        let mut separator = '?';
        let mut add = |key: &str, value: &str| {
            write!(url, "{separator}{}={}", encoded(key), encoded(value))
                .expect("writing to a string does not fail");
            separator = '&';
        };
        if self.hosts.iter().any(|host| host.address.is_some()) {
            add("hostaddr", &addresses.join(","));
        }
        for (key, value) in &self.given {
            add(key, value);
        }
        url
    }
}

fn place(host: &Host) -> String {
    match &host.name {
        HostName::Tcp(name) if name.contains(':') => format!("[{}]:{}", encoded(name), host.port),
        HostName::Tcp(name) => format!("{}:{}", encoded(name), host.port),
        HostName::Unix(directory) => {
            format!("{}:{}", encoded(&directory.display().to_string()), host.port)
        }
    }
}

/// Percent-encoded but for what is plain in every part of a URL. A slash stays plain nowhere: a
/// database may have one in its name.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        ConnInfo::parse(text, &|_| None).expect(text).url()
    }

    #[test]
    fn what_was_given_comes_back_without_the_password() {
        let url = "postgresql://repl:s%40cret@db1:5433/shop?sslmode=require&connect_timeout=3";
        let expected = "postgresql://repl@db1:5433/shop?sslmode=require&connect_timeout=3";
        assert_eq!(written(url), expected);
        let keys = "host=db1,db2 port=1,2 user='a b' password='it\\'s' dbname='a/b?c' \
                    target_session_attrs=read-write passfile='/run/a b'";
        let expected = "postgresql://a%20b@db1:1,db2:2/a%2Fb%3Fc\
                        ?target_session_attrs=read-write&passfile=%2Frun%2Fa%20b";
        assert_eq!(written(&keys.replace("''s", "s'")), expected);
        assert_eq!(
            written("postgresql://u@h/d?password=canary&sslmode=disable"),
            "postgresql://u@h:5432/d?sslmode=disable"
        );
    }

    #[test]
    fn the_url_leads_to_the_same_place() {
        for text in [
            "postgresql://u@[::1]:5433/d",
            "host=/run/my pg dbname=d user=u".replace("my pg", "my").as_str(),
            "host=name hostaddr=10.0.0.1 user=ü dbname='a$b'",
            "postgresql://u@h1,h2:2/d?application_name=${x}",
        ] {
            let (first, again) = (
                ConnInfo::parse(text, &|_| None).expect(text),
                ConnInfo::parse(&written(text), &|_| None).expect(text),
            );
            assert_eq!(first.hosts, again.hosts, "{text}");
            assert_eq!((&first.user, &first.dbname), (&again.user, &again.dbname), "{text}");
            assert_eq!(first.given, again.given, "{text}");
            assert!(!again.url().contains("${"), "{text}");
        }
    }
}
