//! A store's directory in the file system: for its owner only, and never through a symbolic link.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::direct::Direct;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::disk::write_zeros;
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::linux;
use crate::lock::Lock;

/// The file whose lock keeps others out.
pub(crate) const LOCK_NAME: &str = "lock";

/// A directory in the file system, locked against a second process.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    _lock: Lock,
}

impl RealDisk {
    /// Opens a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// If another process has it open, or if the system does not allow it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        owner_only_directory(&mut builder);
        let name = path.display().to_string();
        builder.create(&path).map_err(StoreError::io("make the directory", name))?;
        let lock = Lock::take(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Opens a directory in this one, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and if it is a symbolic link.
    pub fn below(&self, name: &str) -> Result<Self, StoreError> {
        let path = self.path.join(name);
        refuse_link(&path)?;
        Self::open(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        owner_only(&mut options);
        options
    }
}

/// New directories are their owner's alone.
pub(crate) fn owner_only_directory(builder: &mut DirBuilder) {
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700);
    #[cfg(not(unix))]
    let _ = builder;
}

/// A link may lead out of the directory that somebody has chosen.
pub(crate) fn refuse_link(path: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(StoreError::Link { path: path.to_owned() });
    }
    Ok(())
}

/// The names of all files in a directory.
pub(crate) fn names_in(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        // A name that is no text is none of ours.
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(unix)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes = bytes.split_at_mut(read).1;
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// New files are their owner's alone, and what is opened is no link to somewhere else.
pub(crate) fn owner_only(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    #[cfg(not(unix))]
    let _ = options;
}

/// A copy that came back from elsewhere may be open to all.
fn close_to_others(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let mut permissions = file.metadata()?.permissions();
        if permissions.mode() & 0o077 != 0 {
            permissions.set_mode(permissions.mode() & 0o700);
            // Somebody else's file, who lets us write to it, stays as it is.
            let _ = file.set_permissions(permissions);
        }
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

impl Disk for RealDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        names_in(&self.path)
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Box::new(RealFile::new(self.options().create_new(true).open(path)?)))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.options().open(self.path.join(name))?;
        close_to_others(&file)?;
        Ok(Box::new(RealFile::new(file)))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    #[cfg(unix)]
    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Elsewhere names are durable with what they name.
    #[cfg(not(unix))]
    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    /// Whether the system writes and syncs in one call; asked once.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    syncs_as_it_writes: Option<bool>,
    /// Whether, and how, it writes past the cache; asked once for each length.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    direct: Option<Option<Direct>>,
}

impl RealFile {
    fn new(file: File) -> Self {
        Self {
            file,
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            syncs_as_it_writes: None,
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            direct: None,
        }
    }
}

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        read_at(&self.file, bytes, offset)
    }

    #[cfg(unix)]
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        if let Some(Some(direct)) = &mut self.direct {
            direct.forget();
        }
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        use std::io::{Seek, Write};

        self.file.seek(io::SeekFrom::Start(offset))?;
        self.file.write_all(bytes)
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn write_durably(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let file = &self.file;
        if let Some(direct) = self.direct.get_or_insert_with(|| Direct::open(file)) {
            match direct.write(file, bytes, offset) {
                // Not this file: never again.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.direct = Some(None);
                }
                done => return done,
            }
        }
        if *self.syncs_as_it_writes.get_or_insert_with(|| linux::syncs_as_it_writes(file)) {
            match linux::write_synced(file, bytes, offset) {
                // An old kernel: never again.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.syncs_as_it_writes = Some(false);
                }
                done => return done,
            }
        }
        self.write_at(bytes, offset)?;
        self.sync()
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn allocate(&mut self, length: u64) -> io::Result<()> {
        if self.length()? >= length {
            return Ok(());
        }
        match linux::allocate(&self.file, length) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => write_zeros(self, length),
            done => done,
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        {
            self.direct = None;
        }
        self.file.set_len(length)
    }

    /// With `F_FULLFSYNC` on Apple's systems, as the standard library does it.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
