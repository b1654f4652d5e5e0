//! Traversal of the b-trees of a [`PageImage`].

use std::{collections::HashSet, path::Path};

use shape_meta_core::Result;

use super::{
    page_cells::{PageKind, cells, children},
    page_image::PageImage,
    page_overrides::{page_size, read_u32},
    record::{Value, values},
    scan,
};
use crate::{format::schema, open::header::MAGIC};

/// Our tables that a salvage can do without.
const OTHER_TABLES: [&str; 10] = [
    "change_log",
    "last_read",
    "opening",
    "owner",
    "lineage",
    "trusted_storage",
    "stamp",
    "handle_lookup",
    "key_lookup",
    "relation_lookup",
];

/// The tables of cleanup tasks: until version 2, and since version 3. A migration and a `VACUUM` give the
/// latter another root page, unlike the three tables of shapes.
const TASKS: [&str; 2] = ["to_clean", "cleanup"];

/// Opens the database at `path` with its WAL or journal, for reading.
pub(super) fn open(path: &Path) -> Result<PageImage> {
    PageImage::open(path, PageImage::parsable_rows, PageImage::names_shapes)
}

impl PageImage {
    fn parsable_rows(&self) -> usize {
        let of_page = |number| match self.page(number) {
            Some(page) => cells(&page, number, self).filter(|cell| values(&cell.payload).is_some()).count(),
            None => 0,
        };
        (1..=self.count()).map(of_page).sum()
    }

    /// Whether the schema is readable, and names a table of shapes.
    fn names_shapes(&self) -> bool {
        self.roots().iter().any(|(table, _)| table == b"shape")
    }

    /// Returns the pages in use. Free pages may still have rows of removed shapes.
    ///
    /// If the first page is not that of this file, the free pages are unknown. Then the pages of our tables
    /// are found by their trees: a removed shape must not come back.
    pub(super) fn live_pages(&self) -> HashSet<u32> {
        let mut live = if self.has_own_first_page() {
            match self.free_pages() {
                Some(free) => (1..=self.count()).filter(|page| !free.contains(page)).collect(),
                None => self.reachable_pages(),
            }
        } else {
            let (ours, _) = self.pages_of_tables();
            if ours.is_empty() { (1..=self.count()).collect() } else { ours }
        };
        // The tables of an operator may have copies of our rows. They are left out if it is certain whose
        // they are.
        if self.has_own_first_page()
            && self.free_pages().is_some()
            && let (ours, Some(others)) = self.pages_of_tables()
        {
            live.retain(|page| ours.contains(page) || !others.contains(page));
        }
        live
    }

    /// Whether the first page is as our code writes it, and agrees with the file.
    fn has_own_first_page(&self) -> bool {
        let Some(first) = self.page(1) else { return false };
        first.starts_with(MAGIC)
            && read_u32(&first, 68).cast_signed() == schema::APPLICATION_ID
            && page_size(read_u32(&first, 16) >> 16) == Some(self.page_size())
            && read_u32(&first, 28) == self.count()
    }

    /// Returns the pages of our tables, and those of all other tables and indexes. `None` instead of the
    /// latter if the schema does not name all of ours: an unknown name may then be a damaged one of ours.
    fn pages_of_tables(&self) -> (HashSet<u32>, Option<HashSet<u32>>) {
        // A table keeps the root page of its creation, and a `VACUUM` creates all in the same order.
        let mut ours = [("meta", 2), ("shape", 3), ("definition", 4)];
        let (mut named, mut known, mut others, mut tasks) = (0, Vec::new(), Vec::new(), Vec::new());
        for (table, root) in self.roots() {
            if let Some(one) = ours.iter_mut().find(|(name, _)| name.as_bytes() == table) {
                one.1 = root;
                named += 1;
            } else if TASKS.iter().any(|name| name.as_bytes() == table) {
                tasks.push(root);
            } else if OTHER_TABLES.iter().any(|name| name.as_bytes() == table) {
                known.push(root);
            } else {
                others.push(root);
            }
        }
        let is_named = named >= ours.len() && !tasks.is_empty();
        let mut pages = HashSet::new();
        if tasks.is_empty() {
            pages.extend(self.pages_of_tasks());
        }
        let roots =
            ours.iter().map(|(_, root)| *root).chain(tasks).chain(known.into_iter().filter(|_| is_named));
        for root in roots {
            let is_root = |page: Vec<u8>| PageKind::of(&page, root).is_some();
            if root > 1 && self.page(root).is_some_and(is_root) {
                pages.extend(self.pages_below(root));
            }
        }
        let others = is_named.then(|| others.into_iter().flat_map(|root| self.pages_below(root)).collect());
        (pages, others)
    }

    /// Returns the pages that hold nothing but sound cleanup tasks. Some may be acknowledged ones, on free
    /// pages: a task may be handed out twice (C12).
    fn pages_of_tasks(&self) -> HashSet<u32> {
        let holds_tasks = |number: &u32| {
            let Some(page) = self.page(*number) else { return false };
            let mut cells = cells(&page, *number, self).peekable();
            cells.peek().is_some()
                && cells.all(|cell| values(&cell.payload).is_some_and(|row| scan::is_task(cell.id, &row)))
        };
        (2..=self.count()).filter(holds_tasks).collect()
    }

    /// Returns the name of the table and the root page of each table and index in the schema, as far as it is
    /// readable.
    fn roots(&self) -> Vec<(Vec<u8>, u32)> {
        let mut roots = Vec::new();
        for number in self.pages_below(1) {
            let Some(page) = self.page(number) else { continue };
            for cell in cells(&page, number, self) {
                if let Some([Value::Text(_), Value::Text(name), _, Value::Integer(root), _]) =
                    values(&cell.payload).as_deref()
                    && let Ok(root) = u32::try_from(*root)
                {
                    roots.push((name.to_vec(), root));
                }
            }
        }
        roots
    }

    /// Returns the pages of the free list; `None` if the list is damaged.
    pub(super) fn free_pages(&self) -> Option<HashSet<u32>> {
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
    pub(super) fn pages_below(&self, root: u32) -> HashSet<u32> {
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
