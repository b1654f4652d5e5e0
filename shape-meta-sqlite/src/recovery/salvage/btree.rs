//! Traversal of the b-trees of a [`PageImage`].

use std::{collections::HashSet, path::Path};

use shape_meta_core::Result;

use super::{
    page_cells::{PageKind, cells, children},
    page_image::PageImage,
    page_overrides::read_u32,
    record::{Value, values},
};

/// Opens the database at `path` with its WAL or journal, for reading.
pub(super) fn open(path: &Path) -> Result<PageImage> {
    PageImage::open(path, PageImage::parsable_rows)
}

impl PageImage {
    fn parsable_rows(&self) -> usize {
        let of_page = |number| match self.page(number) {
            Some(page) => cells(&page, number, self).filter(|cell| values(&cell.payload).is_some()).count(),
            None => 0,
        };
        (1..=self.count()).map(of_page).sum()
    }

    /// Returns the pages in use. Free pages may still have rows of removed shapes.
    pub(super) fn live_pages(&self) -> HashSet<u32> {
        match self.free_pages() {
            Some(free) => (1..=self.count()).filter(|page| !free.contains(page)).collect(),
            None => self.reachable_pages(),
        }
    }

    /// Returns the pages of the free list; `None` if the list is damaged.
    fn free_pages(&self) -> Option<HashSet<u32>> {
        let first = self.page(1)?;
        let (mut trunk, expected) = (read_u32(&first, 32), read_u32(&first, 36) as usize);
        let mut free = HashSet::new();
        while trunk != 0 {
            let page = self.page(trunk)?;
            let leaves = read_u32(&page, 4) as usize;
            if !free.insert(trunk) || leaves > self.usable() / 4 - 2 {
                return None;
            }
            for leaf in 0..leaves {
                let leaf = read_u32(&page, 8 + 4 * leaf);
                if !(2..=self.count()).contains(&leaf) || !free.insert(leaf) {
                    return None;
                }
            }
            trunk = read_u32(&page, 0);
        }
        (free.len() == expected).then_some(free)
    }

    /// Returns the pages that can be reached from the schema.
    fn reachable_pages(&self) -> HashSet<u32> {
        let mut reached = HashSet::new();
        let mut next = vec![1];
        while let Some(number) = next.pop() {
            let Some(page) = self.page(number).filter(|_| reached.insert(number)) else { continue };
            match PageKind::of(&page, number) {
                Some(PageKind::TableInterior | PageKind::IndexInterior) => {
                    next.extend(children(&page, number));
                }
                Some(PageKind::TableLeaf) => {
                    // The rows of the schema name the root pages. No other table has such columns.
                    for cell in cells(&page, number, self) {
                        if let Some([Value::Text(_), _, _, Value::Integer(root), Value::Text(_)]) =
                            values(&cell.payload).as_deref()
                        {
                            next.extend(u32::try_from(*root));
                        }
                    }
                }
                Some(PageKind::IndexLeaf) | None => {}
            }
        }
        reached
    }

    /// Returns the pages of a table, as far as the schema and the interior pages are readable.
    pub(super) fn pages_of(&self, table: &str) -> HashSet<u32> {
        for number in self.pages_below(1) {
            let Some(page) = self.page(number) else { continue };
            for cell in cells(&page, number, self) {
                if let Some([Value::Text(b"table"), Value::Text(name), _, Value::Integer(root), _]) =
                    values(&cell.payload).as_deref()
                    && *name == table.as_bytes()
                {
                    return u32::try_from(*root).map(|root| self.pages_below(root)).unwrap_or_default();
                }
            }
        }
        HashSet::new()
    }

    /// Returns the pages of the b-tree with this root.
    fn pages_below(&self, root: u32) -> HashSet<u32> {
        let (mut reached, mut next) = (HashSet::new(), vec![root]);
        while let Some(number) = next.pop() {
            let Some(page) = self.page(number).filter(|_| reached.insert(number)) else { continue };
            if let Some(PageKind::TableInterior | PageKind::IndexInterior) = PageKind::of(&page, number) {
                next.extend(children(&page, number));
            }
        }
        reached
    }
}
