use shape_meta_core::SnapshotState;

/// A call of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add(&'static str, u64),
    GetOrAdd(&'static str, u64),
    Remove(&'static str),
    Mark(&'static str, SnapshotState),
    Reset,
    Metadata(&'static str),
    HandleFor(u64),
    Readers,
    Counts,
    Scan,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Accepted with this sequence number.
    At(u64),
    /// Without effect; this was the last sequence number.
    NoOp(u64),
    /// The key is held by this handle.
    Held(String),
    DuplicateHandle,
    Unknown,
    Metadata(Option<(u64, SnapshotState)>),
    Handle(Option<String>),
    Handles(Vec<String>),
    Total(u64),
    All(Vec<(String, u64, SnapshotState)>),
}

impl Answer {
    /// Whether a call may have had the answer `given` where the model gives `self`. A mutation without effect
    /// has a receipt too, for the last sequence number.
    pub(crate) fn fits(&self, given: &Self) -> bool {
        self == given || matches!((self, given), (Self::NoOp(last), Self::At(seq)) if last == seq)
    }
}

/// The contract in its shortest form, written independently of the product.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    live: Vec<Live>,
    /// The sequence number of the latest accepted mutation.
    pub(crate) last: u64,
}

#[derive(Clone, Debug)]
struct Live {
    handle: &'static str,
    key: u64,
    created: u64,
    state: SnapshotState,
}

impl Model {
    /// Executes a call and returns the answer.
    pub(crate) fn step(&mut self, op: &Op) -> Answer {
        let by_handle = |handle: &str| self.live.iter().position(|live| live.handle == handle);
        let by_key = |key: u64| self.live.iter().find(|live| live.key == key);
        match *op {
            Op::Add(handle, key) | Op::GetOrAdd(handle, key) => match (by_key(key), by_handle(handle)) {
                (Some(holder), _) => Answer::Held(holder.handle.to_owned()),
                (None, Some(_)) => Answer::DuplicateHandle,
                (None, None) => {
                    let answer = self.accept();
                    self.live.push(Live { handle, key, created: self.last, state: SnapshotState::Pending });
                    answer
                }
            },
            Op::Remove(handle) => match by_handle(handle) {
                None => Answer::Unknown,
                Some(at) => {
                    self.live.remove(at);
                    self.accept()
                }
            },
            Op::Mark(handle, state) => match by_handle(handle) {
                None => Answer::Unknown,
                Some(at) if self.live[at].state >= state => Answer::NoOp(self.last),
                Some(at) => {
                    self.live[at].state = state;
                    self.accept()
                }
            },
            Op::Reset => {
                self.live.clear();
                self.accept()
            }
            Op::Metadata(handle) => {
                let live = by_handle(handle).map(|at| &self.live[at]);
                Answer::Metadata(live.map(|live| (live.created, live.state)))
            }
            Op::HandleFor(key) => Answer::Handle(by_key(key).map(|live| live.handle.to_owned())),
            Op::Readers => {
                let mut handles: Vec<_> = self.live.iter().map(|live| live.handle.to_owned()).collect();
                handles.sort();
                Answer::Handles(handles)
            }
            Op::Counts => Answer::Total(self.live.len() as u64),
            Op::Scan => Answer::All(self.all()),
        }
    }

    /// All live shapes, in the order of creation.
    pub(crate) fn all(&self) -> Vec<(String, u64, SnapshotState)> {
        self.live.iter().map(|live| (live.handle.to_owned(), live.created, live.state)).collect()
    }

    fn accept(&mut self) -> Answer {
        self.last += 1;
        Answer::At(self.last)
    }
}
