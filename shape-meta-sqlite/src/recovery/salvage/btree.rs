//! Walks over the b-trees of an [`Image`].

use std::{collections::HashSet, path::Path};

use shape_meta_core::Result;

use super::{
    cells::{Kind, cells, children},
    image::Image,
    log::number,
    record::{Value, values},
};

/// Opens the file of this name and its log or journal. Reads only.
pub(super) fn open(path: &Path) -> Result<Image> {
    Image::open(path, Image::rows_that_parse)
}

impl Image {
    fn rows_that_parse(&self) -> usize {
        let of_page = |number| match self.page(number) {
            Some(page) => cells(&page, number, self).filter(|cell| values(&cell.payload).is_some()).count(),
            None => 0,
        };
        (1..=self.count()).map(of_page).sum()
    }

    /// The pages that hold rows which count: what is free still holds rows that were removed.
    pub(super) fn live(&self) -> HashSet<u32> {
        match self.free() {
            Some(free) => (1..=self.count()).filter(|page| !free.contains(page)).collect(),
            None => self.reachable(),
        }
    }

    /// The free pages; `None` if the list of them is damaged.
    fn free(&self) -> Option<HashSet<u32>> {
        let first = self.page(1)?;
        let (mut trunk, expected) = (number(&first, 32), number(&first, 36) as usize);
        let mut free = HashSet::new();
        while trunk != 0 {
            let page = self.page(trunk)?;
            let leaves = number(&page, 4) as usize;
            if !free.insert(trunk) || leaves > self.usable() / 4 - 2 {
                return None;
            }
            for leaf in 0..leaves {
                let leaf = number(&page, 8 + 4 * leaf);
                if !(2..=self.count()).contains(&leaf) || !free.insert(leaf) {
                    return None;
                }
            }
            trunk = number(&page, 0);
        }
        (free.len() == expected).then_some(free)
    }

    /// The pages that can be reached from the root of a table.
    fn reachable(&self) -> HashSet<u32> {
        let mut reached = HashSet::new();
        let mut next = vec![1];
        while let Some(number) = next.pop() {
            let Some(page) = self.page(number).filter(|_| reached.insert(number)) else { continue };
            match Kind::of(&page, number) {
                Some(Kind::TableInterior | Kind::IndexInterior) => {
                    next.extend(children(&page, number));
                }
                Some(Kind::TableLeaf) => {
                    // Rows of the schema say where tables begin; no other row looks like one.
                    for cell in cells(&page, number, self) {
                        if let Some([Value::Text(_), _, _, Value::Integer(root), Value::Text(_)]) =
                            values(&cell.payload).as_deref()
                        {
                            next.extend(u32::try_from(*root));
                        }
                    }
                }
                Some(Kind::IndexLeaf) | None => {}
            }
        }
        reached
    }

    /// The pages of this table, as far as the rows of the schema and the pages that lead to others can be read.
    pub(super) fn pages_of(&self, table: &str) -> HashSet<u32> {
        for number in self.below(1) {
            let Some(page) = self.page(number) else { continue };
            for cell in cells(&page, number, self) {
                if let Some([Value::Text(b"table"), Value::Text(name), _, Value::Integer(root), _]) =
                    values(&cell.payload).as_deref()
                    && *name == table.as_bytes()
                {
                    return u32::try_from(*root).map(|root| self.below(root)).unwrap_or_default();
                }
            }
        }
        HashSet::new()
    }

    /// The pages of the b-tree with this root.
    fn below(&self, root: u32) -> HashSet<u32> {
        let (mut reached, mut next) = (HashSet::new(), vec![root]);
        while let Some(number) = next.pop() {
            let Some(page) = self.page(number).filter(|_| reached.insert(number)) else { continue };
            if let Some(Kind::TableInterior | Kind::IndexInterior) = Kind::of(&page, number) {
                next.extend(children(&page, number));
            }
        }
        reached
    }
}
