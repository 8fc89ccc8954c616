//! The region: one array of words that holds every object, private to the
//! process or a file that every worker maps.

mod container;
mod directory;
#[doc(hidden)]
pub mod events;
mod file;
mod fork_lock;
mod header;
pub(crate) mod layout;
#[doc(hidden)]
pub mod lock;
mod memory;
mod place;
mod seat;
pub(crate) mod sys;
mod trust;

pub(crate) use directory::{open, Geometry, Object, Request};
pub(crate) use fork_lock::ForkLock;
pub(crate) use memory::Memory;

use crate::clock::Clock;
use crate::hash::{Hasher, SECRET_BYTES};
use crate::words::{Span, Words};
use crate::{
    Breaker, BreakerOptions, Cache, CacheOptions, Error, Histogram, HistogramOptions, Kind,
    Limiter, LimiterOptions, Permits, PermitsOptions, Result, WindowCounter, WindowOptions,
};
use fork_lock::without_forks;
use layout::*;
use seat::{Seats, SharedFile};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The version of the format of regions. Files of another version are refused;
/// it is part of the standard file name, so two versions can run side by side.
pub const LAYOUT_VERSION: u32 = layout::LAYOUT_VERSION;

/// The bytes that a region's own header takes.
pub const HEADER_BYTES: u64 = (HEADER_WORDS * 8) as u64;

const DEFAULT_BYTES: u64 = 16 << 20;
const MAX_BYTES: u64 = 1 << 40;

/// An open region.
///
/// Cheap to clone; `Send` and `Sync`. Every object opened in it keeps it alive.
/// After a `fork` it works in the child too, which takes a seat of its own on
/// first use.
#[derive(Clone)]
pub struct Region {
    inner: Arc<Inner>,
}

/// What [`Region`] and its objects share.
pub(crate) struct Inner {
    pub(crate) memory: Arc<Memory>,
    pub(crate) words: usize,
    pub(crate) header: Span,
    pub(crate) hasher: Hasher,
    pub(crate) clock: Clock,
    pub(crate) seats: Seats,
    _presence: Option<sys::Mapping>,
    /// Dropped last: by then this process is not in the region any more.
    _farewell: Option<place::Farewell>,
}

/// How to open a region: [`Region::options`].
///
/// ```
/// # fn main() -> forebay::Result<()> {
/// use std::time::Duration;
/// let region = forebay::Region::options().bytes(1 << 20).manual_clock(true).private()?;
/// region.advance(Duration::from_secs(1))?;
/// assert_eq!(region.now(), 1_000_000_000);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RegionOptions {
    bytes: u64,
    mode: u32,
    create: bool,
    fresh: bool,
    ephemeral: bool,
    manual_clock: bool,
}

impl Default for RegionOptions {
    fn default() -> Self {
        RegionOptions {
            bytes: DEFAULT_BYTES,
            mode: 0o600,
            create: true,
            fresh: false,
            ephemeral: false,
            manual_clock: false,
        }
    }
}

impl RegionOptions {
    /// The defaults: 16 MiB, mode 0600, created if absent, the real clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// The size of a region that is created; an existing one keeps its own.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// The permission bits of the file: 0600, or 0660 to share it with a group.
    /// An existing file that lets in more is refused.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// With `false`, a file that is absent is [`Error::NotFound`].
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Starts with an empty region, unless a live process has the old one open.
    pub fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// The last process that leaves removes the file. By default it stays, so
    /// that a reload does not forget limits. Fixed when the region is created.
    pub fn ephemeral(mut self, ephemeral: bool) -> Self {
        self.ephemeral = ephemeral;
        self
    }

    /// The region's clock stands still until [`Region::advance`]. Fixed when
    /// the region is created.
    pub fn manual_clock(mut self, manual: bool) -> Self {
        self.manual_clock = manual;
        self
    }

    /// Opens the shared region of this name, or at this path if there is a `/`
    /// in it, and creates it if need be. Opening one twice in a process gives
    /// the same mapping.
    ///
    /// A name stands for a file below `FOREBAY_DIR` if that is set, else below
    /// `/dev/shm/forebay-UID` (the temporary directory where that is missing).
    ///
    /// # Errors
    /// Whatever is wrong with the file, told apart: [`Error::Permission`],
    /// [`Error::Layout`], [`Error::Corrupt`], [`Error::OutOfSpace`] and so on.
    pub fn open(&self, name_or_path: &str) -> Result<Region> {
        self.check()?;
        if name_or_path.contains('\0') {
            return Err(Error::invalid("path", "a NUL byte", "a path without NUL"));
        }
        let path = if name_or_path.contains('/') {
            PathBuf::from(name_or_path)
        } else {
            file::standard_path(name_or_path)?
        };
        // The region outlives a change of directory.
        let path = std::path::absolute(&path).map_err(|e| Error::io(&path, "resolve", &e))?;
        for _ in 0..file::ATTEMPTS {
            // One opener at a time in a process, so that all get one mapping.
            let mut opened = OPENED.lock();
            let (memory, shared) = file::open(&path, self)?;
            let identity = shared.identity;
            let known = opened.iter().find(|(id, _)| *id == identity);
            if let Some(inner) = known.and_then(|(_, inner)| inner.upgrade()) {
                return Ok(Region { inner });
            }
            // From here until the seat is taken nobody finds the file unused
            // and replaces it; somebody may have just before.
            let place = place::Place::keep(&shared)?;
            if !shared.is_at_its_path() {
                continue;
            }
            let inner = Arc::new(Inner::new(memory, Some(shared))?);
            drop(place);
            opened.retain(|(_, inner)| inner.strong_count() > 0);
            opened.push((identity, Arc::downgrade(&inner)));
            return Ok(Region { inner });
        }
        Err(place::BUSY)
    }

    /// Makes a region that is private to this process.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a size out of range,
    /// [`Error::OutOfSpace`] if there is no memory for it.
    pub fn private(&self) -> Result<Region> {
        self.check()?;
        let memory = Memory::try_heap((self.bytes / 8) as usize).ok_or(Error::OutOfSpace {
            path: "(private)".into(),
            needs: self.bytes,
            hint: "the allocator refused".into(),
        })?;
        let memory = Arc::new(memory);
        let header = Span::new(memory.clone(), 0, HEADER_WORDS).expect("bytes hold a header");
        header::fill(&header, self)?;
        Ok(Region {
            inner: Arc::new(Inner::new(memory, None)?),
        })
    }

    fn allows_mode(mode: u32) -> bool {
        mode & !0o660 == 0 && mode & 0o600 == 0o600
    }

    fn check(&self) -> Result<()> {
        let least = HEADER_BYTES + 4096;
        if self.bytes < least || self.bytes > MAX_BYTES || !self.bytes.is_multiple_of(8) {
            return Err(Error::invalid(
                "bytes",
                self.bytes,
                format_args!("{least} to {MAX_BYTES}, a multiple of 8"),
            ));
        }
        if !Self::allows_mode(self.mode) {
            return Err(Error::invalid(
                "mode",
                format_args!("{:o}", self.mode),
                "600 or 660 (octal): nobody but the owner and, if need be, a group",
            ));
        }
        Ok(())
    }
}

/// The shared regions that this process has open, by device and inode.
static OPENED: ForkLock<Opened> = ForkLock::new(Opened::new(), Opened::new);

type Opened = Vec<((u64, u64), Weak<Inner>)>;

impl Inner {
    fn new(memory: Arc<Memory>, file: Option<SharedFile>) -> Result<Inner> {
        let words = memory.words().len();
        let header = Span::new(memory.clone(), 0, HEADER_WORDS).expect("bytes hold a header");
        let mut secret = [0; SECRET_BYTES];
        header.copy_out(AT_SECRET, &mut secret);
        let manual = header.load(AT_FLAGS, Relaxed) & FLAG_MANUAL_CLOCK != 0;
        let ephemeral = header.load(AT_FLAGS, Relaxed) & FLAG_EPHEMERAL != 0;
        let farewell = file.as_ref().filter(|_| ephemeral).map(place::Farewell::to);
        let presence = file
            .as_ref()
            .map(|file| without_forks(|| file.hold_presence()));
        Ok(Inner {
            _presence: presence.transpose()?,
            _farewell: farewell,
            clock: Clock::new(&header, manual),
            hasher: Hasher::new(secret),
            seats: Seats::take(header.clone(), file)?,
            memory,
            words,
            header,
        })
    }

    pub(crate) fn file(&self) -> Option<&SharedFile> {
        self.seats.file()
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.file().map(|file| file.path.as_path())
    }

    /// The wall clock's time at a time of the region's clock.
    pub(crate) fn wall(&self, at: u64) -> std::time::SystemTime {
        let created = self.header.load(AT_WALL, Relaxed);
        std::time::UNIX_EPOCH + Duration::from_nanos(created.saturating_add(at))
    }

    /// Counts a structure that recovery cleared.
    pub(crate) fn count_reset(&self) {
        self.header.add(AT_RESETS, 1);
    }
}

impl Region {
    /// Opens a shared region with the default options: [`RegionOptions::open`].
    pub fn open(name_or_path: &str) -> Result<Region> {
        RegionOptions::new().open(name_or_path)
    }

    /// Makes a private region with the default options: [`RegionOptions::private`].
    pub fn private() -> Result<Region> {
        RegionOptions::new().private()
    }

    /// How to open a region otherwise.
    pub fn options() -> RegionOptions {
        RegionOptions::new()
    }

    /// Nanoseconds since the region was made: the clock that all its
    /// operations read. It counts suspension and never goes back.
    pub fn now(&self) -> u64 {
        self.inner.clock.now()
    }

    /// Sleeps until [`Region::now`] is `due`, but not for longer than `at_most`;
    /// whether it is. A manual clock that is moved wakes those who sleep.
    pub fn sleep_until(&self, due: u64, at_most: Duration) -> bool {
        self.inner.clock.wait_until(due, at_most)
    }

    /// Moves a manual clock forward, for everybody in the region.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the region was made with the real clock.
    pub fn advance(&self, by: Duration) -> Result<()> {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.inner.clock.advance(by).ok_or_else(|| {
            Error::invalid(
                "clock",
                "the real clock",
                "a region made with a manual clock",
            )
        })
    }

    /// Whether other processes can share this region.
    pub fn is_shared(&self) -> bool {
        self.inner.file().is_some()
    }

    /// The file of a shared region.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path()
    }

    /// The region's size.
    pub fn bytes(&self) -> u64 {
        (self.inner.words * 8) as u64
    }

    /// Opens the limiter of this name, creating it if need be. With `None` it
    /// attaches only. Rates and tiers given here apply to everybody at once.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::NotFound`], [`Error::WrongKind`],
    /// [`Error::Geometry`], [`Error::RegionFull`].
    pub fn limiter(
        &self,
        name: &str,
        options: impl Into<Option<LimiterOptions>>,
    ) -> Result<Limiter> {
        Limiter::open(&self.inner, name, Kind::Limiter, options.into())
    }

    /// Opens the window counter of this name, creating it if need be. With
    /// `None` it attaches only.
    ///
    /// # Errors
    /// As for [`Region::limiter`].
    pub fn window(
        &self,
        name: &str,
        options: impl Into<Option<WindowOptions>>,
    ) -> Result<WindowCounter> {
        WindowCounter::open(&self.inner, name, options.into())
    }

    /// Opens the cache of this name, creating it if need be. With `None` it
    /// attaches only. A TTL given here applies to everybody's later sets.
    ///
    /// # Errors
    /// As for [`Region::limiter`].
    pub fn cache(&self, name: &str, options: impl Into<Option<CacheOptions>>) -> Result<Cache> {
        Cache::open(&self.inner, name, options.into())
    }

    /// Opens the breaker of this name, creating it if need be. With `None` it
    /// attaches only. Thresholds given here apply to everybody at once.
    ///
    /// # Errors
    /// As for [`Region::limiter`].
    pub fn breaker(
        &self,
        name: &str,
        options: impl Into<Option<BreakerOptions>>,
    ) -> Result<Breaker> {
        Breaker::open(&self.inner, name, options.into())
    }

    /// Opens the histogram of this name, creating it if need be: there is
    /// nothing to choose yet, so `None` stands for the defaults.
    ///
    /// # Errors
    /// As for [`Region::limiter`].
    pub fn histogram(
        &self,
        name: &str,
        options: impl Into<Option<HistogramOptions>>,
    ) -> Result<Histogram> {
        let _ = options.into();
        Histogram::open(&self.inner, name)
    }

    /// Opens the permits of this name, creating them if need be. With `None` it
    /// attaches only. A limit and a lease given here apply to everybody's later
    /// calls.
    ///
    /// # Errors
    /// As for [`Region::limiter`].
    pub fn permits(
        &self,
        name: &str,
        options: impl Into<Option<PermitsOptions>>,
    ) -> Result<Permits> {
        Permits::open(&self.inner, name, options.into())
    }

    /// The objects of the region, in the order of their creation. A damaged
    /// directory ends the list.
    pub fn objects(&self) -> Vec<ObjectInfo> {
        directory::entries(&self.inner)
            .map_while(Result::ok)
            .map(|entry| ObjectInfo {
                name: entry.name,
                kind: entry.kind,
                bytes: (entry.length * 8) as u64,
            })
            .collect()
    }

    /// Figures about the region itself. Costs a system call per seat ever taken.
    pub fn stats(&self) -> RegionStats {
        let inner = &self.inner;
        RegionStats {
            bytes: self.bytes(),
            used: (directory::used(inner).unwrap_or(inner.words) * 8) as u64,
            objects: self.objects().len() as u64,
            seats: inner.seats.live() as u64,
            seats_max: if self.is_shared() { SEATS as u64 } else { 1 },
            events: inner.header.load(AT_EVENT_NEXT, Acquire),
            events_dropped: inner.header.load(AT_EVENTS_DROPPED, Relaxed),
            resets: inner.header.load(AT_RESETS, Relaxed),
        }
    }

    /// The events from sequence number `since` on, oldest first. Begin with 0,
    /// go on with [`Events::next`]. The region keeps the newest 256.
    pub fn events(&self, since: u64) -> Events {
        events::read(&self.inner.header, since, |number| {
            directory::name_of(&self.inner, number)
        })
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("path", &self.path())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// An object of a region: [`Region::objects`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The memory that it takes.
    pub bytes: u64,
}

/// Figures about a region: [`Region::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionStats {
    /// The region's size.
    pub bytes: u64,
    /// How much of it the header and the objects take.
    pub used: u64,
    /// How many objects there are.
    pub objects: u64,
    /// How many live processes have it open.
    pub seats: u64,
    /// How many may.
    pub seats_max: u64,
    /// Events written since the region was made.
    pub events: u64,
    /// Events that could not be written.
    pub events_dropped: u64,
    /// Structures that recovery cleared because their holder had died.
    pub resets: u64,
}

/// An answer of [`Region::events`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Events {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// What to pass as `since` next time.
    pub next: u64,
    /// How many of those asked for had been overwritten.
    pub lost: u64,
}

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its number, from 0 since the region was made.
    pub sequence: u64,
    /// When: nanoseconds since the region was made.
    pub time: u64,
    /// What.
    pub kind: EventKind,
    /// To which object; empty for the region itself.
    pub object: String,
    /// A number that the kind explains.
    pub detail: u64,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// An object was created.
    ObjectCreated,
    /// An object was opened with other rates, TTLs or thresholds, which apply from now on.
    OptionsChanged,
    /// A breaker opened; the detail is its generation.
    BreakerOpened,
    /// A breaker lets probes through; the detail is its generation.
    BreakerHalfOpened,
    /// A breaker closed; the detail is its generation.
    BreakerClosed,
    /// A cache was cleared by its users.
    CacheCleared,
    /// A shard of a cache was cleared because its holder had died; the detail is its number.
    ShardReset,
}

impl EventKind {
    const ALL: [EventKind; 7] = [
        EventKind::ObjectCreated,
        EventKind::OptionsChanged,
        EventKind::BreakerOpened,
        EventKind::BreakerHalfOpened,
        EventKind::BreakerClosed,
        EventKind::CacheCleared,
        EventKind::ShardReset,
    ];

    /// The name that faces without enumerations use, such as `breaker-open`.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::ObjectCreated => "object-created",
            EventKind::OptionsChanged => "options-changed",
            EventKind::BreakerOpened => "breaker-open",
            EventKind::BreakerHalfOpened => "breaker-half-open",
            EventKind::BreakerClosed => "breaker-closed",
            EventKind::CacheCleared => "cache-cleared",
            EventKind::ShardReset => "shard-reset",
        }
    }

    /// The number that stands for it in a region and in the C face, from 1.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    fn from_number(number: u32) -> Option<EventKind> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}
