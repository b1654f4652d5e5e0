use rusqlite::ffi;

/// Whether the findings of SQLite's `quick_check` include a page that the disk did not return. Then the disk
/// fails, which is no reason to quarantine the database.
///
/// `quick_check` reports an unreadable page as a line of text, like damage, and succeeds, so there is no
/// result code. The alternatives find less. A `SELECT` or the table `dbstat` returns a result code, but stops
/// at the first damaged page, and neither reads the list of free pages. A backup reads every page, but needs
/// space for a second copy of the database. The table `sqlite_dbpage`, which returns codes for raw pages, is
/// not compiled in. So the text is parsed. It only decides whether an open fails as `Io` or goes on to the
/// repair, which reads every page itself and fails as `Io` if the disk does. SQLite is compiled in, so its
/// wording changes only with an upgrade, which the tests over a simulated disk detect.
pub(super) fn reports_unreadable_page(findings: &[String]) -> bool {
    findings.iter().any(|finding| {
        if finding.contains("failed to get page") {
            // SQLite has checked that the page number is inside the file, so the disk failed.
            return true;
        }
        let code = finding.split_once("unable to get the page. error code=").map(|(_, code)| code);
        let code = code.and_then(|code| code.trim().parse::<i32>().ok());
        code.is_some_and(|code| !matches!(code & 0xff, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB))
    })
}

#[cfg(test)]
mod tests {
    use super::reports_unreadable_page;

    #[test]
    fn an_unreadable_page_is_not_a_damaged_one() {
        let reports = |finding: &str| reports_unreadable_page(&[finding.to_owned()]);
        assert!(reports("Tree 4 page 4: unable to get the page. error code=266"));
        assert!(reports("Tree 4 page 4 cell 1: failed to get page 17"));
        assert!(!reports("Tree 4 page 4: unable to get the page. error code=11"));
        assert!(!reports("Tree 4 page 4: btreeInitPage() returns error code 11"));
        assert!(!reports("Tree 4 page 4 cell 1: invalid page number 4711"));
        assert!(!reports("ok"));
    }
}
