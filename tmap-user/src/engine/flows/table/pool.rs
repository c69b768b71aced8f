//! A pool of blocks of a few sizes, for histories that don't fit into an entry.

use std::ops::Range;

use super::memory;

/// Sizes of blocks in bytes.
pub(super) const SIZES: [usize; 8] = [32, 64, 128, 256, 384, 512, 768, 1024];

/// A block's handle: its size class in the top three bits, its number below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block(u32);

const CLASS_SHIFT: u32 = 29;

impl Block {
    /// The class, an index of [`SIZES`].
    #[inline(always)]
    pub(super) fn class(self) -> usize {
        (self.0 >> CLASS_SHIFT) as usize
    }

    fn number(self) -> usize {
        (self.0 & ((1 << CLASS_SHIFT) - 1)) as usize
    }

    /// Its chunk, and its range of bytes there.
    #[inline(always)]
    fn at(self) -> (usize, Range<usize>) {
        let (size, log2) = (SIZES[self.class()], CHUNK_BLOCKS_LOG2[self.class()]);
        let start = (self.number() & ((1 << log2) - 1)) * size;
        (self.number() >> log2, start..start + size)
    }

    /// The handle as a word, which is never `u32::MAX`.
    pub(super) fn to_word(self) -> u32 {
        self.0
    }

    /// The handle of a word from [`Block::to_word`].
    #[inline(always)]
    pub(super) fn from_word(word: u32) -> Self {
        Self(word)
    }
}

/// The number of blocks of each size that are allocated at a time, as a power of two: some 32 MB. Chunks are
/// never moved, so growth costs only the new memory.
const CHUNK_BLOCKS_LOG2: [usize; SIZES.len()] = [20, 19, 18, 17, 16, 16, 15, 15];

/// The most blocks of a class: the last number of the last class would be `u32::MAX`, which means no block.
const MOST_BLOCKS: usize = (1 << CLASS_SHIFT) - 1;

/// The blocks of one size.
#[derive(Debug, Default)]
struct Class {
    chunks: Vec<Vec<u8>>,
    /// Blocks that were ever in use.
    count: usize,
    free: Vec<u32>,
    /// Whether the last chunk asked for large pages.
    has_large_pages: bool,
}

/// All blocks.
#[derive(Debug, Default)]
pub(super) struct Pool {
    classes: [Class; SIZES.len()],
    used_bytes: usize,
}

impl Pool {
    /// Bytes of blocks in use.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Memory held, in bytes: blocks in use and free ones kept for later.
    pub(super) fn heap_bytes(&self) -> usize {
        let of_class =
            |(class, size): (&Class, usize)| class.count * size + class.free.capacity() * size_of::<u32>();
        self.classes.iter().zip(SIZES).map(of_class).sum()
    }

    /// Takes a block of the given class, with arbitrary content. `None` where no more numbers are free.
    pub(super) fn take(&mut self, class: usize) -> Option<Block> {
        let size = SIZES[class];
        let of_class = &mut self.classes[class];
        let number = match of_class.free.pop() {
            Some(number) => number,
            None if of_class.count >= MOST_BLOCKS => return None,
            None => of_class.grow(size, CHUNK_BLOCKS_LOG2[class]),
        };
        self.used_bytes += size;
        Some(Block((class as u32) << CLASS_SHIFT | number))
    }

    /// Gives a block back.
    pub(super) fn give(&mut self, block: Block) {
        self.classes[block.class()].free.push(block.number() as u32);
        self.used_bytes -= SIZES[block.class()];
    }

    /// A block's content.
    #[inline(always)]
    pub(super) fn get(&self, block: Block) -> &[u8] {
        let (chunk, range) = block.at();
        &self.classes[block.class()].chunks[chunk][range]
    }

    /// A block's content, for writing.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, block: Block) -> &mut [u8] {
        let (chunk, range) = block.at();
        &mut self.classes[block.class()].chunks[chunk][range]
    }

    /// Copies the first `count` bytes of a block to another one, of another class.
    ///
    /// # Panics
    /// If both are of one class.
    pub(super) fn copy(&mut self, from: Block, to: Block, count: usize) {
        let both = self.classes.get_disjoint_mut([from.class(), to.class()]);
        let [source, target] = both.expect("blocks of two classes");
        let ((chunk, range), (to_chunk, to_range)) = (from.at(), to.at());
        let bytes = &source.chunks[chunk][range][..count];
        target.chunks[to_chunk][to_range][..count].copy_from_slice(bytes);
    }

    /// Prefetches the line that holds byte `at` of a block.
    #[inline(always)]
    pub(super) fn prefetch(&self, block: Block, at: usize) {
        let (chunk, range) = block.at();
        if let Some(chunk) = self.classes[block.class()].chunks.get(chunk) {
            memory::prefetch(chunk, range.start + at);
        }
    }
}

impl Class {
    /// The number of a block never used before.
    fn grow(&mut self, size: usize, chunk_blocks_log2: usize) -> u32 {
        let number = self.count as u32;
        if self.count == self.chunks.len() << chunk_blocks_log2 {
            // The kernel zeroes the pages when they are touched.
            self.chunks.push(vec![0; size << chunk_blocks_log2]);
            self.has_large_pages = false;
        }
        if !self.has_large_pages && self.count * size >= memory::SMALL_BYTES {
            self.chunks.last_mut().into_iter().for_each(memory::use_large_pages);
            self.has_large_pages = true;
        }
        self.count += 1;
        number
    }
}
