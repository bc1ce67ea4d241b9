//! Who a request is from, when it may have come through proxies: their headers are believed as far back as the hops
//! that were named trustworthy, and no further.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::uri::Authority;
use ipnet::{IpNet, Ipv4Net};

const HOST: &str = "host";
/// One hop to the next: the addresses it came by, the nearest last.
pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";
/// `http` or `https`, as the client spoke.
pub(super) const FORWARDED_PROTO: &str = "x-forwarded-proto";
/// The host that the client asked.
pub(super) const FORWARDED_HOST: &str = "x-forwarded-host";

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub addr: IpAddr,
    /// Whether the connection to it is TLS.
    pub tls: bool,
}

/// Whom a share of something belongs to: one IPv4 address, or the /64 of an IPv6 address, since whoever has one of those
/// usually has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(addr: IpAddr) -> Self {
        Self(match addr.to_canonical() {
            IpAddr::V6(addr) => {
                let [a, b, c, d, ..] = addr.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Where a request started, as far as we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The last hop that is not one of our proxies; IPv4 as IPv4.
    pub addr: IpAddr,
    /// Whether it spoke https.
    pub https: bool,
    /// The host that it asked: what a trusted proxy says, else the `Host` header. `None` when neither is a host.
    pub host: Option<String>,
}

/// The addresses and networks whose `X-Forwarded-*` headers are believed. By default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads a comma-separated list of addresses and networks (`10.0.0.0/8, ::1`); `None` when an entry is neither.
    pub fn parse(list: &str) -> Option<Self> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(network).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Says where a request that came from `peer` with these headers started.
    pub fn resolve(&self, peer: &Peer, headers: &HeaderMap) -> Client {
        let addr = peer.addr.to_canonical();
        let host = last(headers, HOST).and_then(host);
        if !self.trusts(addr) {
            return Client { addr, https: peer.tls, host };
        }
        Client {
            addr: self.last_untrusted(addr, headers),
            // A list here has one entry a hop as well; proxies that are ours set the last.
            https: match last(headers, FORWARDED_PROTO) {
                Some(proto) if proto.eq_ignore_ascii_case("https") => true,
                Some(proto) if proto.eq_ignore_ascii_case("http") => false,
                _ => peer.tls,
            },
            host: last(headers, FORWARDED_HOST).and_then(self::host).or(host),
        }
    }

    /// As [`TrustedProxies::resolve`], for a request whose host may be in its target, as over HTTP/2.
    pub(super) fn resolve_with_authority(
        &self,
        peer: &Peer,
        authority: Option<&Authority>,
        headers: &HeaderMap,
    ) -> Client {
        let client = self.resolve(peer, headers);
        let host = client.host.or_else(|| authority.and_then(|authority| host(authority.as_str())));
        Client { host, ..client }
    }

    /// The address that a request came from with these headers: see [`TrustedProxies::resolve`].
    pub fn client_addr(&self, peer: &Peer, headers: &HeaderMap) -> IpAddr {
        let addr = peer.addr.to_canonical();
        if self.trusts(addr) { self.last_untrusted(addr, headers) } else { addr }
    }

    /// Whether this is one of our proxies. IPv4 in IPv6 has to be given as IPv4.
    pub fn trusts(&self, addr: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&addr))
    }

    /// Walks the hops from the nearest outwards. What is no address ends the walk: whoever wrote it, the hop that
    /// passed it on is the last that is known.
    fn last_untrusted(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut known = peer;
        for value in headers.get_all(FORWARDED_FOR).into_iter().rev() {
            let Ok(hops) = value.to_str() else { return known };
            for hop in hops.rsplit(',') {
                let Some(addr) = hop_address(hop.trim()) else { return known };
                known = addr;
                if !self.trusts(addr) {
                    return known;
                }
            }
        }
        known
    }
}

/// An address, or a network. Of IPv4 in IPv6, both are taken as IPv4, as addresses are.
fn network(entry: &str) -> Option<IpNet> {
    let network = match entry.parse::<IpAddr>() {
        Ok(addr) => IpNet::from(addr.to_canonical()),
        Err(_) => entry.parse::<IpNet>().ok()?,
    };
    let mapped = match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => {
            v6.addr().to_ipv4_mapped().and_then(|addr| Ipv4Net::new(addr, v6.prefix_len() - 96).ok())
        }
        _ => None,
    };
    Some(mapped.map_or(network, IpNet::V4).trunc())
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn hop_address(text: &str) -> Option<IpAddr> {
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let addr = unbracketed.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    addr.ok().map(|addr| addr.to_canonical())
}

/// The last entry of the last of a header's values.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get_all(name).into_iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

/// A host, with or without a port.
fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let name = authority.host();
    let is_one = authority.port_u16().map_or_else(|| name == text, |port| format!("{name}:{port}") == text);
    (is_one && !name.is_empty() && text.is_ascii()).then(|| text.to_owned())
}

/// Whether the value of a `Host` header names a host: RFC 9110, section 7.2.
pub fn is_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let name = authority.host();
    let port = text.strip_prefix(name).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
    !name.is_empty() && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn peer(addr: &str) -> Peer {
        Peer { addr: addr.parse().unwrap(), tls: false }
    }

    fn resolve(trusted: &str, from: &str, fields: &[(&'static str, &str)]) -> Client {
        TrustedProxies::parse(trusted).unwrap().resolve(&peer(from), &headers(fields))
    }

    fn address(trusted: &str, from: &str, forwarded_for: &[&str]) -> String {
        let fields: Vec<_> = forwarded_for.iter().map(|value| (FORWARDED_FOR, *value)).collect();
        resolve(trusted, from, &fields).addr.to_string()
    }

    #[test]
    fn nobody_is_believed_by_default() {
        let said = [(FORWARDED_FOR, "1.1.1.1"), (FORWARDED_PROTO, "https"), (FORWARDED_HOST, "evil"), (HOST, "a")];
        let client = TrustedProxies::default().resolve(&peer("10.0.0.1"), &headers(&said));
        assert_eq!(client, Client { addr: "10.0.0.1".parse().unwrap(), https: false, host: Some("a".into()) });
    }

    #[test]
    fn a_trusted_proxy_is_believed_about_address_scheme_and_host() {
        let said = [(FORWARDED_FOR, "1.1.1.1"), (FORWARDED_PROTO, "https"), (FORWARDED_HOST, "b:8"), (HOST, "a")];
        let client = resolve("10.0.0.0/8", "10.0.0.1", &said);
        assert_eq!(client, Client { addr: "1.1.1.1".parse().unwrap(), https: true, host: Some("b:8".into()) });
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        let trusted = "10.0.0.0/8, 192.168.1.1, 2001:db8::/32";
        for (hops, client) in [
            (&["1.1.1.1"][..], "1.1.1.1"),
            (&["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            (&["1.1.1.1, 10.1.1.1, 192.168.1.1"], "1.1.1.1"),
            (&["6.6.6.6", "1.1.1.1", "10.2.2.2"], "1.1.1.1"),
            (&["6.6.6.6,1.1.1.1", "2001:db8::7"], "1.1.1.1"),
            (&["1.1.1.1, 192.168.1.2"], "192.168.1.2"),
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            (&["1.1.1.1:4711"], "1.1.1.1"),
            (&["[2001:dead::1]:4711"], "2001:dead::1"),
            (&["[2001:dead::1]"], "2001:dead::1"),
            (&["2001:dead::1"], "2001:dead::1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(address(trusted, "10.0.0.1", hops), client, "{hops:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_walk_at_the_hop_that_passed_it_on() {
        for (hops, client) in [
            (&["1.1.1.1, unknown"][..], "10.0.0.1"),
            (&["1.1.1.1, garbage, 10.2.2.2"], "10.2.2.2"),
            (&["1.1.1.1", "", "10.2.2.2"], "10.2.2.2"),
            (&["1.1.1.1,,10.2.2.2"], "10.2.2.2"),
            (&["1.1.1.1, _hidden"], "10.0.0.1"),
            (&["1.1.1.1, 1.1.1.999"], "10.0.0.1"),
            (&["1.1.1.1, é"], "10.0.0.1"),
            (&["1.1.1.1, [::1"], "10.0.0.1"),
        ] {
            assert_eq!(address("10.0.0.0/8", "10.0.0.1", hops), client, "{hops:?}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4_wherever_it_stands() {
        assert_eq!(address("10.0.0.0/8", "::ffff:10.0.0.1", &["::ffff:1.1.1.1, ::ffff:10.9.9.9"]), "1.1.1.1");
        assert_eq!(address("::ffff:10.0.0.1", "10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(address("::ffff:10.0.0.0/104", "10.7.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(address("", "::ffff:10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(address("0.0.0.0/0", "::1", &["1.1.1.1"]), "::1");
    }

    #[test]
    fn the_scheme_is_the_one_that_the_nearest_proxy_names_else_that_of_the_connection() {
        for (proto, tls, https) in [
            (&["https"][..], false, true),
            (&["HTTPS"], false, true),
            (&["http"], true, false),
            (&["https, http"], false, false),
            (&["http", "https"], false, true),
            (&["wss"], true, true),
            (&[""], false, false),
            (&[], true, true),
        ] {
            let fields: Vec<_> = proto.iter().map(|value| (FORWARDED_PROTO, *value)).collect();
            let trusted = TrustedProxies::parse("10.0.0.1").unwrap();
            let client = trusted.resolve(&Peer { tls, ..peer("10.0.0.1") }, &headers(&fields));
            assert_eq!(client.https, https, "{proto:?} over tls {tls}");
        }
    }

    #[test]
    fn what_is_no_host_is_not_passed_on_as_one() {
        for host in ["", "a b", "a/b", "me@a", "a:b", "a:b:c", "a:", "a:99999", "é", "http://a"] {
            assert_eq!(resolve("10.0.0.1", "10.0.0.1", &[(FORWARDED_HOST, host)]).host, None, "{host:?}");
            let both = [(FORWARDED_HOST, host), (HOST, "a.example")];
            assert_eq!(resolve("10.0.0.1", "10.0.0.1", &both).host.as_deref(), Some("a.example"), "{host:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in ["a", "a.example:8080", "my_service", "127.0.0.1:80", "[::1]:80", "a:"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", ":80", "a b", "a/b", "me@a", "a:b", "http://a", "a,b/"] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn a_list_with_an_entry_that_is_neither_address_nor_network_is_none() {
        for list in ["a", "10.0.0.0/33", "10.0.0.1, b", "10.0.0.0/8;::1", "*", "10.0.0", "10.0.0.1:80"] {
            assert_eq!(TrustedProxies::parse(list), None, "{list}");
        }
        assert_eq!(TrustedProxies::parse(" , ").unwrap(), TrustedProxies::default());
        assert_eq!(TrustedProxies::parse("10.1.2.3/8"), TrustedProxies::parse("10.0.0.0/8"));
    }

    proptest! {
        #[test]
        fn a_peer_that_is_not_trusted_changes_nothing_with_its_headers(values in prop::collection::vec("[ -~]{0,40}", 0..4)) {
            let fields: Vec<_> = values
                .iter()
                .flat_map(|value| [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST].map(|name| (name, value.as_str())))
                .collect();
            prop_assert_eq!(resolve("10.0.0.0/8", "8.8.8.8", &fields), resolve("10.0.0.0/8", "8.8.8.8", &[]));
        }

        #[test]
        fn no_header_makes_it_panic(values in prop::collection::vec("[ -~]{0,40}", 0..4)) {
            let fields: Vec<_> = values.iter().map(|value| (FORWARDED_FOR, value.as_str())).collect();
            resolve("0.0.0.0/0, ::/0", "8.8.8.8", &fields);
        }
    }
}
