//! Names of services, for `port http`: the usual ones over TCP, as IANA has them. They are built in, so
//! that a filter means the same on every machine and no name has to be resolved.

/// Names and port numbers, sorted by name.
const SERVICES: [(&str, u16); 56] = [
    ("bgp", 179),
    ("discard", 9),
    ("domain", 53),
    ("domain-s", 853),
    ("echo", 7),
    ("epmd", 4369),
    ("finger", 79),
    ("ftp", 21),
    ("ftp-data", 20),
    ("ftps", 990),
    ("git", 9418),
    ("gopher", 70),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("ipp", 631),
    ("irc", 194),
    ("iscsi-target", 3260),
    ("kerberos", 88),
    ("ldap", 389),
    ("ldaps", 636),
    ("microsoft-ds", 445),
    ("ms-sql-s", 1433),
    ("ms-wbt-server", 3389),
    ("mysql", 3306),
    ("netbios-ssn", 139),
    ("nfs", 2049),
    ("nntp", 119),
    ("nntps", 563),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("printer", 515),
    ("puppet", 8140),
    ("radius", 1812),
    ("redis", 6379),
    ("rsync", 873),
    ("sip", 5060),
    ("sip-tls", 5061),
    ("smtp", 25),
    ("socks", 1080),
    ("ssh", 22),
    ("submission", 587),
    ("submissions", 465),
    ("sunrpc", 111),
    ("svn", 3690),
    ("tacacs", 49),
    ("telnet", 23),
    ("telnets", 992),
    ("whois", 43),
    ("xmpp-client", 5222),
    ("xmpp-server", 5269),
    ("zabbix-agent", 10050),
];

/// The port of a service; `None` for a name that isn't known.
pub(super) fn port(name: &str) -> Option<u16> {
    let index = SERVICES.binary_search_by_key(&name, |(known, _)| known).ok()?;
    SERVICES.get(index).map(|(_, port)| *port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_known() {
        assert!(SERVICES.is_sorted_by(|(a, _), (b, _)| a < b));
        for (name, number) in SERVICES {
            assert_eq!(port(name), Some(number));
        }
        assert_eq!((port("HTTP"), port("")), (None, None));
    }
}
