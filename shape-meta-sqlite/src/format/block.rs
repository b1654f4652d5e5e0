//! Blocks: the definitions of shapes that one batch adds one after the other, compressed together in one row
//! of `definition`.
//!
//! The definitions of an application repeat each other: names of tables and columns, fields, operators. A
//! block needs no dictionary outside of it, so damage costs the shapes of one row, as everywhere else. Its
//! row id is that of its last shape, so the block of a shape is the first row from the shape's id on.
//!
//! A block stays until its last shape is removed. So churn costs at most the space of [`SHAPES`] compressed
//! definitions for each live shape.

use std::mem;

use shape_meta_core::{Key, store_parts::checksum};

use crate::format::row::{self, Defect};

/// The largest number of definitions in a block: reading one decompresses all.
const SHAPES: usize = 16;
/// The content of a block, before it is compressed, ends with the definition that reaches this size.
const CONTENT: usize = 32 << 10;
/// A longer definition has a row of its own, so that a read of another one does not decompress it.
const DEFINITION: usize = 8 << 10;
/// The size of a block's list, for each definition: see [`Member`].
const MEMBER: usize = 20;

/// A definition, as its row or its block has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredDefinition<'a> {
    pub(crate) id: i64,
    /// 32 bytes for each key.
    pub(crate) dependencies: &'a [u8],
    pub(crate) body: &'a [u8],
    /// `None` in a row of version 1.
    pub(crate) checksum: Option<i64>,
}

/// A definition in a block. Encoded as distance (4 bytes), keys (4), length of the body (4) and checksum (8),
/// little endian.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// The distance of its row id from that of the block.
    distance: u32,
    /// The number of its dependencies.
    dependencies: u32,
    body: u32,
    checksum: i64,
}

impl Member {
    fn encode(&self, into: &mut Vec<u8>) {
        for number in [self.distance, self.dependencies, self.body] {
            into.extend_from_slice(&number.to_le_bytes());
        }
        into.extend_from_slice(&self.checksum.to_le_bytes());
    }

    fn decode(bytes: &[u8; MEMBER]) -> Self {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let checksum = u64::from(number(12)) | u64::from(number(16)) << 32;
        Self {
            distance: number(0),
            dependencies: number(4),
            body: number(8),
            checksum: checksum.cast_signed(),
        }
    }
}

/// Collects the definitions of the next block.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    /// Id, number of bytes of the dependencies, number of bytes of the body, checksum.
    members: Vec<(i64, usize, usize, i64)>,
    content: Vec<u8>,
    list: Vec<u8>,
    compressed: Vec<u8>,
}

/// The columns of a block.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) id: i64,
    pub(crate) first: i64,
    /// The column `dependencies`.
    pub(crate) list: &'a [u8],
    /// The column `body`.
    pub(crate) content: &'a [u8],
}

impl Block<'_> {
    /// Returns the column `checksum`. Each definition has its own in the list. That of a block only has to
    /// differ from null: if the column `first` is lost, the row is then no definition of version 1, which has
    /// none.
    pub(crate) fn checksum(&self) -> i64 {
        checksum::of(row::seq(self.id), self.list)
    }
}

impl BlockBuilder {
    /// Whether a definition of this size must have a row of its own.
    pub(crate) fn is_too_large(dependencies: usize, body: usize) -> bool {
        dependencies + body > DEFINITION
    }

    /// Whether a definition with this id can be in the block: ids ascend.
    pub(crate) fn takes(&self, id: i64) -> bool {
        let is_near = |first: i64| id.checked_sub(first).is_some_and(|far| u32::try_from(far).is_ok());
        match (self.members.first(), self.members.last()) {
            (Some((first, ..)), Some((last, ..))) => {
                *last < id && is_near(*first) && self.members.len() < SHAPES && self.content.len() < CONTENT
            }
            _ => true,
        }
    }

    /// Adds a definition that [`takes`](Self::takes) lets in.
    pub(crate) fn add(&mut self, id: i64, dependencies: &[u8], body: &[u8], checksum: i64) {
        self.members.push((id, dependencies.len(), body.len(), checksum));
        self.content.extend_from_slice(dependencies);
        self.content.extend_from_slice(body);
    }

    pub(crate) fn contains(&self, id: i64) -> bool {
        self.members.iter().any(|(member, ..)| *member == id)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns the definitions one by one.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = StoredDefinition<'_>> {
        let mut rest = &self.content[..];
        self.members.iter().map(move |(id, dependencies, body, checksum)| {
            let (own, after) = rest.split_at(dependencies + body);
            rest = after;
            let (dependencies, body) = own.split_at(*dependencies);
            StoredDefinition { id: *id, dependencies, body, checksum: Some(*checksum) }
        })
    }

    /// Returns the columns of the block; `None` if it is empty.
    pub(crate) fn encode(&mut self) -> Option<Block<'_>> {
        let ((first, ..), (id, ..)) = (*self.members.first()?, *self.members.last()?);
        self.list.clear();
        for (member, dependencies, body, checksum) in &self.members {
            // `takes` and `is_too_large` keep all three small.
            let distance = (id - member) as u32;
            let dependencies = (dependencies / 32) as u32;
            Member { distance, dependencies, body: *body as u32, checksum: *checksum }.encode(&mut self.list);
        }
        let most = lz4_flex::block::get_maximum_output_size(self.content.len());
        if self.compressed.len() < most {
            self.compressed.resize(most, 0);
        }
        // It fails only if the output is too short.
        let length = lz4_flex::block::compress_into(&self.content, &mut self.compressed).ok()?;
        Some(Block { id, first, list: &self.list, content: &self.compressed[..length] })
    }

    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.content.clear();
    }
}

/// The content of the block that was read last: those who read shapes in order decompress each block once.
#[derive(Debug, Default)]
pub(crate) struct BlockReader {
    /// The row id, and the members.
    block: Option<(i64, Vec<Member>)>,
    content: Vec<u8>,
}

impl BlockReader {
    /// Returns the definition of the shape `id` in this block; `None` if it is not in it.
    ///
    /// # Errors
    ///
    /// What is wrong with the block.
    pub(crate) fn find(
        &mut self,
        block: &Block<'_>,
        id: i64,
    ) -> Result<Option<StoredDefinition<'_>>, Defect> {
        if self.block.as_ref().is_none_or(|(read, _)| *read != block.id) {
            self.decode(block)?;
        }
        let Some((_, members)) = &self.block else { return Ok(None) };
        let mut rest = &self.content[..];
        for member in members {
            let (own, after) = rest.split_at(member.dependencies as usize * 32 + member.body as usize);
            rest = after;
            if block.id.checked_sub(member.distance.into()) == Some(id) {
                let (dependencies, body) = own.split_at(member.dependencies as usize * 32);
                return Ok(Some(StoredDefinition {
                    id,
                    dependencies,
                    body,
                    checksum: Some(member.checksum),
                }));
            }
        }
        Ok(None)
    }

    fn decode(&mut self, block: &Block<'_>) -> Result<(), Defect> {
        self.block = None;
        let members = members(block.list)?;
        let size: usize = members.iter().map(|one| one.dependencies as usize * 32 + one.body as usize).sum();
        if size > CONTENT + DEFINITION {
            return Err(format!("its definition: the block {} claims {size} bytes", block.id).into());
        }
        let mut content = mem::take(&mut self.content);
        content.resize(size, 0);
        match lz4_flex::block::decompress_into(block.content, &mut content) {
            Ok(found) if found == size => {
                (self.content, self.block) = (content, Some((block.id, members)));
                Ok(())
            }
            Ok(found) => {
                Err(format!("its definition: the block {} has {found} bytes instead of {size}", block.id)
                    .into())
            }
            Err(error) => {
                Err(format!("its definition: the block {} cannot be decompressed: {error}", block.id).into())
            }
        }
    }
}

/// Returns the ids of the shapes in a block. A damaged list may name others, which have definitions
/// elsewhere.
///
/// # Errors
///
/// What is wrong with its list.
pub(crate) fn shapes(id: i64, first: i64, list: &[u8]) -> Result<impl Iterator<Item = i64>, Defect> {
    let of_member = move |member: Member| id.checked_sub(member.distance.into()).filter(|id| *id >= first);
    Ok(members(list)?.into_iter().filter_map(of_member))
}

fn members(list: &[u8]) -> Result<Vec<Member>, Defect> {
    match list.as_chunks::<MEMBER>() {
        (members, []) if members.len() <= SHAPES => Ok(members.iter().map(Member::decode).collect()),
        _ => Err(format!("its definition: a block has a list of {} bytes", list.len()).into()),
    }
}

/// Encodes dependencies as [`StoredDefinition`] has them.
pub(crate) fn encode_dependencies(keys: &[Key], into: &mut Vec<u8>) {
    into.clear();
    keys.iter().for_each(|key| into.extend_from_slice(key.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(id: i64) -> Vec<u8> {
        format!("{{\"table\":\"issues\",\"where\":\"project_id = {id}\"}}").into_bytes()
    }

    #[test]
    fn a_block_returns_each_of_its_definitions_and_no_other() {
        let mut builder = BlockBuilder::default();
        let ids: Vec<i64> = (1..=SHAPES as i64).map(|id| 3 * id).collect();
        for id in &ids {
            assert!(builder.takes(*id));
            builder.add(*id, &[7; 64], &definition(*id), id + 1);
        }
        assert!(!builder.takes(1_000), "it is full");
        let block = builder.encode().expect("not empty");
        assert_eq!((block.first, block.id), (3, 3 * SHAPES as i64));
        let size: usize = ids.iter().map(|id| 64 + definition(*id).len()).sum();
        assert!(block.content.len() < size / 4, "{} of {size} bytes", block.content.len());
        assert_eq!(shapes(block.id, block.first, block.list).expect("sound").collect::<Vec<_>>(), ids);

        let mut reader = BlockReader::default();
        for id in 0..=block.id + 3 {
            let found = reader.find(&block, id).expect("sound");
            let body = definition(id);
            let expected = ids.contains(&id).then_some(StoredDefinition {
                id,
                dependencies: &[7; 64],
                body: &body,
                checksum: Some(id + 1),
            });
            assert_eq!(found, expected, "{id}");
        }
    }

    #[test]
    fn a_list_names_no_shape_outside_of_its_block() {
        let mut list = Vec::new();
        for distance in [20, 7, 0, u32::MAX] {
            Member { distance, dependencies: 0, body: 0, checksum: 0 }.encode(&mut list);
        }
        let found = |id, first| shapes(id, first, &list).expect("well-formed").collect::<Vec<_>>();
        assert_eq!(found(30, 20), [23, 30]);
        assert_eq!(found(i64::MIN + 7, i64::MIN), [i64::MIN, i64::MIN + 7]);
    }
}
