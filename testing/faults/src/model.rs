use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use crate::cut::{Cut, SECTOR, Survivors};

/// The content of a directory's files, and which of it a power cut cannot lose.
#[derive(Debug, Default)]
pub(crate) struct Model {
    nodes: Vec<Node>,
    /// The names now, and at the last sync of the directory.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// The changes of names since then: the new node of the name, or `None` if it was deleted.
    renamed: Vec<(u64, String, Option<usize>)>,
    /// The number of the latest write or change of a name.
    order: u64,
}

/// One file, under any number of names.
#[derive(Debug, Default)]
struct Node {
    synced: Vec<u8>,
    unsynced: Vec<(u64, Change)>,
    length: u64,
    /// Its first sync also syncs the directory.
    syncs_directory: bool,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Model {
    /// Reads the files of a directory as synced content.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let mut model = Self::default();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let synced = fs::read(entry.path())?;
                let node = Node { length: synced.len() as u64, synced, ..Node::default() };
                model.names.insert(entry.file_name().to_string_lossy().into_owned(), model.nodes.len());
                model.nodes.push(node);
            }
        }
        model.synced_names = model.names.clone();
        Ok(model)
    }

    /// Returns the node of a file that was just opened, and adds it if the name is new.
    pub(crate) fn open(&mut self, name: &str, syncs_directory: bool) -> usize {
        if let Some(node) = self.names.get(name) {
            return *node;
        }
        let node = self.nodes.len();
        self.nodes.push(Node { syncs_directory, ..Node::default() });
        self.names.insert(name.to_owned(), node);
        let order = self.next_order();
        self.renamed.push((order, name.to_owned(), Some(node)));
        node
    }

    /// Forgets a name that was removed without SQLite. The removal counts as synced.
    pub(crate) fn forget(&mut self, name: &str) {
        self.names.remove(name);
        self.synced_names.remove(name);
        self.renamed.retain(|(_, other, _)| other != name);
    }

    pub(crate) fn delete(&mut self, name: &str, syncs_directory: bool) {
        if self.names.remove(name).is_some() {
            let order = self.next_order();
            self.renamed.push((order, name.to_owned(), None));
        }
        if syncs_directory {
            self.sync_directory();
        }
    }

    pub(crate) fn write(&mut self, node: usize, offset: u64, data: &[u8]) {
        let order = self.next_order();
        let node = &mut self.nodes[node];
        node.length = node.length.max(offset + data.len() as u64);
        node.unsynced.push((order, Change::Write(offset as usize, data.to_vec())));
    }

    pub(crate) fn truncate(&mut self, node: usize, length: u64) {
        let order = self.next_order();
        let node = &mut self.nodes[node];
        node.length = length;
        node.unsynced.push((order, Change::Truncate(length as usize)));
    }

    pub(crate) fn sync(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        for (_, change) in std::mem::take(&mut node.unsynced) {
            change.apply(&mut node.synced);
        }
        if std::mem::take(&mut node.syncs_directory) {
            self.sync_directory();
        }
    }

    /// Discards the unsynced writes after a failed sync: the file system takes them for written.
    pub(crate) fn discard_unsynced(&mut self, node: usize) {
        self.nodes[node].unsynced.clear();
    }

    /// Returns by how many bytes a write would make the file longer.
    pub(crate) fn growth(&self, node: usize, offset: u64, length: usize) -> u64 {
        (offset + length as u64).saturating_sub(self.nodes[node].length)
    }

    /// Returns the size of all files together.
    pub(crate) fn size(&self) -> u64 {
        self.names.values().map(|node| self.nodes[*node].length).sum()
    }

    /// Writes what survives a power cut into an empty directory.
    pub(crate) fn image(&self, to: &Path, cut: Cut) -> io::Result<()> {
        let unsynced = self.nodes.iter().flat_map(|node| &node.unsynced).map(|(order, _)| *order);
        let first = unsynced.chain(self.renamed.iter().map(|(order, ..)| *order)).min().unwrap_or(self.order);
        let mut survivors = Survivors::new(cut, first, self.order);
        let mut names = self.synced_names.clone();
        let kept = survivors.names(self.renamed.iter().map(|(order, ..)| *order));
        for (_, name, node) in &self.renamed[..kept] {
            match node {
                Some(node) => names.insert(name.clone(), *node),
                None => names.remove(name),
            };
        }
        // Each node is decided once, so a file has one content under all of its names.
        let wanted: BTreeSet<usize> = names.values().copied().collect();
        let mut contents = BTreeMap::new();
        for node in wanted {
            contents.insert(node, self.nodes[node].after(&mut survivors));
        }
        for (name, node) in names {
            fs::write(to.join(name), &contents[&node])?;
        }
        Ok(())
    }

    fn sync_directory(&mut self) {
        self.synced_names.clone_from(&self.names);
        self.renamed.clear();
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}

impl Node {
    fn after(&self, survivors: &mut Survivors) -> Vec<u8> {
        let mut content = self.synced.clone();
        for (order, change) in &self.unsynced {
            match change {
                Change::Write(offset, data) if survivors.is_torn() => {
                    // Sectors are aligned on the disk, wherever the write begins.
                    let mut from = 0;
                    while from < data.len() {
                        let to = (from + SECTOR - (offset + from) % SECTOR).min(data.len());
                        if survivors.survives(*order) {
                            put(&mut content, offset + from, &data[from..to]);
                        }
                        from = to;
                    }
                }
                change if survivors.survives(*order) => change.apply(&mut content),
                _ => {}
            }
        }
        content
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => put(content, *offset, data),
            Self::Truncate(length) => content.truncate(*length),
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}
