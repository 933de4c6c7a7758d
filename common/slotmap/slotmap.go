// Package slotmap keeps values under small numbers that are used again, such as descriptors,
// and finds them by keys that are never used again.
//
// An event of epoll(7) carries a tag. The descriptor alone is a bad tag: an event may be for
// a connection that was closed a moment ago, and the kernel may have given its descriptor to
// a new connection. A key is the index of a slot together with a count. To find a value costs
// one access to a slice. A map from keys to values would need several, and more memory.
package slotmap

import "iter"

// Map holds a *T in each slot that is in use. The zero Map is empty. A Map is not safe for
// concurrent use.
type Map[T any] struct {
	slots []*T     // by index; nil in a slot that is not in use
	keys  []uint32 // by index: the count of the last value that was put there
	count uint32   // how many values were put, modulo 2^32
}

// Put puts v into the slot with this index, which must not be in use, and returns its key.
// index is at least 0 and less than 2^31. Keys are greater than math.MaxUint32. A key is used
// again only after 2^32 calls of Put.
func (m *Map[T]) Put(index int, v *T) (key uint64) {
	if more := index + 1 - len(m.slots); more > 0 {
		m.slots = append(m.slots, make([]*T, more)...)
		m.keys = append(m.keys, make([]uint32, more)...)
	}
	if m.count++; m.count == 0 {
		m.count = 1
	}
	m.slots[index], m.keys[index] = v, m.count
	return uint64(m.count)<<32 | uint64(index)
}

// Get returns the value that was put with this key. It returns nil if the value was deleted, or
// if no value ever had the key.
func (m *Map[T]) Get(key uint64) *T {
	index := uint32(key)
	if uint64(index) >= uint64(len(m.slots)) || m.keys[index] != uint32(key>>32) {
		return nil
	}
	return m.slots[index]
}

// Delete removes the value with this key, if it is there.
func (m *Map[T]) Delete(key uint64) {
	if m.Get(key) != nil {
		m.slots[uint32(key)] = nil
	}
}

// All yields all values. The body of the caller's loop may delete and put values. Values
// that it puts are yielded or not.
func (m *Map[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := 0; i < len(m.slots); i++ {
			if v := m.slots[i]; v != nil && !yield(v) {
				return
			}
		}
	}
}
