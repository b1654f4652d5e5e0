//! The VFS: each call is checked by the disk of its file, and then passed on to the default VFS.
//!
//! This is the only `unsafe` code of the package. It relies on what SQLite promises to a VFS:
//!
//! - a `sqlite3_file` that it passes was filled by [`open`] and not yet closed by [`close`]; it has
//!   `szOsFile` bytes and an alignment of 8;
//! - names end with a zero byte, and buffers have the given length;
//! - no two threads use one file at the same time;
//! - the default VFS, like every registered VFS, lives as long as the process.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    io, mem, ptr, slice,
    sync::OnceLock,
};

use rusqlite::ffi::{
    self, sqlite3_file as RawFile, sqlite3_int64 as Int64, sqlite3_io_methods as Methods, sqlite3_vfs as Vfs,
};

use crate::{
    file::{File, Verdict},
    op::Op,
    registry,
};

/// The name of the VFS, which is registered when the first [`Disk`](crate::Disk) is mounted.
pub const VFS: &str = "shape-meta-faults";

/// SQLite's memory for one open file of this VFS. The file of the default VFS follows it in the same memory.
#[repr(C)]
struct Wrapper {
    base: RawFile,
    /// From [`Box::into_raw`]; null for a file that is on no mounted disk.
    file: *mut File,
}

/// Its size is a multiple of 8 bytes, so the file that follows has the alignment that SQLite gave the whole.
const _: () = assert!(size_of::<Wrapper>().is_multiple_of(8) && align_of::<Wrapper>() <= 8);

static METHODS: Methods = Methods {
    // Version 3 would map pages, and reads of mapped pages bypass this VFS.
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

/// Registers the VFS with SQLite, once for the process.
pub(crate) fn register() -> io::Result<()> {
    static DONE: OnceLock<c_int> = OnceLock::new();
    let code = *DONE.get_or_init(|| {
        // SAFETY: null names the default VFS. SQLite initializes itself first.
        let base = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        if base.is_null() {
            return ffi::SQLITE_NOTFOUND;
        }
        let Ok(wrapper) = c_int::try_from(size_of::<Wrapper>()) else { return ffi::SQLITE_TOOBIG };
        // SAFETY: it is a registered VFS.
        let (size, path) = unsafe { ((*base).szOsFile, (*base).mxPathname) };
        // Both live as long as the process, because SQLite keeps pointers to them.
        let name = Box::leak(format!("{VFS}\0").into_boxed_str());
        let vfs = Box::leak(Box::new(Vfs {
            // Version 3 would let callers replace system calls.
            iVersion: 2,
            szOsFile: wrapper + size,
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
        // SAFETY: it is complete, and leaked, so its address stays valid. It does not become the default VFS.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) }
    });
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(io::Error::other(format!(
            "SQLite did not register the VFS {VFS}: {}",
            ffi::code_to_str(code)
        ))),
    }
}

// -- Files -----------------------------------------------------------------------------------------------

/// Returns this VFS's part of an open file.
///
/// # Safety
///
/// `file` is one that SQLite passes to a method of [`METHODS`].
unsafe fn own_part<'a>(file: *mut RawFile) -> Option<&'a File> {
    // SAFETY: `open` wrote a wrapper there. Its file is null, or from `Box::into_raw` until `close`, and
    // there is no `&mut` to it in between.
    unsafe { (*file.cast::<Wrapper>()).file.as_ref() }
}

/// Returns the default VFS's part of an open file.
///
/// # Safety
///
/// `file` points to `szOsFile` bytes.
unsafe fn default_part(file: *mut RawFile) -> *mut RawFile {
    // SAFETY: `szOsFile` is that of the default VFS plus the size of a wrapper, so this is in bounds.
    unsafe { file.cast::<Wrapper>().add(1).cast() }
}

/// Calls the method of the default VFS's file, or returns `$missing` if it has none.
macro_rules! pass_to_file {
    ($file:expr, $method:ident($($argument:expr),*), or $missing:expr) => {{
        // SAFETY: the default VFS opened the file and wrote its methods there. The arguments are those of
        // SQLite's call, or a part of the same buffer.
        unsafe {
            let behind = default_part($file);
            match (*(*behind).pMethods).$method {
                Some(method) => method(behind, $($argument),*),
                None => $missing,
            }
        }
    }};
}

/// Returns the code of a call that has to fail. Files on no mounted disk have no faults.
macro_rules! check {
    ($file:expr, $op:expr) => {
        // SAFETY: SQLite called a method of this VFS with it.
        match unsafe { own_part($file) }.map(|file| file.check($op)) {
            None | Some(Verdict::Pass) => {}
            Some(Verdict::Fail(code) | Verdict::Partial(_, code)) => return code,
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
    // SAFETY: SQLite passes `szOsFile` bytes. Without methods it does not call `close`.
    unsafe { (*file).pMethods = ptr::null() };
    // SAFETY: SQLite passes a name that ends with a zero byte, or null for a temporary file.
    let path = if name.is_null() { None } else { unsafe { CStr::from_ptr(name) }.to_str().ok() };
    let found = path.and_then(registry::find);
    let existed = path.is_some_and(|path| std::path::Path::new(path).exists());
    if let Some((disk, _)) = &found
        && let Some(code) = disk.begin_call().count_call(Op::Open, None)
    {
        return code;
    }
    // SAFETY: as in `default_part`; SQLite allocated the memory.
    let behind = unsafe { default_part(file) };
    // SAFETY: the memory is valid. The default VFS may fail before it has written it.
    unsafe { (*behind).pMethods = ptr::null() };
    let base = base(vfs);
    // SAFETY: the default VFS gets the arguments of SQLite's call, and memory of its size.
    let code = unsafe {
        match (*base).xOpen {
            Some(open) => open(base, name, behind, flags, out),
            None => ffi::SQLITE_CANTOPEN,
        }
    };
    if code != ffi::SQLITE_OK {
        // SAFETY: if a VFS has set methods although it failed, the file has to be closed.
        unsafe {
            if let Some(methods) = (*behind).pMethods.as_ref()
                && let Some(close) = methods.xClose
            {
                close(behind);
            }
        }
        return code;
    }
    let ours = found.map(|(disk, name)| Box::into_raw(Box::new(File::open(disk, name, flags, existed))));
    // SAFETY: SQLite allocated the memory, and nothing in it needs to be dropped.
    unsafe {
        ptr::write(
            file.cast::<Wrapper>(),
            Wrapper { base: RawFile { pMethods: &METHODS }, file: ours.unwrap_or(ptr::null_mut()) },
        );
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut RawFile) -> c_int {
    // SAFETY: `open` wrote a wrapper there, and its file is null or from `Box::into_raw`. It is replaced by
    // null, so it is dropped once.
    unsafe {
        let ours = mem::replace(&mut (*file.cast::<Wrapper>()).file, ptr::null_mut());
        if !ours.is_null() {
            drop(Box::from_raw(ours));
        }
    }
    pass_to_file!(file, xClose(), or ffi::SQLITE_OK)
}

unsafe extern "C" fn read(file: *mut RawFile, buffer: *mut c_void, length: c_int, offset: Int64) -> c_int {
    check!(file, Op::Read);
    pass_to_file!(file, xRead(buffer, length, offset), or ffi::SQLITE_IOERR_READ)
}

unsafe extern "C" fn write(file: *mut RawFile, buffer: *const c_void, length: c_int, offset: Int64) -> c_int {
    // SAFETY: SQLite called a method of this VFS with it.
    let Some(ours) = (unsafe { own_part(file) }) else {
        return pass_to_file!(file, xWrite(buffer, length, offset), or ffi::SQLITE_IOERR_WRITE);
    };
    // SAFETY: SQLite passes a buffer of that length, which is not negative.
    let data = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), length.unsigned_abs() as usize) };
    let (length, failure) = match ours.check_write(offset.unsigned_abs(), data.len()) {
        Verdict::Pass => (data.len(), ffi::SQLITE_OK),
        Verdict::Partial(length, code) => (length.min(data.len()), code),
        Verdict::Fail(code) => (0, code),
    };
    if length > 0 {
        // It is at most the given length, which fits.
        let written = c_int::try_from(length).unwrap_or(c_int::MAX);
        let code = pass_to_file!(file, xWrite(buffer, written, offset), or ffi::SQLITE_IOERR_WRITE);
        if code != ffi::SQLITE_OK {
            return code;
        }
        ours.record_write(offset.unsigned_abs(), &data[..length]);
    }
    failure
}

unsafe extern "C" fn truncate(file: *mut RawFile, size: Int64) -> c_int {
    check!(file, Op::Truncate);
    let code = pass_to_file!(file, xTruncate(size), or ffi::SQLITE_IOERR_TRUNCATE);
    // SAFETY: SQLite called a method of this VFS with it.
    if let (ffi::SQLITE_OK, Some(ours)) = (code, unsafe { own_part(file) }) {
        ours.record_truncate(size.unsigned_abs());
    }
    code
}

unsafe extern "C" fn sync(file: *mut RawFile, flags: c_int) -> c_int {
    // SAFETY: SQLite called a method of this VFS with it.
    let Some(ours) = (unsafe { own_part(file) }) else {
        return pass_to_file!(file, xSync(flags), or ffi::SQLITE_IOERR_FSYNC);
    };
    // The model decides what is durable; the real disk is not synced.
    match ours.sync() {
        Verdict::Pass => ffi::SQLITE_OK,
        Verdict::Fail(code) | Verdict::Partial(_, code) => code,
    }
}

unsafe extern "C" fn file_size(file: *mut RawFile, size: *mut Int64) -> c_int {
    check!(file, Op::Size);
    pass_to_file!(file, xFileSize(size), or ffi::SQLITE_IOERR_FSTAT)
}

unsafe extern "C" fn lock(file: *mut RawFile, level: c_int) -> c_int {
    check!(file, Op::Lock);
    pass_to_file!(file, xLock(level), or ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut RawFile, level: c_int) -> c_int {
    pass_to_file!(file, xUnlock(level), or ffi::SQLITE_IOERR_UNLOCK)
}

unsafe extern "C" fn check_reserved_lock(file: *mut RawFile, reserved: *mut c_int) -> c_int {
    check!(file, Op::Lock);
    pass_to_file!(file, xCheckReservedLock(reserved), or ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn file_control(file: *mut RawFile, what: c_int, with: *mut c_void) -> c_int {
    pass_to_file!(file, xFileControl(what, with), or ffi::SQLITE_NOTFOUND)
}

unsafe extern "C" fn sector_size(file: *mut RawFile) -> c_int {
    pass_to_file!(file, xSectorSize(), or 4_096)
}

unsafe extern "C" fn device_characteristics(file: *mut RawFile) -> c_int {
    pass_to_file!(file, xDeviceCharacteristics(), or 0)
}

unsafe extern "C" fn shm_map(
    file: *mut RawFile,
    region: c_int,
    size: c_int,
    extend: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    check!(file, Op::ShmMap);
    pass_to_file!(file, xShmMap(region, size, extend, memory), or ffi::SQLITE_IOERR_SHMMAP)
}

unsafe extern "C" fn shm_lock(file: *mut RawFile, offset: c_int, n: c_int, flags: c_int) -> c_int {
    // SQLite does not check whether an unlock failed.
    if flags & ffi::SQLITE_SHM_LOCK != 0 {
        check!(file, Op::ShmLock);
    }
    pass_to_file!(file, xShmLock(offset, n, flags), or ffi::SQLITE_IOERR_SHMLOCK)
}

unsafe extern "C" fn shm_barrier(file: *mut RawFile) {
    pass_to_file!(file, xShmBarrier(), or());
}

unsafe extern "C" fn shm_unmap(file: *mut RawFile, delete: c_int) -> c_int {
    pass_to_file!(file, xShmUnmap(delete), or ffi::SQLITE_OK)
}

// -- The file system -------------------------------------------------------------------------------------

fn base(vfs: *mut Vfs) -> *mut Vfs {
    // SAFETY: SQLite passes the VFS that was registered, whose data is the default VFS.
    unsafe { (*vfs).pAppData.cast() }
}

/// Counts a call on a path on its disk, and returns the code if the call has to fail. Otherwise the value is
/// the disk and the file's name.
macro_rules! check_path {
    ($path:expr, $op:expr) => {{
        // SAFETY: SQLite passes a name that ends with a zero byte.
        let path = unsafe { CStr::from_ptr($path) }.to_str().ok();
        let found = path.and_then(registry::find);
        if let Some((disk, _)) = &found
            && let Some(code) = disk.begin_call().count_call($op, None)
        {
            return code;
        }
        found
    }};
}

/// Calls the function of the default VFS, or returns `$missing` if it has none.
macro_rules! pass_to_vfs {
    ($vfs:expr, $function:ident($($argument:expr),*), or $missing:expr) => {{
        let base = base($vfs);
        // SAFETY: it is a registered VFS, and gets the arguments of SQLite's call.
        unsafe {
            match (*base).$function {
                Some(function) => function(base, $($argument),*),
                None => $missing,
            }
        }
    }};
}

unsafe extern "C" fn delete(vfs: *mut Vfs, path: *const c_char, syncs_directory: c_int) -> c_int {
    let found = check_path!(path, Op::Delete);
    let code = pass_to_vfs!(vfs, xDelete(path, syncs_directory), or ffi::SQLITE_IOERR_DELETE);
    if let (ffi::SQLITE_OK, Some((disk, name))) = (code, found) {
        disk.lock().model.delete(name, syncs_directory != 0);
    }
    code
}

unsafe extern "C" fn access(vfs: *mut Vfs, path: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    check_path!(path, Op::Access);
    pass_to_vfs!(vfs, xAccess(path, flags, out), or ffi::SQLITE_IOERR_ACCESS)
}

unsafe extern "C" fn full_pathname(
    vfs: *mut Vfs,
    path: *const c_char,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    pass_to_vfs!(vfs, xFullPathname(path, length, out), or ffi::SQLITE_CANTOPEN)
}

unsafe extern "C" fn dl_open(vfs: *mut Vfs, path: *const c_char) -> *mut c_void {
    pass_to_vfs!(vfs, xDlOpen(path), or ptr::null_mut())
}

unsafe extern "C" fn dl_error(vfs: *mut Vfs, length: c_int, message: *mut c_char) {
    pass_to_vfs!(vfs, xDlError(length, message), or());
}

unsafe extern "C" fn dl_sym(
    vfs: *mut Vfs,
    library: *mut c_void,
    symbol: *const c_char,
) -> Option<unsafe extern "C" fn(*mut Vfs, *mut c_void, *const c_char)> {
    pass_to_vfs!(vfs, xDlSym(library, symbol), or None)
}

unsafe extern "C" fn dl_close(vfs: *mut Vfs, library: *mut c_void) {
    pass_to_vfs!(vfs, xDlClose(library), or());
}

unsafe extern "C" fn randomness(vfs: *mut Vfs, length: c_int, out: *mut c_char) -> c_int {
    pass_to_vfs!(vfs, xRandomness(length, out), or 0)
}

unsafe extern "C" fn sleep(vfs: *mut Vfs, microseconds: c_int) -> c_int {
    pass_to_vfs!(vfs, xSleep(microseconds), or 0)
}

unsafe extern "C" fn current_time(vfs: *mut Vfs, out: *mut f64) -> c_int {
    pass_to_vfs!(vfs, xCurrentTime(out), or ffi::SQLITE_ERROR)
}

unsafe extern "C" fn get_last_error(vfs: *mut Vfs, length: c_int, out: *mut c_char) -> c_int {
    pass_to_vfs!(vfs, xGetLastError(length, out), or 0)
}

unsafe extern "C" fn current_time_int64(vfs: *mut Vfs, out: *mut Int64) -> c_int {
    pass_to_vfs!(vfs, xCurrentTimeInt64(out), or ffi::SQLITE_ERROR)
}
