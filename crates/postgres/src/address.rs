//! Where a database is: a URL, which may name several servers of which one takes writes.

use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// Parameters of a URL that are understood; others are refused, so that a misspelled `sslmode` is no plain connection.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];
/// Servers that one URL may name.
const SERVERS: usize = 16;
/// What a session asks of its server: no statement, lock or dead connection is waited for without end.
const SESSION: [(&str, &str); 8] = [
    ("statement_timeout", "10s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("default_transaction_isolation", "read committed"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];

/// A database. What is shown of it has no password.
pub(crate) struct Address {
    /// How to connect to each of its servers.
    pub servers: Vec<PgConnectOptions>,
    /// What it is called in messages.
    pub name: String,
}

impl Address {
    /// Reads `postgres://user@host:port,host:port/database?…`; what is wrong with it is said without any part of its user and
    /// password.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it is not `postgres://…`")?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err("it is not `postgres://…`");
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        check_parameters(tail)?;
        let hosts: Vec<&str> = hosts.split(',').collect();
        if hosts.len() > SERVERS {
            return Err("it names more than 16 servers");
        }
        let server = |host: &&str| server(&format!("postgres://{user}{host}{tail}"));
        let servers = (hosts.iter().map(server)).collect::<Result<Vec<_>, _>>()?;
        let named: Vec<String> = servers.iter().map(place).collect();
        let database = servers.first().and_then(PgConnectOptions::get_database);
        let name = format!("{}/{}", named.join(","), database.unwrap_or_default());
        Ok(Self { servers, name })
    }
}

fn check_parameters(tail: &str) -> Result<(), &'static str> {
    let query = tail.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let is_known = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        PARAMETERS.contains(&name)
    };
    match query.split('&').all(|it| it.is_empty() || is_known(it)) {
        true => Ok(()),
        false => Err("it has a parameter that is not known here"),
    }
}

fn server(url: &str) -> Result<PgConnectOptions, &'static str> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| "it is not `postgres://user@host:port/database`")?;
    let host = options.get_host();
    let bare = (host.strip_prefix('[')).and_then(|it| it.strip_suffix(']'));
    let options = match bare.map(str::to_owned) {
        Some(address) => options.host(&address),
        None => options,
    };
    Ok(options
        .application_name("hypervisor")
        // What floats look like: there are none, and poolers do not know it.
        .extra_float_digits(None)
        .options(SESSION)
        .disable_statement_logging())
}

fn place(server: &PgConnectOptions) -> String {
    match server.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => format!("{}:{}", server.get_host(), server.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(url: &str) -> String {
        Address::parse(url).map(|it| it.name).unwrap()
    }

    #[test]
    fn a_url_may_name_several_servers() {
        let several = name("postgres://user:word@10.0.0.1:5432,10.0.0.2:6000/rows?sslmode=disable");
        assert_eq!(several, "10.0.0.1:5432,10.0.0.2:6000/rows");
        assert_eq!(name("postgresql://user@[::1]:7/rows"), "::1:7/rows");
        let socket = name("postgres://user@%2Frun%2Fpostgresql/rows");
        assert_eq!(socket, "/run/postgresql/rows");
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused() {
        for url in [
            "postgres://user@host/rows?sslmod=require",
            "postgres://user@host/rows?sslmode=sometimes",
            "mysql://user@host/rows",
            "postgres://user@host:port/rows",
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_url_is_too_strange_and_none_shows_its_password(
            rest in "[ -~]{0,40}",
            hosts in "[a-z0-9.:,\\[\\]%]{0,20}",
        ) {
            drop(Address::parse(&rest));
            drop(Address::parse(&format!("postgres://{rest}")));
            if let Ok(address) = Address::parse(&format!("postgres://user:PASSWORD@{hosts}/rows")) {
                prop_assert!(!address.name.contains("PASSWORD"));
            }
        }
    }
}
