use std::sync::LazyLock;

use blake3::{
    Hasher,
    hazmat::{self, ContextKey, HasherExt},
};

use super::{LogMode, Replica, Shape};
use crate::Key;

/// Separates these keys from every other use of BLAKE3. A change of the encoding below needs the next
/// version, and makes every key on disk unreachable.
const CONTEXT: &str = "shape-meta definition key, Shape, version 1";

/// The hash of [`CONTEXT`], which `blake3::derive_key` would compute again for each key.
static CONTEXT_KEY: LazyLock<ContextKey> = LazyLock::new(|| hazmat::hash_derive_key_context(CONTEXT));

pub(super) fn key(shape: &Shape) -> Key {
    // In one piece: BLAKE3 hashes several chunks of a long encoding at once.
    Key::new(*Hasher::new_from_context_key(&CONTEXT_KEY).update(&encode(shape)).finalize().as_bytes())
}

/// Encodes all fields one after the other, each self-delimiting. So different definitions have different
/// encodings: an encoding can be decoded, as a test does.
fn encode(shape: &Shape) -> Vec<u8> {
    // Destructured, so that a new field cannot be forgotten here.
    let Shape {
        table,
        oid,
        pk,
        columns,
        replica,
        log,
        filter,
        params,
        dependencies,
        all_columns,
        subquery_columns,
    } = shape;
    let mut out = Encoder(Vec::with_capacity(512));
    out.text(&table.schema);
    out.text(&table.name);
    out.0.extend(oid.oid().to_le_bytes());
    out.texts(pk.iter());
    out.texts(columns.iter());
    out.0.push(match replica {
        Replica::Default => 0,
        Replica::Full => 1,
    });
    out.0.push(match log {
        LogMode::Full => 0,
        LogMode::ChangesOnly => 1,
    });
    out.texts(filter.iter());
    out.texts(params.keys());
    params.values().for_each(|value| out.text(value));
    out.length(dependencies.len());
    dependencies.iter().for_each(|key| out.0.extend(key.as_bytes()));
    // These fields came later. Without them nothing is appended, so the keys of other definitions stay.
    if *all_columns || !subquery_columns.is_empty() {
        out.0.push((*all_columns).into());
        out.texts(subquery_columns.iter());
    }
    out.0
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn length(&mut self, length: usize) {
        self.0.extend((length as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
    }

    fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a String>) {
        self.length(texts.len());
        texts.for_each(|text| self.text(text));
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::{Definition, DefinitionExt, Relation, TableName};

    fn todos() -> Shape {
        Shape::new(TableName::new("public", "todos"), Relation::new(16510))
            .pk(["id"])
            .columns(["id", "text", "done"])
            .filter("user_id = $1")
            .param("1", "42")
    }

    /// If this test fails, the encoding has changed, and existing databases find none of their shapes. Either
    /// the change was a mistake, or the version in `CONTEXT` has to be increased.
    #[test]
    fn keys_never_change() {
        let keys = [
            Shape::new(TableName::new("", ""), Relation::new(0)),
            todos(),
            todos()
                .replica(Replica::Full)
                .log(LogMode::ChangesOnly)
                .filter("name = 'Ünïcödé\n\u{0}' AND \u{1f980} = $2")
                .param("2", "x")
                .depends_on(Key::new([7; 32])),
        ]
        .map(|shape| shape.key().to_string());
        insta::assert_debug_snapshot!(keys, @r#"
        [
            "387fd1661e2ea7260721d48bb92031bbfe7d0b29f051ccb6367506e51b658b3c",
            "58631b7721cdca418b79b214ebde08917cc4de228876c0b003b7dffc7387f5e6",
            "b75498e77e7dd846687e3aaddcbd7eb2b77b855aadc4b8603f795c0567b4efda",
        ]
        "#);
    }

    /// BLAKE3 hashes chunks of 1,024 bytes, several at once; long encodings take other paths through it.
    /// What holds for the test above holds for this one.
    #[test]
    fn keys_of_long_definitions_never_change() {
        let texts = |from: usize, count: usize| (from..from + count).map(|number| format!("text {number}"));
        let keys = [
            todos().filter("x".repeat(512)),
            todos().filter("x".repeat(1_024)),
            todos().filter("'é\n' = $1 OR ".repeat(700)),
            todos().columns(texts(1, 40)),
            todos().columns(texts(1, 2_000)).pk(texts(2, 30)),
            texts(1, 3_000).fold(todos(), |shape, text| shape.param(text.clone(), text.repeat(5))),
            (0..=255).fold(todos(), |shape, byte| shape.depends_on(Key::new([byte; 32]))),
        ]
        .map(|shape| shape.key().to_string());
        insta::assert_debug_snapshot!(keys, @r#"
        [
            "2ac05d8388703c31563d8de24c0d3b0126e53fc1a9df585376a8493b0fb5aa67",
            "3fa179b82a8c58df164f25184b81d1d459f399cd2674ab224b7c9785c78a3cf6",
            "14d6fa011470dd72a72459ce3d46e5f7945764b338b1bbc933c0e5bfb3c11801",
            "ebdb97ac106e858208310ebea7197f0e017854d544fd3577172d52ea557eeb21",
            "272b87ab8fe5970cc5dffc58b3c744ad68d3d97ab0f6b38e8788acd04f2e1027",
            "80a19bb5b074b6b96fef00d8cf1a95acf0c2273cbed761db541a5c51d221dd8a",
            "b976a7572726b7341072a777c6e7a238dc392851695f5ce88befa24c87226657",
        ]
        "#);
    }

    fn assert_equal(a: Shape, b: Shape) {
        assert_eq!(a, b);
        assert_eq!((a.key(), a.definition_hash(), a.encode()), (b.key(), b.definition_hash(), b.encode()));
    }

    fn assert_unequal(a: Shape, b: Shape) {
        assert_ne!(a, b);
        assert_ne!((a.key(), a.definition_hash()), (b.key(), b.definition_hash()));
        assert_ne!(a.encode(), b.encode());
    }

    #[test]
    fn columns_are_a_set() {
        assert_equal(todos(), todos().columns(["text", "done", "id", "text"]));
        assert_unequal(todos(), todos().columns(["id", "text"]));
        assert_unequal(todos(), todos().columns(["id", "text", "Done"]));
    }

    #[test]
    fn c2_inner_shapes_of_different_subqueries_have_different_keys() {
        let inner = || todos().columns(["id"]);
        assert_unequal(inner(), inner().subquery_columns(["id"]));
        assert_unequal(inner().subquery_columns(["id"]), inner().subquery_columns(["user_id"]));
        assert_unequal(inner().subquery_columns(["a", "b"]), inner().subquery_columns(["b", "a"]));
        assert_unequal(inner().subquery_columns(["a"]), inner().subquery_columns(["a", "a"]));
    }

    #[test]
    fn c2_all_columns_differ_from_the_same_columns_by_name() {
        let columns = ["id", "text", "done"];
        assert_unequal(todos().columns(columns), todos().all_columns(columns));
        assert_equal(todos().columns(columns), Shape { all_columns: false, ..todos().all_columns(columns) });
        assert_unequal(
            todos().all_columns(columns),
            todos().all_columns(columns).subquery_columns(["user_id"]),
        );
    }

    #[test]
    fn the_primary_key_is_a_list() {
        assert_unequal(todos().pk(["a", "b"]), todos().pk(["b", "a"]));
        assert_unequal(todos().pk(["a"]), todos().pk(["a", "a"]));
    }

    #[test]
    fn parameters_are_compared_by_name() {
        assert_equal(todos().param("2", "x").param("3", "y"), todos().param("3", "y").param("2", "x"));
        assert_unequal(todos().param("2", "x").param("3", "y"), todos().param("2", "y").param("3", "x"));
        assert_unequal(todos(), todos().param("1", "43"));
        assert_unequal(todos(), todos().param("2", ""));
        let json = |params: &str| {
            let json = format!(
                r#"{{"table":["a","b"],"oid":1,"pk":[],"columns":[],"replica":"full","log":"full"{params}}}"#
            );
            Shape::decode(json.as_bytes()).expect("the JSON is valid")
        };
        assert_equal(json(""), json(r#","params":{}"#));
        assert_equal(json(r#","params":{"1":"x","2":"y"}"#), json(r#","params":{"2":"y","1":"x"}"#));
    }

    #[test]
    fn the_filter_is_compared_byte_by_byte() {
        for other in ["user_id=$1", "USER_ID = $1", "user_id = $1 ", "user_id = $1\n", ""] {
            assert_unequal(todos(), todos().filter(other));
        }
        // Composed and decomposed characters look the same.
        assert_unequal(todos().filter("é = 1"), todos().filter("e\u{301} = 1"));
        let absent = Shape { filter: None, ..todos() };
        assert_unequal(absent.clone(), todos().filter(""));
        assert_unequal(absent, todos());
    }

    #[test]
    fn table_oid_and_modes_are_compared() {
        assert_unequal(todos(), Shape { table: TableName::new("public", "Todos"), ..todos() });
        assert_unequal(todos(), Shape { table: TableName::new("other", "todos"), ..todos() });
        assert_unequal(todos(), Shape { oid: Relation::new(16511), ..todos() });
        assert_unequal(todos(), todos().replica(Replica::Full));
        assert_unequal(todos(), todos().log(LogMode::ChangesOnly));
    }

    #[test]
    fn relations_and_dependencies_are_those_of_the_fields() {
        let [a, b] = [1, 2].map(|byte| Key::new([byte; 32]));
        assert_eq!(todos().relations(), [Relation::new(16510)]);
        assert_eq!(todos().depends_on(b).depends_on(a).dependencies(), [b, a]);
        assert!(todos().is_indexed() && !todos().filter("a > 1").is_indexed());
    }

    #[test]
    fn dependencies_are_a_list() {
        let [a, b] = [1, 2].map(|byte| Key::new([byte; 32]));
        assert_unequal(todos().depends_on(a).depends_on(b), todos().depends_on(b).depends_on(a));
        assert_unequal(todos().depends_on(a), todos().depends_on(a).depends_on(a));
        assert_unequal(todos(), todos().depends_on(a));
    }

    /// Decodes an encoding. That this is possible proves that different definitions have different encodings.
    struct Decoder<'a>(&'a [u8]);

    impl Decoder<'_> {
        fn take(&mut self, length: usize) -> &[u8] {
            let (head, rest) = self.0.split_at(length);
            self.0 = rest;
            head
        }

        fn length(&mut self) -> usize {
            u64::from_le_bytes(self.take(8).try_into().expect("8 bytes")) as usize
        }

        fn text(&mut self) -> String {
            let length = self.length();
            String::from_utf8(self.take(length).to_vec()).expect("the bytes were UTF-8")
        }

        fn texts(&mut self) -> Vec<String> {
            (0..self.length()).map(|_| self.text()).collect()
        }

        fn shape(mut self) -> Shape {
            let table = TableName { schema: self.text(), name: self.text() };
            let oid = u32::from_le_bytes(self.take(4).try_into().expect("4 bytes"));
            let mut shape = Shape::new(table, Relation::new(oid)).pk(self.texts()).columns(self.texts());
            shape.replica = [Replica::Default, Replica::Full][usize::from(self.take(1)[0])];
            shape.log = [LogMode::Full, LogMode::ChangesOnly][usize::from(self.take(1)[0])];
            shape.filter = self.texts().pop();
            let names = self.texts();
            shape.params = names.into_iter().map(|name| (name, self.text())).collect();
            shape.dependencies =
                (0..self.length()).map(|_| Key::new(self.take(32).try_into().expect("32 bytes"))).collect();
            if !self.0.is_empty() {
                shape.all_columns = self.take(1)[0] == 1;
                shape.subquery_columns = self.texts();
            }
            assert!(self.0.is_empty());
            shape
        }
    }

    /// Generates definitions of few short texts, so that many of them are similar or equal.
    fn similar() -> impl Strategy<Value = Shape> {
        let text = || prop_oneof![4 => select(vec!["", "a", "b", "ab", "\0"]).prop_map(str::to_owned), 1 => any::<String>()];
        let key = (0..3_u8).prop_map(|byte| Key::new([byte; 32]));
        (
            (text(), text(), select(vec![0, 1, u32::MAX])),
            (vec(text(), 0..3), vec(text(), 0..3), any::<(bool, bool)>()),
            (proptest::option::of(text()), vec((text(), text()), 0..3), vec(key, 0..3)),
            (any::<bool>(), vec(text(), 0..3)),
        )
            .prop_map(
                |(
                    (schema, name, oid),
                    (pk, columns, (full, changes)),
                    (filter, params, dependencies),
                    (all_columns, subquery_columns),
                )| {
                    let mut shape =
                        Shape::new(TableName { schema, name }, Relation::new(oid)).pk(pk).columns(columns);
                    shape.replica = if full { Replica::Full } else { Replica::Default };
                    shape.log = if changes { LogMode::ChangesOnly } else { LogMode::Full };
                    shape.filter = filter;
                    shape.params = params.into_iter().collect();
                    shape.dependencies = dependencies;
                    shape.all_columns = all_columns;
                    shape.subquery_columns = subquery_columns;
                    shape
                },
            )
    }

    proptest! {
        #[test]
        fn the_encoding_can_be_decoded(shape in similar()) {
            prop_assert_eq!(Decoder(&encode(&shape)).shape(), shape);
        }

        #[test]
        fn the_key_is_that_of_blake3_for_the_context(shape in similar()) {
            prop_assert_eq!(shape.key(), Key::new(blake3::derive_key(CONTEXT, &encode(&shape))));
        }

        #[test]
        fn the_json_is_that_of_serde(shape in similar()) {
            let json = serde_json::to_vec(&shape).expect("strings, numbers and maps with text keys become JSON");
            prop_assert_eq!(shape.encode(), json);
        }

        #[test]
        fn json_decodes_to_an_equal_definition(shape in similar()) {
            let read = Shape::decode(&shape.encode()).expect("an encoded definition decodes");
            prop_assert_eq!(read.key(), shape.key());
            prop_assert_eq!(read, shape);
        }

        #[test]
        fn keys_are_equal_if_and_only_if_definitions_are(a in similar(), b in similar()) {
            prop_assert_eq!(a == b, a.key() == b.key());
            prop_assert_eq!(a == b, a.encode() == b.encode());
        }
    }
}
