//! The VFS itself: each call asks the disk of its file, and is passed on to the default VFS.
//!
//! The only `unsafe` of the package. It rests on what SQLite promises to a VFS: a `sqlite3_file` that it
//! passes is one that [`open`] filled and [`close`] has not emptied yet, of `szOsFile` bytes and aligned for
//! any of them; names end with a zero; buffers have the length that is given; one file is not used by two
//! threads at a time. The default VFS, like every registered one, lives as long as the process.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    io, mem, ptr, slice,
    sync::OnceLock,
};

use rusqlite::ffi::{
    self, sqlite3_file as RawFile, sqlite3_int64 as Int64, sqlite3_io_methods as Methods, sqlite3_vfs as Vfs,
};

use crate::{
    Op, VFS,
    file::{File, Verdict},
    registry,
};

/// What SQLite keeps for one open file of ours. The file of the default VFS follows it in the same memory.
#[repr(C)]
struct Gate {
    base: RawFile,
    /// Ours, from [`Box::into_raw`]; null for a file that is on no disk.
    file: *mut File,
}

/// The whole of it a multiple of eight bytes, so that what follows is aligned as SQLite aligned us.
const _: () = assert!(size_of::<Gate>().is_multiple_of(8) && align_of::<Gate>() <= 8);

static METHODS: Methods = Methods {
    // No mapped pages (that would be 3): every read is to be seen.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the VFS known to SQLite, once.
pub(crate) fn register() -> io::Result<()> {
    static DONE: OnceLock<c_int> = OnceLock::new();
    let code = *DONE.get_or_init(|| {
        // SAFETY: null asks for the default VFS. SQLite initializes itself first.
        let base = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        if base.is_null() {
            return ffi::SQLITE_NOTFOUND;
        }
        let Ok(gate) = c_int::try_from(size_of::<Gate>()) else { return ffi::SQLITE_TOOBIG };
        // SAFETY: it is a registered VFS.
        let (size, path) = unsafe { ((*base).szOsFile, (*base).mxPathname) };
        // Both live as long as the process: SQLite keeps pointers to them.
        let name = Box::leak(format!("{VFS}\0").into_boxed_str());
        let vfs = Box::leak(Box::new(Vfs {
            // No system calls to be replaced (that would be 3).
            iVersion: 2,
            szOsFile: gate + size,
            mxPathname: path,
            pNext: ptr::null_mut(),
            zName: name.as_ptr().cast(),
            pAppData: base.cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: Some(dl_open),
            xDlError: Some(dl_error),
            xDlSym: Some(dl_sym),
            xDlClose: Some(dl_close),
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(get_last_error),
            xCurrentTimeInt64: Some(current_time_int64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: it is filled in, and leaked, so it stays where it is. It is not made the default.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) }
    });
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(io::Error::other(format!("SQLite does not take the VFS: {}", ffi::code_to_str(code)))),
    }
}

// -- Files -----------------------------------------------------------------------------------------------

/// Our part of an open file.
///
/// # Safety
///
/// `file` is one that SQLite passes to a method of [`METHODS`].
unsafe fn ours<'a>(file: *mut RawFile) -> Option<&'a File> {
    // SAFETY: `open` wrote a gate there. Its file is null, or from `Box::into_raw` until `close`; and
    // nobody makes a `&mut` of it in between.
    unsafe { (*file.cast::<Gate>()).file.as_ref() }
}

/// The file of the default VFS behind ours.
///
/// # Safety
///
/// `file` points to `szOsFile` bytes.
unsafe fn theirs(file: *mut RawFile) -> *mut RawFile {
    // SAFETY: `szOsFile` is that of the default VFS and the size of a gate, so this is inside.
    unsafe { file.cast::<Gate>().add(1).cast() }
}

/// Calls the method of the file behind, if it has it.
macro_rules! pass {
    ($file:expr, $method:ident($($argument:expr),*), or $missing:expr) => {{
        // SAFETY: the file was opened by the default VFS, which wrote its methods there; the arguments are
        // those with which SQLite called us, or a part of the same buffer.
        unsafe {
            let behind = theirs($file);
            match (*(*behind).pMethods).$method {
                Some(method) => method(behind, $($argument),*),
                None => $missing,
            }
        }
    }};
}

/// The verdict on a call; files that are on no disk have no faults.
macro_rules! ask {
    ($file:expr, $op:expr) => {
        // SAFETY: a method of ours was called with it.
        match unsafe { ours($file) }.map(|file| file.ask($op)) {
            None | Some(Verdict::Go) => {}
            Some(Verdict::Fail(code) | Verdict::Part(_, code)) => return code,
        }
    };
}

unsafe extern "C" fn open(
    vfs: *mut Vfs,
    name: ffi::sqlite3_filename,
    file: *mut RawFile,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives `szOsFile` bytes. Without methods, it will not call `close`.
    unsafe { (*file).pMethods = ptr::null() };
    // SAFETY: SQLite passes a name that ends with a zero, or null for a temporary file.
    let path = if name.is_null() { None } else { unsafe { CStr::from_ptr(name) }.to_str().ok() };
    let found = path.and_then(registry::find);
    let existed = path.is_some_and(|path| std::path::Path::new(path).exists());
    if let Some((disk, _)) = &found
        && let Some(code) = disk.ask(Op::Open)
    {
        return code;
    }
    // SAFETY: as in `theirs`; SQLite gave the memory.
    let behind = unsafe { theirs(file) };
    // SAFETY: it is memory of ours. The default VFS may fail before it has written it.
    unsafe { (*behind).pMethods = ptr::null() };
    let base = base(vfs);
    // SAFETY: the default VFS gets what SQLite passed to us, and memory of its size.
    let code = unsafe {
        match (*base).xOpen {
            Some(open) => open(base, name, behind, flags, out),
            None => ffi::SQLITE_CANTOPEN,
        }
    };
    if code != ffi::SQLITE_OK {
        // SAFETY: a VFS that has set methods although it failed wants to be closed.
        unsafe {
            if let Some(methods) = (*behind).pMethods.as_ref()
                && let Some(close) = methods.xClose
            {
                close(behind);
            }
        }
        return code;
    }
    let ours = found.map(|(disk, name)| Box::into_raw(Box::new(disk.opened(name, flags, existed))));
    // SAFETY: SQLite gave the memory, and nothing in it needs to be dropped.
    unsafe {
        ptr::write(
            file.cast::<Gate>(),
            Gate { base: RawFile { pMethods: &METHODS }, file: ours.unwrap_or(ptr::null_mut()) },
        );
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut RawFile) -> c_int {
    // SAFETY: a gate is there, and its file is null or from `Box::into_raw`; it is taken out, so this
    // happens once.
    unsafe {
        let ours = mem::replace(&mut (*file.cast::<Gate>()).file, ptr::null_mut());
        if !ours.is_null() {
            drop(Box::from_raw(ours));
        }
    }
    pass!(file, xClose(), or ffi::SQLITE_OK)
}

unsafe extern "C" fn read(file: *mut RawFile, buffer: *mut c_void, length: c_int, offset: Int64) -> c_int {
    ask!(file, Op::Read);
    pass!(file, xRead(buffer, length, offset), or ffi::SQLITE_IOERR_READ)
}

unsafe extern "C" fn write(file: *mut RawFile, buffer: *const c_void, length: c_int, offset: Int64) -> c_int {
    // SAFETY: a method of ours was called with it.
    let Some(ours) = (unsafe { ours(file) }) else {
        return pass!(file, xWrite(buffer, length, offset), or ffi::SQLITE_IOERR_WRITE);
    };
    // SAFETY: SQLite passes a buffer of that length, which is not negative.
    let data = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), length.unsigned_abs() as usize) };
    let (length, failure) = match ours.ask_write(offset.unsigned_abs(), data.len()) {
        Verdict::Go => (data.len(), ffi::SQLITE_OK),
        Verdict::Part(length, code) => (length.min(data.len()), code),
        Verdict::Fail(code) => (0, code),
    };
    if length > 0 {
        // It is not more than the length that was given, which fits.
        let written = c_int::try_from(length).unwrap_or(c_int::MAX);
        let code = pass!(file, xWrite(buffer, written, offset), or ffi::SQLITE_IOERR_WRITE);
        if code != ffi::SQLITE_OK {
            return code;
        }
        ours.wrote(offset.unsigned_abs(), &data[..length]);
    }
    failure
}

unsafe extern "C" fn truncate(file: *mut RawFile, size: Int64) -> c_int {
    ask!(file, Op::Truncate);
    let code = pass!(file, xTruncate(size), or ffi::SQLITE_IOERR_TRUNCATE);
    // SAFETY: a method of ours was called with it.
    if let (ffi::SQLITE_OK, Some(ours)) = (code, unsafe { ours(file) }) {
        ours.truncated(size.unsigned_abs());
    }
    code
}

unsafe extern "C" fn sync(file: *mut RawFile, flags: c_int) -> c_int {
    // SAFETY: a method of ours was called with it.
    let Some(ours) = (unsafe { ours(file) }) else {
        return pass!(file, xSync(flags), or ffi::SQLITE_IOERR_FSYNC);
    };
    // What is safe on this disk the model knows; the one below need not be bothered.
    match ours.sync() {
        Verdict::Go => ffi::SQLITE_OK,
        Verdict::Fail(code) | Verdict::Part(_, code) => code,
    }
}

unsafe extern "C" fn file_size(file: *mut RawFile, size: *mut Int64) -> c_int {
    ask!(file, Op::Size);
    pass!(file, xFileSize(size), or ffi::SQLITE_IOERR_FSTAT)
}

unsafe extern "C" fn lock(file: *mut RawFile, level: c_int) -> c_int {
    ask!(file, Op::Lock);
    pass!(file, xLock(level), or ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut RawFile, level: c_int) -> c_int {
    pass!(file, xUnlock(level), or ffi::SQLITE_IOERR_UNLOCK)
}

unsafe extern "C" fn check_reserved_lock(file: *mut RawFile, reserved: *mut c_int) -> c_int {
    ask!(file, Op::Lock);
    pass!(file, xCheckReservedLock(reserved), or ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn file_control(file: *mut RawFile, what: c_int, with: *mut c_void) -> c_int {
    pass!(file, xFileControl(what, with), or ffi::SQLITE_NOTFOUND)
}

unsafe extern "C" fn sector_size(file: *mut RawFile) -> c_int {
    pass!(file, xSectorSize(), or 4_096)
}

unsafe extern "C" fn device_characteristics(file: *mut RawFile) -> c_int {
    pass!(file, xDeviceCharacteristics(), or 0)
}

unsafe extern "C" fn shm_map(
    file: *mut RawFile,
    region: c_int,
    size: c_int,
    extend: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    ask!(file, Op::ShmMap);
    pass!(file, xShmMap(region, size, extend, memory), or ffi::SQLITE_IOERR_SHMMAP)
}

unsafe extern "C" fn shm_lock(file: *mut RawFile, offset: c_int, n: c_int, flags: c_int) -> c_int {
    // What is given up must not fail: SQLite does not ask.
    if flags & ffi::SQLITE_SHM_LOCK != 0 {
        ask!(file, Op::ShmLock);
    }
    pass!(file, xShmLock(offset, n, flags), or ffi::SQLITE_IOERR_SHMLOCK)
}

unsafe extern "C" fn shm_barrier(file: *mut RawFile) {
    pass!(file, xShmBarrier(), or());
}

unsafe extern "C" fn shm_unmap(file: *mut RawFile, delete: c_int) -> c_int {
    pass!(file, xShmUnmap(delete), or ffi::SQLITE_OK)
}

// -- The file system -------------------------------------------------------------------------------------

fn base(vfs: *mut Vfs) -> *mut Vfs {
    // SAFETY: SQLite passes the VFS that was registered, whose data is the default VFS.
    unsafe { (*vfs).pAppData.cast() }
}

/// The disk of a path that is no file yet, or no longer one: whether it lets the call fail.
macro_rules! ask_path {
    ($path:expr, $op:expr) => {{
        // SAFETY: SQLite passes a name that ends with a zero.
        let path = unsafe { CStr::from_ptr($path) }.to_str().ok();
        let found = path.and_then(registry::find);
        if let Some((disk, _)) = &found
            && let Some(code) = disk.ask($op)
        {
            return code;
        }
        found
    }};
}

/// Calls the function of the default VFS, if it has it.
macro_rules! pass_on {
    ($vfs:expr, $function:ident($($argument:expr),*), or $missing:expr) => {{
        let base = base($vfs);
        // SAFETY: it is a registered VFS, and gets what SQLite passed to us.
        unsafe {
            match (*base).$function {
                Some(function) => function(base, $($argument),*),
                None => $missing,
            }
        }
    }};
}

unsafe extern "C" fn delete(vfs: *mut Vfs, path: *const c_char, syncs_directory: c_int) -> c_int {
    let found = ask_path!(path, Op::Delete);
    let code = pass_on!(vfs, xDelete(path, syncs_directory), or ffi::SQLITE_IOERR_DELETE);
    if let (ffi::SQLITE_OK, Some((disk, name))) = (code, found) {
        disk.deleted(name, syncs_directory != 0);
    }
    code
}

unsafe extern "C" fn access(vfs: *mut Vfs, path: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    ask_path!(path, Op::Access);
    pass_on!(vfs, xAccess(path, flags, out), or ffi::SQLITE_IOERR_ACCESS)
}

unsafe extern "C" fn full_pathname(
    vfs: *mut Vfs,
    path: *const c_char,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    pass_on!(vfs, xFullPathname(path, length, out), or ffi::SQLITE_CANTOPEN)
}

unsafe extern "C" fn dl_open(vfs: *mut Vfs, path: *const c_char) -> *mut c_void {
    pass_on!(vfs, xDlOpen(path), or ptr::null_mut())
}

unsafe extern "C" fn dl_error(vfs: *mut Vfs, length: c_int, message: *mut c_char) {
    pass_on!(vfs, xDlError(length, message), or());
}

unsafe extern "C" fn dl_sym(
    vfs: *mut Vfs,
    library: *mut c_void,
    symbol: *const c_char,
) -> Option<unsafe extern "C" fn(*mut Vfs, *mut c_void, *const c_char)> {
    pass_on!(vfs, xDlSym(library, symbol), or None)
}

unsafe extern "C" fn dl_close(vfs: *mut Vfs, library: *mut c_void) {
    pass_on!(vfs, xDlClose(library), or());
}

unsafe extern "C" fn randomness(vfs: *mut Vfs, length: c_int, out: *mut c_char) -> c_int {
    pass_on!(vfs, xRandomness(length, out), or 0)
}

unsafe extern "C" fn sleep(vfs: *mut Vfs, microseconds: c_int) -> c_int {
    pass_on!(vfs, xSleep(microseconds), or 0)
}

unsafe extern "C" fn current_time(vfs: *mut Vfs, out: *mut f64) -> c_int {
    pass_on!(vfs, xCurrentTime(out), or ffi::SQLITE_ERROR)
}

unsafe extern "C" fn get_last_error(vfs: *mut Vfs, length: c_int, out: *mut c_char) -> c_int {
    pass_on!(vfs, xGetLastError(length, out), or 0)
}

unsafe extern "C" fn current_time_int64(vfs: *mut Vfs, out: *mut Int64) -> c_int {
    pass_on!(vfs, xCurrentTimeInt64(out), or ffi::SQLITE_ERROR)
}
