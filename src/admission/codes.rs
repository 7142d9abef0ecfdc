//! Every code that an answer, a log line or a journal of a node may carry.

/// What is known about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    pub code: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What happened, and to whom.
    pub meaning: &'static str,
    /// What to do.
    pub cure: &'static str,
}

impl Code {
    /// Whether it is that of a refusal by the rules, whose text says what to do.
    pub fn is_refusal(&self) -> bool {
        self.code < UNAUTHORIZED
    }
}

pub const UNAUTHORIZED: &str = "Q1080";
pub const UNKNOWN_TOKEN: &str = "Q1081";
pub const BAD_REQUEST: &str = "Q1082";
pub const TOO_FAST: &str = "Q1083";
pub const TOO_MANY_WAITERS: &str = "Q1084";
pub const TIMELINE_BROKEN: &str = "Q1085";
pub const TOKEN_BUSY: &str = "Q1086";
pub const UNAVAILABLE: &str = "Q1090";
pub const FULL: &str = "Q1091";

const fn code(
    code: &'static str,
    title: &'static str,
    meaning: &'static str,
    cure: &'static str,
) -> Code {
    Code { code, title, meaning, cure }
}

/// All codes, in order.
pub const CODES: &[Code] = &[
    code(
        "Q1001",
        "cluster size refused",
        "The size asked for is no number, or out of range.",
        "Ask for a size from 1 to --max-size; 3 and 5 are usual.",
    ),
    code(
        "Q1002",
        "token expired",
        "The token was not completed in time, or its cluster was complete longer ago than --sealed-ttl. A cluster that has formed does not need it any more.",
        "Make a new token with /new and start all members with it, with empty data directories.",
    ),
    code(
        "Q1003",
        "size is fixed",
        "The token exists with another size, and a size never changes.",
        "Make a new token for another size.",
    ),
    code(
        "Q1004",
        "token revoked",
        "An operator took this token back.",
        "Ask for a new token; start all members with it.",
    ),
    code(
        "Q1010",
        "value too long",
        "The node registered more bytes than a member list of one node needs.",
        "Advertise fewer or shorter peer URLs in --initial-advertise-peer-urls, or raise --max-value-bytes of the service.",
    ),
    code(
        "Q1011",
        "no member list",
        "The value is not of the form name=url[,name=url].",
        "Check --initial-advertise-peer-urls: scheme, host and port, and no path; and --name: no comma and no equals sign.",
    ),
    code(
        "Q1012",
        "not exactly one member",
        "A node registers itself, under one name, and nobody else.",
        "Give a --name without commas and equals signs; do not set --initial-cluster beside --discovery.",
    ),
    code(
        "Q1013",
        "name refused",
        "The member's name is empty, too long or has control characters.",
        "Change --name.",
    ),
    code(
        "Q1014",
        "too many peer URLs",
        "The member advertises more peer URLs than are taken.",
        "Advertise fewer, or raise --max-urls of the service.",
    ),
    code(
        "Q1015",
        "peer URL twice",
        "The member advertises the same URL twice.",
        "Remove one from --initial-advertise-peer-urls.",
    ),
    code(
        "Q1016",
        "peer URL unreachable",
        "The member advertises an address that nobody else can use, such as 0.0.0.0 or a link-local one.",
        "Set --initial-advertise-peer-urls to an address of this machine that the other members know.",
    ),
    code(
        "Q1020",
        "no member id",
        "The last part of the key is not a member id: lower-case hexadecimal without leading zeros.",
        "Let etcd choose the key; if you register by hand, compute it with `quorate predict`.",
    ),
    code(
        "Q1021",
        "another spelling of the discovery URL",
        "Member ids follow from the exact text of the discovery URL. This node was given another spelling (alias, scheme, port, path, slash) than the canonical one and would have founded a cluster of its own, or asked for a token that nobody made.",
        "Start every member with the URL that /new printed, or under which the token was made by hand, to the letter; after --discovery-token stands the bare token, without URL and slash.",
    ),
    code(
        "Q1022",
        "member id does not fit",
        "The key does not follow from the value and the discovery URL or token of this service.",
        "Start every member with the URL that /new printed; check that a proxy does not rewrite it, and that --public-url names the service as nodes do.",
    ),
    code(
        "Q1023",
        "v2 and v3 mixed",
        "The first member of this token used the other discovery protocol; both compute different ids.",
        "Start all members with --discovery, or all with --discovery-token and --discovery-endpoints; or take a new token.",
    ),
    code(
        "Q1030",
        "name held by another member",
        "A founder of this cluster has the same name.",
        "Give every member a --name of its own and start this one again.",
    ),
    code(
        "Q1031",
        "peer URL held by another member",
        "A founder of this cluster advertises the same peer URL.",
        "Give every member --initial-advertise-peer-urls of its own and start this one again.",
    ),
    code(
        "Q1032",
        "registered otherwise",
        "A member with these peer URLs is registered under another name, and a registration never changes: either two nodes have the same URLs, often the defaults, or one has a new name.",
        "Give every member its own --initial-advertise-peer-urls; or start the node with its first name again; or make a new token.",
    ),
    code(
        "Q1033",
        "founder returned",
        "The cluster is complete and this node is one of its founders, but it has lost its data. Were it let in, it could vote twice.",
        "On a living member: `etcdctl member remove ID`, `etcdctl member add NAME --peer-urls=URLS`; then start the node with --initial-cluster-state=existing and without discovery flags.",
    ),
    code(
        "Q1034",
        "too many late registrations",
        "The cluster is complete and more nodes than are recorded came after that.",
        "Find out who starts nodes with an old token; make a new token for a new cluster.",
    ),
    code(
        UNAUTHORIZED,
        "key missing or wrong",
        "This request needs a key.",
        "Send `Authorization: Bearer KEY` with a key of --admin-key-file, or of --new-key-file for /new.",
    ),
    code(
        UNKNOWN_TOKEN,
        "token unknown",
        "No token has this id: it was never made here, or it is forgotten a day after its end.",
        "`quorate token ls` shows the tokens there are.",
    ),
    code(
        BAD_REQUEST,
        "request not understood",
        "A parameter has a value that means nothing.",
        "The text says which; the document at /openapi.json has all of them.",
    ),
    code(
        TOO_FAST,
        "too many new tokens",
        "This address or key asked for more tokens than --new-rate allows.",
        "Wait as long as Retry-After says; one token is enough for one cluster. Raise --new-rate if this is no mistake.",
    ),
    code(
        TOO_MANY_WAITERS,
        "too many waiters",
        "More nodes wait for this token, or for all tokens, than the service holds.",
        "Nothing to do for nodes, they ask again. Look for nodes that restart in a loop; raise --max-waiters or --max-waiters-per-token.",
    ),
    code(
        TIMELINE_BROKEN,
        "timeline damaged",
        "The chain of the timeline does not hold from the named entry on: something changed the database.",
        "Keep a copy of the database, find out who wrote to it, and restore the last backup that verifies.",
    ),
    code(
        TOKEN_BUSY,
        "token asked too often",
        "Requests for this token came faster than --token-rate.",
        "Nothing to do for nodes, they ask again. Look for a client that asks in a loop.",
    ),
    code(
        UNAVAILABLE,
        "registry cannot write",
        "The service has trouble of its own, which its log tells. Nothing was registered.",
        "Look at the log of the service. Nodes that wait go on when it works again; a node that gave up has to be started again.",
    ),
    code(
        FULL,
        "disk full",
        "The disk of the service has no room. Reads and waiting nodes go on; nothing was registered.",
        "Make room on the disk of --data-dir; writing works again by itself. A node that gave up has to be started again.",
    ),
];

/// What is known about this code.
pub fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|known| known.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_differ() {
        assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(CODES.iter().all(|code| !code.cure.is_empty() && code.meaning.ends_with('.')));
    }

    /// Whatever code the rules may answer, somebody can look it up.
    #[test]
    fn every_refusal_is_explained() {
        let source = include_str!("refusal.rs");
        let mut found = 0;
        for (at, _) in source.match_indices("\"Q1") {
            let code = &source[at + 1..at + 6];
            assert!(find(code).is_some(), "{code} is not explained");
            found += 1;
        }
        assert!(found >= 19, "{found}");
    }
}
