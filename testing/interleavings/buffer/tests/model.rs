use shape_meta_core::SnapshotState;

/// What threads do, and what came of it.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Accepted at this place in the order.
    At(u64),
    /// It was so already, when everything up to this place had been accepted.
    Already(u64),
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
    /// Whether a call can have had this answer, where the model gives `self`. A mutation that finds things so
    /// already has a receipt too: of the latest place, and none of its own.
    pub(crate) fn fits(&self, given: &Self) -> bool {
        self == given || matches!((self, given), (Self::Already(last), Self::At(place)) if last == place)
    }
}

/// The rules, written down a second time in the shortest form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    live: Vec<Live>,
    /// The place of the latest accepted mutation.
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
    /// What must come of this, if it happens now.
    pub(crate) fn step(&mut self, op: &Op) -> Answer {
        let by_handle = |handle: &str| self.live.iter().position(|live| live.handle == handle);
        let by_key = |key: u64| self.live.iter().find(|live| live.key == key);
        match *op {
            Op::Add(handle, key) | Op::GetOrAdd(handle, key) => match (by_key(key), by_handle(handle)) {
                (Some(holder), _) => Answer::Held(holder.handle.to_owned()),
                (None, Some(_)) => Answer::DuplicateHandle,
                (None, None) => {
                    let at = self.accept();
                    self.live.push(Live { handle, key, created: self.last, state: SnapshotState::Pending });
                    at
                }
            },
            Op::Remove(handle) => match by_handle(handle) {
                None => Answer::Unknown,
                Some(place) => {
                    self.live.remove(place);
                    self.accept()
                }
            },
            Op::Mark(handle, state) => match by_handle(handle) {
                None => Answer::Unknown,
                Some(place) if self.live[place].state >= state => Answer::Already(self.last),
                Some(place) => {
                    self.live[place].state = state;
                    self.accept()
                }
            },
            Op::Reset => {
                self.live.clear();
                self.accept()
            }
            Op::Metadata(handle) => {
                let live = by_handle(handle).map(|place| &self.live[place]);
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
