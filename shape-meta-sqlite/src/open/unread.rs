use rusqlite::ffi;

/// Whether SQLite's check of a database complains, among other things, that it could not read a page. It
/// tells that in the same way as damage; but a disk that fails is no reason to give up a database.
pub(crate) fn says_unread(complaints: &[String]) -> bool {
    complaints.iter().any(|complaint| {
        if complaint.contains("failed to get page") {
            // Of a page that is inside of the file, so it is the disk.
            return true;
        }
        let code = complaint.split_once("unable to get the page. error code=").map(|(_, code)| code);
        let code = code.and_then(|code| code.trim().parse::<i32>().ok());
        code.is_some_and(|code| !matches!(code & 0xff, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB))
    })
}

#[cfg(test)]
mod tests {
    use super::says_unread;

    #[test]
    fn a_page_that_could_not_be_read_is_not_a_damaged_one() {
        let says = |complaint: &str| says_unread(&[complaint.to_owned()]);
        assert!(says("Tree 4 page 4: unable to get the page. error code=266"));
        assert!(says("Tree 4 page 4 cell 1: failed to get page 17"));
        assert!(!says("Tree 4 page 4: unable to get the page. error code=11"));
        assert!(!says("Tree 4 page 4: btreeInitPage() returns error code 11"));
        assert!(!says("Tree 4 page 4 cell 1: invalid page number 4711"));
        assert!(!says("ok"));
    }
}
