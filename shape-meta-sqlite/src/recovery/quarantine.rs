use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use shape_meta_core::Result;

use crate::{
    error::failed_on,
    format::files::{COMPANIONS, Files},
};

/// Moves the database and everything that belongs to it aside, under a name with the time. Nothing is
/// deleted (C11).
///
/// The database goes first: if the machine stops in between, what is left is a log without a database,
/// which the next opening moves aside too. The other way round it would be a database that lacks its
/// latest commits and looks sound.
///
/// Returns where the database is now. Its log and journal, if it had any, lie beside it under the same name with
/// `-wal`, `-shm` or `-journal`, so that SQLite's own tools can still open it.
pub(crate) fn quarantine(files: &Files) -> Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let base = format!("{}.damaged-{}", files.database().display(), utc(now));
    let taken = |path: &str| {
        [""].iter().chain(&COMPANIONS).any(|suffix| fs::symlink_metadata(format!("{path}{suffix}")).is_ok())
    };
    let mut to = base.clone();
    let mut again = 1;
    while taken(&to) {
        again += 1;
        to = format!("{base}-{again}");
    }

    let database = files.database();
    let moves = [(database, to.clone())]
        .into_iter()
        .chain(COMPANIONS.map(|suffix| (files.companion(suffix), format!("{to}{suffix}"))));
    for (from, to) in moves {
        match fs::rename(&from, &to) {
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {}
            moved => moved.map_err(failed_on("move aside the damaged file", &from))?,
        }
    }
    files.sync_directory()?;
    Ok(to.into())
}

/// Seconds since the epoch as `20260131T235959Z`. (Days to a date: Howard Hinnant's `civil_from_days`.)
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_time_as_utc() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(951_782_399), "20000228T235959Z");
        assert_eq!(utc(951_782_400), "20000229T000000Z");
        assert_eq!(utc(1_769_903_999), "20260131T235959Z");
    }
}
