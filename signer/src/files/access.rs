//! Who may read an open file besides its owner and us: by its access control list where it has one, by its permission bits elsewhere.
//!
//! With a list the bits of the group are the list's mask. A credential that systemd gives to a service is root's, has the mode 0440, and
//! may be read by root and by that service's user alone.

use std::{fs::File, io, os::unix::fs::MetadataExt};

use rustix::{fs::fgetxattr, io::Errno};

/// The extended attribute of an access control list (acl(5), as the kernel keeps it).
const ATTRIBUTE: &str = "system.posix_acl_access";
/// The form of the attribute.
const VERSION: u32 = 2;
/// Entries that are read. A longer list counts as readable by others.
const ENTRIES_MAX: usize = 64;

/// Kinds of entries.
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;

/// Who else has access to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// No user but its owner, root and us.
    None,
    /// The bits for the group or for everybody say so.
    ByMode(u32),
    /// An entry of the list gives access: to this user, to a group, or to everybody.
    ByList(String),
}

struct Entry {
    kind: u16,
    permissions: u16,
    id: u32,
}

/// Looks at an open file. `us` is the user that this process runs as.
///
/// # Errors
/// When the file or its list cannot be looked at.
pub(super) fn others(file: &File, us: u32) -> io::Result<Others> {
    let mode = file.metadata()?.mode() & 0o7777;
    let mut list = [0_u8; 4 + 8 * ENTRIES_MAX];
    match fgetxattr(file, ATTRIBUTE, &mut list) {
        Ok(length) => Ok(by_list(list.get(..length).unwrap_or_default(), us)),
        Err(Errno::NODATA | Errno::NOTSUP) if mode & 0o077 == 0 => Ok(Others::None),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(Others::ByMode(mode)),
        Err(Errno::RANGE) => Ok(Others::ByList("its access control list is too long".into())),
        Err(error) => Err(error.into()),
    }
}

/// Reads a list. One of another form counts as readable by others.
fn by_list(list: &[u8], us: u32) -> Others {
    let Some(entries) = entries(list) else {
        return Others::ByList("its access control list is of an unknown form".into());
    };
    let mask = entries.iter().find(|entry| entry.kind == MASK).map_or(7, |entry| entry.permissions);
    for Entry { kind, permissions, id } in entries {
        let (effective, of) = match kind {
            OWNER | MASK => continue,
            USER if id == 0 || id == us => continue,
            USER => (permissions & mask, format!("its access control list lets user {id} in")),
            OWNING_GROUP => (permissions & mask, "its access control list lets its group in".into()),
            GROUP => (permissions & mask, format!("its access control list lets group {id} in")),
            _ => (permissions, "its access control list lets everybody in".into()),
        };
        if effective != 0 {
            return Others::ByList(of);
        }
    }
    Others::None
}

fn entries(list: &[u8]) -> Option<Vec<Entry>> {
    let (version, rest) = list.split_first_chunk::<4>()?;
    let (entries, rest) = rest.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() || entries.is_empty() {
        return None;
    }
    let entry = |[a, b, c, d, id @ ..]: &[u8; 8]| Entry {
        kind: u16::from_le_bytes([*a, *b]),
        permissions: u16::from_le_bytes([*c, *d]),
        id: u32::from_le_bytes(*id),
    };
    Some(entries.iter().map(entry).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const OTHER: u16 = 0x20;
    const NONE: u32 = u32::MAX;
    const US: u32 = 996;

    /// The attribute of a list.
    pub(crate) fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = VERSION.to_le_bytes().to_vec();
        for (kind, permissions, id) in entries {
            list.extend([&kind.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
        }
        list
    }

    /// What systemd gives: root reads, this user reads.
    pub(crate) fn credential(user: u32) -> Vec<u8> {
        list(&[(OWNER, 4, NONE), (USER, 4, user), (OWNING_GROUP, 0, NONE), (MASK, 4, NONE), (OTHER, 0, NONE)])
    }

    #[test]
    fn a_credential_of_this_service_is_private_and_one_of_another_is_not() {
        assert_eq!(by_list(&credential(US), US), Others::None);
        assert_eq!(by_list(&credential(0), US), Others::None);
        assert!(matches!(by_list(&credential(1000), US), Others::ByList(why) if why.contains("user 1000")));
    }

    #[test]
    fn every_entry_that_gives_others_something_counts_within_the_mask() {
        let with = |entry, mask| by_list(&list(&[(OWNER, 6, NONE), (USER, 4, US), entry, (MASK, mask, NONE)]), US);
        for entry in [(USER, 4, 7), (OWNING_GROUP, 4, NONE), (GROUP, 2, 7)] {
            assert!(matches!(with(entry, 7), Others::ByList(_)), "{entry:?}");
            assert_eq!(with(entry, 0), Others::None, "{entry:?}: the mask takes it away");
        }
        assert!(matches!(with((OTHER, 4, NONE), 0), Others::ByList(_)), "the mask is not for everybody");
    }

    #[test]
    fn a_list_that_cannot_be_read_lets_others_in() {
        for broken in [&[][..], &[2, 0, 0, 0], &[1, 0, 0, 0, 1, 0, 4, 0, 255, 255, 255, 255], &[2, 0, 0, 0, 1]] {
            assert!(matches!(by_list(broken, US), Others::ByList(_)), "{broken:?}");
        }
    }
}
