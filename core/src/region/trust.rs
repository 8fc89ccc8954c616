//! Whom to trust: what a directory and a file must be like before anything in
//! them is believed. The file is asked through the open descriptor, never by
//! its path.

use super::sys;
use super::RegionOptions;
use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The standard directory lies where everybody may write: somebody may have
/// been there first, with a link to elsewhere.
pub fn refuse_link(directory: &Path) -> Result<()> {
    match std::fs::symlink_metadata(directory) {
        Ok(meta) if !meta.is_symlink() => Ok(()),
        Ok(_) => Err(Error::Permission {
            path: directory.to_owned(),
            problem: "is a symbolic link, which is not followed".into(),
        }),
        Err(e) => Err(Error::io(directory, "stat", &e)),
    }
}

/// The directory is this user's or root's, and not open to everybody.
pub fn check_directory(directory: &Path) -> Result<()> {
    let meta =
        std::fs::metadata(directory).map_err(|e| Error::io(directory, "open directory", &e))?;
    if !meta.is_dir() {
        return Err(Error::Permission {
            path: directory.to_owned(),
            problem: "is not a directory".into(),
        });
    }
    if meta.uid() != sys::user() && meta.uid() != 0 {
        return Err(Error::Permission {
            path: directory.to_owned(),
            problem: format!(
                "the directory belongs to user {}, not to user {} or root",
                meta.uid(),
                sys::user()
            ),
        });
    }
    // Others who may write could swap the file, unless the sticky bit keeps
    // them from touching what is not theirs.
    if meta.mode() & 0o002 != 0 && meta.mode() & 0o1000 == 0 {
        return Err(Error::Permission {
            path: directory.to_owned(),
            problem: format!(
                "the directory is writable by everybody (mode {:o}): chmod o-w it",
                meta.mode() & 0o7777
            ),
        });
    }
    Ok(())
}

/// Opens the file at `path` without following a link; `None` if there is none.
pub fn open_existing(path: &Path) -> Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        // A FIFO or a device must not block the opening.
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(match e.raw_os_error() {
            Some(libc::ELOOP) => Error::Permission {
                path: path.to_owned(),
                problem: "is a symbolic link, which is not followed".into(),
            },
            Some(libc::EACCES) => Error::Permission {
                path: path.to_owned(),
                problem: match std::fs::symlink_metadata(path) {
                    Ok(meta) if meta.uid() != sys::user() => belongs_to(meta.uid()),
                    _ => "may not be read and written by this user".into(),
                },
            },
            Some(libc::EISDIR) => Error::Permission {
                path: path.to_owned(),
                problem: "is a directory, not a regular file".into(),
            },
            Some(libc::ENXIO | libc::ENODEV) => Error::Permission {
                path: path.to_owned(),
                problem: "is not a regular file".into(),
            },
            _ => Error::io(path, "open", &e),
        }),
    }
}

fn belongs_to(uid: u32) -> String {
    format!("belongs to user {uid}, not to user {}", sys::user())
}

/// The open file is a regular one, of this user, with one name, and lets in no
/// more than `mode`.
pub fn check_file(path: &Path, file: &File, mode: u32) -> Result<()> {
    let meta = file.metadata().map_err(|e| Error::io(path, "stat", &e))?;
    let refuse = |problem: String| {
        Err(Error::Permission {
            path: path.to_owned(),
            problem,
        })
    };
    let kind = meta.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || !kind.is_file() {
        return refuse("is not a regular file".into());
    }
    let for_group = mode & 0o060 == 0o060;
    if meta.uid() != sys::user() && !for_group {
        return refuse(belongs_to(meta.uid()));
    }
    if meta.nlink() > 1 {
        return refuse(format!("has {} names (hard links), not one", meta.nlink()));
    }
    let found = meta.mode() & 0o777;
    if found & !mode != 0 {
        let mut problem =
            format!("has mode {found:o}, which lets in more than mode {mode:o}: chmod {mode:o} it");
        if RegionOptions::allows_mode(found) {
            problem += &format!(", or open it with mode {found:o}");
        }
        return refuse(problem);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_no_standard_directory() {
        let place = tempfile::tempdir().unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path(), &link).unwrap();
        assert!(refuse_link(place.path()).is_ok());
        assert!(matches!(refuse_link(&link), Err(Error::Permission { .. })));
        assert!(matches!(
            refuse_link(&link.join("none")),
            Err(Error::Io { .. })
        ));
    }
}
