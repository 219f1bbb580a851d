//! Reads the pickle inside a PyTorch file without executing it.
//!
//! A pickle is a program that may call any Python function. Here it is only followed: containers, texts, integers and
//! the few calls that rebuild tensors mean something, every other call yields an opaque value. Values live in one
//! arena and refer to each other by index, so a file takes memory in proportion to its size, nothing recurses and
//! nothing is copied, however the file was made.
//!
//! Format: Python's `pickletools`; the calls: `torch.save`.

use std::collections::HashMap;

/// Index of a value in its pickle's arena.
pub type Handle = usize;

/// One value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Something of no interest here.
    Opaque,
    Integer(i64),
    Text(String),
    /// A tuple, list or set.
    Sequence(Vec<Handle>),
    Dictionary(Vec<(Handle, Handle)>),
    /// A Python name, as `module.name`.
    Global(String),
    /// A block of numbers kept elsewhere in the file.
    Storage(Storage),
    /// A view of a storage.
    Tensor(TensorView),
}

/// A block of numbers kept elsewhere in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// PyTorch's class, such as `FloatStorage`.
    pub class: String,
    pub key: String,
}

/// A view of a storage; offset and strides count elements.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorView {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// What one pickle holds.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: Handle,
    /// Bytes the pickle takes; others may follow.
    pub length: usize,
}

/// Longest name that is looked at, which bounds what a file can make us copy.
pub const LONGEST_NAME: usize = 300;
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

impl Pickle {
    /// Follows the pickle at the start of `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine { bytes, ..Machine::default() };
        while machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { values: machine.values, root, length: machine.position })
    }

    /// The value the pickle stands for.
    pub fn root(&self) -> &Value {
        &self.values[self.root]
    }

    /// The value behind a handle of this pickle.
    pub fn value(&self, handle: Handle) -> &Value {
        &self.values[handle]
    }

    /// Every value, in the order of appearance.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Entries of a dictionary whose keys are texts of sensible length.
    pub fn entries<'a>(&'a self, value: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let pairs: &[(Handle, Handle)] = if let Value::Dictionary(pairs) = value { pairs } else { &[] };
        pairs.iter().filter_map(|&(key, value)| match self.value(key) {
            Value::Text(key) if key.len() <= LONGEST_NAME => Some((key.as_str(), self.value(value))),
            _ => None,
        })
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    values: Vec<Value>,
    stack: Vec<Handle>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Handle>,
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..count).ok_or("its pickle ends too early")?;
        self.position += count;
        Ok(taken)
    }

    /// An unsigned little-endian number of `count` ≤ 8 bytes.
    fn number(&mut self, count: usize) -> Result<u64, String> {
        Ok(self.take(count)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// A count of bytes, itself stored in `size` bytes, and then those bytes.
    fn counted(&mut self, size: usize) -> Result<&'a [u8], String> {
        let count = usize::try_from(self.number(size)?).map_err(|_| "its pickle states an impossible length")?;
        self.take(count)
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("its pickle ends too early")?;
        self.position += length + 1;
        Ok(&rest[..length])
    }

    fn decimal(&mut self) -> Result<u64, String> {
        let line = str::from_utf8(self.line()?).unwrap_or_default();
        line.trim().parse().map_err(|_| "its pickle holds a malformed number".to_string())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn push_text(&mut self, bytes: &[u8]) {
        self.push(Value::Text(String::from_utf8_lossy(bytes).into_owned()));
    }

    fn pop(&mut self) -> Result<Handle, String> {
        self.stack.pop().ok_or_else(|| "its pickle is malformed (empty stack)".to_string())
    }

    fn top(&self) -> Result<Handle, String> {
        self.stack.last().copied().ok_or_else(|| "its pickle is malformed (empty stack)".to_string())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Handle>, String> {
        let mark = self.marks.pop().ok_or("its pickle is malformed (no mark)")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn pop_last(&mut self, count: usize) -> Result<Vec<Handle>, String> {
        let start = self.stack.len().checked_sub(count).ok_or("its pickle is malformed (empty stack)")?;
        Ok(self.stack.split_off(start))
    }

    /// The place in the memo that an operation names.
    fn memo_index(&mut self, operation: u8) -> Result<u64, String> {
        match operation {
            b'g' | b'p' => self.decimal(),
            b'h' | b'q' => self.number(1),
            _ => self.number(4),
        }
    }

    fn extend_sequence(&mut self, items: Vec<Handle>) -> Result<(), String> {
        let target = self.top()?;
        if let Value::Sequence(sequence) = &mut self.values[target] {
            sequence.extend(items);
        }
        Ok(())
    }

    fn extend_dictionary(&mut self, items: &[Handle]) -> Result<(), String> {
        let target = self.top()?;
        if let Value::Dictionary(dictionary) = &mut self.values[target] {
            dictionary.extend(items.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)));
        }
        Ok(())
    }

    /// Performs one operation; false after the last.
    fn step(&mut self) -> Result<bool, String> {
        let operation = self.take(1)?[0];
        match operation {
            b'.' => return Ok(false),
            // Protocol and frame: the format needs no such hints.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.stack.push(self.top()?),
            // What never describes a tensor: constants, floating-point numbers and objects.
            b'N' | 0x88 | 0x89 | b'G' | b'F' | b'P' | 0x81 | 0x92 | b'o' | b'i' => {
                match operation {
                    b'G' => drop(self.take(8)?),
                    b'F' | b'P' => drop(self.line()?),
                    0x81 => drop(self.pop_last(2)?),
                    0x92 => drop(self.pop_last(3)?),
                    b'o' => drop(self.pop_to_mark()?),
                    b'i' => {
                        let _name = (self.line()?, self.line()?);
                        self.pop_to_mark()?;
                    }
                    _ => {}
                }
                self.push(Value::Opaque);
            }
            // Integers.
            b'K' | b'M' => {
                let number = self.number(if operation == b'K' { 1 } else { 2 })?;
                self.push(Value::Integer(number as i64));
            }
            b'J' => {
                let number = self.number(4)? as u32 as i32;
                self.push(Value::Integer(number.into()));
            }
            0x8a | 0x8b => {
                let digits = self.counted(if operation == 0x8a { 1 } else { 4 })?;
                self.push(signed(digits).map_or(Value::Opaque, Value::Integer));
            }
            b'I' | b'L' => {
                let line = str::from_utf8(self.line()?).unwrap_or_default().trim().trim_end_matches('L');
                self.push(line.parse().map_or(Value::Opaque, Value::Integer));
            }
            // Texts and bytes.
            b'U' | 0x8c | b'C' | b'X' | b'T' | b'B' | 0x8d | 0x8e | 0x96 => {
                let text = self.counted(match operation {
                    b'U' | 0x8c | b'C' => 1,
                    b'X' | b'T' | b'B' => 4,
                    _ => 8,
                })?;
                self.push_text(text);
            }
            b'S' | b'V' => {
                let text = self.line()?.trim_ascii();
                let quotes: &[u8] = b"'\"";
                let unquoted = text.strip_prefix(&quotes[..1]).and_then(|text| text.strip_suffix(&quotes[..1]));
                self.push_text(unquoted.unwrap_or(text));
            }
            // Containers.
            b')' | b']' | 0x8f => self.push(Value::Sequence(Vec::new())),
            b'}' => self.push(Value::Dictionary(Vec::new())),
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Value::Sequence(items));
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dictionary(Vec::new()));
                self.extend_dictionary(&items)?;
            }
            0x85..=0x87 => {
                let items = self.pop_last(usize::from(operation - 0x84))?;
                self.push(Value::Sequence(items));
            }
            b'a' | b'e' | 0x90 => {
                let items = if operation == b'a' { self.pop_last(1)? } else { self.pop_to_mark()? };
                self.extend_sequence(items)?;
            }
            b's' | b'u' => {
                let items = if operation == b's' { self.pop_last(2)? } else { self.pop_to_mark()? };
                self.extend_dictionary(&items)?;
            }
            // Memo.
            b'g' | b'h' | b'j' => {
                let index = self.memo_index(operation)?;
                let handle = *self.memo.get(&index).ok_or("its pickle refers to a value it never stored")?;
                self.stack.push(handle);
            }
            b'p' | b'q' | b'r' => {
                let index = self.memo_index(operation)?;
                self.memo.insert(index, self.top()?);
            }
            0x94 => drop(self.memo.insert(self.memo.len() as u64, self.top()?)),
            // Names, calls and objects.
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let is_short = module.len() + name.len() <= LONGEST_NAME;
                let name = || format!("{}.{}", String::from_utf8_lossy(module), String::from_utf8_lossy(name));
                self.push(if is_short { Value::Global(name()) } else { Value::Opaque });
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let both = self.short_text(module).zip(self.short_text(name));
                self.push(both.map_or(Value::Opaque, |(module, name)| Value::Global(format!("{module}.{name}"))));
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            // The state set by BUILD is never a tensor's.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let identity = self.pop()?;
                let storage = self.storage(identity).map_or(Value::Opaque, Value::Storage);
                self.push(storage);
            }
            _ => return Err(format!("its pickle uses the unknown operation 0x{operation:02x}")),
        }
        Ok(true)
    }

    fn short_text(&self, handle: Handle) -> Option<&str> {
        match &self.values[handle] {
            Value::Text(text) if text.len() <= LONGEST_NAME => Some(text),
            _ => None,
        }
    }

    fn sequence(&self, handle: Handle) -> Option<&[Handle]> {
        if let Value::Sequence(items) = &self.values[handle] { Some(items) } else { None }
    }

    /// Follows a call of the Python function `callable`.
    fn call(&mut self, callable: Handle, arguments: Handle) -> Result<(), String> {
        let name = if let Value::Global(name) = &self.values[callable] { name.as_str() } else { "" };
        match name {
            "collections.OrderedDict" | "collections.defaultdict" => self.push(Value::Dictionary(Vec::new())),
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
                let view = self.tensor(arguments).ok_or("its pickle holds a malformed tensor")?;
                self.push(Value::Tensor(view));
            }
            // (data, requires_grad, hooks, …)
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                let data = self.sequence(arguments).and_then(|items| items.first().copied());
                self.stack.push(data.ok_or("its pickle holds a malformed parameter")?);
            }
            _ => self.push(Value::Opaque),
        }
        Ok(())
    }

    /// ("storage", class, key, device, element count, …)
    fn storage(&self, identity: Handle) -> Option<Storage> {
        let &[_, class, key, ..] = self.sequence(identity)? else { return None };
        let class = match &self.values[class] {
            Value::Global(name) => name.rsplit('.').next().unwrap_or(name),
            _ => self.short_text(class)?,
        };
        Some(Storage { class: class.to_string(), key: self.short_text(key)?.to_string() })
    }

    /// (storage, offset, shape, strides, …)
    fn tensor(&self, arguments: Handle) -> Option<TensorView> {
        let &[storage, offset, shape, strides, ..] = self.sequence(arguments)? else { return None };
        let Value::Storage(storage) = &self.values[storage] else { return None };
        let integer = |handle: Handle| match self.values[handle] {
            Value::Integer(number) => usize::try_from(number).ok(),
            _ => None,
        };
        let integers = |handle: Handle| -> Option<Vec<usize>> {
            let items = self.sequence(handle).filter(|items| items.len() <= MOST_DIMENSIONS)?;
            items.iter().map(|&item| integer(item)).collect()
        };
        let (shape, strides) = (integers(shape)?, integers(strides)?);
        let view = TensorView { storage: storage.clone(), offset: integer(offset)?, shape, strides };
        (view.shape.len() == view.strides.len()).then_some(view)
    }
}

/// A signed little-endian number of any length, if 64 bits hold it.
fn signed(digits: &[u8]) -> Option<i64> {
    let negative = digits.last().is_some_and(|&byte| byte >= 0x80);
    let mut number = if negative { [0xff; 8] } else { [0; 8] };
    number.get_mut(..digits.len())?.copy_from_slice(digits);
    Some(i64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_spelling() {
        let cases: [(&[u8], i64); 6] = [
            (b"K\x07.", 7),
            (b"M\x01\x02.", 513),
            (b"J\xff\xff\xff\xff.", -1),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x00.", 0),
            (b"I42\n.", 42),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Pickle::read(bytes).unwrap().root(), &Value::Integer(expected), "{bytes:?}");
        }
    }

    #[test]
    fn a_call_is_never_executed() {
        let pickle = Pickle::read(b"cos\nsystem\n(X\x04\x00\x00\x00exittR.").unwrap();
        assert_eq!(pickle.root(), &Value::Opaque);
    }

    #[test]
    fn shared_dictionaries_are_filled_after_they_were_stored() {
        // d = {}; memo 0; d["a"] = 5; the memo sees it.
        let pickle = Pickle::read(b"}q\x00X\x01\x00\x00\x00aK\x05s0h\x00.").unwrap();
        assert_eq!(pickle.entries(pickle.root()).collect::<Vec<_>>(), [("a", &Value::Integer(5))]);
    }

    #[test]
    fn every_prefix_and_every_nesting_is_survived() {
        let nested = [vec![b')'], vec![0x85; 200_000], vec![b'.']].concat();
        assert!(Pickle::read(&nested).is_ok());
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x05X\x01\x00\x00\x00b\x8a\x01\x09u.";
        for length in 0..bytes.len() {
            assert!(Pickle::read(&bytes[..length]).is_err());
        }
        // Doubling by reference, 64 times: linear here, exponential if values were copied.
        let doubled = [b")q\x00".to_vec(), b"h\x00h\x00\x86q\x00".repeat(64), b".".to_vec()].concat();
        assert!(Pickle::read(&doubled).is_ok());
    }
}
