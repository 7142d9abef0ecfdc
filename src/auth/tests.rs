use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use goldenscript::{Command, Context};

use super::{Auth, Caller, Kind, Permission, Touched};

/// Runs every script in `testdata`: commands above the line, what they did below it.
#[test]
fn golden_scripts() -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir("src/auth/testdata")? {
        goldenscript::run(&mut Runner { auth: Auth::default() }, entry?.path())?;
    }
    Ok(())
}

struct Runner {
    auth: Auth,
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let words: Vec<&str> = std::iter::from_fn(|| args.next_pos()).collect();
        args.reject_next()?;
        let change = match (&command.name[..], &words[..]) {
            ("enable", []) => self.auth.enable(),
            ("disable", []) => Ok(self.auth.disable()),
            ("user_add", [name]) => self.auth.add_user(name, Some(Bytes::from_static(b"hash"))),
            ("user_add_without_password", [name]) => self.auth.add_user(name, None),
            ("user_delete", [name]) => self.auth.delete_user(name),
            ("user_passwd", [name]) => {
                self.auth.change_password(name, Bytes::from_static(b"other"))
            }
            ("user_grant", [name, role]) => self.auth.grant_role(name, role),
            ("user_revoke", [name, role]) => self.auth.revoke_role(name, role),
            ("role_add", [name]) => self.auth.add_role(name),
            ("role_delete", [name]) => self.auth.delete_role(name),
            ("role_grant", [role]) => self.auth.grant_permission(role, None),
            ("role_grant", [role, kind, range @ ..]) => {
                let (key, range_end) = ends(range);
                let permission = Permission { kind: kind_of(kind), key, range_end };
                self.auth.grant_permission(role, Some(permission))
            }
            ("role_revoke", [role, range @ ..]) => {
                let (key, range_end) = ends(range);
                self.auth.revoke_permission(role, &key, &range_end)
            }
            ("read" | "write", [caller, range @ ..]) => {
                let (key, end) = ends(range);
                let caller = self.caller(caller);
                return Ok(said(match &command.name[..] {
                    "read" => self.auth.may_read(&caller, &key, &end),
                    _ => self.auth.may_write(&caller, &key, &end),
                }));
            }
            ("root", [caller]) => return Ok(said(self.auth.is_root(&self.caller(caller)))),
            ("user", [caller]) => return Ok(said(self.auth.is_named(&self.caller(caller)))),
            ("see_user", [caller, name]) => {
                return Ok(said(self.auth.may_see_user(&self.caller(caller), name)));
            }
            ("see_role", [caller, name]) => {
                return Ok(said(self.auth.may_see_role(&self.caller(caller), name)));
            }
            ("password", [name]) => return Ok(said(self.auth.password(name).map(drop))),
            ("token", [name, revision]) => {
                return Ok(said(self.auth.may_have_token(name, revision.parse()?)));
            }
            ("show", []) => return Ok(self.show()),
            (name, words) => return Err(format!("no such command: {name} {words:?}").into()),
        };
        Ok(match change {
            Ok(touched) => {
                let touched: Vec<String> = touched.iter().map(shown).collect();
                format!("revision {}: {}\n", self.auth.revision(), touched.join(", "))
            }
            Err(error) => format!("refused: {error}\n"),
        })
    }
}

impl Runner {
    /// `alice`, or `alice@2` as known at revision 2.
    fn caller(&self, text: &str) -> Caller {
        match text.split_once('@') {
            _ if text == "nobody" => Caller::Nobody,
            _ if text == "cluster" => Caller::Cluster,
            Some((name, revision)) => {
                Caller::User { name: name.to_owned(), revision: revision.parse().unwrap() }
            }
            None => Caller::User { name: text.to_owned(), revision: self.auth.revision() },
        }
    }

    fn show(&self) -> String {
        let mut out =
            format!("enabled {}, revision {}\n", self.auth.enabled(), self.auth.revision());
        for (name, user) in self.auth.users() {
            let password = if user.password.is_some() { "" } else { ", no password" };
            writeln!(out, "user {name}: {:?}{password}", user.roles).unwrap();
        }
        for (name, permissions) in self.auth.roles() {
            writeln!(out, "role {name}").unwrap();
            for Permission { kind, key, range_end } in permissions {
                let (key, end) = (key.escape_ascii(), range_end.escape_ascii());
                writeln!(out, "  {kind:?} {key}..{end}").unwrap();
            }
        }
        out
    }
}

/// A key, and the end of the range; `..` for a `\0`.
fn ends(range: &[&str]) -> (Bytes, Bytes) {
    let mut ends = range.iter().map(|text| Bytes::from(text.replace("..", "\0")));
    (ends.next().unwrap_or_default(), ends.next().unwrap_or_default())
}

fn kind_of(text: &str) -> Kind {
    match text {
        "read" => Kind::Read,
        "write" => Kind::Write,
        _ => Kind::ReadWrite,
    }
}

fn said(checked: Result<(), super::Error>) -> String {
    checked.map_or_else(|error| format!("{error}\n"), |()| "yes\n".to_owned())
}

fn shown(touched: &Touched) -> String {
    match touched {
        Touched::Switch => "switch".to_owned(),
        Touched::User(name) => format!("user {name}"),
        Touched::Role(name) => format!("role {name}"),
    }
}

/// A small generator, so that a failure comes again.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A key of one letter, `a` to `h`.
    fn key(&mut self) -> Bytes {
        Bytes::from(vec![b'a' + u8::try_from(self.below(8)).unwrap()])
    }

    fn range(&mut self) -> (Bytes, Bytes) {
        let (key, end) = (self.key(), self.key());
        match self.below(4) {
            0 => (key, Bytes::new()),
            1 => (key, Bytes::from_static(b"\0")),
            _ if key < end => (key, end),
            _ => (key, Bytes::new()),
        }
    }
}

/// All keys there are in the model: letters, and each with a `\0` and an `m` behind it.
fn universe() -> Vec<Vec<u8>> {
    let letters = b'a'..=b'i';
    letters.flat_map(|letter| [vec![letter], vec![letter, 0], vec![letter, b'm']]).collect()
}

fn within(key: &[u8], (start, end): &(Bytes, Bytes)) -> bool {
    match &end[..] {
        [] => key == &start[..],
        [0] => key >= &start[..],
        end => key >= &start[..] && key < end,
    }
}

/// Merged spans against a list of keys: a range is covered when each of its keys is.
#[test]
fn merged_permissions_cover_what_their_keys_say() {
    let caller = Caller::User { name: "u".into(), revision: u64::MAX };
    for seed in 0..3000 {
        let mut draw = Draw(seed);
        let mut auth = Auth::default();
        for user in ["root", "u"] {
            auth.add_user(user, None).unwrap();
        }
        auth.grant_role("root", "root").unwrap();
        let mut ranges = Vec::new();
        for role in ["r", "s"] {
            auth.add_role(role).unwrap();
            auth.grant_role("u", role).unwrap();
            for _ in 0..draw.below(4) {
                let (key, range_end) = draw.range();
                ranges.push((key.clone(), range_end.clone()));
                let permission = Permission { kind: Kind::Read, key, range_end };
                auth.grant_permission(role, Some(permission)).unwrap();
            }
        }
        auth.enable().unwrap();
        let asked = draw.range();
        let keys: BTreeSet<Vec<u8>> =
            universe().into_iter().filter(|key| within(key, &asked)).collect();
        let all = keys.iter().all(|key| ranges.iter().any(|range| within(key, range)));
        // No list of keys reaches the end of the key space: that takes a permission without an end.
        let open = asked.1[..] == [0];
        let wanted = all && (!open || ranges.iter().any(|range| range.1[..] == [0]));
        let answered = auth.may_read(&caller, &asked.0, &asked.1).is_ok();
        assert_eq!(answered, wanted, "seed {seed}: {asked:?} of {ranges:?}");
        assert!(auth.may_write(&caller, &asked.0, &asked.1).is_err(), "seed {seed}");
    }
}
