//! Encoded pages until their row group is written: in blocks that all columns of a file share, and that the next row
//! group fills again.
//!
//! A page kept as it was made would be a block of memory of its own, of any size: fresh ones cost as much as filling
//! them, and those that stay leave holes between those that go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use ::parquet::errors::{ParquetError, Result};
use bytes::Bytes;

/// The first block, in bytes; each is twice as large as the one before.
const BLOCK_BYTES_MIN: usize = 64 << 10;
/// The largest block, in bytes.
const BLOCK_BYTES_MAX: usize = 4 << 20;

/// The pages of one file's open row group.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages(Arc<Mutex<Blocks>>);

#[derive(Debug, Default)]
struct Blocks {
    /// Where each page lies, by its key.
    places: Vec<Place>,
    /// Pages that are not yet taken.
    waiting: usize,
    full: Vec<Bytes>,
    open: Vec<u8>,
    free: Vec<Vec<u8>>,
    /// Bytes of all blocks.
    held_bytes: usize,
    /// Bytes of pages.
    used_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    block: usize,
    start: usize,
    length: usize,
}

impl Pages {
    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory, also of what is free for the next row group.
    pub(super) fn held_bytes(&self) -> usize {
        self.blocks().held_bytes
    }

    /// Bytes of pages that wait for their row group to be written.
    pub(super) fn used_bytes(&self) -> usize {
        let blocks = self.blocks();
        if blocks.waiting == 0 { 0 } else { blocks.used_bytes }
    }
}

impl Blocks {
    fn put(&mut self, page: &[u8]) -> PageKey {
        if self.waiting == 0 {
            self.begin();
        }
        if self.open.capacity() - self.open.len() < page.len() {
            self.close();
            self.open = self.block(page.len());
        }
        let place = Place { block: self.full.len(), start: self.open.len(), length: page.len() };
        self.open.extend_from_slice(page);
        self.used_bytes += page.len();
        self.waiting += 1;
        self.places.push(place);
        PageKey::new(self.places.len() as u64 - 1)
    }

    /// The pages of the row group before are written: what nobody reads any more is filled again.
    fn begin(&mut self) {
        self.close();
        for block in self.full.drain(..) {
            match block.try_into_mut() {
                Ok(mut free) => {
                    free.clear();
                    self.free.push(free.into());
                }
                Err(read) => self.held_bytes -= read.len(),
            }
        }
        self.held_bytes = self.free.iter().map(Vec::capacity).sum();
        self.places.clear();
        self.used_bytes = 0;
    }

    fn close(&mut self) {
        if self.open.capacity() > 0 {
            self.full.push(std::mem::take(&mut self.open).into());
        }
    }

    /// An empty block that a page fits into.
    fn block(&mut self, page_bytes: usize) -> Vec<u8> {
        if let Some(place) = self.free.iter().rposition(|free| free.capacity() >= page_bytes) {
            return self.free.swap_remove(place);
        }
        let doubled = BLOCK_BYTES_MIN << self.full.len().min(6);
        let block = Vec::with_capacity(doubled.min(BLOCK_BYTES_MAX).max(page_bytes));
        self.held_bytes += block.capacity();
        block
    }

    fn take(&mut self, key: PageKey) -> Option<Bytes> {
        let Place { block, start, length } = *self.places.get(usize::try_from(key.get()).ok()?)?;
        if block == self.full.len() {
            self.close();
        }
        self.waiting = self.waiting.saturating_sub(1);
        Some(self.full.get(block)?.slice(start..start + length))
    }
}

impl PageStore for Pages {
    fn put(&mut self, page: Bytes) -> Result<PageKey> {
        Ok(self.blocks().put(&page))
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes> {
        self.blocks().take(key).ok_or_else(|| ParquetError::General(format!("page {} is gone", key.get())))
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, _column: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        Ok(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back_and_their_memory_is_filled_again() {
        let mut pages = Pages::default();
        let mut held = Vec::new();
        for group in 0..3_u8 {
            let page = |number: u8| Bytes::from(vec![number ^ group; 1000 * usize::from(number)]);
            let keys: Vec<PageKey> = (0..200).map(|number| pages.put(page(number)).unwrap()).collect();
            assert_eq!(pages.used_bytes(), (0..200).map(|number| number * 1000).sum::<usize>());
            for (number, key) in (0..200).zip(keys) {
                assert_eq!(pages.take(key).unwrap(), page(number));
            }
            assert_eq!(pages.used_bytes(), 0);
            held.push(pages.held_bytes());
        }
        assert_eq!(held, [held[0]; 3]);
        assert!(pages.take(PageKey::new(1000)).is_err());
    }
}
