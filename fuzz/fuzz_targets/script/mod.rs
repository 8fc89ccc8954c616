//! Arguments for C functions, made from a fuzzer's bytes: what is good more
//! often than not, and all that a caller can get wrong without pointing into
//! nowhere.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

/// What untouched outputs are full of.
const CANARY: u8 = 0xa5;
const TOO_LARGE: i32 = -11;

pub struct Script<'a>(pub &'a [u8]);

impl Script<'_> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            // Beyond the end all is well: no choice of a mistake.
            None => 5,
        }
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end
    }

    pub fn number(&mut self) -> u64 {
        match self.byte() % 16 {
            0 | 1 | 2 => 0,
            3 => u64::MAX,
            4 => u64::MAX - u64::from(self.byte()),
            5..=7 => u64::from(self.byte()),
            8 => 1 << (self.byte() & 63),
            9 => (1 << (self.byte() & 63)) - 1,
            10 | 11 => 1_000_000_000 * u64::from(self.byte()),
            12 | 13 => 1024 * u64::from(self.byte()),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    pub fn float(&mut self) -> f64 {
        match self.byte() % 10 {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => -1.0,
            4 => -f64::from(self.byte()),
            5 => 0.5,
            6 => f64::from_bits(self.number()),
            7 => 0.0,
            8 => 100.0,
            _ => f64::from(self.byte()) / 2.5,
        }
    }
}

/// Names stand for files below a folder of our own.
pub fn set_folder() {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder =
            tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        std::env::set_var("FOREBAY_DIR", folder.path());
        folder
    });
}

/// A text that ends with NUL, or NULL.
pub struct Text(Option<Vec<u8>>);

impl Text {
    pub fn new(script: &mut Script<'_>) -> Text {
        let text: &[u8] = match script.byte() % 20 {
            0 => return Text(None),
            1 => b"",
            2 => b"\xff\xfe",
            3 => &[b'x'; 300],
            4 => b"/nonexistent/region",
            5 => b"a",
            6 => b"60/min",
            7 => b"5/s burst 9",
            8 => b"60/fortnight",
            9 => b"unlimited",
            10 => b"default",
            11 => b"99999999999999999999/s",
            12 => &[b'n'; 48],
            13 => "åéî".as_bytes(),
            14 => b"..",
            n => &[b"bcdefg"[usize::from(n - 15)]],
        };
        Text(Some([text, b"\0"].concat()))
    }

    /// Without the NUL; none of NULL.
    pub fn bytes(&self) -> &[u8] {
        let text = self.0.as_deref().unwrap_or(b"\0");
        &text[..text.len() - 1]
    }

    pub fn pointer(&self) -> *const c_char {
        self.0.as_ref().map_or(null(), |text| text.as_ptr().cast())
    }
}

/// Bytes with a length, of which each pair is one that a caller can give.
pub struct Bytes {
    memory: Option<Vec<u8>>,
    pub len: usize,
}

impl Bytes {
    pub fn readable(script: &mut Script<'_>) -> Bytes {
        let filled = |length: usize, script: &mut Script<'_>| {
            let byte = script.byte() % 32;
            // Boxed, so that there is not a byte more than said.
            let memory = vec![byte; length].into_boxed_slice().into_vec();
            Bytes {
                memory: Some(memory),
                len: length,
            }
        };
        match script.byte() % 16 {
            0 => Bytes {
                memory: None,
                len: 0,
            },
            1 => Bytes {
                memory: None,
                len: [1, usize::MAX, isize::MAX as usize][usize::from(script.byte() % 3)],
            },
            2 => Bytes {
                memory: Some(vec![1]),
                len: [usize::MAX, isize::MAX as usize + 1][usize::from(script.byte() % 2)],
            },
            3 => Bytes {
                memory: Some(vec![1]),
                len: 0,
            },
            4 => filled([65_535, 65_536][usize::from(script.byte() % 2)], script),
            5..=10 => filled(1, script),
            11 | 12 => filled(script.below(40), script),
            _ => filled(script.below(5_000), script),
        }
    }

    pub fn writable(script: &mut Script<'_>) -> Bytes {
        let mut bytes = Bytes::readable(script);
        if let Some(memory) = &mut bytes.memory {
            memory.fill(CANARY);
        }
        bytes
    }

    pub fn pointer(&self) -> *mut c_void {
        self.memory
            .as_ref()
            .map_or(null_mut(), |memory| memory.as_ptr().cast_mut().cast())
    }

    /// Bytes that cannot be are refused.
    pub fn check_read(&self, status: i32) {
        if self.len > isize::MAX as usize || self.memory.is_none() && self.len > 0 {
            assert!(status < 0);
        }
    }

    /// Nothing was written unless the call was a success.
    pub fn check(&self, status: i32) {
        self.check_read(status);
        if let Some(memory) = self
            .memory
            .as_ref()
            .filter(|memory| memory.len() == self.len)
        {
            assert!(status == 0 || memory.iter().all(|byte| *byte == CANARY));
        }
    }
}

/// A place for an answer that does not grow, or NULL.
pub struct Out<T> {
    memory: Option<Box<MaybeUninit<T>>>,
    bytes: usize,
}

impl<T: Copy> Out<T> {
    pub fn new(script: &mut Script<'_>) -> Out<T> {
        let there = script.byte() % 16 != 0;
        let memory = there.then(|| {
            let mut memory = Box::new(MaybeUninit::<T>::uninit());
            // SAFETY: within the box.
            unsafe {
                memory
                    .as_mut_ptr()
                    .cast::<u8>()
                    .write_bytes(CANARY, size_of::<T>())
            };
            memory
        });
        Out {
            memory,
            bytes: size_of::<T>(),
        }
    }

    /// For arrays: none at all is a place, too.
    pub fn shorten(&mut self, count: usize) {
        if count == 0 {
            self.memory = None;
        }
    }

    pub fn pointer(&self) -> *mut T {
        self.memory
            .as_ref()
            .map_or(null_mut(), |memory| memory.as_ptr().cast_mut())
    }

    pub fn value(&self) -> T {
        // SAFETY: all bytes were written, and any are a value of what C has.
        unsafe { self.memory.as_ref().unwrap().assume_init_read() }
    }

    /// Nothing was written unless the status is one of these.
    pub fn check(&self, status: i32, writes: &[i32]) {
        if let Some(memory) = self.memory.as_ref().filter(|_| !writes.contains(&status)) {
            let first = memory.as_ptr().cast::<u8>();
            // SAFETY: all bytes were written.
            let bytes = unsafe { std::slice::from_raw_parts(first, self.bytes) };
            assert!(
                bytes.iter().all(|byte| *byte == CANARY),
                "written at status {status}"
            );
        }
    }
}

/// A struct that begins with `struct_size`, in as much memory as that says.
pub struct Grown<T> {
    memory: Option<Box<[u64]>>,
    size: usize,
    _of: std::marker::PhantomData<T>,
}

impl<T> Grown<T> {
    fn make(script: &mut Script<'_>, fill: u8) -> Grown<T> {
        let known = size_of::<T>();
        let size = match script.byte() % 16 {
            0 => {
                return Grown {
                    memory: None,
                    size: 0,
                    _of: std::marker::PhantomData,
                }
            }
            1 => 0,
            2 => 3,
            3 => 4,
            4 => known - 4,
            5 => known + 8,
            6 => 4096,
            7 => 4097,
            8 => u32::MAX as usize,
            9 => script.below(known + 64),
            _ => known,
        };
        // A size that is refused is not believed: only its word is there.
        let there = if size <= 4096 { size.max(8) } else { 8 };
        let words = there.div_ceil(8);
        let mut memory = vec![u64::from_ne_bytes([fill; 8]); words].into_boxed_slice();
        let first = memory.as_mut_ptr().cast::<u32>();
        // SAFETY: there is at least one word.
        unsafe { first.write(size as u32) };
        Grown {
            memory: Some(memory),
            size,
            _of: std::marker::PhantomData,
        }
    }

    /// Options, as far as they fit; behind them zeros, or not.
    pub fn new(options: T, script: &mut Script<'_>) -> Grown<T> {
        let mut grown = Grown::make(script, 0);
        let size = grown.size;
        if let Some(memory) = grown.memory.as_mut().filter(|_| (4..=4096).contains(&size)) {
            let from = (&raw const options).cast::<u8>();
            let to = memory.as_mut_ptr().cast::<u8>();
            let known = size.min(size_of::<T>());
            // SAFETY: within both; the first four bytes stay.
            unsafe {
                to.add(4).copy_from_nonoverlapping(from.add(4), known - 4);
                if size > size_of::<T>() && script.byte() % 2 == 0 {
                    to.add(size - 1).write(1);
                }
            }
        }
        grown
    }

    pub fn for_answer(script: &mut Script<'_>) -> Grown<T> {
        Grown::make(script, CANARY)
    }

    pub fn pointer(&self) -> *mut T {
        self.memory
            .as_ref()
            .map_or(null_mut(), |memory| memory.as_ptr().cast_mut().cast())
    }

    /// On success what lies behind the known fields is zero, and nothing
    /// behind the size was written; otherwise nothing was.
    pub fn check_answer(&self, status: i32) {
        let Some(memory) = &self.memory else {
            return assert!(status < 0);
        };
        let bytes: Vec<u8> = memory.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(bytes[..4], (self.size as u32).to_ne_bytes());
        if status == 0 {
            assert!((4..=4096).contains(&self.size));
            let known = self.size.min(size_of::<T>());
            assert!(bytes[known..self.size].iter().all(|byte| *byte == 0));
            assert!(bytes[self.size.max(4)..].iter().all(|byte| *byte == CANARY));
        } else {
            assert!(status != TOO_LARGE || self.size >= 4);
            assert!(bytes[4..].iter().all(|byte| *byte == CANARY));
        }
    }
}
